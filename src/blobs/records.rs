//! Records: small objects beside the blobs, from which an index can be made anew.
//!
//! A record has a name of the caller's choice and is written whole. One of the same name is
//! replaced: who reads it gets the old one or the new one, never a part.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{ObjectStoreExt, PutPayload};
use tokio::task::spawn_blocking;
use wharfinger_base::Durability;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::key::{self, RecordName};
use crate::s3::Objects;
use crate::staged_files::remove;
use crate::store::{Backend, BlobStore};

/// A record as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordEntry {
    pub name: RecordName,
    /// Bytes.
    pub size: u64,
}

impl BlobStore {
    /// Writes a record, durable when this returns, in place of one of the same name.
    pub async fn put_record(&self, name: &RecordName, content: Bytes) -> Result<()> {
        match &self.0 {
            Backend::Disk(disk) => {
                let (disk, name) = (Arc::clone(disk), name.clone());
                spawn_blocking(move || disk.put_record(&name, &content)).await?
            }
            Backend::Objects(objects) => {
                let path = objects.path(&key::record(name));
                objects.store.put(&path, PutPayload::from(content)).await?;
                Ok(())
            }
        }
    }

    /// The content of a record of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongLength`] where it is larger.
    pub async fn record(&self, name: &RecordName, limit: u64) -> Result<Bytes> {
        match &self.0 {
            Backend::Disk(disk) => {
                let (disk, name) = (Arc::clone(disk), name.clone());
                spawn_blocking(move || disk.record(&name, limit)).await?
            }
            Backend::Objects(objects) => {
                let found = objects.store.get(&objects.path(&key::record(name))).await?;
                within(limit, found.meta.size)?;
                Ok(found.bytes().await?)
            }
        }
    }

    /// All records of a folder, in the order of their names. The caller keeps their number small.
    pub async fn records(&self, folder: &str) -> Result<Vec<RecordEntry>> {
        let mut found = match &self.0 {
            Backend::Disk(disk) => {
                let (disk, folder) = (Arc::clone(disk), folder.to_owned());
                spawn_blocking(move || disk.records(&folder)).await??
            }
            Backend::Objects(objects) => objects.records(folder).await?,
        };
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Removes a record. Nothing there is no error.
    pub async fn delete_record(&self, name: &RecordName) -> Result<()> {
        match &self.0 {
            Backend::Disk(disk) => {
                let path = disk.root.join(key::record(name));
                Ok(spawn_blocking(move || remove(&path)).await??)
            }
            Backend::Objects(objects) => objects.remove(&objects.path(&key::record(name))).await,
        }
    }
}

impl Disk {
    fn put_record(&self, name: &RecordName, content: &[u8]) -> Result<()> {
        let durable = self.durability == Durability::Full;
        let target = self.root.join(key::record(name));
        let parent = target.parent().unwrap_or(&self.root);
        let folder = self.folders.get_or_create(parent, durable)?;
        let new = self.root.join(key::new_record(name));
        let written = write_new(&new, content, durable).and_then(|()| {
            let ticket = folder.ticket();
            fs::rename(&new, &target)?;
            if durable {
                folder.flush(ticket)?;
            }
            Ok(())
        });
        if written.is_err() {
            // What is left of it is replaced by the next attempt.
            let _ = remove(&new);
        }
        Ok(written?)
    }

    fn record(&self, name: &RecordName, limit: u64) -> Result<Bytes> {
        let file = File::open(self.root.join(key::record(name)))?;
        let size = file.metadata()?.len();
        within(limit, size)?;
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        file.take(limit).read_to_end(&mut content)?;
        Ok(content.into())
    }

    fn records(&self, folder: &str) -> Result<Vec<RecordEntry>> {
        let entries = match fs::read_dir(self.root.join(key::RECORDS).join(folder)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|name| named(folder, name)) else {
                continue;
            };
            match entry.metadata() {
                Ok(metadata) => found.push(RecordEntry {
                    name,
                    size: metadata.len(),
                }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }
}

impl Objects {
    async fn records(&self, folder: &str) -> Result<Vec<RecordEntry>> {
        let prefix = self.path(&format!("{}/{folder}", key::RECORDS));
        let objects = self.store.list(Some(&prefix));
        let entries = objects.try_filter_map(|object| {
            let name = object.location.filename();
            let entry = name
                .and_then(|name| named(folder, name))
                .map(|name| RecordEntry {
                    name,
                    size: object.size,
                });
            std::future::ready(Ok(entry))
        });
        Ok(entries.try_collect().await?)
    }
}

fn named(folder: &str, name: &str) -> Option<RecordName> {
    format!("{folder}/{name}").parse().ok()
}

/// Refuses a record that is larger than the caller reads.
fn within(limit: u64, size: u64) -> Result<()> {
    if size <= limit {
        Ok(())
    } else {
        Err(Error::WrongLength {
            expected: limit,
            actual: size,
        })
    }
}

fn write_new(path: &FilePath, content: &[u8], durable: bool) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    if durable {
        file.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn name(text: &str) -> RecordName {
        text.parse().expect("a name")
    }

    /// One of the behaviours of every backend.
    pub(crate) async fn are_kept(store: &BlobStore) {
        assert!(store.records("a").await.expect("listed").is_empty());
        let missing = store.record(&name("a/1"), 10).await;
        assert!(matches!(missing, Err(Error::NotFound)), "{missing:?}");
        for (record, content) in [
            ("a/2", "two"),
            ("a/1", "one"),
            ("b/1", "other"),
            ("a/1", "1"),
        ] {
            let content = Bytes::from_static(content.as_bytes());
            store.put_record(&name(record), content).await.expect("put");
        }
        let found = store.records("a").await.expect("listed");
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.name.as_str(), one.size))
            .collect();
        assert_eq!(found, [("a/1", 1), ("a/2", 3)]);
        assert_eq!(store.record(&name("a/1"), 1).await.expect("read"), "1");
        let large = store.record(&name("a/2"), 2).await;
        assert!(
            matches!(large, Err(Error::WrongLength { actual: 3, .. })),
            "{large:?}"
        );
        for _ in 0..2 {
            store.delete_record(&name("a/1")).await.expect("deleted");
        }
        assert_eq!(store.records("a").await.expect("listed").len(), 1);
        assert_eq!(store.records("b").await.expect("listed").len(), 1);
    }
}
