//! A layer on its way from an upstream registry into the blob store, and the requests that read it
//! meanwhile.
//!
//! Whoever reads gets bytes as they arrive: from a window in memory, from the staged file, or, once
//! the blob is stored, from the store. The last byte is given out only after the digest of the
//! whole was verified, so that nobody ever receives a complete blob with another digest. It does
//! not wait until the blob is durable: a reader has what it requested either way.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use http_body::Body as _;
use tokio::sync::watch;
use uuid::Uuid;
use wharfinger_blobs::BlobReader;
use wharfinger_oci::Digest;

use crate::content::Content;
use crate::model::{Blob, RepositoryId};
use crate::pull_through::import_error::ImportError;

/// The newest bytes of an import that are kept in memory. With as many imports as there may be at
/// once it is 64 MiB.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;
/// Pieces below this size are copied together.
const SMALL_BYTES: usize = 16 * 1024;
/// What is read from a staged file at once, in bytes.
const STAGED_READ_BYTES: usize = 256 * 1024;
/// An import that nobody waits for is slow below this, in bytes per second, after a time.
const SLOW_RATE: u64 = 64 * 1024;
const SLOW_AFTER: Duration = Duration::from_mins(1);
/// How long a reader waits until it looks again whether bytes were written to the staged file.
const WRITE_WAIT: Duration = Duration::from_millis(100);

/// How far an import is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The upstream registry has begun to send.
    started: bool,
    /// Bytes that have arrived.
    received: u64,
    /// All of them are there, and have the digest.
    verified: bool,
    end: Option<Result<Blob, ImportError>>,
}

/// An import under way.
pub(super) struct BlobImport {
    pub(super) digest: Digest,
    /// Size in bytes, as the manifest says.
    pub(super) size: u64,
    progress: watch::Sender<Progress>,
    window: Mutex<Window>,
    /// The upload session that takes the bytes, once there is one.
    session: Mutex<Option<Uuid>>,
    /// Repositories that are to link the blob.
    repositories: Mutex<BTreeSet<RepositoryId>>,
    /// Requests that wait for it or read it.
    readers: AtomicUsize,
}

/// A request that waits for an import or reads it.
pub(super) struct ReadGuard(Arc<BlobImport>);

impl Drop for ReadGuard {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BlobImport {
    pub(super) fn new(digest: Digest, size: u64) -> Self {
        Self {
            digest,
            size,
            progress: watch::Sender::new(Progress::default()),
            window: Mutex::default(),
            session: Mutex::default(),
            repositories: Mutex::default(),
            readers: AtomicUsize::new(0),
        }
    }

    /// Notes that a request waits for it or reads it, until the guard is dropped.
    pub(super) fn note_reader(self: &Arc<Self>) -> ReadGuard {
        self.readers.fetch_add(1, Ordering::Relaxed);
        ReadGuard(Arc::clone(self))
    }

    /// Adds a repository that gets the blob at the end.
    pub(super) fn add(&self, repository: RepositoryId) {
        locked(&self.repositories).insert(repository);
    }

    pub(super) fn repositories(&self) -> Vec<RepositoryId> {
        locked(&self.repositories).iter().copied().collect()
    }

    pub(super) fn set_session(&self, id: Uuid) {
        *locked(&self.session) = Some(id);
    }

    /// The upstream registry has begun to send.
    pub(super) fn start(&self) {
        self.progress
            .send_modify(|progress| progress.started = true);
    }

    /// Bytes have arrived.
    pub(super) fn push(&self, piece: &Bytes) {
        locked(&self.window).push(piece.clone());
        let length = piece.len() as u64;
        self.progress
            .send_modify(|progress| progress.received += length);
    }

    /// All bytes have arrived and have the digest.
    pub(super) fn verified(&self) {
        self.progress
            .send_modify(|progress| progress.verified = true);
    }

    /// The import has ended.
    pub(super) fn end(&self, outcome: Result<Blob, ImportError>) {
        self.progress
            .send_modify(|progress| progress.end = Some(outcome));
        // From now on readers have the stored blob, or an error.
        *locked(&self.window) = Window::default();
    }

    /// Whether no request waits for it or reads it, and it is slow after `took` since its start.
    pub(super) fn is_slow_and_unread(&self, took: Duration) -> bool {
        if took < SLOW_AFTER || self.readers.load(Ordering::Relaxed) > 0 {
            return false;
        }
        self.progress.borrow().received / took.as_secs().max(1) < SLOW_RATE
    }

    /// Waits until the upstream registry has begun to send.
    ///
    /// # Errors
    /// Those of the import.
    pub(super) async fn started(&self) -> Result<(), ImportError> {
        let mut progress = self.progress.subscribe();
        let begun = |progress: &Progress| progress.started || progress.end.is_some();
        match progress.wait_for(begun).await {
            Ok(progress) => match &progress.end {
                Some(Err(error)) => Err(error.clone()),
                _ => Ok(()),
            },
            Err(_) => Err(ImportError::Internal),
        }
    }

    /// Waits until the blob is stored.
    ///
    /// # Errors
    /// Those of the import.
    pub(super) async fn ended(&self) -> Result<Blob, ImportError> {
        let mut progress = self.progress.subscribe();
        let ended = progress.wait_for(|progress| progress.end.is_some()).await;
        let ended = ended.ok().and_then(|progress| progress.end.clone());
        ended.unwrap_or(Err(ImportError::Internal))
    }

    /// The bytes of a range, which lies within the blob, as they arrive. Ends with an error where
    /// the import fails, so that no reader takes a part for the whole.
    pub(super) fn read(
        self: Arc<Self>,
        range: Range<u64>,
        content: Content,
    ) -> impl Stream<Item = Result<Bytes, ImportError>> + Send + 'static {
        let reader = Reader {
            _guard: self.note_reader(),
            progress: self.progress.subscribe(),
            import: self,
            rest: range,
            content,
            stored: None,
        };
        try_unfold(reader, |mut reader| async move {
            let piece = reader.next().await?;
            Ok(piece.map(|piece| (piece, reader)))
        })
    }
}

/// One request that reads an import.
struct Reader {
    _guard: ReadGuard,
    import: Arc<BlobImport>,
    progress: watch::Receiver<Progress>,
    rest: Range<u64>,
    content: Content,
    /// The stored blob, from which the rest comes.
    stored: Option<BlobReader>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, ImportError> {
        while !self.rest.is_empty() {
            if let Some(stored) = &mut self.stored {
                return next_stored(stored).await;
            }
            let Progress {
                received,
                verified,
                end,
                ..
            } = self.progress.borrow_and_update().clone();
            match end {
                Some(Err(error)) => return Err(error),
                Some(Ok(blob)) => {
                    let opened = self.content.open(&blob, Some(self.rest.clone())).await;
                    self.stored = Some(opened.map_err(|_| ImportError::Internal)?);
                    continue;
                }
                None => {}
            }
            // The last byte waits for the digest.
            let held_back = u64::from(!verified);
            let available = received
                .min(self.import.size.saturating_sub(held_back))
                .min(self.rest.end);
            if self.rest.start < available
                && let Some(piece) =
                    unverified(&self.import, &self.content, self.rest.start..available).await
            {
                self.rest.start += piece.len() as u64;
                return Ok(Some(piece));
            }
            // Bytes that have arrived are written a moment later, of which nobody tells.
            let change = tokio::time::timeout(WRITE_WAIT, self.progress.changed()).await;
            if let Ok(Err(_)) = change {
                return Err(ImportError::Internal);
            }
        }
        Ok(None)
    }
}

/// Some of the bytes that have arrived: from memory, else from the staged file, if there is one and
/// it has them.
async fn unverified(import: &BlobImport, content: &Content, range: Range<u64>) -> Option<Bytes> {
    if let Some(piece) = locked(&import.window).get(&range) {
        return Some(piece);
    }
    let session = (*locked(&import.session))?;
    let length = usize::try_from(range.end - range.start).unwrap_or(STAGED_READ_BYTES);
    let length = length.min(STAGED_READ_BYTES);
    let read = content
        .store
        .read_staged(session, range.start, length)
        .await;
    read.ok().filter(|bytes| !bytes.is_empty())
}

async fn next_stored(stored: &mut BlobReader) -> Result<Option<Bytes>, ImportError> {
    loop {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *stored).poll_frame(cx));
        match frame.await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
            Some(Err(_)) => return Err(ImportError::Internal),
        }
    }
}

/// The newest bytes, in few pieces however small those are that arrive: each has its own cost, and
/// may be a part of a larger buffer that it keeps.
#[derive(Default)]
struct Window {
    pieces: VecDeque<Bytes>,
    /// Small pieces that have arrived last, after the others.
    tail: BytesMut,
    /// Offsets of the first byte and after the last one.
    start: u64,
    end: u64,
}

impl Window {
    fn push(&mut self, piece: Bytes) {
        self.end += piece.len() as u64;
        let is_small = piece.len() < SMALL_BYTES;
        if is_small {
            self.tail.extend_from_slice(&piece);
        }
        if !self.tail.is_empty() && (!is_small || self.tail.len() >= SMALL_BYTES) {
            self.pieces.push_back(self.tail.split().freeze());
        }
        if !is_small {
            self.pieces.push_back(piece);
        }
        while self.end - self.start > WINDOW_BYTES as u64
            && let Some(oldest) = self.pieces.pop_front()
        {
            self.start += oldest.len() as u64;
        }
    }

    /// Bytes from the start of the range, as many as one piece has; `None` where they are not here.
    fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        if range.start < self.start || range.start >= self.end {
            return None;
        }
        let mut offset = self.start;
        for piece in &self.pieces {
            let end = offset + piece.len() as u64;
            if range.start < end {
                let from = usize::try_from(range.start - offset).ok()?;
                let to = usize::try_from(range.end.min(end) - offset).ok()?;
                return Some(piece.slice(from..to));
            }
            offset = end;
        }
        let from = usize::try_from(range.start - offset).ok()?;
        let to = usize::try_from(range.end.min(self.end) - offset).ok()?;
        Some(Bytes::copy_from_slice(&self.tail[from..to]))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use proptest::prelude::*;
    use wharfinger_base::{Clock, Ids, Timestamp};
    use wharfinger_oci::Algorithm;

    use super::*;

    async fn content() -> (Content, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let place = wharfinger_blobs::BlobsConfig::Disk {
            root: folder.path().to_owned(),
        };
        let durability = wharfinger_base::Durability::Full;
        let store = wharfinger_blobs::BlobStore::open(&place, durability, Ids::default()).await;
        let db = wharfinger_db::Db::memory(crate::MIGRATIONS).expect("an index");
        let clock = Clock::manual(Timestamp::from_ms(0));
        let lease = crate::gc::BlobLease(Duration::from_hours(1));
        (
            Content::new(db, clock, store.expect("a store"), lease),
            folder,
        )
    }

    #[tokio::test]
    async fn the_last_byte_waits_for_the_digest_and_not_for_the_disk() {
        let (content, _folder) = content().await;
        let digest = Digest::of(Algorithm::Sha256, b"abc");
        let import = Arc::new(BlobImport::new(digest, 3));
        import.start();
        import.push(&Bytes::from_static(b"abc"));
        let mut reader = Box::pin(Arc::clone(&import).read(0..3, content));
        assert_eq!(reader.next().await, Some(Ok(Bytes::from_static(b"ab"))));
        let early = tokio::time::timeout(WRITE_WAIT * 3, reader.next()).await;
        assert!(early.is_err(), "it is not verified: {early:?}");
        import.verified();
        assert_eq!(reader.next().await, Some(Ok(Bytes::from_static(b"c"))));
        assert_eq!(reader.next().await, None);
    }

    #[test]
    fn what_nobody_reads_may_be_too_slow() {
        let digest = Digest::of(Algorithm::Sha256, b"abc");
        let import = Arc::new(BlobImport::new(digest, 1 << 30));
        let piece = Bytes::from(vec![0; 4 << 20]);
        import.push(&piece);
        // 4 MiB in 64 seconds are 64 KiB per second.
        assert!(!import.is_slow_and_unread(Duration::from_secs(59)));
        assert!(!import.is_slow_and_unread(Duration::from_secs(64)));
        assert!(import.is_slow_and_unread(Duration::from_secs(65)));
        let _reader = import.note_reader();
        assert!(!import.is_slow_and_unread(Duration::from_secs(1_000)));
    }

    #[test]
    fn single_bytes_make_few_pieces() {
        let mut window = Window::default();
        let mut most = 0;
        let buffer = Bytes::from(vec![1; SMALL_BYTES]);
        for number in 0..WINDOW_BYTES + 100_000 {
            window.push(buffer.slice(number % 100..=number % 100));
            most = most.max(window.pieces.len());
        }
        // Small and large ones in turn.
        for _ in 0..1_000 {
            window.push(buffer.clone());
            window.push(buffer.slice(..1));
            most = most.max(window.pieces.len());
        }
        assert!(most <= 2 * WINDOW_BYTES / SMALL_BYTES + 2, "{most}");
        assert!(window.tail.len() < SMALL_BYTES);
    }

    proptest! {
        /// Whatever the window gives is what was pushed, and it has the newest bytes.
        #[test]
        fn a_window_gives_what_was_pushed(
            lengths in prop::collection::vec(
                prop_oneof![1_usize..600_000, 1_usize..20_000],
                1..60,
            ),
            at in 0.0_f64..1.0,
            length in 1_u64..1_000_000,
        ) {
            let mut window = Window::default();
            let mut all = Vec::new();
            for (number, length) in lengths.iter().enumerate() {
                let byte = u8::try_from(number % 251).expect("a byte");
                let piece = vec![byte; *length];
                all.extend_from_slice(&piece);
                window.push(piece.into());
            }
            prop_assert_eq!(window.end, all.len() as u64);
            let kept = window.end - window.start;
            prop_assert!(kept <= WINDOW_BYTES as u64);
            prop_assert!(kept + 600_000 > (WINDOW_BYTES as u64).min(window.end));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss,
                clippy::cast_precision_loss, reason = "any offset will do")]
            let start = (at * all.len() as f64) as u64;
            let range = start..(start + length).min(window.end);
            match window.get(&range) {
                Some(found) => {
                    let from = usize::try_from(start).expect("an offset");
                    prop_assert!(!found.is_empty());
                    prop_assert!(found.len() as u64 <= range.end - range.start);
                    prop_assert_eq!(&found[..], &all[from..from + found.len()]);
                }
                None => prop_assert!(start < window.start || start >= window.end),
            }
        }
    }
}
