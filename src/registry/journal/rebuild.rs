//! Makes an index anew from the journal.
//!
//! Records are taken in by their order; where a row has several, the last one stands in the end.
//! Tags wait until all images are there. Each batch is one transaction with the position after it,
//! so that a rebuild that was interrupted goes on.

use std::time::Duration;

use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_blobs::BlobStore;
use wharfinger_db::{Db, Tx};
use wharfinger_oci::{Digest, Manifest};

use crate::gc;
use crate::journal::rebuild_error::RebuildError;
use crate::journal::record::{ImageState, LinkState, Record, RepositoryState, State, Subject};
use crate::journal::writer::JournalWriter;
use crate::model::{
    ArchivedBlob, Blob, RegistryId, RepositoryId, RepositorySettings, TagMutability,
};
use crate::store::images::NewImage;
use crate::store::rebuild::{self as store, Position, WaitingTag};
use crate::store::{
    archive, blobs, images, journal_entries, journal_registries, lifecycle, repositories, tags,
};

/// How long content stays that no image needs: it may be of a push that was under way.
const LEASE: Duration = Duration::from_hours(24);

/// All leases run at this time, also those of archived blobs, which count as ended at the epoch.
const BEFORE_ALL_LEASES: Timestamp = Timestamp::from_ms(-1);
/// How long after a rebuild lifecycle policies are evaluated: an operator can look at what came
/// back before any of it expires.
const LIFECYCLE_DELAY: Duration = Duration::from_hours(24);

/// Records of one transaction.
const BATCH: usize = 256;

/// What a rebuild has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Segments that were read, of so many.
    pub segments: usize,
    pub segments_total: usize,
    /// Records that were taken in.
    pub records: usize,
    /// Tags that were set, once all records are in.
    pub tags: usize,
    /// Blobs that were taken out since the blob store, or the archive, does not have them.
    pub missing_blobs: usize,
}

/// The rebuild of an index. No server serves it meanwhile.
pub struct Rebuild {
    pub(crate) db: Db,
    pub(crate) store: BlobStore,
    /// Without it, archived blobs are not looked for.
    pub(crate) archive: Option<BlobStore>,
    pub(crate) clock: Clock,
    pub(crate) accept_loss: bool,
}

impl Rebuild {
    /// Leaves blobs out also where the store has none of many, and what was in segments that are
    /// missing or damaged, or records of images that are.
    #[must_use]
    pub fn accepting_loss(self, accept_loss: bool) -> Self {
        Self {
            accept_loss,
            ..self
        }
    }

    /// Makes the index anew, or goes on where an earlier rebuild was interrupted. `progress` is
    /// called after each transaction.
    ///
    /// # Errors
    /// [`RebuildError::NotEmpty`], [`RebuildError::NoJournal`]: nothing is changed then.
    pub async fn run(&self, mut progress: impl FnMut(Rebuilt)) -> Result<Rebuilt, RebuildError> {
        let begun = self.db.read(store::position).await?;
        if begun.is_none() && !self.db.read(store::is_empty).await? {
            return Err(RebuildError::NotEmpty);
        }
        let journal = self.journal().await?;
        let begun = begun.unwrap_or(Position {
            segment: 0,
            record: 0,
        });
        let mut done = Rebuilt {
            segments_total: journal.segments.len(),
            ..Rebuilt::default()
        };
        if begun.segment == store::ALL {
            self.check_own(&journal).await?;
            self.write_anew().await?;
            return Ok(done);
        }
        for segment in &journal.segments {
            if segment.number >= begun.segment {
                let records = self.records(&journal, segment.number).await?;
                let skipped = if segment.number == begun.segment {
                    usize::try_from(begun.record).unwrap_or(usize::MAX)
                } else {
                    0
                };
                let mut position = Position {
                    segment: segment.number,
                    record: begun.record * u64::from(skipped > 0),
                };
                for batch in records.get(skipped..).unwrap_or_default().chunks(BATCH) {
                    position.record += batch.len() as u64;
                    self.take_in(batch.to_vec(), position).await?;
                    done.records += batch.len();
                    progress(done);
                }
            }
            done.segments += 1;
        }
        loop {
            let now = self.clock.now();
            let set = self.db.write(move |tx| set_tags(tx, now)).await?;
            if set == 0 {
                break;
            }
            done.tags += set;
            progress(done);
        }
        self.remove_missing(&mut done, &mut progress).await?;
        let last = journal.last;
        self.db.write(move |tx| store::end(tx, last)).await?;
        self.write_anew().await?;
        Ok(done)
    }

    /// Writes a journal of the new index in place of the old one, in which repositories have other
    /// numbers. No server starts before it is whole.
    async fn write_anew(&self) -> Result<(), RebuildError> {
        let (db, store) = (self.db.clone(), self.store.clone());
        let writer = JournalWriter::new(db, store, self.clock.clone(), &Ids::default());
        writer.of_rebuild().write_all().await?;
        Ok(self.db.write(store::finish).await?)
    }

    async fn take_in(&self, batch: Vec<Record>, after: Position) -> Result<(), RebuildError> {
        let (now, accept_loss) = (self.clock.now(), self.accept_loss);
        self.db
            .write(move |tx| {
                for record in &batch {
                    if accept_loss {
                        make_way(tx, record, now)?;
                    }
                    match apply(tx, record, now) {
                        Err(RebuildError::DamagedImage(_)) if accept_loss => {}
                        applied => applied?,
                    }
                }
                Ok(store::set_position(tx, after)?)
            })
            .await
    }
}

/// Deletes the earlier repository of the name of a new one: the record of its deletion is lost.
fn make_way(tx: &mut Tx<'_>, record: &Record, now: Timestamp) -> Result<(), RebuildError> {
    let (Subject::Repository(original), Some(State::Repository(state))) =
        (&record.subject, &record.state)
    else {
        return Ok(());
    };
    let registry = RegistryId {
        account: read(&state.account)?,
        region: read(&state.region)?,
    };
    let earlier = repositories::by_name(tx, &registry, &read(&state.name)?)?;
    let Some(earlier) = earlier else {
        return Ok(());
    };
    match store::original(tx, earlier.id)? {
        Some(known) if known != *original => delete_repository(tx, known, earlier.id, now),
        _ => Ok(()),
    }
}

/// As the record of a deletion says.
fn delete_repository(
    tx: &mut Tx<'_>,
    original: i64,
    id: RepositoryId,
    now: Timestamp,
) -> Result<(), RebuildError> {
    store::remove_tags(tx, id)?;
    store::remove_repository(tx, original)?;
    Ok(repositories::delete(tx, id, now)?)
}

fn apply(tx: &mut Tx<'_>, record: &Record, now: Timestamp) -> Result<(), RebuildError> {
    let Some(original) = record.subject.repository() else {
        return apply_registry(tx, record, now);
    };
    let known = store::repository(tx, original)?;
    match (&record.subject, &record.state, known) {
        (Subject::Repository(_), Some(State::Repository(state)), known) => {
            if let Some(id) = known {
                // Its images stay: only what the record holds is replaced.
                same_repository(tx, id, state)?;
                return update_repository(tx, id, state, now);
            }
            let id = insert_repository(tx, state)?;
            put_lifecycle_policy(tx, id, state, now)?;
            Ok(store::add_repository(tx, original, id)?)
        }
        (Subject::Repository(_), _, Some(id)) => delete_repository(tx, original, id, now),
        (Subject::Image(_, digest), Some(State::Image(state)), Some(id)) => {
            put_image(tx, id, digest, state)
        }
        (Subject::Image(_, digest), None, Some(id)) => {
            if let Some(image) = images::id_by_digest(tx, id, digest)? {
                gc::delete_image(tx, id, image, BEFORE_ALL_LEASES)?;
            }
            Ok(())
        }
        (Subject::Tag(_, name), Some(State::Tag(state)), Some(repository)) => {
            let tag = WaitingTag {
                repository,
                name: name.clone(),
                image: state.image,
                tagged_at: Timestamp::from_ms(state.tagged_at),
            };
            Ok(store::put_tag(tx, &tag)?)
        }
        (Subject::Tag(_, name), None, Some(id)) => Ok(store::remove_tag(tx, id, name)?),
        (Subject::Link(_, digest), Some(State::Link(state)), Some(id)) => {
            put_link(tx, id, digest, state, now)
        }
        (Subject::Link(_, digest), None, Some(id)) => {
            blobs::unlink(tx, id, digest)?;
            Ok(())
        }
        (Subject::Pull(_, digest), Some(State::Pull(pulled_at)), Some(id)) => {
            if let Some(image) = images::id_by_digest(tx, id, digest)? {
                images::note_pull(tx, image, Timestamp::from_ms(*pulled_at))?;
            }
            Ok(())
        }
        // Of a repository that was deleted, whose record has come before, or of an image that was
        // gone or not pulled.
        (_, _, None) | (Subject::Pull(..), None, Some(_)) => Ok(()),
        (subject, _, Some(_)) => Err(RebuildError::Record(format!("{subject:?}"))),
    }
}

fn apply_registry(tx: &mut Tx<'_>, record: &Record, now: Timestamp) -> Result<(), RebuildError> {
    match (&record.subject, &record.state) {
        (Subject::Registry(name), Some(State::Registry(state))) => {
            let registry = journal_entries::registry_named(name)?;
            Ok(journal_registries::put(tx, &registry, state, now)?)
        }
        (subject, _) => Err(RebuildError::Record(format!("{subject:?}"))),
    }
}

fn read<T: std::str::FromStr>(text: &str) -> Result<T, RebuildError> {
    text.parse()
        .map_err(|_| RebuildError::Record(text.to_owned()))
}

fn insert_repository(
    tx: &mut Tx<'_>,
    state: &RepositoryState,
) -> Result<RepositoryId, RebuildError> {
    let registry = RegistryId {
        account: read(&state.account)?,
        region: read(&state.region)?,
    };
    let settings = settings(state);
    let created_at = Timestamp::from_ms(state.created_at);
    let id = repositories::insert(tx, &registry, &read(&state.name)?, &settings, created_at)?;
    if let Some(policy) = &state.policy {
        repositories::put_policy(tx, id, policy, created_at)?;
    }
    Ok(id)
}

/// Refuses a journal of two indexes, in which one number means two repositories: the content of one
/// must not be read by the policy of the other.
fn same_repository(
    tx: &mut Tx<'_>,
    id: RepositoryId,
    state: &RepositoryState,
) -> Result<(), RebuildError> {
    let known = repositories::name_of(tx, id)?;
    let is_same = known.is_some_and(|(registry, name)| {
        registry.account.to_string() == state.account
            && registry.region.to_string() == state.region
            && name.as_str() == state.name
    });
    if is_same {
        Ok(())
    } else {
        Err(RebuildError::TwoIndexes(state.name.clone()))
    }
}

fn update_repository(
    tx: &mut Tx<'_>,
    id: RepositoryId,
    state: &RepositoryState,
    now: Timestamp,
) -> Result<(), RebuildError> {
    put_lifecycle_policy(tx, id, state, now)?;
    let settings = settings(state);
    repositories::update_mutability(tx, id, &settings.mutability)?;
    repositories::update_scan(tx, id, settings.scan_on_push)?;
    repositories::update_tags(tx, id, &settings)?;
    match &state.policy {
        Some(policy) => {
            let set_at = Timestamp::from_ms(state.created_at);
            repositories::put_policy(tx, id, policy, set_at)?;
        }
        None => repositories::delete_policy(tx, id)?,
    }
    Ok(())
}

/// Sets or removes the lifecycle policy.
fn put_lifecycle_policy(
    tx: &mut Tx<'_>,
    id: RepositoryId,
    state: &RepositoryState,
    now: Timestamp,
) -> Result<(), RebuildError> {
    match &state.lifecycle_policy {
        Some(text) => lifecycle::put(tx, id, text, now.plus(LIFECYCLE_DELAY))?,
        None => lifecycle::delete(tx, id)?,
    }
    Ok(())
}

fn settings(state: &RepositoryState) -> RepositorySettings {
    RepositorySettings {
        mutability: TagMutability {
            mode: state.mutability,
            exclusions: state.mutability_exclusions.clone(),
        },
        scan_on_push: state.scan_on_push,
        encryption: state.encryption.clone(),
        tags: state.tags.clone(),
    }
}

fn put_image(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
    state: &ImageState,
) -> Result<(), RebuildError> {
    let bytes = state.manifest.as_bytes();
    if Digest::of(digest.algorithm(), bytes) != *digest {
        return Err(RebuildError::DamagedImage(*digest));
    }
    let manifest = Manifest::parse(bytes, Some(&state.media_type))
        .map_err(|why| RebuildError::Record(format!("the image {digest}: {why}")))?;
    let new = NewImage {
        digest,
        manifest: &manifest,
        bytes,
        content_size: state.content_size,
        tagged: false,
    };
    // An earlier record may be of an image that was deleted and pushed again. Its layers stay: all
    // leases count as running at the beginning of time.
    if let Some(earlier) = images::id_by_digest(tx, repository, digest)? {
        gc::delete_image(tx, repository, earlier, BEFORE_ALL_LEASES)?;
    }
    let inserted = images::insert(tx, repository, &new, Timestamp::from_ms(state.pushed_at))?;
    let Some(image) = inserted else {
        return Ok(());
    };
    if let Some(pulled_at) = state.pulled_at {
        images::note_pull(tx, image, Timestamp::from_ms(pulled_at))?;
    }
    Ok(store::put_storage_class(tx, image, state)?)
}

fn put_link(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: &Digest,
    state: &LinkState,
    now: Timestamp,
) -> Result<(), RebuildError> {
    // As after a push: what no image needs goes in time.
    let lease_until = now.plus(LEASE);
    if let Some(archived) = &state.archived {
        let blob = ArchivedBlob {
            digest: *digest,
            size: state.size,
            key: read(&state.key)?,
            encoding: read(&archived.encoding)?,
            stored_size: archived.stored_size,
        };
        archive::put_rebuilt(tx, &blob, now)?;
    } else {
        let blob = Blob {
            digest: *digest,
            size: state.size,
            key: read(&state.key)?,
        };
        blobs::put(tx, &blob, lease_until, now)?;
    }
    Ok(blobs::link(tx, repository, digest, lease_until, now)?)
}

/// Sets some of the tags that wait; returns how many were taken.
fn set_tags(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize, RebuildError> {
    let waiting = store::take_tags(tx, i64::try_from(BATCH).unwrap_or(i64::MAX))?;
    for tag in &waiting {
        // A tag whose image is gone went with it.
        if let Some(image) = images::id_by_digest(tx, tag.repository, &tag.image)? {
            tags::insert(tx, tag.repository, &tag.name, image, tag.tagged_at)?;
            images::note_tags(tx, image, now)?;
        }
    }
    Ok(waiting.len())
}
