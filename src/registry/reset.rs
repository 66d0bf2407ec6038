//! Empties the registries of a development server.

use crate::error::Error;
use crate::model::RepositoryId;
use crate::store::{registry_settings, repositories};
use crate::{Registry, cleanup};

/// Repositories in one transaction: some milliseconds.
const BATCH: i64 = 64;

impl Registry {
    /// Deletes every repository of all registries and every blob that only they had, and what is
    /// set for registries. Keys that sign stay, since commands make them. What is pushed meanwhile
    /// stays whole: it is deleted with its index rows, or not at all. Upload sessions end with
    /// their expiry.
    pub async fn reset(&self) -> Result<(), Error> {
        let db = &self.content.db;
        db.write(|tx| registry_settings::delete_all(tx).map_err(Error::from))
            .await?;
        if let Some(last) = db.read(repositories::last_id).await? {
            while self.delete_some(last).await? {}
        }
        while db.write(cleanup::step).await?.more {}
        self.collector.remove_unlinked().await
    }

    /// Deletes some of the repositories up to `last`; false once there are none.
    async fn delete_some(&self, last: RepositoryId) -> Result<bool, Error> {
        let now = self.content.clock.now();
        self.content
            .db
            .write(move |tx| {
                let some = repositories::ids_up_to(tx, last, BATCH)?;
                for id in &some {
                    repositories::delete(tx, *id, now)?;
                }
                Ok(!some.is_empty())
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::{future, stream};
    use wharfinger_base::{Clock, Durability, Ids};
    use wharfinger_blobs::{BlobStore, BlobsConfig, BodyError};
    use wharfinger_db::Db;
    use wharfinger_oci::{Algorithm, Digest};

    use crate::{Config, Error, MIGRATIONS, Part, Registry, RegistryId, RepositorySettings};

    const ROUNDS: usize = 60;
    const PUSHES: usize = 6;

    /// Uploads the same content to a repository, which may be deleted meanwhile.
    async fn push(registry: &Registry, id: &RegistryId, repository: usize) {
        let name = format!("r{repository}").parse().expect("a name");
        let made = registry
            .repositories
            .create(id, &name, RepositorySettings::default());
        let Ok(made) = made.await else { return };
        for _ in 0..4 {
            let content = Bytes::from_static(b"the same content");
            let digest = Digest::of(Algorithm::Sha256, &content);
            let part = Part {
                body: stream::iter([Ok::<_, BodyError>(content)]),
                offset: None,
                length: None,
            };
            let _ = registry.uploads.monolithic(made.id, &digest, part).await;
        }
    }

    async fn registry_in(folder: &tempfile::TempDir) -> Registry {
        let config = BlobsConfig::Disk {
            root: folder.path().to_owned(),
        };
        let (ids, db) = (Ids::default(), Db::memory(MIGRATIONS).expect("an index"));
        let blobs = BlobStore::open(&config, Durability::Relaxed, ids.clone()).await;
        let blobs = blobs.expect("a blob store");
        Registry::new(&db, &blobs, &Clock::System, &ids, Config::default())
    }

    fn registry_id() -> RegistryId {
        RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        }
    }

    #[tokio::test]
    async fn a_blob_that_a_reset_deletes_before_it_is_opened_is_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let (registry, id) = (registry_in(&folder).await, registry_id());
        let digest = Digest::of(Algorithm::Sha256, b"the same content");
        let loaded = async || {
            push(&registry, &id, 0).await;
            let page = registry.repositories.page(&id, "", 1).await;
            let repository = page.expect("a page").items[0].id;
            registry.content.get(repository, &digest).await.expect("it")
        };
        let blob = loaded().await;
        registry.reset().await.expect("reset");
        let opened = registry.content.open(&blob, None).await;
        assert!(matches!(opened, Err(Error::NoSuchBlob(_))), "{opened:?}");

        let blob = loaded().await;
        registry
            .content
            .store
            .delete(&blob.key)
            .await
            .expect("lost");
        let opened = registry.content.open(&blob, None).await;
        assert!(matches!(opened, Err(Error::Blobs(_))), "{opened:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_blob_pushed_during_a_reset_has_its_file_or_is_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let (registry, id) = (registry_in(&folder).await, registry_id());
        let digest = Digest::of(Algorithm::Sha256, b"the same content");
        for _ in 0..ROUNDS {
            let pushes = (0..PUSHES).map(|repository| push(&registry, &id, repository));
            let (reset, _) = tokio::join!(registry.reset(), future::join_all(pushes));
            reset.expect("reset");
            let page = registry
                .repositories
                .page(&id, "", PUSHES)
                .await
                .expect("a page");
            for repository in page.items {
                if let Ok(blob) = registry.content.get(repository.id, &digest).await {
                    registry
                        .content
                        .open(&blob, None)
                        .await
                        .expect("the file is there");
                }
            }
        }
        registry.reset().await.expect("reset");
        let page = registry
            .repositories
            .page(&id, "", 1)
            .await
            .expect("a page");
        assert!(page.items.is_empty());
    }
}
