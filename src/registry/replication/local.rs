//! Replications to registries of this server: rows are copied, and no byte is.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use wharfinger_base::Timestamp;
use wharfinger_db::Tx;
use wharfinger_oci::{ChildKind, Digest, Reference, Tag};

use crate::Registry;
use crate::creation_templates::model::AppliedFor;
use crate::error::Error;
use crate::image_deletion;
use crate::images::{self, Push};
use crate::model::{MAX_TAGS_PER_IMAGE, RegistryId, Repository, RepositoryId};
use crate::push_effects::{Origin, PushEffects};
use crate::replication::access::{Allowed, allowed};
use crate::replication::attempt::{
    Attempt, Found, MAX_DEPTH, MAX_MEMBERS, SourceImage, find, outcome_of,
};
use crate::replication::decide::{Outcome, ReplicationFailure};
use crate::replication::finish::{self, Finished};
use crate::replication::model::{Replication, Work};
use crate::store::repositories::RepositoryRow;
use crate::store::{
    blobs, image_status, images as image_rows, replication as store, repositories, tags,
};

/// Blobs that one transaction links: some milliseconds.
const LINKS_AT_ONCE: usize = 64;

/// A replication within this server.
pub(super) struct LocalReplication<'a> {
    pub(super) registry: &'a Registry,
    pub(super) replication: &'a Replication,
}

impl LocalReplication<'_> {
    /// Carries it out. What ends well is finished in the transaction that did it, and `None` is
    /// returned; otherwise how the attempt ended, which is still to be stored.
    pub(super) async fn run(&self) -> Option<Attempt> {
        let attempted = match self.replication.work {
            Work::Copy => self.copy().await,
            Work::Untag | Work::Delete => self.remove().await.map(Some),
        };
        attempted.unwrap_or_else(|error| Some(outcome_of(&error, self.replication).into()))
    }

    async fn copy(&self) -> Result<Option<Attempt>, Error> {
        let of = self.replication;
        let image = match find(self.registry, of.repository, of.digest).await? {
            Found::Gone => return Ok(Some(Outcome::Gone.into())),
            Found::Archived => {
                return Ok(Some(
                    Outcome::Failed(ReplicationFailure::ImageArchived).into(),
                ));
            }
            Found::Image(image) => image,
        };
        let Some(to) = self.destination(&image.registry).await? else {
            return Ok(Some(
                Outcome::Failed(ReplicationFailure::AccessDenied).into(),
            ));
        };
        let mut members = Vec::new();
        let mut left = MAX_MEMBERS;
        self.copy_members(&to, &image, &mut members, &mut left, 1)
            .await?;
        members.sort_unstable();
        members.dedup();
        self.link_first(&to, &image).await?;
        match self.put(&to, &image, of.tag.as_ref(), true).await {
            Ok(()) => Ok(None),
            // The image arrives without the tag.
            Err(error @ Error::TagImmutable { .. }) => {
                self.put(&to, &image, None, false).await?;
                Ok(Some(outcome_of(&error, of).into()))
            }
            Err(error) => Ok(Some(Attempt {
                outcome: outcome_of(&error, of),
                members,
            })),
        }
    }

    /// The repository of the destination, which is created where there is none; `None` where the
    /// policy of the destination's registry does not allow the replication.
    async fn destination(&self, source: &RegistryId) -> Result<Option<Repository>, Error> {
        let (of, repositories) = (self.replication, &self.registry.repositories);
        let allowed = self.allowed(source).await?;
        if !allowed.replicate {
            return Ok(None);
        }
        if let Some(found) = repositories.find(&of.destination, &of.name).await? {
            return Ok(Some(found));
        }
        if !allowed.create_repository {
            return Ok(None);
        }
        let purpose = AppliedFor::Replication;
        let created = repositories.create_from_template(&of.destination, &of.name, purpose);
        match created.await {
            Err(Error::RepositoryExists { .. }) => {
                repositories.find(&of.destination, &of.name).await
            }
            created => created.map(Some),
        }
    }

    async fn allowed(&self, source: &RegistryId) -> Result<Allowed, Error> {
        let of = self.replication;
        let policy = self.registry.repositories.registry_policy(&of.destination);
        let (policy, now) = (policy.await?, self.registry.content.clock.now());
        Ok(allowed(
            source,
            &of.destination,
            &of.name,
            policy.as_deref(),
            now,
        ))
    }

    /// Copies the members of an index that the destination lacks. Those that the source lacks as
    /// well are left out.
    fn copy_members<'a>(
        &'a self,
        to: &'a Repository,
        image: &'a SourceImage,
        failures: &'a mut Vec<ReplicationFailure>,
        left: &'a mut usize,
        depth: usize,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let of = self.replication;
            for member in members_of(image) {
                let reference = Reference::Digest(member);
                match self.registry.images.head(to.id, &reference).await {
                    Ok(_) => continue,
                    Err(Error::NoSuchImage(_)) => {}
                    Err(error) => return Err(error),
                }
                if depth > MAX_DEPTH || *left == 0 {
                    failures.push(ReplicationFailure::LimitExceeded);
                    return Ok(());
                }
                *left -= 1;
                let member = match find(self.registry, of.repository, member).await? {
                    // A blob, or an index that is sparse at the source.
                    Found::Gone => continue,
                    Found::Archived => {
                        failures.push(ReplicationFailure::ImageArchived);
                        continue;
                    }
                    Found::Image(member) => member,
                };
                self.copy_members(to, &member, failures, left, depth + 1)
                    .await?;
                self.link_first(to, &member).await?;
                match self.put(to, &member, None, false).await {
                    Ok(()) => {}
                    Err(error) => match outcome_of(&error, of) {
                        Outcome::Failed(why) | Outcome::Again(why, _) => failures.push(why),
                        Outcome::Done | Outcome::Gone => {}
                    },
                }
            }
            Ok(())
        }
        .boxed()
    }

    /// Links content of an image with very much of it before the image is stored, in steps.
    async fn link_first(&self, to: &Repository, image: &SourceImage) -> Result<(), Error> {
        let digests: Vec<Digest> = linkable(image).collect();
        if digests.len() <= LINKS_AT_ONCE {
            return Ok(());
        }
        let (content, from) = (&self.registry.content, self.replication.repository);
        for some in digests.chunks(LINKS_AT_ONCE) {
            content.mount_some(from, to.id, some.to_vec()).await?;
        }
        Ok(())
    }

    /// Stores the image at the destination, with all that it is made of, and ends the replication
    /// where this `is_last`, all in one transaction.
    async fn put(
        &self,
        to: &Repository,
        image: &SourceImage,
        tag: Option<&Tag>,
        is_last: bool,
    ) -> Result<(), Error> {
        let push = Push {
            manifest: image.manifest.clone(),
            bytes: image.stored.bytes.clone(),
            digest: image.stored.image.digest,
            tags: tag.cloned().into_iter().collect(),
            refuse_existing: false,
        };
        let links: Vec<Digest> = linkable(image).collect();
        let copy = Copy {
            replication: self.replication.clone(),
            source: image.registry.clone(),
            to: to.clone(),
            push,
            links,
            is_last,
            lenient: self.registry.uploads.config.accept_missing_references,
        };
        let images = &self.registry.images;
        let (effects, now) = (images.effects.clone(), self.registry.content.clock.now());
        let written = self
            .registry
            .content
            .db
            .write(move |tx| copy.write(tx, &effects, now));
        written.await?;
        images.effects.wake();
        Ok(())
    }

    /// Removes at the destination what was removed at the source.
    async fn remove(&self) -> Result<Attempt, Error> {
        let of = self.replication.clone();
        let db = &self.registry.content.db;
        let repository = of.repository;
        let named = db.get(move |tx| Ok::<_, Error>(repositories::name_of(tx, repository)?));
        let Some((source, _)) = named.await? else {
            return Ok(Outcome::Gone.into());
        };
        if !self.allowed(&source).await?.replicate {
            return Ok(Outcome::Failed(ReplicationFailure::AccessDenied).into());
        }
        let effects = self.registry.images.effects.without_replication();
        let now = self.registry.content.clock.now();
        let removed = db.write(move |tx| remove(tx, &of, &effects, now)).await?;
        self.registry.images.effects.wake();
        Ok(removed.into())
    }
}

/// What the transaction of a copy needs.
struct Copy {
    replication: Replication,
    source: RegistryId,
    to: Repository,
    push: Push,
    links: Vec<Digest>,
    is_last: bool,
    lenient: bool,
}

impl Copy {
    fn write(&self, tx: &mut Tx<'_>, effects: &PushEffects, now: Timestamp) -> Result<(), Error> {
        let (of, from) = (&self.replication, self.replication.repository);
        let digest = &self.push.digest;
        if self.is_last && !finish::holds(tx, of)? {
            return Ok(());
        }
        let is_there = repositories::exists(tx, from)?
            && image_rows::id_by_digest(tx, from, digest)?.is_some();
        if !is_there {
            if self.is_last {
                finish::finish(tx, of, &Outcome::Gone.into(), now)?;
            }
            return Ok(());
        }
        let mut push = self.push.clone();
        let mut kept = Vec::new();
        for tag in push.tags {
            if names(tx, from, &tag, digest)? {
                kept.push(tag);
            }
        }
        push.tags = kept;
        link(tx, from, self.to.id, &self.links, now)?;
        let origin = (self.lenient, Origin::Replication);
        images::put(tx, &self.to, &push, origin, effects, now)?;
        if self.is_last {
            let done = Finished {
                source: &self.source,
                repository: &self.to.registry,
                tag: push.tags.first(),
            };
            finish::complete(tx, of, &done, effects, now)?;
        }
        Ok(())
    }
}

/// Links what the source links and the destination does not. No lease is needed: the image that is
/// stored in the same transaction needs the links, and the collector looks at them once.
fn link(
    tx: &mut Tx<'_>,
    from: RepositoryId,
    to: RepositoryId,
    digests: &[Digest],
    now: Timestamp,
) -> Result<(), Error> {
    for digest in digests {
        if !blobs::is_linked(tx, to, digest)? && blobs::is_linked(tx, from, digest)? {
            blobs::link(tx, to, digest, now, now)?;
        }
    }
    Ok(())
}

/// Whether the tag of the source still names the image.
fn names(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    tag: &Tag,
    digest: &Digest,
) -> Result<bool, Error> {
    let target = tags::target(tx, repository, tag.as_str())?;
    Ok(target.is_some_and(|(_, named)| named == *digest))
}

/// Removes a tag or an image that a replication brought, and nothing that the destination's own
/// users have pushed.
fn remove(
    tx: &mut Tx<'_>,
    of: &Replication,
    effects: &PushEffects,
    now: Timestamp,
) -> Result<Outcome, Error> {
    if !finish::holds(tx, of)? {
        return Ok(Outcome::Gone);
    }
    let found = repositories::by_name(tx, &of.destination, &of.name)?;
    let Some(RepositoryRow { id: to, .. }) = found else {
        return Ok(Outcome::Gone);
    };
    if let (Work::Untag, Some(tag)) = (of.work, &of.tag) {
        untag(tx, of, (to, tag), effects, now)?;
        return Ok(Outcome::Gone);
    }
    let Some(image) = image_rows::by_digest(tx, to, &of.digest)? else {
        return Ok(Outcome::Gone);
    };
    if !image_status::is_replicated(tx, image.id)? {
        return Ok(Outcome::Gone);
    }
    if image_rows::id_by_digest(tx, of.repository, &of.digest)?.is_some() {
        // It was pushed again, perhaps without some of its tags.
        let limit = i64::try_from(MAX_TAGS_PER_IMAGE).unwrap_or(i64::MAX);
        let mut gone = Vec::new();
        for tag in tags::of_image(tx, image.id, "", limit)? {
            if !names(tx, of.repository, &tag, &of.digest)? {
                tags::delete(tx, to, tag.as_str())?;
                gone.push(tag);
            }
        }
        if !gone.is_empty() {
            image_rows::note_tags(tx, image.id, now)?;
            effects.after_deletion(tx, to, &image, &gone, now)?;
        }
        return Ok(Outcome::Gone);
    }
    if image_rows::index_naming(tx, to, &of.digest)?.is_some() {
        let why = ReplicationFailure::ImageReferencedByManifestList;
        return Ok(Outcome::Again(why, None));
    }
    image_deletion::delete(tx, to, image.id, effects, now)?;
    Ok(Outcome::Gone)
}

/// Removes a tag that the source has no more, if the destination has it by a replication.
fn untag(
    tx: &mut Tx<'_>,
    of: &Replication,
    (to, tag): (RepositoryId, &Tag),
    effects: &PushEffects,
    now: Timestamp,
) -> Result<(), Error> {
    if tags::image_of(tx, of.repository, tag.as_str())?.is_some() {
        // It is back, and the push that set it is replicated.
        return Ok(());
    }
    let Some((id, named)) = tags::target(tx, to, tag.as_str())? else {
        return Ok(());
    };
    let is_ours = named == of.digest || store::is_copied(tx, of, &named, tag)?;
    if !is_ours || !image_status::is_replicated(tx, id)? {
        return Ok(());
    }
    let Some(image) = image_rows::by_id(tx, id)? else {
        return Ok(());
    };
    tags::delete(tx, to, tag.as_str())?;
    image_rows::note_tags(tx, id, now)?;
    effects.after_deletion(tx, to, &image, std::slice::from_ref(tag), now)
}

fn members_of(image: &SourceImage) -> Vec<Digest> {
    let children = image.manifest.children.iter();
    let members = children.filter(|child| child.kind == ChildKind::Member && !child.external);
    members.map(|child| child.digest).collect()
}

/// The blobs that the image is made of; members of an index may be blobs.
fn linkable(image: &SourceImage) -> impl Iterator<Item = Digest> {
    let children = image.manifest.children.iter();
    children
        .filter(|child| !child.external)
        .map(|child| child.digest)
}
