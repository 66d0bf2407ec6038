//! What a check finds, in words for operators.

use std::fmt;

use wharfinger_blobs::BlobKey;
use wharfinger_oci::{Digest, RepositoryName};

use crate::model::{ArchivedBlob, Blob, RepositoryId};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The index has the blob, and the store has no bytes of it, or not as many.
    MissingBlob(Blob),
    /// The stored bytes have another digest.
    DamagedBlob(Blob),
    /// The index has the blob in the archive, and the archive has no bytes of it, or others.
    DamagedArchivedBlob(ArchivedBlob),
    /// The bytes in the archive cannot be read, while those of other blobs can.
    UnreadableArchivedBlob { blob: ArchivedBlob, why: String },
    /// The archive has bytes that the index does not know.
    UnknownArchiveObject { key: BlobKey, size: u64 },
    /// The stored bytes cannot be read, while those of others can.
    UnreadableBlob { blob: Blob, why: String },
    /// The store has bytes that the index does not know.
    UnknownObject { key: BlobKey, size: u64 },
    /// A repository links a blob that the index does not have.
    DanglingLink {
        repository: RepositoryId,
        name: RepositoryName,
        digest: Digest,
    },
    /// The manifest is missing or has another digest.
    DamagedManifest {
        name: RepositoryName,
        digest: Digest,
    },
    /// The repository does not have what the image is made of.
    IncompleteImage {
        name: RepositoryName,
        image: Digest,
        missing: Digest,
    },
    /// A tag names an image that is not there.
    DanglingTag {
        repository: RepositoryId,
        name: RepositoryName,
        tag: String,
    },
    /// A segment of the journal cannot be read.
    DamagedSegment { number: u64, why: String },
    /// A segment of the journal is gone that a later one follows.
    MissingSegment { number: u64 },
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingBlob(blob) => write!(
                formatter,
                "missing blob {}: {} does not have its {} bytes",
                blob.digest, blob.key, blob.size
            ),
            Self::DamagedBlob(blob) => {
                write!(formatter, "damaged blob {} at {}", blob.digest, blob.key)
            }
            Self::DamagedArchivedBlob(blob) => write!(
                formatter,
                "missing or damaged blob {} at {} of the archive",
                blob.digest, blob.key
            ),
            Self::UnreadableArchivedBlob { blob, why } => write!(
                formatter,
                "unreadable blob {} at {} of the archive: {why}",
                blob.digest, blob.key
            ),
            Self::UnknownArchiveObject { key, size } => {
                write!(
                    formatter,
                    "unknown object {key} of {size} bytes in the archive"
                )
            }
            Self::UnreadableBlob { blob, why } => write!(
                formatter,
                "unreadable blob {} at {}: {why}",
                blob.digest, blob.key
            ),
            Self::UnknownObject { key, size } => {
                write!(formatter, "unknown object {key} of {size} bytes")
            }
            Self::DanglingLink { name, digest, .. } => {
                write!(
                    formatter,
                    "repository {name} links the missing blob {digest}"
                )
            }
            Self::DamagedManifest { name, digest } => {
                write!(formatter, "damaged manifest of image {name}@{digest}")
            }
            Self::IncompleteImage {
                name,
                image,
                missing,
            } => write!(formatter, "image {name}@{image} lacks {missing}"),
            Self::DanglingTag { name, tag, .. } => {
                write!(
                    formatter,
                    "tag {name}:{tag} names an image that is not there"
                )
            }
            Self::DamagedSegment { number, why } => {
                write!(formatter, "segment {number} of the journal: {why}")
            }
            Self::MissingSegment { number } => {
                write!(formatter, "segment {number} of the journal is missing")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_oci::Algorithm;

    use super::*;

    #[test]
    fn findings_name_what_is_wrong() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let finding = Finding::DamagedManifest {
            name: "team/web".parse().expect("a name"),
            digest,
        };
        let told = finding.to_string();
        assert!(told.contains("team/web@sha256:"), "{told}");
    }
}
