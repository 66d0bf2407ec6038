//! The program's only source of randomness: identifiers and key material, from the operating system
//! or from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use crate::Timestamp;

/// Makes identifiers. Cloning shares the sequence of a seeded one.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    seed: Option<Arc<AtomicU64>>,
}

impl Ids {
    /// Identifiers that repeat from run to run: for simulations only, never for secrets that guard
    /// anything.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed: Some(Arc::new(AtomicU64::new(seed))),
        }
    }

    /// `N` random bytes.
    ///
    /// # Panics
    /// Where the operating system has no randomness to give: nothing safe could be done then.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0_u8; N];
        match &self.seed {
            None => getrandom::fill(&mut bytes).expect("the operating system gives random bytes"),
            Some(state) => {
                for chunk in bytes.chunks_mut(8) {
                    let word = split_mix(state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst))
                        .to_le_bytes();
                    chunk.copy_from_slice(&word[..chunk.len()]);
                }
            }
        }
        bytes
    }

    /// A random (version 4) UUID: upload sessions, request ids.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid()
    }

    /// A UUID whose first 48 bits are the time, in milliseconds, and whose others are random
    /// (version 7): rows that are made together lie together in the index. Nobody can guess one.
    #[must_use]
    pub fn ordered_uuid(&self, now: Timestamp) -> Uuid {
        let ms = u64::try_from(now.as_ms()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(ms, &self.bytes()).into_uuid()
    }

    /// `length` characters from `alphabet`, each equally likely (bytes that would favour some
    /// characters are drawn again).
    #[must_use]
    pub fn text(&self, alphabet: &[u8], length: usize) -> String {
        let fair = 256 - 256 % alphabet.len();
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let [byte] = self.bytes::<1>();
            if usize::from(byte) < fair {
                text.push(char::from(alphabet[usize::from(byte) % alphabet.len()]));
            }
        }
        text
    }
}

fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        let text = |ids: &Ids| ids.text(b"ABCDEF", 40);
        assert_eq!(text(&Ids::seeded(7)), text(&Ids::seeded(7)));
        assert_ne!(text(&Ids::seeded(7)), text(&Ids::seeded(8)));
        assert_ne!(Ids::default().uuid(), Ids::default().uuid());
    }

    #[test]
    fn ordered_identifiers_grow_with_time_and_differ_within_a_millisecond() {
        let ids = Ids::seeded(7);
        let at = |ms| {
            ids.ordered_uuid(Timestamp::from_ms(ms))
                .simple()
                .to_string()
        };
        let early = at(1_764_000_000_000);
        assert!(early.starts_with("019ab697e800"), "{early}");
        assert_ne!(early, at(1_764_000_000_000));
        assert!(early < at(1_764_000_000_001));
        assert!(at(-1).starts_with("000000000000"));
    }
}
