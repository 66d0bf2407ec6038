//! The rows of a backup: which tables it leaves out, and the blobs that its rows name.

use wharfinger_blobs::{BlobKey, BlobStore};
use wharfinger_db::{RowBatch, Value};
use wharfinger_oci::Digest;

use crate::error::BackupError;
use crate::manifest::{BackupId, BackupManifest};
use crate::part::{self, MAX_PART_BYTES, PartError};
use crate::target::part_name;

/// The table of blobs, which is exported in the order of digests.
pub(crate) const BLOBS: &str = "blobs";
pub(crate) const DIGEST: &str = "digest";
/// The table of blobs in the archive.
pub(crate) const ARCHIVED: &str = "archived_blobs";
const SIZE: &str = "size";
const LOCATION: &str = "location";

/// Tables whose rows mean nothing in another index or beside another blob store: each with the
/// reason.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("readiness", "the server's own check"),
    ("work_leases", "work that running servers do"),
    ("blob_store", "a restored index has another blob store"),
    (
        "blob_deletions",
        "bytes that are being removed; they are not in the backup",
    ),
    (
        "uploads",
        "uploads in progress; their bytes are not in the backup",
    ),
    (
        "journal",
        "the journal is written anew beside the new store",
    ),
    (
        "journal_entries",
        "the journal is written anew beside the new store",
    ),
    (
        "archive_writes",
        "objects that are being written to the archive",
    ),
    (
        "archive_removals",
        "objects of the archive that are being removed",
    ),
    ("rebuild", "a rebuild of the index that is under way"),
    (
        "rebuilt_repositories",
        "a rebuild of the index that is under way",
    ),
    ("rebuilt_tags", "a rebuild of the index that is under way"),
];

/// A row of the table of blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobRow {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Where the server that was backed up has it.
    pub(crate) location: BlobKey,
}

/// The blobs of a batch of their table.
pub(crate) fn blob_rows(batch: &RowBatch) -> Result<Vec<BlobRow>, PartError> {
    let damaged = || PartError::Damaged("a row of a blob cannot be read");
    let column = |name: &str| batch.columns.iter().position(|column| column == name);
    let (Some(digest), Some(size), Some(location)) =
        (column(DIGEST), column(SIZE), column(LOCATION))
    else {
        return Err(damaged());
    };
    let read = |row: &Vec<Value<'static>>| {
        let (Some(Value::Bytes(digest)), Some(Value::Integer(size)), Some(Value::Text(location))) =
            (row.get(digest), row.get(size), row.get(location))
        else {
            return None;
        };
        Some(BlobRow {
            digest: Digest::from_stored(digest)?,
            size: u64::try_from(*size).ok()?,
            location: location.parse().ok()?,
        })
    };
    batch
        .rows
        .iter()
        .map(|row| read(row).ok_or_else(damaged))
        .collect()
}

/// Changes the rows of blobs to where a restore puts the bytes.
pub(crate) fn relocate(batch: &mut RowBatch) -> Result<(), PartError> {
    if batch.table != BLOBS {
        return Ok(());
    }
    let blobs = blob_rows(batch)?;
    let column = batch.columns.iter().position(|column| column == LOCATION);
    for (row, blob) in batch.rows.iter_mut().zip(blobs) {
        let cell = column.and_then(|column| row.get_mut(column));
        if let Some(cell) = cell {
            let key = BlobKey::of_blob(&blob.digest);
            *cell = Value::from(key.as_str().to_owned());
        }
    }
    Ok(())
}

/// Reads one part of a backup and compares its checksum.
pub(crate) async fn read_part(
    store: &BlobStore,
    id: &BackupId,
    manifest: &BackupManifest,
    number: u64,
) -> Result<RowBatch, BackupError> {
    let failed = |why| BackupError::Part { part: number, why };
    let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
    let entry = manifest.parts.get(index);
    let entry = entry.ok_or_else(|| failed(PartError::Missing))?;
    let content = match store.record(&part_name(id, number)?, MAX_PART_BYTES).await {
        Err(wharfinger_blobs::Error::NotFound) => return Err(failed(PartError::Missing)),
        content => content?,
    };
    let sha256 = entry.sha256.clone();
    let decoded = tokio::task::spawn_blocking(move || part::decode(&content, &sha256)).await?;
    let batch = decoded.map_err(failed)?;
    if batch.table == entry.table && batch.rows.len() as u64 == entry.rows {
        Ok(batch)
    } else {
        Err(failed(PartError::Damaged("it holds other rows")))
    }
}

/// The blobs that a backup names, in the order of their digests, a part at a time.
pub(crate) struct BlobRows<'a> {
    store: &'a BlobStore,
    id: &'a BackupId,
    manifest: &'a BackupManifest,
    parts: std::vec::IntoIter<u64>,
    read: std::vec::IntoIter<BlobRow>,
}

impl<'a> BlobRows<'a> {
    pub(crate) fn new(
        store: &'a BlobStore,
        id: &'a BackupId,
        manifest: &'a BackupManifest,
    ) -> Self {
        Self {
            store,
            id,
            manifest,
            parts: manifest.parts_of(BLOBS).into_iter(),
            read: Vec::new().into_iter(),
        }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<BlobRow>, BackupError> {
        loop {
            if let Some(row) = self.read.next() {
                return Ok(Some(row));
            }
            let Some(part) = self.parts.next() else {
                return Ok(None);
            };
            let batch = read_part(self.store, self.id, self.manifest, part).await?;
            let rows = blob_rows(&batch).map_err(|why| BackupError::Part { part, why })?;
            self.read = rows.into_iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_oci::Algorithm;

    use super::*;

    #[test]
    fn blobs_are_read_and_relocated() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let mut batch = RowBatch {
            table: BLOBS.to_owned(),
            columns: [SIZE, "lease_until", LOCATION, DIGEST]
                .map(str::to_owned)
                .to_vec(),
            rows: vec![vec![
                Value::from(7),
                Value::from(1),
                Value::from("blobs/1/parts"),
                Value::from(digest.to_stored()),
            ]],
        };
        let read = blob_rows(&batch).expect("read");
        assert_eq!((read[0].digest, read[0].size), (digest, 7));
        assert_eq!(read[0].location.as_str(), "blobs/1/parts");
        relocate(&mut batch).expect("relocated");
        let read = blob_rows(&batch).expect("read");
        assert_eq!(read[0].location, BlobKey::of_blob(&digest));
        assert_eq!(batch.rows[0][1], Value::from(1));

        batch.rows[0][0] = Value::from(-1);
        assert!(relocate(&mut batch).is_err());
        batch.columns[0] = "other".to_owned();
        assert!(blob_rows(&batch).is_err());
        batch.table = "images".to_owned();
        relocate(&mut batch).expect("other tables stay");
    }
}
