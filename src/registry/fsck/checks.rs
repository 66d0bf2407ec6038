//! The checks, a page each.

use futures_util::{StreamExt, TryStreamExt, stream};
use wharfinger_blobs::{BlobKey, BlobStore, StoredObject};
use wharfinger_db::Tx;
use wharfinger_oci::{ChildKind, Digest, Manifest};

use crate::error::Error;
use crate::fsck::known::{GRACE, KnownKeys, upload_in};
use crate::fsck::{CheckedPage, Finding, Fsck, Phase, Position};
use crate::journal::{JournalError, missing_before, needed_after, read_segment, segments};
use crate::model::Blob;
use crate::pull_through::rule;
use crate::store::fsck::{self as store, CheckedImage};
use crate::store::{blobs, images, journal, pull_through, repositories};

/// Blobs that are looked at at once: each is a system call or a request.
pub(super) const AT_ONCE: usize = 8;

/// Objects of one page.
pub(super) const OBJECTS: usize = 1_000;

/// Segments of one page.
const SEGMENTS: u64 = 64;

/// The end of a page: after its last item, or at the beginning of the next phase.
fn next<T>(phase: Phase, items: &[T], position: impl Fn(&T) -> Position) -> Option<Position> {
    items
        .last()
        .map_or_else(|| Position::after(phase), |last| Some(position(last)))
}

pub(super) fn page<T>(
    phase: Phase,
    items: &[T],
    found: Vec<Finding>,
    position: impl Fn(&T) -> Position,
) -> CheckedPage {
    CheckedPage {
        seen: items.len() as u64,
        found,
        next: next(phase, items, position),
    }
}

impl Fsck {
    pub(super) async fn blobs(&self, after: &[u8]) -> Result<CheckedPage, Error> {
        let after = after.to_vec();
        let all = self
            .db
            .read(move |tx| store::blobs_after(tx, &after))
            .await?;
        let found: Vec<Finding> = stream::iter(all.clone())
            .map(|blob| self.check_blob(blob))
            .buffer_unordered(AT_ONCE)
            .try_filter_map(|found| std::future::ready(Ok(found)))
            .try_collect()
            .await?;
        refuse_unreadable(all.len(), &found)?;
        Ok(page(Phase::Blobs, &all, found, |blob| {
            Position::at(Phase::Blobs, 0, blob.digest.to_stored(), String::new())
        }))
    }

    async fn check_blob(&self, blob: Blob) -> Result<Option<Finding>, Error> {
        let finding = match self.look_at(&blob).await {
            Ok(None) => return Ok(None),
            Ok(Some(finding)) => finding,
            Err(error) => Finding::UnreadableBlob {
                blob: blob.clone(),
                why: error.to_string(),
            },
        };
        // It may have been collected, or pushed again, since its row was read.
        let digest = blob.digest;
        let now = self.db.read(move |tx| blobs::present(tx, &digest)).await?;
        Ok((now.as_ref() == Some(&blob)).then_some(finding))
    }

    /// What is wrong with the bytes of a blob.
    async fn look_at(&self, blob: &Blob) -> Result<Option<Finding>, wharfinger_blobs::Error> {
        if !self.store.has(&blob.key, blob.size).await? {
            return Ok(Some(Finding::MissingBlob(blob.clone())));
        }
        if !self.options.checksums {
            return Ok(None);
        }
        let content = self.store.has_content(&blob.key, blob.size, &blob.digest);
        Ok((!content.await?).then(|| Finding::DamagedBlob(blob.clone())))
    }

    pub(super) async fn links(&self, repository: i64, after: &[u8]) -> Result<CheckedPage, Error> {
        let after = after.to_vec();
        let all = self
            .db
            .read(move |tx| store::links_after(tx, repository, &after))
            .await?;
        let broken = all.iter().filter(|link| !link.is_whole);
        let found = broken.map(|link| Finding::DanglingLink {
            repository: link.repository,
            name: link.name.clone(),
            digest: link.key,
        });
        Ok(page(Phase::Links, &all, found.collect(), |link| {
            let key = link.key.to_stored();
            Position::at(Phase::Links, link.repository.0, key, String::new())
        }))
    }

    pub(super) async fn tags(&self, repository: i64, after: &str) -> Result<CheckedPage, Error> {
        let after = after.to_owned();
        let all = self
            .db
            .read(move |tx| store::tags_after(tx, repository, &after))
            .await?;
        let broken = all.iter().filter(|tag| !tag.is_whole);
        let found = broken.map(|tag| Finding::DanglingTag {
            repository: tag.repository,
            name: tag.name.clone(),
            tag: tag.key.clone(),
        });
        Ok(page(Phase::Tags, &all, found.collect(), |tag| {
            Position::at(Phase::Tags, tag.repository.0, Vec::new(), tag.key.clone())
        }))
    }

    pub(super) async fn images(&self, after: i64) -> Result<CheckedPage, Error> {
        let lenient = self.lenient;
        let (all, found) = self
            .db
            .read(move |tx| {
                let all = store::images_after(tx, after)?;
                let mut found = Vec::new();
                for image in &all {
                    check_image(tx, image, lenient, &mut found)?;
                }
                Ok::<_, Error>((all, found))
            })
            .await?;
        Ok(page(Phase::Images, &all, found, |image| {
            Position::at(Phase::Images, image.id, Vec::new(), String::new())
        }))
    }

    pub(super) async fn objects(&mut self, after: &str) -> Result<CheckedPage, Error> {
        let after: Option<BlobKey> = after.parse().ok();
        let listed = self.store.objects(after.as_ref(), OBJECTS).await;
        let all = listed.map_err(Error::Blobs)?;
        let now = self.clock.now();
        let is_unnamed = |object: &StoredObject| digest_in(object.key.as_str()).is_none();
        if self.known.is_none() && all.iter().any(is_unnamed) {
            self.known = Some(KnownKeys::read(&self.db, now).await?);
        }
        let known = self.known.as_ref();
        let suspected = all.iter().filter(|object| {
            object.modified < now.minus(GRACE) && !known.is_some_and(|known| known.may_have(object))
        });
        let unknown = self.unknown(&self.store, suspected.cloned().collect(), is_known);
        let found = unknown.await?.into_iter().map(|object| {
            let StoredObject { key, size, .. } = object;
            Finding::UnknownObject { key, size }
        });
        Ok(page(Phase::Objects, &all, found.collect(), |object| {
            let key = object.key.as_str().to_owned();
            Position::at(Phase::Objects, 0, Vec::new(), key)
        }))
    }

    /// Those of the objects that the index does not know now and that are still there. Each look-up
    /// is by a key.
    pub(super) async fn unknown(
        &self,
        objects: &BlobStore,
        suspected: Vec<StoredObject>,
        is_known: fn(&mut Tx<'_>, &BlobKey) -> Result<bool, Error>,
    ) -> Result<Vec<StoredObject>, Error> {
        let look = self.db.read(move |tx| {
            let mut unknown = Vec::new();
            for object in &suspected {
                if !is_known(tx, &object.key)? {
                    unknown.push(object.clone());
                }
            }
            Ok::<_, Error>(unknown)
        });
        let mut found = Vec::new();
        for object in look.await? {
            // It may have been deleted since it was listed, and its row with it.
            let is_there = objects.has(&object.key, object.size).await;
            if is_there.map_err(Error::Blobs)? {
                found.push(object);
            }
        }
        Ok(found)
    }

    pub(super) async fn journal(&self, after: i64) -> Result<CheckedPage, JournalError> {
        let (mut seen, mut found, mut next) = (0, Vec::new(), None);
        let mut missing_segments = Vec::new();
        let after = u64::try_from(after).unwrap_or_default();
        let index = self.db.read(|tx| {
            Ok::<_, JournalError>((journal::written_number(tx)?, journal::left_out(tx)?))
        });
        let (newest, left_out) = index.await?;
        let needed_after = match needed_after(&self.store).await {
            Err(JournalError::Segment { name, why }) => {
                found.push(Finding::DamagedSegment {
                    number: 0,
                    why: format!("{name}: {why}"),
                });
                return Ok(CheckedPage { seen, found, next });
            }
            read => read?,
        };
        let all = segments(&self.store).await?;
        for segment in all.iter().filter(|segment| segment.number > after) {
            let number = segment.number;
            seen += 1;
            if seen == SEGMENTS {
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                next = Some(Position::at(
                    Phase::Journal,
                    number,
                    Vec::new(),
                    String::new(),
                ));
            }
            match read_segment(&self.store, number).await {
                Ok(read) => {
                    let previous = read.previous.unwrap_or_default();
                    let missing = missing_before(&self.store, &all, previous, needed_after).await?;
                    missing_segments.extend(missing);
                }
                // Merged into another one since it was listed.
                Err(JournalError::Blobs(wharfinger_blobs::Error::NotFound)) => {}
                Err(JournalError::Segment { why, .. }) => found.push(Finding::DamagedSegment {
                    number,
                    why: why.to_string(),
                }),
                Err(error) => return Err(error),
            }
            if next.is_some() {
                break;
            }
        }
        if next.is_none() {
            let missing = missing_before(&self.store, &all, newest, needed_after).await?;
            missing_segments.extend(missing);
        }
        let missing = missing_segments.into_iter();
        let needed = missing.filter(|number| Some(*number) != left_out);
        found.extend(needed.map(|number| Finding::MissingSegment { number }));
        Ok(CheckedPage { seen, found, next })
    }
}

/// Refuses a page of which no blob can be read: not the blobs, but their store fails.
pub(super) fn refuse_unreadable(count: usize, found: &[Finding]) -> Result<(), Error> {
    let unreadable = |one: &&Finding| {
        matches!(
            one,
            Finding::UnreadableBlob { .. } | Finding::UnreadableArchivedBlob { .. }
        )
    };
    if count > 1 && found.iter().filter(unreadable).count() == count {
        let failed = std::io::Error::other("none of the blobs can be read");
        return Err(Error::Blobs(failed.into()));
    }
    Ok(())
}

/// The digest in the key of a blob on a disk.
fn digest_in(key: &str) -> Option<Digest> {
    let mut parts = key.split('/').skip(1);
    let (algorithm, _, hex) = (parts.next()?, parts.next()?, parts.next()?);
    format!("{algorithm}:{hex}").parse().ok()
}

/// Whether the index knows an object: as a blob, or as what is on its way in or out.
fn is_known(tx: &mut Tx<'_>, key: &BlobKey) -> Result<bool, Error> {
    let text = key.as_str();
    let digest = digest_in(text);
    if let Some(digest) = &digest
        && blobs::present(tx, digest)?.is_some_and(|blob| blob.key == *key)
    {
        return Ok(true);
    }
    Ok(store::is_in_motion(
        tx,
        text,
        upload_in(text),
        digest.as_ref(),
    )?)
}

fn check_image(
    tx: &mut Tx<'_>,
    image: &CheckedImage,
    lenient: bool,
    found: &mut Vec<Finding>,
) -> Result<(), Error> {
    let bytes = image.manifest.as_ref();
    let whole = bytes.filter(|bytes| Digest::of(image.digest.algorithm(), bytes) == image.digest);
    let parsed = whole.and_then(|bytes| Manifest::parse(bytes, Some(&image.media_type)).ok());
    let Some(manifest) = parsed else {
        found.push(Finding::DamagedManifest {
            name: image.name.clone(),
            digest: image.digest,
        });
        return Ok(());
    };
    if lenient {
        return Ok(());
    }
    let mut is_cached = None;
    for child in manifest.children.iter().filter(|child| !child.external) {
        let is_member = child.kind == ChildKind::Member;
        // What the archive has is enough for an archived image, and not for an active one.
        let has = blobs::is_readable(tx, image.repository, &child.digest)?
            || (!image.is_active && blobs::is_linked(tx, image.repository, &child.digest)?)
            || (is_member && images::id_by_digest(tx, image.repository, &child.digest)?.is_some());
        if has {
            continue;
        }
        let is_cached = match is_cached {
            Some(known) => known,
            None => *is_cached.insert(comes_from_upstream(tx, image)?),
        };
        if !is_cached {
            found.push(Finding::IncompleteImage {
                name: image.name.clone(),
                image: image.digest,
                missing: child.digest,
            });
        }
    }
    Ok(())
}

/// Whether layers that the image lacks come from an upstream registry when they are pulled. A rule
/// for all names counts where something has come already: it is for pushed images as well.
fn comes_from_upstream(tx: &mut Tx<'_>, image: &CheckedImage) -> Result<bool, Error> {
    let Some((registry, name)) = repositories::name_of(tx, image.repository)? else {
        return Ok(false);
    };
    let rules = pull_through::rules(tx, &registry, "", rule::MAX_RULES)?;
    match rule::matching(&rules, &name) {
        Some(rule) if rule.prefix.is_root() => Ok(pull_through::has_tags(tx, image.repository)?),
        matching => Ok(matching.is_some()),
    }
}
