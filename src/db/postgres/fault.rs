//! Errors of the driver as those of the index.

use std::error::Error as _;

use postgres::error::SqlState;
use wharfinger_base::Chain;

use crate::error::Error;

pub(super) fn fault(error: &postgres::Error) -> Error {
    let Some(state) = error.code() else {
        let network = error
            .source()
            .and_then(|source| source.downcast_ref::<std::io::Error>())
            .is_some();
        return if error.is_closed() || network {
            Error::Unavailable(chain(error))
        } else {
            Error::Other(chain(error))
        };
    };
    match *state {
        SqlState::UNIQUE_VIOLATION => Error::Unique,
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => Error::Conflict,
        // Connection, resources (a full disk), operator (a shutdown).
        _ if ["08", "53", "57"].contains(&&state.code()[..2]) || ends_session(error) => {
            Error::Unavailable(chain(error))
        }
        _ => Error::Other(chain(error)),
    }
}

/// Whether the session is of no more use, though the connection may be open: the server shuts down,
/// or it is a standby since a failover, which takes no writes and no serialisable transactions.
pub(super) fn ends_session(error: &postgres::Error) -> bool {
    let Some(state) = error.code() else {
        return error.is_closed();
    };
    [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::FEATURE_NOT_SUPPORTED,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ]
    .contains(state)
        || state.code().starts_with("08")
}

/// The driver's own text says little; its causes say the rest.
pub(super) fn chain(error: &postgres::Error) -> String {
    Chain(error).to_string()
}
