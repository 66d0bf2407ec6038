//! Reads the layers of an image from the blob store, on a thread for work that blocks.

use std::io::{self, Read};
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body as _;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use wharfinger_blobs::BlobReader;
use wharfinger_oci::{ChildKind, Manifest};
use wharfinger_scanning::{Inventory, InventoryBuilder, LayerError, ScanLimits};

use crate::content::Content;
use crate::error::Error;
use crate::model::RepositoryId;

/// How long the layers of an image are read.
pub(super) const SCAN_TIME: Duration = Duration::from_mins(15);
/// All layers of an image together, unpacked, in bytes.
const MAX_UNPACKED_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Text compresses 10 times, and zeros 1,000 times.
const MAX_RATIO: u64 = 200;
/// Most entries of all layers.
const MAX_ENTRIES: u64 = 5_000_000;
/// Most packages of an image.
const MAX_PACKAGES: usize = 50_000;
/// Pieces of a blob that wait for the reading thread.
const QUEUE: usize = 4;

/// Why the layers of an image were not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadLayersError {
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Registry(#[from] Error),
    #[error("the reading thread panicked")]
    Panicked,
}

/// The packages of an image. The layers are read one after another, the lowest first; one piece of
/// a layer is in memory at a time.
pub(super) async fn read_inventory(
    content: &Content,
    repository: RepositoryId,
    manifest: &Manifest,
) -> Result<Inventory, ReadLayersError> {
    let mut builder = InventoryBuilder::new(ScanLimits {
        unpacked_bytes: MAX_UNPACKED_BYTES,
        ratio: MAX_RATIO,
        entries: MAX_ENTRIES,
        packages: MAX_PACKAGES,
        deadline: Instant::now() + SCAN_TIME,
    });
    let children = manifest.children.iter();
    for layer in children.filter(|child| child.kind == ChildKind::Layer) {
        let blob = content.get(repository, &layer.digest).await?;
        let reader = content.open(&blob, None).await?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let reading = spawn_blocking(move || {
            let read = builder.add_layer(Pieces {
                receiver,
                rest: Bytes::new(),
            });
            (builder, read)
        });
        send(reader, sender).await;
        let (read_builder, read) = reading.await.map_err(|_| ReadLayersError::Panicked)?;
        read?;
        builder = read_builder;
    }
    Ok(builder.finish())
}

/// Sends the bytes of a blob until the receiver has enough.
async fn send(reader: BlobReader, sender: mpsc::Sender<io::Result<Bytes>>) {
    let mut reader = pin!(reader);
    while let Some(frame) =
        std::future::poll_fn(|context| reader.as_mut().poll_frame(context)).await
    {
        let piece = match frame.map(http_body::Frame::into_data) {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(_)) => continue,
            Err(error) => Err(error),
        };
        let failed = piece.is_err();
        if sender.send(piece).await.is_err() || failed {
            return;
        }
    }
}

/// The bytes that [`send`] sends.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.rest.len());
        buffer[..length].copy_from_slice(&self.rest.split_to(length));
        Ok(length)
    }
}
