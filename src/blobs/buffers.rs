//! Buffers for reading blobs, taken from a pool and as large as memory under load allows.
//!
//! Large buffers make a single download cheap (64 KiB cost twice the CPU of 256 KiB); five hundred
//! downloads at once must not take 500 MiB. So the size follows what is handed out already.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

const KIB: usize = 1024;

/// Sizes, each with the bytes that may be out (of all sizes) while it is still given, and how many
/// spare ones are kept. With all bounds reached, 500 readers with one buffer each hold about 30
/// MiB. Spares hold 8 MiB at most.
const CLASSES: [Class; 4] = [
    Class {
        size: 1024 * KIB,
        while_out: 8 * 1024 * KIB,
        spares: 4,
    },
    Class {
        size: 256 * KIB,
        while_out: 16 * 1024 * KIB,
        spares: 8,
    },
    Class {
        size: 64 * KIB,
        while_out: 24 * 1024 * KIB,
        spares: 24,
    },
    Class {
        size: 16 * KIB,
        while_out: usize::MAX,
        spares: 32,
    },
];

/// Past this, a reader holds one buffer at a time instead of as many as the connection queues (up
/// to 400 KiB).
const CROWDED: usize = 8 * 1024 * KIB;

struct Class {
    size: usize,
    while_out: usize,
    spares: usize,
}

static OUT: AtomicUsize = AtomicUsize::new(0);
static SPARES: [Mutex<Vec<Box<[u8]>>>; CLASSES.len()] =
    [const { Mutex::new(Vec::new()) }; CLASSES.len()];

/// A buffer on loan; goes back to the pool when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    class: usize,
    filled: usize,
}

impl Buffer {
    /// A buffer for up to `wanted` bytes: the smallest that holds them, or less where memory is
    /// short.
    pub(crate) fn take(wanted: u64) -> Self {
        let out = OUT.load(Ordering::Relaxed);
        let mut class = CLASSES
            .iter()
            .position(|class| out < class.while_out)
            .unwrap_or(CLASSES.len() - 1);
        while class + 1 < CLASSES.len() && wanted <= CLASSES[class + 1].size as u64 {
            class += 1;
        }
        OUT.fetch_add(CLASSES[class].size, Ordering::Relaxed);
        let spare = SPARES[class]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let bytes = spare.unwrap_or_else(|| vec![0; CLASSES[class].size].into_boxed_slice());
        Self {
            bytes,
            class,
            filled: 0,
        }
    }

    /// All of its memory, or `limit` bytes of it.
    pub(crate) fn memory(&mut self, limit: u64) -> &mut [u8] {
        let length =
            usize::try_from(limit).map_or(self.bytes.len(), |limit| limit.min(self.bytes.len()));
        &mut self.bytes[..length]
    }

    /// The first `filled` bytes, sent without a copy; `keeper` is dropped with them.
    pub(crate) fn freeze<K: Send + 'static>(mut self, filled: usize, keeper: K) -> Bytes {
        self.filled = filled.min(self.bytes.len());
        Bytes::from_owner(Filled {
            buffer: self,
            _keeper: keeper,
        })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let class = &CLASSES[self.class];
        OUT.fetch_sub(class.size, Ordering::Relaxed);
        let bytes = std::mem::take(&mut self.bytes);
        let mut spares = SPARES[self.class]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if spares.len() < class.spares {
            spares.push(bytes);
        }
    }
}

/// Whether so much is out that each reader should make do with one buffer.
pub(crate) fn crowded() -> bool {
    OUT.load(Ordering::Relaxed) > CROWDED
}

struct Filled<K> {
    buffer: Buffer,
    _keeper: K,
}

impl<K> AsRef<[u8]> for Filled<K> {
    fn as_ref(&self) -> &[u8] {
        &self.buffer.bytes[..self.buffer.filled]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_fits_what_is_wanted_and_shrinks_under_load() {
        let mut small = Buffer::take(100);
        assert_eq!(small.memory(u64::MAX).len(), 16 * KIB);
        assert_eq!(small.memory(10).len(), 10);
        let many: Vec<Buffer> = (0..500).map(|_| Buffer::take(u64::MAX)).collect();
        let held: usize = many.iter().map(|buffer| buffer.bytes.len()).sum();
        assert!(held < 34 * 1024 * KIB, "{held}");
        assert!(crowded());
        assert_eq!(&*small.freeze(0, ()), b"");
    }
}
