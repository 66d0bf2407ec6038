//! Bodies, blobs and stores for the tests.

use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::BodyExt;
use uuid::Uuid;
use wharfinger_base::{Durability, Ids};
use wharfinger_oci::{Algorithm, Digest};

use crate::{AppendLimits, BlobStore, BlobsConfig, Staged, StoredBlob};

pub(crate) const LIMITS: AppendLimits = AppendLimits {
    max_bytes: 1 << 40,
    idle_timeout: Duration::from_secs(10),
    expected: None,
    last: false,
};

static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0_usize..8_192)
        .map(|i| (i * 31 / 7 % 251).to_le_bytes()[0])
        .collect()
});

/// Bytes that differ from block to block.
pub(crate) fn pattern(seed: usize, length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(length + 8_192);
    for block in 0..length.div_ceil(8_192) {
        // One odd block, marked with its number: filling megabytes byte by byte is slow without
        // optimisation.
        let at = bytes.len();
        bytes.extend_from_slice(&BLOCK);
        bytes[at..at + 16].copy_from_slice(&(block as u128 * 1_000 + seed as u128).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// A body of pieces of odd sizes.
pub(crate) fn body(
    bytes: &Bytes,
    piece: usize,
) -> impl Stream<Item = std::io::Result<Bytes>> + use<> {
    let pieces: Vec<_> = (0..bytes.len())
        .step_by(piece.max(1))
        .map(|at| Ok(bytes.slice(at..bytes.len().min(at + piece))))
        .collect();
    stream::iter(pieces)
}

pub(crate) fn id() -> Uuid {
    Ids::default().uuid()
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub(crate) async fn read(store: &BlobStore, blob: &StoredBlob, range: Option<Range<u64>>) -> Bytes {
    let opened = store.open_blob(&blob.key, blob.size, range).await;
    let reader = opened.expect("it is there");
    let announced = reader.remaining();
    let bytes = reader.collect().await.expect("it can be read").to_bytes();
    assert_eq!(bytes.len() as u64, announced);
    bytes
}

/// The state as it comes back from the index.
pub(crate) fn recorded(staged: &Staged) -> Staged {
    Staged::from_bytes(&staged.to_bytes()).expect("its own bytes")
}

pub(crate) async fn push(store: &BlobStore, bytes: &Bytes) -> StoredBlob {
    let mut staged = store.begin(id(), Algorithm::Sha256);
    store
        .append(&mut staged, body(bytes, 100_007), LIMITS)
        .await
        .expect("appended");
    store
        .finish(recorded(&staged), &digest(bytes), false)
        .await
        .expect("finished")
}

pub(crate) async fn on_disk(durability: Durability) -> (BlobStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = BlobsConfig::Disk {
        root: folder.path().join("data"),
    };
    (
        BlobStore::open(&config, durability, Ids::default())
            .await
            .expect("opened"),
        folder,
    )
}
