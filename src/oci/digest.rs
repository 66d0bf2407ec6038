//! Content digests, and a hasher whose state can be stored and resumed.
//!
//! Grammar: OCI image-spec, descriptor, "Digests"; registered algorithms sha256 and sha512,
//! lower-case hexadecimal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::digest::Digest as _;
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Sha256, Sha512};

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha512,
}

impl Algorithm {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of a hash in bytes.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The byte that precedes a stored hash. Codes sort as the names do.
    const fn code(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::UnsupportedAlgorithm),
        }
    }
}

/// Why a text is not a digest that this registry accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error(
        "a digest is written algorithm:hex, for example sha256 and 64 lower-case hexadecimal digits"
    )]
    Malformed,
    #[error("the digest algorithm is not supported; use sha256 or sha512")]
    UnsupportedAlgorithm,
}

/// A content digest. Ordered as its text is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hash: [u8; 64],
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash itself, 32 or 64 bytes.
    #[must_use]
    pub fn hash(&self) -> &[u8] {
        &self.hash[..self.algorithm.size()]
    }

    /// The hash in lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.hash())
    }

    /// Returns the form that the index stores: one byte for the algorithm, then the hash. It sorts
    /// as the text does.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(1 + self.algorithm.size());
        stored.push(self.algorithm.code());
        stored.extend_from_slice(self.hash());
        stored
    }

    /// Parses the result of [`Digest::to_stored`]; `None` for any other bytes.
    #[must_use]
    pub fn from_stored(stored: &[u8]) -> Option<Self> {
        let (code, hash) = stored.split_first()?;
        let algorithm = [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find(|a| a.code() == *code)?;
        Self::from_hash(algorithm, hash)
    }

    fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Option<Self> {
        if hash.len() != algorithm.size() {
            return None;
        }
        let mut padded = [0; 64];
        padded[..hash.len()].copy_from_slice(hash);
        Some(Self {
            algorithm,
            hash: padded,
        })
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The value of a hexadecimal digit in lower case.
const fn value_of_digit(digit: u8) -> Result<u8, DigestError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(DigestError::Malformed),
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, encoded) = text.split_once(':').ok_or(DigestError::Malformed)?;
        let algorithm: Algorithm = name.parse()?;
        if encoded.len() != 2 * algorithm.size() {
            return Err(DigestError::Malformed);
        }
        let mut hash = [0; 64];
        let (pairs, _) = encoded.as_bytes().as_chunks::<2>();
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            let (high, low) = (value_of_digit(*high)?, value_of_digit(*low)?);
            *byte = high << 4 | low;
        }
        Ok(Self { algorithm, hash })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every response about content has a digest: `write!` and the crate `hex` take several
        // times as long.
        let mut buffer = [0_u8; 128];
        let (pairs, _) = buffer.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(self.hash()) {
            *pair = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
        }
        let encoded = &buffer[..2 * self.algorithm.size()];
        let encoded = std::str::from_utf8(encoded).map_err(|_| fmt::Error)?;
        formatter.write_str(self.algorithm.name())?;
        formatter.write_str(":")?;
        formatter.write_str(encoded)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A running hash. Cloning it forks the state.
#[derive(Clone)]
pub enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    #[must_use]
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let mut hash = [0; 64];
        match self {
            Self::Sha256(hasher) => hash[..32].copy_from_slice(&hasher.finalize()),
            Self::Sha512(hasher) => hash.copy_from_slice(&hasher.finalize()),
        }
        Digest { algorithm, hash }
    }

    /// The running state as bytes: the algorithm's code, then about 100 (sha256) or 200 (sha512)
    /// bytes.
    #[must_use]
    pub fn to_state(&self) -> Vec<u8> {
        let mut state = vec![self.algorithm().code()];
        match self {
            Self::Sha256(hasher) => state.extend_from_slice(&hasher.serialize()),
            Self::Sha512(hasher) => state.extend_from_slice(&hasher.serialize()),
        }
        state
    }

    /// Resumes from the result of [`Hasher::to_state`]; `None` for any other bytes.
    #[must_use]
    pub fn from_state(state: &[u8]) -> Option<Self> {
        let (code, rest) = state.split_first()?;
        match *code {
            1 => Some(Self::Sha256(
                Sha256::deserialize(rest.try_into().ok()?).ok()?,
            )),
            2 => Some(Self::Sha512(
                Sha512::deserialize(rest.try_into().ok()?).ok()?,
            )),
            _ => None,
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Hasher({})", self.algorithm().name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_digests() {
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY);
        assert!(
            Digest::of(Algorithm::Sha512, b"")
                .to_string()
                .starts_with("sha512:cf83e1357eefb8bd")
        );
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in [
            "",
            ":",
            "sha256:",
            "sha256:abc",
            "sha256",
            &EMPTY.to_uppercase(),
            &EMPTY[..70],
            &format!("{EMPTY}0"),
            &EMPTY.replace('e', "E"),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert_eq!(
            "md5:d41d8cd98f00b204e9800998ecf8427e".parse::<Digest>(),
            Err(DigestError::UnsupportedAlgorithm)
        );
    }

    proptest! {
        #[test]
        fn text_and_stored_form_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..64),
            long in any::<bool>()) {
            let digest = Digest::of(if long { Algorithm::Sha512 } else { Algorithm::Sha256 },
                &bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
            prop_assert_eq!(Digest::from_stored(&digest.to_stored()), Some(digest));
        }

        #[test]
        fn a_hash_put_away_goes_on_where_it_was(bytes in proptest::collection::vec(any::<u8>(),
            0..2_000), cut in 0_usize..2_000, long in any::<bool>()) {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut hasher = Hasher::new(algorithm);
            hasher.update(head);
            let mut resumed = Hasher::from_state(&hasher.to_state()).expect("a state it gave");
            resumed.update(tail);
            prop_assert_eq!(resumed.finish(), Digest::of(algorithm, &bytes));
        }

        #[test]
        fn stored_forms_sort_as_texts(a in any::<[u8; 4]>(), b in any::<[u8; 4]>(),
            long in any::<bool>()) {
            let x = Digest::of(Algorithm::Sha256, &a);
            let y = Digest::of(if long { Algorithm::Sha512 } else { Algorithm::Sha256 }, &b);
            prop_assert_eq!(x.to_stored().cmp(&y.to_stored()), x.to_string().cmp(&y.to_string()));
            prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = text.parse::<Digest>();
        }
    }
}
