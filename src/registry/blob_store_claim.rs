//! Ties an index to its blob store, so that no server serves it with blobs of another one.

use uuid::Uuid;
use wharfinger_blobs as blobs;
use wharfinger_db as db;

use crate::Registry;
use crate::store::blob_store::{self, RecordedStore};

/// Why a server must not serve the index with its blob store.
#[derive(Debug, thiserror::Error)]
pub enum BlobStoreError {
    #[error(transparent)]
    Other(Box<OtherStore>),
    #[error("cannot read which blob store the index belongs to")]
    Index(#[from] db::Error),
    #[error("cannot identify the blob store")]
    Blobs(#[from] blobs::Error),
}

/// A blob store that is not the one of the index.
#[derive(Debug, thiserror::Error)]
#[error(
    "the blobs of this index are in another store, {recorded}, which was first served from \
     {recorded_location}; {location} {}. Start the server with that store, or with a new index. \
     If its blobs were copied to {location}, copy its file `identity` too, or write {recorded} \
     into it",
    contents(*found)
)]
pub struct OtherStore {
    location: String,
    found: Option<Uuid>,
    recorded: Uuid,
    recorded_location: String,
}

fn contents(found: Option<Uuid>) -> String {
    found.map_or_else(
        || "has no file `identity`".to_owned(),
        |found| format!("is the store {found}"),
    )
}

impl Registry {
    /// Records in the index that its blobs are in this server's store, and checks it from then on.
    /// A new store gets the identity `proposed`. For a server that starts.
    ///
    /// # Errors
    /// [`BlobStoreError::Other`] where the index belongs to another store; nothing is changed then.
    pub async fn claim_blob_store(&self, proposed: Uuid) -> Result<(), BlobStoreError> {
        let (db, store) = (&self.content.db, &self.content.store);
        let found = store.identity().await?;
        let known = db.get(blob_store::recorded).await?;
        let (identity, recorded) = match (found, known) {
            (Some(identity), Some(recorded)) => (identity, recorded),
            (None, Some(recorded)) => return Err(self.other(recorded, None)),
            (found, None) => {
                let identity = match found {
                    Some(identity) => identity,
                    None => store.set_identity(proposed).await?,
                };
                let location = store.to_string();
                let ours = RecordedStore { identity, location };
                // Another server may have been faster.
                let record = db.write(move |tx| {
                    blob_store::record(tx, &ours)?;
                    Ok::<_, db::Error>(blob_store::recorded(tx)?.unwrap_or_else(|| ours.clone()))
                });
                (identity, record.await?)
            }
        };
        if identity == recorded.identity {
            Ok(())
        } else {
            Err(self.other(recorded, Some(identity)))
        }
    }

    fn other(&self, recorded: RecordedStore, found: Option<Uuid>) -> BlobStoreError {
        BlobStoreError::Other(Box::new(OtherStore {
            location: self.content.store.to_string(),
            found,
            recorded: recorded.identity,
            recorded_location: recorded.location,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wharfinger_base::{Clock, Durability, Ids};
    use wharfinger_blobs::{BlobStore, BlobsConfig};
    use wharfinger_db::{Db, testing};

    use super::*;
    use crate::{Config, MIGRATIONS};

    async fn claim(db: &Db, root: &Path) -> Result<(), BlobStoreError> {
        let (ids, root) = (Ids::default(), root.to_owned());
        let config = BlobsConfig::Disk { root };
        let blobs = BlobStore::open(&config, Durability::Full, ids.clone()).await;
        let blobs = blobs.expect("a blob store");
        let registry = Registry::new(db, &blobs, &Clock::System, &ids, Config::default());
        registry.claim_blob_store(ids.uuid()).await
    }

    #[tokio::test]
    async fn an_index_is_served_with_one_blob_store_wherever_it_lies() {
        for db in testing::every_engine(MIGRATIONS) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = |name: &str| folder.path().join(name);
            claim(&db, &path("first")).await.expect("adopted");
            claim(&db, &path("first")).await.expect("its own");

            let refused = claim(&db, &path("second")).await.expect_err("another");
            let BlobStoreError::Other(other) = refused else {
                panic!("{refused}");
            };
            assert_eq!(other.found, None);
            assert!(!path("second/identity").exists(), "nothing is changed");
            let first = path("first").display().to_string();
            assert_eq!(other.recorded_location, first);

            claim(&Db::memory(MIGRATIONS).expect("an index"), &path("second"))
                .await
                .expect("adopted by another index");
            let refused = claim(&db, &path("second")).await.expect_err("another");
            assert!(
                matches!(&refused, BlobStoreError::Other(other) if other.found.is_some()),
                "{refused}"
            );

            std::fs::rename(path("first"), path("moved")).expect("moved");
            claim(&db, &path("moved")).await.expect("moved");
            std::fs::create_dir(path("copied")).expect("a folder");
            let text = format!("{}", other.recorded);
            std::fs::write(path("copied/identity"), text).expect("written");
            claim(&db, &path("copied")).await.expect("copied");
        }
    }

    #[tokio::test]
    async fn of_two_stores_brought_at_once_one_is_recorded() {
        for db in testing::every_engine(MIGRATIONS) {
            let folder = tempfile::tempdir().expect("a folder");
            let (one, two) = (folder.path().join("one"), folder.path().join("two"));
            let results = tokio::join!(claim(&db, &one), claim(&db, &two));
            let claimed = [&results.0, &results.1].map(|result| usize::from(result.is_ok()));
            assert_eq!(claimed.iter().sum::<usize>(), 1, "{results:?}");
        }
    }
}
