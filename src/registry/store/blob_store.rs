//! The row of `blob_store`.

use uuid::Uuid;
use wharfinger_db::{self as db, Tx, params};

use crate::store::parsed;

/// The store that an index belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordedStore {
    pub identity: Uuid,
    pub location: String,
}

pub(crate) fn recorded(tx: &mut Tx<'_>) -> db::Result<Option<RecordedStore>> {
    tx.query_optional(
        "SELECT identity, location FROM blob_store WHERE id = 1",
        params![],
        |row| {
            Ok(RecordedStore {
                identity: parsed(row.text(0))?,
                location: row.text(1).to_owned(),
            })
        },
    )
}

/// Records the store, unless one is recorded.
pub(crate) fn record(tx: &mut Tx<'_>, store: &RecordedStore) -> db::Result<()> {
    tx.execute(
        "INSERT INTO blob_store (id, identity, location) VALUES (1, ?1, ?2)
         ON CONFLICT (id) DO NOTHING",
        params![store.identity.to_string(), &store.location],
    )?;
    Ok(())
}
