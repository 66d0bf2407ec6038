//! Unpacks layers within bounds: bytes, ratio and time.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use flate2::bufread::MultiGzDecoder;

/// What a scan may take.
#[derive(Clone, Copy, Debug)]
pub struct ScanLimits {
    /// All layers of an image together, unpacked, in bytes.
    pub unpacked_bytes: u64,
    /// Most times that a layer may grow when it is unpacked.
    pub ratio: u64,
    /// Most entries of all layers together.
    pub entries: u64,
    /// Most packages of an image.
    pub packages: usize,
    /// When the scan must have ended.
    pub deadline: Instant,
}

/// A layer that grows less than this, in bytes, is not checked for its ratio: empty files compress
/// well.
const RATIO_FREE_BYTES: u64 = 64 * 1024 * 1024;
/// Memory that a Zstandard frame may require, as a power of two. Docker's layers need 8 MiB.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;
/// Read from the source at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Which limit a layer goes beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    #[error("the layers unpack to more bytes than a scan reads")]
    Bytes,
    #[error("a layer grows too much when it is unpacked")]
    Ratio,
    #[error("the layers have more files than a scan reads")]
    Entries,
    #[error("the image has more packages than a scan records")]
    Packages,
    #[error("the scan took too long")]
    Time,
}

/// Why a layer was not read.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// The bytes did not come; another try may succeed.
    #[error("the layer could not be read")]
    Source(#[source] io::Error),
    /// The bytes are no archive, or damaged.
    #[error("the layer is not a readable tar archive: {0}")]
    Malformed(String),
}

/// Counts what comes from the source, and remembers whether it failed.
pub(crate) struct Counted<R> {
    inner: R,
    pub(crate) count: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        match &read {
            Ok(bytes) => {
                self.count.fetch_add(*bytes as u64, Relaxed);
            }
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.failed.store(true, Relaxed);
            }
            Err(_) => {}
        }
        read
    }
}

/// An unpacked layer.
pub(crate) struct Unpacked<'a> {
    inner: Box<dyn Read + 'a>,
    packed: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    bytes: u64,
    /// What all layers may still unpack to.
    budget: u64,
    limits: ScanLimits,
}

impl<'a> Unpacked<'a> {
    /// Unpacks gzip and Zstandard, which the first bytes tell; anything else is taken as it is.
    pub(crate) fn new(
        source: impl Read + 'a,
        budget: u64,
        limits: ScanLimits,
    ) -> Result<Self, LayerError> {
        let (packed, failed) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let counted = Counted {
            inner: source,
            count: Arc::clone(&packed),
            failed: Arc::clone(&failed),
        };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, counted);
        let start = reader.fill_buf().map_err(LayerError::Source)?;
        let inner: Box<dyn Read + 'a> = if start.starts_with(&[0x1f, 0x8b]) {
            Box::new(MultiGzDecoder::new(reader))
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let decoder = zstd::stream::read::Decoder::with_buffer(reader);
            let mut decoder = decoder.map_err(|error| LayerError::Malformed(error.to_string()))?;
            let bounded = decoder.window_log_max(MAX_ZSTD_WINDOW_LOG);
            bounded.map_err(|error| LayerError::Malformed(error.to_string()))?;
            Box::new(decoder)
        } else {
            Box::new(reader)
        };
        Ok(Self {
            inner,
            packed,
            failed,
            bytes: 0,
            budget,
            limits,
        })
    }

    pub(crate) fn unpacked_bytes(&self) -> u64 {
        self.bytes
    }

    fn check(&self) -> Result<(), LimitReached> {
        let ratio = self.limits.ratio.saturating_mul(self.packed.load(Relaxed));
        if self.bytes > self.budget {
            Err(LimitReached::Bytes)
        } else if self.bytes > RATIO_FREE_BYTES && self.bytes > ratio {
            Err(LimitReached::Ratio)
        } else if Instant::now() >= self.limits.deadline {
            Err(LimitReached::Time)
        } else {
            Ok(())
        }
    }

    /// What an error of reading from this means.
    pub(crate) fn explain(failed: &AtomicBool, error: io::Error) -> LayerError {
        let limit = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<LimitReached>());
        match limit {
            Some(limit) => LayerError::Limit(*limit),
            None if failed.load(Relaxed) => LayerError::Source(error),
            None => LayerError::Malformed(error.to_string()),
        }
    }

    pub(crate) fn failed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.failed)
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes = self.bytes.saturating_add(read as u64);
        self.check().map_err(io::Error::other)?;
        Ok(read)
    }
}
