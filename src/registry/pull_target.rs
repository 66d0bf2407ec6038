//! What a pull requests of a repository, and what the repository has of it.

use std::sync::Arc;

use wharfinger_base::Timestamp;
use wharfinger_oci::{Digest, Reference};

use crate::model::{Blob, RepositoryId, StoredManifest};

/// What a request reads from a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PullTarget {
    Manifest(Reference),
    Blob(Digest),
}

/// What the repository has of the target. Only for callers whom the policies of the resource, which
/// was loaded with it, allow to read it.
#[derive(Clone, Debug, Default)]
pub enum Pulled {
    #[default]
    Nothing,
    Manifest(Arc<StoredManifest>),
    Blob(LinkedBlob),
}

/// A blob that a repository links, and until when it is kept without an image.
#[derive(Clone, Debug)]
pub struct LinkedBlob {
    pub blob: Blob,
    pub(super) repository: RepositoryId,
    pub(super) lease_until: Timestamp,
}
