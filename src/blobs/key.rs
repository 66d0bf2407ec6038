//! Builds the paths of all stored objects.
//!
//! ```text
//! disk
//!     identity                       what tells this store from every other one
//!     blobs/<algorithm>/<ab>/<hex>   a blob
//!     uploads/<upload>               an unfinished upload
//!     records/<folder>/<name>        what an index can be made of anew
//!     quarantine/<algorithm>/...     a blob that was put aside, under the rest of its key
//!     archive/                       another store, unless it is elsewhere
//! S3, under the configured prefix
//!     identity                       as on a disk
//!     blobs/<upload>/parts           a blob that was a multipart upload
//!     blobs/<upload>/<uuid>          a blob of one part, or the unfinished part of an upload
//!     blobs/<algorithm>/<ab>/<hex>   a blob that was copied from another store
//!     probes/<uuid>                  written at start to check that the bucket can be written
//!     records/, quarantine/          as on a disk
//! ```
//! `<ab>` are the first two digits of `<hex>`: 256 folders, so that none grows out of hand. Uploads
//! lie on the same filesystem as blobs, so that a rename finishes them. On S3 a finished blob keeps
//! the key of its bytes (copies are limited to 5 GiB and cost a second write), and no key is
//! written twice with other bytes.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;
use wharfinger_oci::Digest;

/// Longest key that is taken back from the index; the longest made here is a sha512 blob's, 145
/// characters.
const MAX_KEY: usize = 255;

/// Where a stored object lies, relative to the folder or prefix of the store. The index keeps its
/// text beside the digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobKey(String);

impl BlobKey {
    /// Where the disk keeps a blob, and either side a copy.
    #[must_use]
    pub fn of_blob(digest: &Digest) -> Self {
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        Self(format!("blobs/{algorithm}/{}/{hex}", &hex[..2]))
    }

    /// Where an object store makes the object of upload `id` out of its parts.
    pub(crate) fn of_upload(id: Uuid) -> Self {
        Self(format!("{}/parts", of_session(id)))
    }

    /// Where an object store keeps an upload that fits one part; `object` is new for each write.
    pub(crate) fn of_object(id: Uuid, object: Uuid) -> Self {
        Self(format!("{}/{object}", of_session(id)))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Longest name of a record.
const MAX_NAME: usize = 100;

/// The name of a record: a folder and a name in it, of lower-case letters, digits and hyphens. The
/// records of a folder are listed in byte order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordName(String);

impl RecordName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder and the name in it.
    #[must_use]
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or((&self.0, ""))
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A text that names no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a record")]
pub struct InvalidRecordName;

impl FromStr for RecordName {
    type Err = InvalidRecordName;

    fn from_str(text: &str) -> Result<Self, InvalidRecordName> {
        let sound = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        match text.split_once('/') {
            Some((folder, name)) if text.len() <= MAX_NAME && sound(folder) && sound(name) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidRecordName),
        }
    }
}

/// Folder of staged uploads, on either side.
pub(crate) const UPLOADS: &str = "uploads";

/// Folder of blobs, on either side.
pub(crate) const BLOBS: &str = "blobs";

/// Folder of records, on either side.
pub(crate) const RECORDS: &str = "records";

/// Folder of damaged blobs, on either side.
const QUARANTINE: &str = "quarantine";

/// Where a record lies.
pub(crate) fn record(name: &RecordName) -> String {
    format!("{RECORDS}/{name}")
}

/// Where the disk writes a record before it is whole: in the folder of records, under a name that
/// no record has.
pub(crate) fn new_record(name: &RecordName) -> String {
    format!("{RECORDS}/{}.new", name.as_str().replace('/', "."))
}

/// Where a damaged blob is put aside.
pub(crate) fn quarantined(key: &BlobKey) -> String {
    let rest = key.as_str().strip_prefix("blobs/").unwrap_or(key.as_str());
    format!("{QUARANTINE}/{rest}")
}

/// What tells the store from every other one, on either side: a UUID as text.
pub(crate) const IDENTITY: &str = "identity";

/// Where the disk writes the identity before it is whole.
pub(crate) const NEW_IDENTITY: &str = "identity.new";

/// Folders that the disk has from its first start.
pub(crate) const DISK_FOLDERS: [&str; 3] = [UPLOADS, "blobs/sha256", "blobs/sha512"];

/// Where the disk stages an upload.
pub(crate) fn staged(id: Uuid) -> String {
    format!("{UPLOADS}/{id}")
}

/// Folder of everything that an object store keeps of upload `id`.
pub(crate) fn of_session(id: Uuid) -> String {
    format!("blobs/{id}")
}

/// Where the start probe writes.
pub(crate) fn probe(id: Uuid) -> String {
    format!("probes/{id}")
}

/// A text that is no key of this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the key of a stored blob")]
pub struct InvalidKey;

impl FromStr for BlobKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let sound = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if text.starts_with("blobs/") && text.len() <= MAX_KEY && text.split('/').all(sound) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidKey)
        }
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_oci::Algorithm;

    use super::*;

    #[test]
    fn keys_come_back_from_their_text() {
        let digest = Digest::of(Algorithm::Sha512, b"x");
        for key in [
            BlobKey::of_blob(&digest),
            BlobKey::of_upload(Uuid::nil()),
            BlobKey::of_object(Uuid::nil(), Uuid::max()),
        ] {
            assert_eq!(key.as_str().parse::<BlobKey>(), Ok(key.clone()));
        }
    }

    #[test]
    fn names_are_a_folder_and_a_name() {
        for text in ["journal/0001", "snapshot-1/part-2"] {
            assert_eq!(text.parse::<RecordName>().expect("a name").as_str(), text);
        }
        for text in [
            "", "a", "a/", "/a", "a/b/c", "../a", "a/..", "A/b", "a/b.c", "a b/c",
        ] {
            assert_eq!(text.parse::<RecordName>(), Err(InvalidRecordName), "{text}");
        }
        assert!(
            format!("a/{}", "b".repeat(100))
                .parse::<RecordName>()
                .is_err()
        );
    }

    #[test]
    fn what_leaves_the_store_is_no_key() {
        for text in [
            "",
            "blobs/",
            "blobs//a",
            "blobs/../secret",
            "blobs/./a",
            "/blobs/a",
            "uploads/a",
            "blobs/A",
            "blobs/a\0",
            "etc/passwd",
        ] {
            assert_eq!(text.parse::<BlobKey>(), Err(InvalidKey), "{text}");
        }
        assert!(
            format!("blobs/{}", "a".repeat(300))
                .parse::<BlobKey>()
                .is_err()
        );
    }
}
