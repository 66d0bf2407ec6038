//! Types of the OCI specifications: digests, names, tags, media types and manifests, parsed
//! into types that cannot be wrong.

mod digest;
mod manifest;
mod media_type;
mod name;

pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use manifest::{Child, ChildKind, Manifest, ManifestError, Platform, Subject};
pub use media_type::{ManifestKind, MediaType};
pub use name::{NameError, Reference, RepositoryName, Tag};
