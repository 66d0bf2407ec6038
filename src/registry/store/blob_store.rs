//! The rows of `blob_store`.

use uuid::Uuid;
use wharfinger_db::{self as db, Tx, params};

use crate::store::parsed;

/// A store that an index belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordedStore {
    pub identity: Uuid,
    pub location: String,
}

/// What a store is to its index: the key of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreRole {
    Blobs = 1,
    Archive = 2,
}

pub(crate) fn recorded(tx: &mut Tx<'_>, role: StoreRole) -> db::Result<Option<RecordedStore>> {
    tx.query_optional(
        "SELECT identity, location FROM blob_store WHERE id = ?1",
        params![role as i64],
        |row| {
            Ok(RecordedStore {
                identity: parsed(row.text(0))?,
                location: row.text(1).to_owned(),
            })
        },
    )
}

/// Whether the index has this archive, or none yet.
pub(crate) fn is_archive(tx: &mut Tx<'_>, identity: Option<Uuid>) -> db::Result<bool> {
    let recorded = recorded(tx, StoreRole::Archive)?;
    Ok(recorded.is_none_or(|recorded| Some(recorded.identity) == identity))
}

/// Records the store, unless one is recorded.
pub(crate) fn record(tx: &mut Tx<'_>, role: StoreRole, store: &RecordedStore) -> db::Result<()> {
    tx.execute(
        "INSERT INTO blob_store (id, identity, location) VALUES (?3, ?1, ?2)
         ON CONFLICT (id) DO NOTHING",
        params![store.identity.to_string(), &store.location, role as i64],
    )?;
    Ok(())
}

/// Removes the record of a store that holds nothing.
pub(crate) fn forget(tx: &mut Tx<'_>, role: StoreRole) -> db::Result<()> {
    tx.execute("DELETE FROM blob_store WHERE id = ?1", params![role as i64])?;
    Ok(())
}
