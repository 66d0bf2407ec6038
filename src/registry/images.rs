//! Images and their tags: stored, found and deleted.

use std::sync::Arc;

use bytes::Bytes;
use wharfinger_base::{Clock, Timestamp};
use wharfinger_db::{Db, Tx};
use wharfinger_oci::{ChildKind, Digest, Manifest, Reference, RepositoryName, Tag};

use crate::error::Error;
use crate::manifest_cache::ManifestCache;
use crate::model::{
    Image, ImageStatus, MAX_TAGS_PER_IMAGE, Repository, RepositoryId, StoredManifest,
};
use crate::mutability::may_move;
use crate::pull_records::{PullRecords, Puller};
use crate::pull_through::rule::{MAX_RULES, PullThroughRule, matching};
use crate::push_effects::{Origin, PushEffects, Pushed};
use crate::store::images::{LocatedImage, NewImage};
use crate::store::repositories::RepositoryRow;
use crate::store::{archive, blobs, image_status, images, pull_through, repositories, tags};

/// Operations on images.
#[derive(Clone)]
pub struct Images {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) effects: PushEffects,
    pub(super) accept_missing_references: bool,
    pull_records: PullRecords,
    pub(super) manifests: ManifestCache,
}

/// A manifest to store: parsed, and with the digest of its exact bytes.
#[derive(Clone, Debug)]
pub struct Push {
    pub manifest: Manifest,
    pub bytes: Bytes,
    pub digest: Digest,
    /// Tags to set on it; all or none.
    pub tags: Vec<Tag>,
    /// Refuse with [`Error::ImageExists`] where image and tag are there already (`PutImage`),
    /// instead of calling it done.
    pub refuse_existing: bool,
}

impl Images {
    pub(super) fn new(db: Db, clock: Clock, accept_missing_references: bool) -> Self {
        let manifests = ManifestCache::new();
        let pull_records = PullRecords::new(db.clone(), manifests.clone());
        Self {
            db,
            clock,
            effects: PushEffects::default(),
            accept_missing_references,
            pull_records,
            manifests,
        }
    }

    /// These operations with the effects of pushes and deletions.
    pub(super) fn with_effects(self, effects: PushEffects) -> Self {
        Self { effects, ..self }
    }

    /// Stores a manifest and sets its tags, in one transaction: durable, and visible to every
    /// reader, when it returns.
    ///
    /// # Errors
    /// [`Error::MissingBlobs`], [`Error::MissingMembers`], [`Error::TagImmutable`],
    /// [`Error::ImageExists`], [`Error::TooManyTags`]; [`Error::NoSuchRepository`] where it was
    /// deleted meanwhile.
    pub async fn put(&self, repository: &Repository, push: Push) -> Result<Digest, Error> {
        let (repository, now, lenient) = (
            repository.clone(),
            self.clock.now(),
            self.accept_missing_references,
        );
        let effects = self.effects.clone();
        let put = self.db.write(move |tx| {
            put(
                tx,
                &repository,
                &push,
                (lenient, Origin::Client),
                &effects,
                now,
            )
        });
        let digest = put.await?;
        self.effects.wake();
        Ok(digest)
    }

    /// Stores a manifest from an upstream registry. Its layers may be missing: they follow. A tag
    /// that somebody has pushed meanwhile keeps the image that it names.
    ///
    /// # Errors
    /// [`Error::TagImmutable`], [`Error::TooManyTags`], [`Error::NoSuchRepository`].
    pub(super) async fn put_imported(
        &self,
        repository: &Repository,
        push: Push,
        rule: &PullThroughRule,
    ) -> Result<(), Error> {
        let (repository, rule, now) = (repository.clone(), rule.clone(), self.clock.now());
        let effects = self.effects.clone();
        let put = self.db.write(move |tx| {
            let mut push = push.clone();
            let mut kept = Vec::new();
            for tag in push.tags {
                if is_upstreams(tx, repository.id, &tag, &push.digest)? {
                    kept.push(tag);
                }
            }
            push.tags = kept;
            put(
                tx,
                &repository,
                &push,
                (true, Origin::Upstream),
                &effects,
                now,
            )?;
            for tag in &push.tags {
                pull_through::put_tag(tx, repository.id, tag, &push.digest, now)?;
            }
            let image = (&push.digest, push.tags.first());
            effects.after_import(tx, &repository, image, &rule, now)
        });
        put.await?;
        self.effects.wake();
        Ok(())
    }

    /// Tells the event sinks that an image could not be fetched from upstream. Without sinks, the
    /// index is not touched.
    pub(super) async fn record_failed_import(
        &self,
        rule: &PullThroughRule,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<(), Error> {
        if !self.effects.events.is_open() {
            return Ok(());
        }
        let (rule, repository) = (rule.clone(), repository.clone());
        let (reference, now) = (reference.clone(), self.clock.now());
        let effects = self.effects.clone();
        let recorded = self
            .db
            .write(move |tx| effects.after_failed_import(tx, &rule, &repository, &reference, now));
        recorded.await?;
        self.effects.wake();
        Ok(())
    }

    /// The image's row, without the manifest's bytes.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`].
    pub async fn head(
        &self,
        repository: RepositoryId,
        reference: &Reference,
    ) -> Result<Image, Error> {
        let reference = reference.clone();
        self.db
            .get(move |tx| {
                let image = images::by_reference(tx, repository, &reference)?;
                image.ok_or_else(|| Error::NoSuchImage(reference.clone()))
            })
            .await
    }

    /// The manifest as it was pushed.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::ImageArchived`].
    pub async fn get(
        &self,
        repository: RepositoryId,
        reference: &Reference,
    ) -> Result<StoredManifest, Error> {
        let (reference, manifests) = (reference.clone(), self.manifests.clone());
        self.db
            .get(move |tx| {
                let found = images::locate(tx, repository, &reference)?;
                let image = found.ok_or_else(|| Error::NoSuchImage(reference.clone()))?;
                if image.status != ImageStatus::Active {
                    return Err(Error::ImageArchived(image.digest));
                }
                manifests.get(tx, &image).map(Arc::unwrap_or_clone)
            })
            .await
    }

    /// Records that the image was pulled, at most once a day each, unless the registry excludes the
    /// puller; does not wait, and may be forgotten in a crash.
    pub fn note_pull(&self, image: &Image, puller: impl FnOnce() -> Puller) {
        self.pull_records.add(image, puller, self.clock.now());
    }

    /// Removes a tag and nothing else (Distribution specification, "Deleting tags").
    ///
    /// # Errors
    /// [`Error::NoSuchImage`].
    pub async fn delete_tag(&self, repository: RepositoryId, tag: &Tag) -> Result<(), Error> {
        let (tag, now) = (tag.clone(), self.clock.now());
        let effects = self.effects.clone();
        let deleted = self.db.write(move |tx| {
            let image = images::by_tag(tx, repository, tag.as_str())?;
            let image = image.ok_or_else(|| Error::NoSuchImage(Reference::Tag(tag.clone())))?;
            tags::delete(tx, repository, tag.as_str())?;
            images::note_tags(tx, image.id, now)?;
            let removed = std::slice::from_ref(&tag);
            effects.after_deletion(tx, repository, &image, removed, now)
        });
        deleted.await?;
        self.effects.wake();
        Ok(())
    }
}

/// Stores a manifest within a transaction.
///
/// # Errors
/// As [`Images::put`].
pub(super) fn put(
    tx: &mut Tx<'_>,
    repository: &Repository,
    push: &Push,
    (lenient, origin): (bool, Origin),
    effects: &PushEffects,
    now: Timestamp,
) -> Result<Digest, Error> {
    // The repository was read before this transaction began: it may be gone, and its settings may
    // have changed.
    let Some(current) = repositories::by_name(tx, &repository.registry, &repository.name)?
        .filter(|row| row.id == repository.id)
    else {
        return Err(Error::NoSuchRepository {
            name: repository.name.clone(),
            registry: repository.registry.clone(),
        });
    };
    let content_size = check_references(tx, repository.id, &push.manifest, lenient)?;
    let new = NewImage {
        digest: &push.digest,
        manifest: &push.manifest,
        bytes: &push.bytes,
        content_size,
        tagged: !push.tags.is_empty(),
    };
    let inserted = images::insert(tx, repository.id, &new, now)?;
    let (is_new, mut is_restored) = (inserted.is_some(), false);
    let id = match inserted {
        Some(id) => id,
        None => {
            let image = images::by_digest(tx, repository.id, &push.digest)?;
            let image = image.ok_or_else(|| Error::NoSuchImage(Reference::Digest(push.digest)))?;
            // A push of an archived image brings it back.
            is_restored = image.status != ImageStatus::Active;
            if is_restored {
                activate(tx, repository.id, &image, effects, now)?;
            }
            image.id
        }
    };
    if is_new && lenient && origin == Origin::Client && archive::has_any_of(tx, id)? {
        // What it lacks is in the archive.
        image_status::begin_activation(tx, id)?;
    }
    match (origin, is_new) {
        (Origin::Replication, true) => image_status::set_replicated(tx, id, true)?,
        (Origin::Client | Origin::Upstream, false) => {
            image_status::set_replicated(tx, id, false)?;
        }
        _ => {}
    }
    let refuse_existing = push.refuse_existing && !is_restored;
    let mut set = Vec::new();
    for tag in &push.tags {
        if set_tag(tx, &current, (tag, &push.digest), id, refuse_existing, now)? {
            set.push(tag);
        }
    }
    let changed = !set.is_empty();
    let too_many = if is_new {
        push.tags.len() as u64 > MAX_TAGS_PER_IMAGE
    } else {
        // Only where the image got another tag: one that has too many may be pushed again.
        changed && tags::of_image_after(tx, id, MAX_TAGS_PER_IMAGE)?.is_some()
    };
    if too_many {
        return Err(Error::TooManyTags {
            digest: push.digest,
            limit: MAX_TAGS_PER_IMAGE,
        });
    }
    if !is_new && changed {
        images::note_tags(tx, id, now)?;
    }
    let pushed = Pushed {
        repository: &current,
        digest: &push.digest,
        manifest: &push.manifest,
        is_new,
        origin,
        tags: &set,
    };
    effects.after_push(tx, &pushed, now)?;
    Ok(push.digest)
}

/// Brings an image back from the archive.
fn activate(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: &Image,
    effects: &PushEffects,
    now: Timestamp,
) -> Result<(), Error> {
    let located = LocatedImage {
        id: image.id,
        digest: image.digest,
        status: image.status,
    };
    if let (_, true) = image_status::activate(tx, &located, now)? {
        effects.after_storage_class(tx, repository, image.id, now)?;
    }
    Ok(())
}

/// Whether an import of `digest` may set the tag: it is free, or names what was imported last.
fn is_upstreams(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    tag: &Tag,
    digest: &Digest,
) -> Result<bool, Error> {
    let Some((_, named)) = tags::target(tx, repository, tag.as_str())? else {
        return Ok(true);
    };
    let imported = pull_through::tag(tx, repository, tag)?;
    Ok(named == *digest || imported.is_some_and(|imported| imported.digest == named))
}

/// Points a tag at the pushed image, whose row is `id`. Returns false where it names the image
/// already.
///
/// # Errors
/// [`Error::ImageExists`] where it does and `refuse_existing`; [`Error::TagImmutable`] where the
/// tag names another image and must not move. Either ends the transaction.
fn set_tag(
    tx: &mut Tx<'_>,
    repository: &RepositoryRow,
    (tag, pushed): (&Tag, &Digest),
    id: i64,
    refuse_existing: bool,
    now: Timestamp,
) -> Result<bool, Error> {
    if tags::insert(tx, repository.id, tag.as_str(), id, now)? {
        return Ok(true);
    }
    let target = tags::target(tx, repository.id, tag.as_str())?;
    let (from, digest) = target.ok_or_else(|| Error::NoSuchImage(Reference::Tag(tag.clone())))?;
    if digest == *pushed {
        return if refuse_existing {
            Err(Error::ImageExists {
                digest,
                tag: tag.clone(),
            })
        } else {
            Ok(false)
        };
    }
    if !may_move(&repository.settings.mutability, tag.as_str()) {
        return Err(Error::TagImmutable {
            tag: tag.clone(),
            name: repository.name.clone(),
        });
    }
    tags::set_image(tx, repository.id, tag.as_str(), id, now)?;
    images::note_tags(tx, from, now)?;
    Ok(true)
}

/// Whether the repository holds everything that an image is made of (always if `lenient`, and where
/// a rule of the pull-through cache brings what is missing). What is in the archive is missing.
pub(crate) fn is_complete(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: i64,
    lenient: bool,
) -> Result<bool, Error> {
    let Some(stored) = images::stored_by_id(tx, image)? else {
        return Ok(false);
    };
    if let Some((registry, name)) = repositories::name_of(tx, repository)?
        && matching(&pull_through::rules(tx, &registry, "", MAX_RULES)?, &name).is_some()
    {
        return Ok(true);
    }
    let media_type = stored.image.media_type.as_str();
    let Ok(manifest) = Manifest::parse(&stored.bytes, Some(media_type)) else {
        return Ok(false);
    };
    match check_references(tx, repository, &manifest, lenient) {
        Ok(_) => Ok(true),
        Err(Error::MissingBlobs(_) | Error::MissingMembers(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Checks that the repository holds everything the manifest references (unless `lenient`), and
/// returns the image's size. What is in the archive is missing, as for a HEAD.
///
/// A subject may be missing, and so may content that lives elsewhere (Distribution specification,
/// "Pushing Manifests"). A member of an index may be a blob: old build caches are made so.
fn check_references(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    manifest: &Manifest,
    lenient: bool,
) -> Result<u64, Error> {
    let (mut missing_blobs, mut missing_members, mut largest_member) = (Vec::new(), Vec::new(), 0);
    for child in &manifest.children {
        if child.kind == ChildKind::Member {
            match images::by_digest(tx, repository, &child.digest)? {
                Some(member) => largest_member = largest_member.max(member.content_size),
                None if !lenient && !blobs::is_readable(tx, repository, &child.digest)? => {
                    missing_members.push(child.digest);
                }
                None => {}
            }
        } else if !lenient && !child.external && !blobs::is_readable(tx, repository, &child.digest)?
        {
            missing_blobs.push(child.digest);
        }
    }
    if !missing_blobs.is_empty() {
        return Err(Error::MissingBlobs(missing_blobs));
    }
    if !missing_members.is_empty() {
        return Err(Error::MissingMembers(missing_members));
    }
    Ok(manifest.content_size().max(largest_member))
}
