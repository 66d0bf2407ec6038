//! What a push and a deletion cause besides their own rows, recorded in their transaction: events,
//! and work that follows. Where nothing is configured, only the scanning configuration is read for
//! this.

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;
use wharfinger_oci::{Digest, Manifest, Reference, RepositoryName, Tag};
use wharfinger_reconcile::Wake;

use crate::error::Error;
use crate::events::{EventOutbox, ImageAction, RegistryEvent};
use crate::model::{Image, ImageStatus, RegistryId, Repository, RepositoryId};
use crate::pull_through::rule::PullThroughRule;
use crate::replication::queue::ReplicationQueue;
use crate::scanning_rules::{ScanFrequency, scan_frequency};
use crate::scans::decide::is_scannable;
use crate::signing::queue::SigningQueue;
use crate::store::repositories::{self, RepositoryRow};
use crate::store::{images, registry_settings, scans};

/// Records the effects of pushes and deletions. Cloning shares what is recorded.
#[derive(Clone, Default)]
pub(super) struct PushEffects {
    pub(super) events: EventOutbox,
    /// Wakes the scanner.
    pub(super) scans: Wake,
    pub(super) signing: SigningQueue,
    pub(super) replication: ReplicationQueue,
    /// Wakes the mover of the archive.
    pub(super) archive: Wake,
}

/// Who brought an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Client,
    /// An upstream registry, by the pull-through cache.
    Upstream,
    /// A replication.
    Replication,
}

/// An image as its push left it.
pub(super) struct Pushed<'a> {
    pub(super) repository: &'a RepositoryRow,
    pub(super) digest: &'a Digest,
    pub(super) manifest: &'a Manifest,
    /// Whether the repository did not have the image before.
    pub(super) is_new: bool,
    pub(super) origin: Origin,
    /// The tags that did not name the image before.
    pub(super) tags: &'a [&'a Tag],
}

impl PushEffects {
    /// Records what follows from a push. Nothing follows from one that changed nothing.
    pub(super) fn after_push(
        &self,
        tx: &mut Tx<'_>,
        pushed: &Pushed<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        if !pushed.is_new && pushed.tags.is_empty() {
            return Ok(());
        }
        if self.events.is_open() {
            self.record_push(tx, pushed, now)?;
        }
        request_scan(tx, pushed, now)?;
        // What was replicated is not replicated on, and its signatures are replicated as it is.
        if pushed.origin == Origin::Replication {
            return Ok(());
        }
        let (repository, digest) = (pushed.repository, pushed.digest);
        self.replication
            .after_push(tx, repository, digest, pushed.tags, now)?;
        // A signature says that somebody who may push here did.
        if pushed.origin == Origin::Upstream {
            return Ok(());
        }
        let image = (digest, pushed.manifest);
        self.signing
            .after_push(tx, repository, image, pushed.is_new, now)
    }

    /// These effects for deletions that are replications themselves.
    pub(super) fn without_replication(&self) -> Self {
        Self {
            replication: self.replication.without_deletes(),
            ..self.clone()
        }
    }

    /// Records that a registry has got an image from another one, or not.
    pub(super) fn after_replication(
        &self,
        tx: &mut Tx<'_>,
        (source, destination): (&RegistryId, &RegistryId),
        (repository, digest, tag): (&RepositoryName, &Digest, Option<&Tag>),
        succeeded: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        if !self.events.is_open() {
            return Ok(());
        }
        let event = RegistryEvent::Replication {
            repository: repository.clone(),
            digest: *digest,
            tag: tag.cloned(),
            source: source.clone(),
            succeeded,
        };
        self.events.record(tx, destination, &event, now)
    }

    /// One event for each tag, or one for an image that was pushed without a tag.
    fn record_push(
        &self,
        tx: &mut Tx<'_>,
        pushed: &Pushed<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let repository = pushed.repository;
        let mut record = |tag: Option<Tag>| {
            let event = RegistryEvent::Image {
                repository: repository.name.clone(),
                digest: *pushed.digest,
                tag,
                action: ImageAction::Push,
                is_referrer: pushed.manifest.subject.is_some(),
            };
            self.events.record(tx, &repository.registry, &event, now)
        };
        if pushed.tags.is_empty() {
            return record(None);
        }
        pushed
            .tags
            .iter()
            .try_for_each(|tag| record(Some((*tag).clone())))
    }

    /// Records what follows from an import, besides what follows from a push.
    pub(super) fn after_import(
        &self,
        tx: &mut Tx<'_>,
        repository: &Repository,
        (digest, tag): (&Digest, Option<&Tag>),
        rule: &PullThroughRule,
        now: Timestamp,
    ) -> Result<(), Error> {
        if !self.events.is_open() {
            return Ok(());
        }
        let event = RegistryEvent::PullThroughCache {
            repository: repository.name.clone(),
            prefix: rule.prefix.to_string(),
            upstream_url: rule.upstream_url.clone(),
            digest: Some(*digest),
            tag: tag.cloned(),
            succeeded: true,
        };
        self.events.record(tx, &repository.registry, &event, now)
    }

    /// Records that an image could not be fetched from upstream.
    pub(super) fn after_failed_import(
        &self,
        tx: &mut Tx<'_>,
        rule: &PullThroughRule,
        repository: &RepositoryName,
        reference: &Reference,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (digest, tag) = match reference {
            Reference::Digest(digest) => (Some(*digest), None),
            Reference::Tag(tag) => (None, Some(tag.clone())),
        };
        let event = RegistryEvent::PullThroughCache {
            repository: repository.clone(),
            prefix: rule.prefix.to_string(),
            upstream_url: rule.upstream_url.clone(),
            digest,
            tag,
            succeeded: false,
        };
        self.events.record(tx, &rule.registry, &event, now)
    }

    /// Records what follows from removing tags of an image, or the image with its last tags. The
    /// image is deleted without a tag where `tags` is empty.
    pub(super) fn after_deletion(
        &self,
        tx: &mut Tx<'_>,
        repository: RepositoryId,
        image: &Image,
        tags: &[Tag],
        now: Timestamp,
    ) -> Result<(), Error> {
        self.replication
            .after_deletion(tx, repository, image, tags, now)?;
        if !self.events.is_open() {
            return Ok(());
        }
        let Some((registry, name)) = repositories::name_of(tx, repository)? else {
            return Ok(());
        };
        let mut record = |tag: Option<Tag>| {
            let event = RegistryEvent::Image {
                repository: name.clone(),
                digest: image.digest,
                tag,
                action: ImageAction::Delete,
                is_referrer: image.subject.is_some(),
            };
            self.events.record(tx, &registry, &event, now)
        };
        if tags.is_empty() {
            return record(None);
        }
        tags.iter().try_for_each(|tag| record(Some(tag.clone())))
    }

    /// Records that an image went to another storage class.
    pub(super) fn after_storage_class(
        &self,
        tx: &mut Tx<'_>,
        repository: RepositoryId,
        image: i64,
        now: Timestamp,
    ) -> Result<(), Error> {
        if !self.events.is_open() {
            return Ok(());
        }
        let named = repositories::name_of(tx, repository)?;
        let (Some((registry, name)), Some(image)) = (named, images::by_id(tx, image)?) else {
            return Ok(());
        };
        let event = RegistryEvent::Image {
            repository: name,
            digest: image.digest,
            tag: None,
            is_referrer: image.subject.is_some(),
            action: ImageAction::UpdateStorageClass {
                target: match image.status {
                    ImageStatus::Active => "STANDARD",
                    ImageStatus::Archived | ImageStatus::Activating => "ARCHIVE",
                },
                media_type: image.media_type.to_string(),
                artifact_type: image.artifact_type,
                last_activated_at: image.activated_at,
            },
        };
        self.events.record(tx, &registry, &event, now)
    }

    /// Starts the work that was recorded: for after the commit.
    pub(super) fn wake(&self) {
        self.events.wake();
        self.scans.wake();
        self.signing.wake();
        self.replication.wake();
    }
}

/// Requests the scan of a new image where the images of its repository are scanned when they are
/// pushed.
fn request_scan(tx: &mut Tx<'_>, pushed: &Pushed<'_>, now: Timestamp) -> Result<(), Error> {
    let repository = pushed.repository;
    if !pushed.is_new || !is_scannable(pushed.manifest) {
        return Ok(());
    }
    let configuration = registry_settings::scanning(tx, &repository.registry)?;
    let on_push = repository.settings.scan_on_push;
    let applied = scan_frequency(&configuration, &repository.name, on_push);
    if applied.frequency == ScanFrequency::Manual {
        return Ok(());
    }
    if let Some(image) = images::id_by_digest(tx, repository.id, pushed.digest)? {
        scans::request(tx, repository.id, image, now)?;
    }
    Ok(())
}
