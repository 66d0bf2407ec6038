//! Listing of what the store holds under keys of blobs, for comparisons with the index, and the
//! folder for damaged blobs.

use std::fs;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path as FilePath;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::TryStreamExt;
use http_body::Body as _;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::task::spawn_blocking;
use wharfinger_base::{Durability, Timestamp};
use wharfinger_oci::{Digest, Hasher};

use crate::copying::CopyBlobError;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::key::{self, BlobKey};
use crate::s3::Objects;
use crate::store::{Backend, BlobStore};

/// What lies under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    pub key: BlobKey,
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
}

impl BlobStore {
    /// Up to `limit` objects with keys after `after`, in byte order. Other files and objects are
    /// left out. What is written or removed meanwhile may or may not be among them.
    pub async fn objects(
        &self,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<StoredObject>> {
        match &self.0 {
            Backend::Disk(disk) => {
                let (disk, after) = (Arc::clone(disk), after.cloned());
                spawn_blocking(move || disk.objects(after.as_ref(), limit)).await?
            }
            Backend::Objects(objects) => objects.objects(after, limit).await,
        }
    }

    /// Whether the object at the key has these bytes: reads all of them.
    pub async fn has_content(&self, key: &BlobKey, size: u64, digest: &Digest) -> Result<bool> {
        let mut reader = match self.open_blob(key, size, None).await {
            Err(Error::NotFound | Error::WrongLength { .. }) => return Ok(false),
            reader => reader?,
        };
        let mut hasher = Hasher::new(digest.algorithm());
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut reader).poll_frame(cx)).await {
            if let Some(bytes) = frame?.data_ref() {
                hasher.update(bytes);
            }
        }
        Ok(hasher.finish() == *digest)
    }

    /// Takes an object out of the blobs: it moves to `quarantine/`, where nothing reads it and an
    /// operator can look at it. Nothing there is no error.
    pub async fn quarantine(&self, key: &BlobKey) -> Result<()> {
        match &self.0 {
            Backend::Disk(disk) => {
                let (disk, key) = (Arc::clone(disk), key.clone());
                spawn_blocking(move || disk.quarantine(&key)).await?
            }
            Backend::Objects(objects) => {
                let from = objects.path(key.as_str());
                let to = objects.path(&key::quarantined(key));
                let size = match objects.store.head(&from).await {
                    Err(object_store::Error::NotFound { .. }) => return Ok(()),
                    found => found?.size,
                };
                if size > objects.copy_limit {
                    let copied = objects.copy_large(key, &to).await;
                    copied.map_err(|error| match error {
                        CopyBlobError::Store(error) => error,
                        error => Error::protocol(error),
                    })?;
                    return objects.remove(&from).await;
                }
                match objects.store.copy(&from, &to).await {
                    Err(object_store::Error::NotFound { .. }) => return Ok(()),
                    copied => copied?,
                }
                objects.remove(&from).await
            }
        }
    }
}

impl Disk {
    fn objects(&self, after: Option<&BlobKey>, limit: usize) -> Result<Vec<StoredObject>> {
        let mut found = Vec::new();
        let after = after.map_or("", BlobKey::as_str);
        self.collect(key::BLOBS, after, limit, &mut found)?;
        Ok(found)
    }

    /// Adds what lies below a folder of the store, in order, until there are `limit`.
    fn collect(
        &self,
        folder: &str,
        after: &str,
        limit: usize,
        found: &mut Vec<StoredObject>,
    ) -> Result<()> {
        for name in sorted_names(&self.root.join(folder))? {
            if found.len() >= limit {
                return Ok(());
            }
            let path = format!("{folder}/{name}");
            // Everything below a folder begins with its path and a slash.
            let before = path.as_str() <= after && !after.starts_with(&format!("{path}/"));
            if before {
                continue;
            }
            let metadata = match fs::symlink_metadata(self.root.join(&path)) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_dir() {
                self.collect(&path, after, limit, found)?;
            } else if metadata.is_file()
                && let Ok(key) = path.parse()
            {
                found.push(StoredObject {
                    key,
                    size: metadata.len(),
                    modified: Timestamp::from_ms(metadata.mtime().saturating_mul(1_000)),
                });
            }
        }
        Ok(())
    }

    fn quarantine(&self, key: &BlobKey) -> Result<()> {
        let durable = self.durability == Durability::Full;
        let target = self.root.join(key::quarantined(key));
        let parent = target.parent().unwrap_or(&self.root);
        let folder = self.folders.get_or_create(parent, durable)?;
        let ticket = folder.ticket();
        match fs::rename(self.root.join(key.as_str()), &target) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        self.open.forget(key);
        if durable {
            folder.flush(ticket)?;
        }
        Ok(())
    }
}

/// The names in a folder, in the order of paths that begin with them: a folder sorts as its name
/// with a slash, which is before every character of a key but the hyphen. Blobs and folders do not
/// stand beside each other, so the order of names is enough.
fn sorted_names(folder: &FilePath) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

impl Objects {
    async fn objects(&self, after: Option<&BlobKey>, limit: usize) -> Result<Vec<StoredObject>> {
        let prefix = self.path(key::BLOBS);
        let objects = match after {
            Some(after) => {
                let offset = self.path(after.as_str());
                self.store.list_with_offset(Some(&prefix), &offset)
            }
            None => self.store.list(Some(&prefix)),
        };
        let stored = objects.try_filter_map(|object| {
            let key = self.key_at(&object.location);
            let stored = key.map(|key| StoredObject {
                key,
                size: object.size,
                modified: Timestamp::from_ms(object.last_modified.timestamp_millis()),
            });
            std::future::ready(Ok(stored))
        });
        // Listings come in the order of names, in pages of a thousand.
        let stored = futures_util::StreamExt::take(stored, limit);
        Ok(stored.try_collect().await?)
    }

    fn key_at(&self, location: &object_store::path::Path) -> Option<BlobKey> {
        let relative = location.as_ref().strip_prefix(self.prefix.as_ref())?;
        relative.trim_start_matches('/').parse().ok()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::tests::support::{digest, pattern, push, read};

    /// Lists page by page.
    async fn listed(store: &BlobStore, limit: usize) -> Vec<StoredObject> {
        let mut all: Vec<StoredObject> = Vec::new();
        loop {
            let after = all.last().map(|object| object.key.clone());
            let page = store.objects(after.as_ref(), limit).await.expect("listed");
            assert!(page.len() <= limit);
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// One of the behaviours of every backend. The store holds other blobs, too.
    pub(crate) async fn are_listed(store: &BlobStore) {
        let mut expected = BTreeSet::new();
        for seed in 0..40 {
            let blob = push(store, &pattern(seed, 100 + seed)).await;
            expected.insert((blob.key, blob.size));
        }
        for limit in [3, 17, 1_000] {
            let found = listed(store, limit).await;
            assert!(
                found.windows(2).all(|pair| pair[0].key < pair[1].key),
                "in order, once"
            );
            let found = found.into_iter().map(|one| (one.key, one.size));
            let ours: BTreeSet<_> = found.filter(|one| expected.contains(one)).collect();
            assert_eq!(ours, expected, "{limit} at a time");
        }
    }

    /// One of the behaviours of every backend.
    pub(crate) async fn are_put_aside(store: &BlobStore) {
        // The bad one is larger than what the store in memory copies at once.
        let large = 9 * usize::try_from(crate::store::MEMORY_PART).unwrap_or(0);
        let (kept, bad) = (pattern(1, 101), pattern(2, large));
        let (kept_blob, bad_blob) = (push(store, &kept).await, push(store, &bad).await);
        read(store, &bad_blob, None).await;
        let (key, size) = (&bad_blob.key, bad_blob.size);
        assert!(
            store
                .has_content(key, size, &digest(&bad))
                .await
                .expect("read")
        );
        assert!(
            !store
                .has_content(key, size, &digest(&kept))
                .await
                .expect("read")
        );
        for _ in 0..2 {
            store.quarantine(&bad_blob.key).await.expect("put aside");
        }
        let opened = store.open_blob(&bad_blob.key, bad_blob.size, None).await;
        assert!(matches!(opened, Err(Error::NotFound)), "{opened:?}");
        assert!(
            listed(store, 100)
                .await
                .iter()
                .all(|one| one.key != bad_blob.key)
        );
        assert_eq!(read(store, &kept_blob, None).await, kept);
        let again = push(store, &bad).await;
        assert_eq!(read(store, &again, None).await, bad);
    }
}
