//! Logs: groups, streams and events, kept in segments of bounded size for as long as their group
//! says. [`Logs`] holds the operations.

mod error;
mod events;
mod filter_pattern;
mod groups;
mod model;
mod retention;
mod scan;
mod segment;
mod store;
mod streams;

pub use error::Error;
pub use events::{GetEvents, NewEvent, Rejected, Stored};
pub use filter_pattern::{FilterPattern, PatternError};
pub use model::{
    Account, Direction, EventKey, EventPage, FilterEvents, LogEvent, LogGroup, LogStream,
    StreamOrder, StreamPosition,
};
pub use retention::Retention;
use wharfinger_base::{Clock, Ids};
use wharfinger_db::{Db, Migration, migration};

type Result<T, E = Error> = std::result::Result<T, E>;

/// The tables of this crate.
pub const MIGRATIONS: &[Migration] = &[migration!("V0019__logs")];

/// The logs of all accounts.
#[derive(Clone)]
pub struct Logs {
    db: Db,
    clock: Clock,
    ids: Ids,
}

impl Logs {
    /// `db` is the index, or on a single server a database of its own, so that writing logs does
    /// not hold up pushes.
    pub fn new(db: Db, clock: Clock, ids: Ids) -> Self {
        Self { db, clock, ids }
    }

    /// The reconciler that removes expired and deleted events.
    pub fn retention(&self) -> Retention {
        Retention(self.db.clone())
    }
}
