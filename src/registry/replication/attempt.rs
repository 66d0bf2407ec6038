//! An attempt to replicate: its source, and how it ended.

use wharfinger_oci::{Digest, Manifest, Reference};

use crate::Registry;
use crate::error::Error;
use crate::model::{ImageStatus, RegistryId, RepositoryId, StoredManifest};
use crate::replication::decide::{Outcome, ReplicationFailure};
use crate::replication::model::Replication;
use crate::store::{images, repositories};

/// Indexes within indexes.
pub(super) const MAX_DEPTH: usize = 4;
/// Most members that are copied for an index.
pub(super) const MAX_MEMBERS: usize = 512;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) outcome: Outcome,
    /// Why members of an index were not replicated, each code once.
    pub(super) members: Vec<ReplicationFailure>,
}

impl Attempt {
    /// Whether no other attempt follows.
    pub(super) const fn has_ended(&self) -> bool {
        !matches!(self.outcome, Outcome::Again(..))
    }
}

impl From<Outcome> for Attempt {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            members: Vec::new(),
        }
    }
}

/// An image of the source, as it is now.
pub(super) enum Found {
    /// It was deleted, or its repository was.
    Gone,
    Archived,
    Image(Box<SourceImage>),
}

/// What is to be copied.
pub(super) struct SourceImage {
    pub(super) registry: RegistryId,
    pub(super) stored: StoredManifest,
    pub(super) manifest: Manifest,
}

/// Loads an image of the source.
pub(super) async fn find(
    registry: &Registry,
    repository: RepositoryId,
    digest: Digest,
) -> Result<Found, Error> {
    let read = registry.content.db.read(move |tx| {
        let named = repositories::name_of(tx, repository)?;
        let stored = images::stored(tx, repository, &Reference::Digest(digest))?;
        Ok::<_, Error>(named.zip(stored))
    });
    let Some(((registry, _), stored)) = read.await? else {
        return Ok(Found::Gone);
    };
    if stored.image.status == ImageStatus::Archived {
        return Ok(Found::Archived);
    }
    let media_type = stored.image.media_type.as_str();
    let manifest = Manifest::parse(&stored.bytes, Some(media_type))?;
    Ok(Found::Image(Box::new(SourceImage {
        registry,
        stored,
        manifest,
    })))
}

/// What an error of this server means for a replication.
pub(super) fn outcome_of(error: &Error, of: &Replication) -> Outcome {
    match error {
        Error::MissingBlobs(_) | Error::NoSuchBlob(_) => {
            Outcome::Again(ReplicationFailure::LayersNotFound, None)
        }
        Error::MissingMembers(_) => {
            Outcome::Again(ReplicationFailure::ReferencedImagesNotFound, None)
        }
        Error::TagImmutable { .. } => Outcome::Failed(ReplicationFailure::ImageTagAlreadyExists),
        Error::TooManyTags { .. } => Outcome::Failed(ReplicationFailure::LimitExceeded),
        // The repository was deleted or created meanwhile.
        Error::NoSuchRepository { .. } | Error::RepositoryExists { .. } => {
            Outcome::Again(ReplicationFailure::InternalError, None)
        }
        error => {
            tracing::warn!(%error, digest = %of.digest, "an image was not replicated yet");
            Outcome::Again(ReplicationFailure::InternalError, None)
        }
    }
}
