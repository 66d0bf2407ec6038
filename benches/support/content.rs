//! What is pushed, seeded and pulled: blobs, manifests and names, all made from numbers so that any
//! run makes the same.

use std::fmt::Write as _;

use bytes::Bytes;
use wharfinger_oci::{Algorithm, Digest, Hasher};

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The repository with all the tags.
pub(crate) const BIG: &str = "big";
/// The repository with one image.
pub(crate) const SMALL: &str = "small";

/// Layers of a seeded image and of the small one; its manifest is about as long as nginx's 1 KB
/// file.
pub(crate) const SEEDED_LAYERS: u64 = 3;

/// Length at which each blob differs from all others.
const OWN_BEGINNING: usize = 32;

/// Random numbers by the splitmix64 formula: small, seedable, no dependency.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// `length` bytes that do not compress.
    pub(crate) fn bytes(&mut self, length: usize) -> Bytes {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes.into()
    }
}

/// A blob: a beginning of its own, then bytes shared with all others.
#[derive(Clone)]
pub(crate) struct Blob {
    pub(crate) parts: [Bytes; 2],
    pub(crate) digest: String,
}

impl Blob {
    /// The `number`-th blob of `size` bytes; `filler` is at least as long.
    pub(crate) fn new(number: u64, size: usize, filler: &Bytes) -> Self {
        let beginning = Bytes::from(format!("{number:0OWN_BEGINNING$}"));
        let rest = filler.slice(..size.saturating_sub(OWN_BEGINNING));
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&beginning);
        hasher.update(&rest);
        Self {
            parts: [beginning, rest],
            digest: hasher.finish().to_string(),
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.parts[0].len() + self.parts[1].len()
    }
}

/// What a manifest says of a blob.
#[derive(Clone)]
pub(crate) struct Descriptor {
    pub(crate) digest: String,
    pub(crate) size: u64,
}

impl From<&Blob> for Descriptor {
    fn from(blob: &Blob) -> Self {
        Self {
            digest: blob.digest.clone(),
            size: blob.size() as u64,
        }
    }
}

/// An image manifest whose config is `blobs[0]` and whose layers are the others; `mark` makes it
/// differ from others.
pub(crate) fn manifest(blobs: &[Descriptor], mark: &str) -> String {
    let mut text = String::with_capacity(256 + blobs.len() * 192);
    let descriptor = |text: &mut String, media_type: &str, blob: &Descriptor| {
        let _ = write!(
            text,
            r#"{{"mediaType":"{media_type}","digest":"{}","size":{}}}"#,
            blob.digest, blob.size
        );
    };
    let _ = write!(
        text,
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":"#
    );
    descriptor(&mut text, CONFIG_TYPE, &blobs[0]);
    text.push_str(r#","layers":["#);
    for (index, blob) in blobs[1..].iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        descriptor(&mut text, LAYER_TYPE, blob);
    }
    let _ = write!(text, r#"],"annotations":{{"org.example.mark":"{mark}"}}}}"#);
    text
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

/// Name of the `number`-th seeded repository beside `BIG`; all sort after it.
pub(crate) fn repository_name(number: u64) -> String {
    format!("r/{number:06}")
}

/// The `number`-th tag of `BIG`.
pub(crate) fn big_tag(number: u64) -> String {
    format!("t{number:07}")
}

/// Blobs of a seeded repository, config first: each repository has its own, and all its images
/// share them. The bytes do not exist.
pub(crate) fn seeded_blobs(repository: &str) -> Vec<Descriptor> {
    let blob = |number| Descriptor {
        digest: sha256(format!("{repository} {number}").as_bytes()),
        size: 1_000_000 + number,
    };
    (0..=SEEDED_LAYERS).map(blob).collect()
}

/// Manifest of the `number`-th seeded image of a repository with these blobs.
pub(crate) fn seeded_manifest(blobs: &[Descriptor], number: u64) -> String {
    manifest(blobs, &format!("seeded {number:07}"))
}
