//! The rows of a backup: which tables it leaves out, and the blobs that its rows name.

use wharfinger_blobs::{BlobKey, BlobStore};
use wharfinger_db::{RowBatch, Value};
use wharfinger_oci::Digest;

use crate::backup_store::part_name;
use crate::error::BackupError;
use crate::manifest::{ARCHIVED, BLOBS, BackupId, BackupManifest};
use crate::part::{self, MAX_PART_BYTES, PartError};

/// Tables of blobs, which are exported in the order of digests.
pub(crate) const SORTED: &[(&str, &str)] = &[(BLOBS, DIGEST), (ARCHIVED, DIGEST)];
const DIGEST: &str = "digest";
const SIZE: &str = "size";
const LOCATION: &str = "location";
const ENCODING: &str = "encoding";
const STORED_SIZE: &str = "stored_size";
const ARCHIVED_AT: &str = "archived_at";
/// The columns of an archived blob that comes back as an ordinary one.
const RESTORED: [&str; 6] = [
    DIGEST,
    SIZE,
    LOCATION,
    "lease_until",
    "created_at",
    "archive_at",
];

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

/// The bytes of a blob in the archive of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedBytes {
    /// A key of the archive.
    pub location: BlobKey,
    /// How the archive holds them, in the words of the index.
    pub encoding: String,
    /// As many as the archive has.
    pub stored_size: u64,
}

/// Where the server that was backed up has a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoredAt {
    Blobs(BlobKey),
    Archive(ArchivedBytes),
}

/// A row of one of the tables of blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobRow {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) place: StoredAt,
}

/// The position of a column in the batch.
fn column(batch: &RowBatch, name: &str) -> Option<usize> {
    batch.columns.iter().position(|column| column == name)
}

/// The blobs of a batch; none where it is of another table.
pub(crate) fn blob_rows(batch: &RowBatch) -> Result<Vec<BlobRow>, PartError> {
    let is_archived = batch.table == ARCHIVED;
    if batch.table != BLOBS && !is_archived {
        return Ok(Vec::new());
    }
    let columns = |name| column(batch, name);
    let read = |row: &Vec<Value<'static>>| {
        let cell = |name| row.get(columns(name)?);
        let text = |name| match cell(name) {
            Some(Value::Text(text)) => Some(text.as_ref()),
            _ => None,
        };
        let number = |name| match cell(name) {
            Some(Value::Integer(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        let Some(Value::Bytes(digest)) = cell(DIGEST) else {
            return None;
        };
        let location = text(LOCATION)?.parse().ok()?;
        let place = if is_archived {
            StoredAt::Archive(ArchivedBytes {
                location,
                encoding: text(ENCODING)?.to_owned(),
                stored_size: number(STORED_SIZE)?,
            })
        } else {
            StoredAt::Blobs(location)
        };
        Some(BlobRow {
            digest: Digest::from_stored(digest)?,
            size: number(SIZE)?,
            place,
        })
    };
    let damaged = || PartError::Damaged("a row of a blob cannot be read");
    let rows = batch.rows.iter();
    rows.map(|row| read(row).ok_or_else(damaged)).collect()
}

/// Changes the rows of blobs to where a restore puts the bytes: all into the blob store. Archived
/// blobs are due to be archived again at once.
pub(crate) fn relocate(batch: &mut RowBatch) -> Result<(), PartError> {
    let blobs = blob_rows(batch)?;
    let key = |digest: &Digest| Value::from(BlobKey::of_blob(digest).as_str().to_owned());
    if batch.table == ARCHIVED {
        let archived_at = column(batch, ARCHIVED_AT);
        let rows = batch.rows.iter().zip(blobs).map(|(row, blob)| {
            let archived_at = archived_at.and_then(|column| row.get(column)).cloned();
            Some(vec![
                Value::from(blob.digest.to_stored()),
                Value::from(i64::try_from(blob.size).ok()?),
                key(&blob.digest),
                Value::from(0),
                archived_at?,
                Value::from(0),
            ])
        });
        let rows: Option<Vec<_>> = rows.collect();
        batch.rows = rows.ok_or(PartError::Damaged("a row of a blob cannot be read"))?;
        batch.columns = RESTORED.map(str::to_owned).to_vec();
        BLOBS.clone_into(&mut batch.table);
        return Ok(());
    }
    let location = column(batch, LOCATION);
    for (row, blob) in batch.rows.iter_mut().zip(blobs) {
        if let Some(cell) = location.and_then(|column| row.get_mut(column)) {
            *cell = key(&blob.digest);
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

/// Blobs that a backup names, a part at a time.
pub(crate) struct BlobRows<'a> {
    store: &'a BlobStore,
    id: &'a BackupId,
    manifest: &'a BackupManifest,
    parts: std::vec::IntoIter<u64>,
    read: std::vec::IntoIter<BlobRow>,
}

impl<'a> BlobRows<'a> {
    /// All of them, in no order.
    pub(crate) fn all(
        store: &'a BlobStore,
        id: &'a BackupId,
        manifest: &'a BackupManifest,
    ) -> Self {
        let mut parts = manifest.parts_of(BLOBS);
        parts.extend(manifest.parts_of(ARCHIVED));
        Self {
            store,
            id,
            manifest,
            parts: parts.into_iter(),
            read: Vec::new().into_iter(),
        }
    }

    /// Those of one table, in the order of their digests.
    pub(crate) fn of_table(
        store: &'a BlobStore,
        id: &'a BackupId,
        manifest: &'a BackupManifest,
        table: &str,
    ) -> Self {
        Self {
            parts: manifest.parts_of(table).into_iter(),
            ..Self::all(store, id, manifest)
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
        let place = StoredAt::Blobs("blobs/1/parts".parse().expect("a key"));
        assert_eq!(read[0].place, place);
        relocate(&mut batch).expect("relocated");
        let read = blob_rows(&batch).expect("read");
        assert_eq!(read[0].place, StoredAt::Blobs(BlobKey::of_blob(&digest)));
        assert_eq!(batch.rows[0][1], Value::from(1));

        batch.rows[0][0] = Value::from(-1);
        assert!(relocate(&mut batch).is_err());
        batch.columns[0] = "other".to_owned();
        assert!(blob_rows(&batch).is_err());
        batch.table = "images".to_owned();
        relocate(&mut batch).expect("other tables stay");
    }

    #[test]
    fn archived_blobs_become_others_that_are_due_to_be_archived() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let columns = [
            ARCHIVED_AT,
            STORED_SIZE,
            ENCODING,
            LOCATION,
            SIZE,
            DIGEST,
            "new",
        ];
        let mut batch = RowBatch {
            table: ARCHIVED.to_owned(),
            columns: columns.map(str::to_owned).to_vec(),
            rows: vec![vec![
                Value::from(123),
                Value::from(3),
                Value::from("zstd"),
                Value::from("blobs/1/parts"),
                Value::from(7),
                Value::from(digest.to_stored()),
                Value::Null,
            ]],
        };
        let whole = batch.clone();
        let archived = ArchivedBytes {
            location: "blobs/1/parts".parse().expect("a key"),
            encoding: "zstd".to_owned(),
            stored_size: 3,
        };
        let read = blob_rows(&batch).expect("read");
        assert_eq!((read[0].digest, read[0].size), (digest, 7));
        assert_eq!(read[0].place, StoredAt::Archive(archived));
        relocate(&mut batch).expect("relocated");
        assert_eq!(batch.table, BLOBS);
        let columns = ["digest", "size", "location", "lease_until", "created_at"];
        assert_eq!(batch.columns[..5], columns);
        assert_eq!(batch.columns[5], "archive_at");
        let values = [
            Value::from(digest.to_stored()),
            Value::from(7),
            Value::from(BlobKey::of_blob(&digest).as_str().to_owned()),
            Value::from(0),
            Value::from(123),
            Value::from(0),
        ];
        assert_eq!(batch.rows, [values]);
        for missing in [0, 1, 2] {
            let mut batch = whole.clone();
            batch.columns[missing] = "other".to_owned();
            assert!(relocate(&mut batch).is_err(), "{missing}");
        }
    }
}
