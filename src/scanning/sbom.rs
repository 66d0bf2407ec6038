//! Bills of materials: an inventory as `CycloneDX` or SPDX document. PURE: the same inventory
//! gives the same bytes.

mod cyclonedx;
mod spdx;
#[cfg(test)]
mod tests;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use wharfinger_base::Timestamp;

pub use crate::sbom::cyclonedx::cyclonedx;
pub use crate::sbom::spdx::spdx;

/// The image that a document is about.
#[derive(Clone, Debug)]
pub struct SbomSubject<'a> {
    /// `registry/repository`.
    pub name: &'a str,
    /// `sha256:…`
    pub digest: &'a str,
    /// The digests of its layers, the lowest first.
    pub layers: &'a [String],
    /// The time that the document tells; one that depends on the image only keeps it reproducible.
    pub created: Timestamp,
}

impl SbomSubject<'_> {
    fn purl(&self) -> String {
        let name = self.name.rsplit('/').next().unwrap_or(self.name);
        format!("pkg:oci/{name}@{}", self.digest.replace(':', "%3A"))
    }

    fn layer(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number).ok()?;
        self.layers.get(index).map(String::as_str)
    }

    /// A UUID that follows from the image's digest.
    fn uuid(&self) -> String {
        let hash = hex::encode(Sha256::digest(self.digest));
        // Version 8, "custom", and the variant of RFC 9562.
        format!(
            "{}-{}-8{}-8{}-{}",
            &hash[..8],
            &hash[8..12],
            &hash[13..16],
            &hash[17..20],
            &hash[20..32]
        )
    }

    /// The time in whole seconds, as SPDX requires it.
    fn created_at(&self) -> String {
        let seconds = self.created.as_ms().div_euclid(1000);
        Timestamp::from_ms(seconds * 1000).to_rfc3339()
    }
}

/// A list whose items are made while they are written: all at once would take some hundred
/// megabytes for the largest inventories.
struct Lazy<F>(F);

impl<F, I> Serialize for Lazy<F>
where
    F: Fn() -> I,
    I: Iterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// The text of a document. Its parts can always be written.
fn text_of(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_default()
}

/// An identifier of a package in a document: short, and the same each time.
fn short_hash(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..10])
}
