//! Ties an index to its blob store, so that no server serves it with blobs of another one.

use uuid::Uuid;
use wharfinger_blobs::{self as blobs, BlobStore};
use wharfinger_db::{self as db, Db, Tx};

use crate::Registry;
use crate::store::archive;
use crate::store::blob_store::{self, RecordedStore, StoreRole};

/// Why a server must not serve the index with its blob store.
#[derive(Debug, thiserror::Error)]
pub enum BlobStoreError {
    #[error(transparent)]
    Other(Box<OtherStore>),
    #[error("the archive and the blobs are in one store, {0}: the archive needs one of its own")]
    SameStore(String),
    #[error("cannot read which blob store the index belongs to")]
    Index(#[from] db::Error),
    #[error("cannot identify the blob store")]
    Blobs(#[from] blobs::Error),
}

/// A blob store that is not the one of the index.
#[derive(Debug, thiserror::Error)]
#[error(
    "the {what} of this index are in another store, {recorded}, which was first served from \
     {recorded_location}; {location} {}. Start the server with that store, or with a new index. \
     If the content was copied to {location}, copy its file `identity` too, or write {recorded} \
     into it",
    contents(*found)
)]
pub struct OtherStore {
    what: &'static str,
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
        claim(
            &self.content.db,
            &self.content.store,
            StoreRole::Blobs,
            proposed,
        )
        .await
    }

    /// The same for the archive, if there is one. While it holds nothing, another one may take its
    /// place.
    ///
    /// # Errors
    /// As [`Registry::claim_blob_store`].
    pub async fn claim_archive(&self, proposed: Uuid) -> Result<(), BlobStoreError> {
        let Some(archive) = &self.archive else {
            return Ok(());
        };
        let (db, role) = (&self.content.db, StoreRole::Archive);
        let identity = archive.store.identity().await?;
        if identity.is_some() && identity == self.content.store.identity().await? {
            return Err(BlobStoreError::SameStore(archive.store.to_string()));
        }
        match claim(db, &archive.store, role, proposed).await {
            Err(BlobStoreError::Other(_)) if db.write(forget_empty_archive).await? => {
                claim(db, &archive.store, role, proposed).await
            }
            claimed => claimed,
        }
    }

    /// Checks, for a command beside a server, that the stores are those of the index. Changes
    /// nothing.
    ///
    /// # Errors
    /// [`BlobStoreError::Other`].
    pub async fn check_stores(&self) -> Result<(), BlobStoreError> {
        check(&self.content.db, &self.content.store, StoreRole::Blobs).await?;
        match &self.archive {
            Some(archive) if !self.content.db.read(archive::is_empty).await? => {
                check(&self.content.db, &archive.store, StoreRole::Archive).await
            }
            _ => Ok(()),
        }
    }
}

/// Forgets the archive, if the index has nothing there; says whether it has.
fn forget_empty_archive(tx: &mut Tx<'_>) -> db::Result<bool> {
    let is_empty = archive::is_empty(tx)?;
    if is_empty {
        blob_store::forget(tx, StoreRole::Archive)?;
    }
    Ok(is_empty)
}

async fn check(db: &Db, store: &BlobStore, role: StoreRole) -> Result<(), BlobStoreError> {
    let recorded = db.get(move |tx| blob_store::recorded(tx, role)).await?;
    let found = store.identity().await?;
    match recorded {
        Some(recorded) if found != Some(recorded.identity) => {
            Err(other((store, role), recorded, found))
        }
        _ => Ok(()),
    }
}

async fn claim(
    db: &Db,
    store: &BlobStore,
    role: StoreRole,
    proposed: Uuid,
) -> Result<(), BlobStoreError> {
    let found = store.identity().await?;
    let known = db.get(move |tx| blob_store::recorded(tx, role)).await?;
    let (identity, recorded) = match (found, known) {
        (Some(identity), Some(recorded)) => (identity, recorded),
        (None, Some(recorded)) => return Err(other((store, role), recorded, None)),
        (found, None) => {
            let identity = match found {
                Some(identity) => identity,
                None => store.set_identity(proposed).await?,
            };
            let location = store.to_string();
            let ours = RecordedStore { identity, location };
            // Another server may have been faster.
            let record = db.write(move |tx| {
                blob_store::record(tx, role, &ours)?;
                Ok::<_, db::Error>(blob_store::recorded(tx, role)?.unwrap_or_else(|| ours.clone()))
            });
            (identity, record.await?)
        }
    };
    if identity == recorded.identity {
        Ok(())
    } else {
        Err(other((store, role), recorded, Some(identity)))
    }
}

fn other(
    (store, role): (&BlobStore, StoreRole),
    recorded: RecordedStore,
    found: Option<Uuid>,
) -> BlobStoreError {
    BlobStoreError::Other(Box::new(OtherStore {
        what: match role {
            StoreRole::Blobs => "blobs",
            StoreRole::Archive => "archived blobs",
        },
        location: store.to_string(),
        found,
        recorded: recorded.identity,
        recorded_location: recorded.location,
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wharfinger_base::{Clock, Durability, Ids, Timestamp};
    use wharfinger_blobs::{BlobKey, BlobsConfig};
    use wharfinger_db::testing;

    use super::*;
    use crate::{Archive, Config, MIGRATIONS};

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
    async fn another_archive_may_take_the_place_of_an_empty_one() {
        for db in testing::every_engine(MIGRATIONS) {
            let folder = tempfile::tempdir().expect("a folder");
            let open = async |name: &str| {
                let root = folder.path().join(name);
                let config = BlobsConfig::Disk { root };
                let opened = BlobStore::open(&config, Durability::Full, Ids::default()).await;
                opened.expect("a store")
            };
            let (ids, blobs) = (Ids::default(), open("blobs").await);
            let registry = Registry::new(&db, &blobs, &Clock::System, &ids, Config::default());
            registry
                .claim_blob_store(ids.uuid())
                .await
                .expect("claimed");
            let claim = async |name: &str| {
                let archive = Archive {
                    store: open(name).await,
                    takes_all: true,
                };
                let registry = registry.clone().with_archive(archive);
                registry.claim_archive(ids.uuid()).await
            };
            claim("first").await.expect("adopted");
            let checked = async |name: &str| {
                let archive = Archive {
                    store: open(name).await,
                    takes_all: true,
                };
                let registry = registry.clone().with_archive(archive);
                registry.check_stores().await
            };
            claim("second").await.expect("adopted instead");
            checked("first").await.expect("nothing is there");
            db.write(|tx| archive::remove_later(tx, &key(), Timestamp::from_ms(0)))
                .await
                .expect("written");
            claim("second").await.expect("its own");
            checked("second").await.expect("its own");
            checked("first").await.expect_err("another");
            let refused = claim("first").await.expect_err("another");
            assert!(refused.to_string().contains("archived blobs"), "{refused}");
            let refused = claim("blobs").await.expect_err("the store of blobs");
            assert!(matches!(refused, BlobStoreError::SameStore(_)), "{refused}");
        }
    }

    fn key() -> BlobKey {
        "blobs/a".parse().expect("a key")
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
