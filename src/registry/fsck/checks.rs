//! The checks, a page each.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use wharfinger_blobs::{BlobKey, StoredObject};
use wharfinger_db::Tx;
use wharfinger_oci::{ChildKind, Digest, Manifest};

use crate::error::Error;
use crate::fsck::{CheckedPage, Finding, Fsck, Phase, Position};
use crate::journal::{JournalError, read_segment, segments};
use crate::model::Blob;
use crate::store::fsck::{self as store, CheckedImage};
use crate::store::{blobs, images};

/// Blobs that are looked at at once: each is a system call or a request.
pub(super) const AT_ONCE: usize = 8;

/// Objects of one page.
pub(super) const OBJECTS: usize = 1_000;

/// Segments of one page.
const SEGMENTS: u64 = 64;

/// An object that the index does not know is looked at no earlier than this: it may be of an upload
/// that ends just now.
pub(super) const GRACE: Duration = Duration::from_hours(24);

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
        let unreadable = |one: &&Finding| matches!(one, Finding::UnreadableBlob { .. });
        let count = found.iter().filter(unreadable).count();
        if count > 1 && count == all.len() {
            // Not the blobs, but the store fails.
            return Err(Error::Blobs(unavailable()));
        }
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
        if self.known.is_none() {
            self.known = Some(self.known_keys().await?);
        }
        let after: Option<BlobKey> = after.parse().ok();
        let listed = self.store.objects(after.as_ref(), OBJECTS).await;
        let all = listed.map_err(Error::Blobs)?;
        let limit = self.clock.now().minus(GRACE);
        let suspected = |known: &HashSet<u64>, object: &StoredObject| {
            !known.contains(&hash(object.key.as_str())) && object.modified < limit
        };
        let known = self.known.as_ref();
        if known.is_some_and(|known| all.iter().any(|object| suspected(known, object))) {
            // What was published since the keys were read is known, however old its first part is.
            self.known = Some(self.known_keys().await?);
        }
        let mut found = Vec::new();
        for object in &all {
            let known = self.known.as_ref();
            let is_suspected = known.is_some_and(|known| suspected(known, object));
            if is_suspected && self.is_unknown(object).await? {
                found.push(Finding::UnknownObject {
                    key: object.key.clone(),
                    size: object.size,
                });
            }
        }
        Ok(page(Phase::Objects, &all, found, |object| {
            let key = object.key.as_str().to_owned();
            Position::at(Phase::Objects, 0, Vec::new(), key)
        }))
    }

    /// The keys that the index names, as hashes. One that two keys share hides an object.
    async fn known_keys(&self) -> Result<HashSet<u64>, Error> {
        let (mut known, mut after) = (HashSet::new(), Vec::new());
        loop {
            let start = after.clone();
            let page = self
                .db
                .read(move |tx| store::blobs_after(tx, &start))
                .await?;
            let Some(last) = page.last() else {
                return Ok(known);
            };
            after = last.digest.to_stored();
            known.extend(page.iter().map(|blob| hash(blob.key.as_str())));
        }
    }

    /// Whether nothing knows of the object now.
    async fn is_unknown(&self, object: &StoredObject) -> Result<bool, Error> {
        let (key, digest) = (object.key.clone(), digest_in(object.key.as_str()));
        let known = self.db.read(move |tx| {
            let text = key.as_str();
            let upload = text.split('/').nth(1).unwrap_or_default();
            if store::is_in_motion(tx, text, upload, digest.as_ref())? {
                return Ok(true);
            }
            let blob = match &digest {
                Some(digest) => blobs::present(tx, digest)?,
                None => None,
            };
            Ok::<_, Error>(blob.is_some_and(|blob| blob.key == key))
        });
        Ok(!known.await?)
    }

    pub(super) async fn journal(&self, after: i64) -> Result<CheckedPage, JournalError> {
        let (mut seen, mut found, mut next) = (0, Vec::new(), None);
        let after = u64::try_from(after).unwrap_or_default();
        for segment in segments(&self.store).await? {
            if segment.number <= after {
                continue;
            }
            seen += 1;
            if seen == SEGMENTS {
                let number = i64::try_from(segment.number).unwrap_or(i64::MAX);
                next = Some(Position::at(
                    Phase::Journal,
                    number,
                    Vec::new(),
                    String::new(),
                ));
            }
            match read_segment(&self.store, segment.number).await {
                // Merged into another one since it was listed.
                Ok(_) | Err(JournalError::Blobs(wharfinger_blobs::Error::NotFound)) => {}
                Err(JournalError::Segment { why, .. }) => found.push(Finding::DamagedSegment {
                    number: segment.number,
                    why: why.to_string(),
                }),
                Err(error) => return Err(error),
            }
            if next.is_some() {
                break;
            }
        }
        Ok(CheckedPage { seen, found, next })
    }
}

/// The error where no blob of a page can be read.
fn unavailable() -> wharfinger_blobs::Error {
    std::io::Error::other("none of the blobs can be read").into()
}

pub(super) fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// The digest in the key of a blob on a disk.
fn digest_in(key: &str) -> Option<Digest> {
    let mut parts = key.split('/').skip(1);
    let (algorithm, _, hex) = (parts.next()?, parts.next()?, parts.next()?);
    format!("{algorithm}:{hex}").parse().ok()
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
    for child in manifest.children.iter().filter(|child| !child.external) {
        let is_member = child.kind == ChildKind::Member;
        // What the archive has is enough for an archived image, and not for an active one.
        let has = blobs::is_readable(tx, image.repository, &child.digest)?
            || (!image.is_active && blobs::is_linked(tx, image.repository, &child.digest)?)
            || (is_member && images::id_by_digest(tx, image.repository, &child.digest)?.is_some());
        if !has {
            found.push(Finding::IncompleteImage {
                name: image.name.clone(),
                image: image.digest,
                missing: child.digest,
            });
        }
    }
    Ok(())
}
