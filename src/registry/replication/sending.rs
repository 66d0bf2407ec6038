//! Replications to registries of other servers: what is missing there is sent, content first.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use wharfinger_db::Tx;
use wharfinger_oci::{ChildKind, Digest, Reference, Tag};

use crate::Registry;
use crate::error::Error;
use crate::keyed_locks::KeyedLocks;
use crate::model::RepositoryId;
use crate::replication::attempt::{
    Attempt, Found, MAX_DEPTH, MAX_MEMBERS, SourceImage, find, outcome_of,
};
use crate::replication::decide::{Outcome, ReplicationFailure};
use crate::replication::finish;
use crate::replication::model::{Replication, Work};
use crate::replication::remote::{BlobSource, RemoteError, RemoteManifest, RemoteRegistry};
use crate::store::{images, replication as store, repositories, tags};

/// A replication to a registry of another server.
pub(super) struct RemoteReplication<'a> {
    pub(super) registry: &'a Registry,
    pub(super) replication: &'a Replication,
    pub(super) remote: Arc<dyn RemoteRegistry>,
    pub(super) blobs: BlobLocks,
}

/// Blobs that are being sent to a destination: images share many, and each is sent once.
pub(super) type BlobLocks = KeyedLocks<(RepositoryId, Digest)>;

/// Why an attempt has ended early.
enum Stop {
    Outcome(Outcome),
    Error(Error),
}

impl From<RemoteError> for Stop {
    fn from(error: RemoteError) -> Self {
        use ReplicationFailure as Failure;
        tracing::debug!(%error, "a remote destination did not take an image");
        let outcome = match error {
            RemoteError::Unavailable { retry_after, .. } => {
                Outcome::Again(Failure::DestinationUnavailable, retry_after)
            }
            RemoteError::Denied(_) => Outcome::Failed(Failure::AccessDenied),
            RemoteError::TagImmutable => Outcome::Failed(Failure::ImageTagAlreadyExists),
            RemoteError::MissingContent(_) => Outcome::Again(Failure::LayersNotFound, None),
            RemoteError::Refused(_) => Outcome::Failed(Failure::DestinationRefused),
            RemoteError::Content(error) => return Self::Error(error),
        };
        Self::Outcome(outcome)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl RemoteReplication<'_> {
    /// Carries it out, and returns how the attempt ended, which is still to be stored.
    pub(super) async fn run(&self) -> Attempt {
        let mut members = Vec::new();
        let attempted = match self.replication.work {
            Work::Copy => self.copy(&mut members).await,
            Work::Untag => self.untag().await,
            Work::Delete => self.delete().await,
        };
        let outcome = match attempted {
            Ok(outcome) | Err(Stop::Outcome(outcome)) => outcome,
            Err(Stop::Error(error)) => outcome_of(&error, self.replication),
        };
        members.sort_unstable();
        members.dedup();
        Attempt { outcome, members }
    }

    async fn copy(&self, members: &mut Vec<ReplicationFailure>) -> Result<Outcome, Stop> {
        let of = self.replication;
        let image = match find(self.registry, of.repository, of.digest).await? {
            Found::Gone => return Ok(Outcome::Gone),
            Found::Archived => return Ok(Outcome::Failed(ReplicationFailure::ImageArchived)),
            Found::Image(image) => image,
        };
        if !self.remote.accepts(&image.registry) {
            return Ok(Outcome::Failed(ReplicationFailure::AccessDenied));
        }
        let mut left = MAX_MEMBERS;
        self.send_content(&image, members, &mut left, 1).await?;
        let tag = match &of.tag {
            Some(tag) if self.is_tagged(tag).await? => Some(tag),
            _ => None,
        };
        let by_digest = Reference::Digest(of.digest);
        let Some(tag) = tag else {
            self.put(&image, &by_digest).await?;
            return Ok(Outcome::Done);
        };
        let by_tag = Reference::Tag(tag.clone());
        match self.put(&image, &by_tag).await {
            // The image arrives without the tag.
            Err(RemoteError::TagImmutable) => {
                self.put(&image, &by_digest).await?;
                Err(RemoteError::TagImmutable.into())
            }
            Err(error) => Err(error.into()),
            Ok(()) => {
                if !self.is_tagged(tag).await? {
                    self.repeat_tag(tag).await?;
                }
                Ok(Outcome::Done)
            }
        }
    }

    /// Sends the blobs and members of an image that the destination lacks.
    fn send_content<'a>(
        &'a self,
        image: &'a SourceImage,
        failures: &'a mut Vec<ReplicationFailure>,
        left: &'a mut usize,
        depth: usize,
    ) -> BoxFuture<'a, Result<(), Stop>> {
        async move {
            let children = image.manifest.children.iter();
            for child in children.filter(|child| !child.external) {
                if child.kind != ChildKind::Member
                    || !self
                        .send_member(child.digest, failures, left, depth)
                        .await?
                {
                    self.send_blob(&child.digest, child.kind).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    /// Sends a member of an index; false where the source has no such image.
    async fn send_member(
        &self,
        member: Digest,
        failures: &mut Vec<ReplicationFailure>,
        left: &mut usize,
        depth: usize,
    ) -> Result<bool, Stop> {
        let (of, reference) = (self.replication, Reference::Digest(member));
        if self
            .remote
            .manifest_digest(&of.name, &reference)
            .await?
            .is_some()
        {
            return Ok(true);
        }
        let member = match find(self.registry, of.repository, member).await? {
            Found::Gone => return Ok(false),
            Found::Archived => {
                failures.push(ReplicationFailure::ImageArchived);
                return Ok(true);
            }
            Found::Image(member) => member,
        };
        if depth > MAX_DEPTH || *left == 0 {
            failures.push(ReplicationFailure::LimitExceeded);
            return Ok(true);
        }
        *left -= 1;
        self.send_content(&member, failures, left, depth + 1)
            .await?;
        self.put(&member, &reference).await?;
        Ok(true)
    }

    async fn send_blob(&self, digest: &Digest, kind: ChildKind) -> Result<(), Stop> {
        let (of, content) = (self.replication, &self.registry.content);
        let _sending = self.blobs.lock((of.repository, *digest)).await;
        if self.remote.has_blob(&of.name, digest).await? {
            return Ok(());
        }
        let blob = match content.get(of.repository, digest).await {
            Ok(blob) => blob,
            // The index is sparse at the source.
            Err(Error::NoSuchBlob(_)) if kind == ChildKind::Member => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let source = BlobSource::new(content.clone(), blob);
        Ok(self.remote.put_blob(&of.name, &source).await?)
    }

    async fn put(&self, image: &SourceImage, as_what: &Reference) -> Result<(), RemoteError> {
        let manifest = RemoteManifest {
            digest: image.stored.image.digest,
            media_type: image.stored.image.media_type.clone(),
            bytes: image.stored.bytes.clone(),
        };
        let name = &self.replication.name;
        self.remote.put_manifest(name, as_what, &manifest).await
    }

    /// Whether the tag of the source still names the image.
    async fn is_tagged(&self, tag: &Tag) -> Result<bool, Error> {
        let (of, tag) = (self.replication, tag.clone());
        let (repository, digest) = (of.repository, of.digest);
        let read = self.registry.content.db.get(move |tx| {
            let target = tags::target(tx, repository, tag.as_str())?;
            Ok::<_, Error>(target.is_some_and(|(_, named)| named == digest))
        });
        read.await
    }

    /// Sends again what the tag names now. Where it has moved while it was sent or removed, the
    /// destination may have got that image before.
    async fn repeat_tag(&self, tag: &Tag) -> Result<(), Error> {
        let (of, tag) = (self.replication.clone(), tag.clone());
        let now = self.registry.content.clock.now();
        let repeat = move |tx: &mut Tx<'_>| {
            if let Some((_, named)) = tags::target(tx, of.repository, tag.as_str())? {
                store::repeat(tx, &of, &named, Some(&tag), now)?;
            }
            Ok::<_, Error>(())
        };
        self.registry.content.db.write(repeat).await
    }

    async fn untag(&self) -> Result<Outcome, Stop> {
        let of = self.replication;
        let Some(tag) = &of.tag else {
            return Ok(Outcome::Gone);
        };
        if self.has_tag(tag).await? || !self.is_accepted().await? {
            return Ok(Outcome::Gone);
        }
        let reference = Reference::Tag(tag.clone());
        let named = self.remote.manifest_digest(&of.name, &reference).await?;
        let Some(named) = named else {
            return Ok(Outcome::Done);
        };
        if named == of.digest || self.is_copied(named, tag).await? {
            self.remote.delete_tag(&of.name, tag).await?;
            self.repeat_tag(tag).await?;
        }
        Ok(Outcome::Done)
    }

    /// Whether the source has the tag, whatever it names.
    async fn has_tag(&self, tag: &Tag) -> Result<bool, Error> {
        let (repository, tag) = (self.replication.repository, tag.clone());
        let db = &self.registry.content.db;
        db.get(move |tx| Ok(tags::image_of(tx, repository, tag.as_str())?.is_some()))
            .await
    }

    /// Whether the image has the tag at the destination by a replication.
    async fn is_copied(&self, image: Digest, tag: &Tag) -> Result<bool, Error> {
        let (of, tag) = (self.replication.clone(), tag.clone());
        let db = &self.registry.content.db;
        db.get(move |tx| Ok(store::is_copied(tx, &of, &image, &tag)?))
            .await
    }

    async fn delete(&self) -> Result<Outcome, Stop> {
        let of = self.replication;
        if !self.is_accepted().await? {
            return Ok(Outcome::Gone);
        }
        // Also where the image is back, since it may be without some of its tags.
        self.remote.delete_manifest(&of.name, &of.digest).await?;
        self.repeat_if_back().await?;
        Ok(Outcome::Done)
    }

    /// Whether the repository is there, since deletions of repositories are not replicated, and its
    /// registry may remove images at the destination.
    async fn is_accepted(&self) -> Result<bool, Error> {
        let repository = self.replication.repository;
        let db = &self.registry.content.db;
        let named = db.get(move |tx| Ok::<_, Error>(repositories::name_of(tx, repository)?));
        let named = named.await?;
        Ok(named.is_some_and(|(registry, _)| self.remote.accepts(&registry)))
    }

    /// An image that was pushed again while it was removed is sent again, with all its tags.
    async fn repeat_if_back(&self) -> Result<(), Error> {
        let (of, now) = (self.replication.clone(), self.registry.content.clock.now());
        let repeat = move |tx: &mut Tx<'_>| {
            let Some(image) = images::id_by_digest(tx, of.repository, &of.digest)? else {
                return Ok::<_, Error>(());
            };
            store::repeat(tx, &of, &of.digest, None, now)?;
            for tag in tags::of_image(tx, image, "", TAGS_REPEATED)? {
                store::repeat(tx, &of, &of.digest, Some(&tag), now)?;
            }
            Ok(())
        };
        self.registry.content.db.write(repeat).await
    }
}

/// Tags that are sent again at once: all that an image may have.
const TAGS_REPEATED: i64 = 1_000;

/// Stores how an attempt ended.
pub(super) async fn settle(
    registry: &Registry,
    of: &Replication,
    attempt: Attempt,
) -> Result<(), Error> {
    let (of, effects) = (of.clone(), registry.images.effects.clone());
    let now = registry.content.clock.now();
    let written = registry
        .content
        .db
        .write(move |tx| finish::settle(tx, &of, &attempt, &effects, now));
    written.await?.count(&registry.replication.progress);
    registry.images.effects.wake();
    Ok(())
}
