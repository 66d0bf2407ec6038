//! The index as everything here uses it that reads and writes identities: each write gives the
//! identities another generation, so that no server goes on with what it remembers of them.

use wharfinger_base::Ids;
use wharfinger_db::{self as db, Db, Tx};

use crate::store::generation::set_generation;

/// A handle on the identities in the index; clones share it.
#[derive(Clone)]
pub(super) struct IdentityDb {
    db: Db,
    ids: Ids,
}

impl IdentityDb {
    pub(super) const fn new(db: Db, ids: Ids) -> Self {
        Self { db, ids }
    }

    /// Point reads, as [`Db::get`].
    pub(super) async fn get<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<db::Error> + Send + 'static,
    {
        self.db.get(work).await
    }

    /// Reads of any length, as [`Db::read`].
    pub(super) async fn read<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<db::Error> + Send + 'static,
    {
        self.db.read(work).await
    }

    /// Changes identities, as [`Db::write`]; the new generation is part of the transaction.
    pub(super) async fn write<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<db::Error> + Send + 'static,
    {
        let generation = i64::from_le_bytes(self.ids.bytes());
        let write = self.db.write(move |tx| {
            let result = work(tx)?;
            // Last, so that on PostgreSQL the row is locked for as short as can be.
            set_generation(tx, generation)?;
            Ok(result)
        });
        write.await
    }

    /// Writes what no decision depends on, as [`Db::write`]: servers go on with what they remember.
    pub(super) async fn note<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<db::Error> + Send + 'static,
    {
        self.db.write(work).await
    }
}
