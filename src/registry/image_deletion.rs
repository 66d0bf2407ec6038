//! Deletes images as the two APIs do. One transaction removes an image with as many tags as one may
//! have; an image of an older version that has more loses the others first, in steps.

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;
use wharfinger_oci::{Digest, Reference, Tag};

use crate::error::Error;
use crate::gc;
use crate::images::Images;
use crate::model::{Image, MAX_TAGS_PER_IMAGE, RepositoryId};
use crate::push_effects::PushEffects;
use crate::store::{images, tags};

/// Tags of an image that are removed at once and returned: all but of one that has too many.
const LISTED: i64 = MAX_TAGS_PER_IMAGE.cast_signed() + 1;

/// A removed tag with the image that it named, or an image that had none.
type Removed = (Digest, Option<Tag>);

/// What one transaction did.
enum Step<T> {
    /// The image or tag is gone.
    Done(T),
    /// Only tags are gone: there were too many.
    More(T),
}

impl Images {
    /// Removes a manifest and every tag on it (Distribution specification, "Deleting Manifests").
    ///
    /// # Errors
    /// [`Error::NoSuchImage`].
    pub async fn delete_manifest(
        &self,
        repository: RepositoryId,
        digest: &Digest,
    ) -> Result<(), Error> {
        let digest = *digest;
        let mut begun = false;
        loop {
            let (effects, now) = (self.effects.clone(), self.clock.now());
            let step = self
                .db
                .write(move |tx| delete_all(tx, repository, digest, &effects, now))
                .await;
            self.effects.wake();
            match step {
                Ok(Step::Done(())) => return Ok(()),
                Ok(Step::More(())) => begun = true,
                // Somebody else deleted the rest.
                Err(Error::NoSuchImage(_)) if begun => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes one image identifier as ECR's `BatchDeleteImage` does: a tag is removed, together
    /// with the image if it was the last tag; a digest is removed with all its tags. Returns each
    /// removed (digest, tag) pair; an image without tags is returned as its digest alone.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::ReferencedByIndex`] for a member of an index.
    pub async fn delete_as_ecr(
        &self,
        repository: RepositoryId,
        reference: &Reference,
    ) -> Result<Vec<Removed>, Error> {
        let mut removed = Vec::new();
        loop {
            let (reference, now) = (reference.clone(), self.clock.now());
            let effects = self.effects.clone();
            let step = self.db.write(move |tx| match &reference {
                Reference::Tag(tag) => {
                    let image = named(tx, repository, &reference)?;
                    let id = image.id;
                    if tags::of_image_after(tx, id, 1)?.is_none() {
                        return delete_named(tx, repository, &reference, &effects, now);
                    }
                    tags::delete(tx, repository, tag.as_str())?;
                    images::note_tags(tx, id, now)?;
                    let removed = std::slice::from_ref(tag);
                    effects.after_deletion(tx, repository, &image, removed, now)?;
                    Ok(Step::Done(vec![(image.digest, Some(tag.clone()))]))
                }
                Reference::Digest(_) => delete_named(tx, repository, &reference, &effects, now),
            });
            let step = step.await;
            self.effects.wake();
            match step {
                Ok(Step::Done(last)) => {
                    removed.extend(last);
                    return Ok(removed);
                }
                Ok(Step::More(some)) => removed.extend(some),
                // Somebody else deleted the rest.
                Err(Error::NoSuchImage(_)) if !removed.is_empty() => return Ok(removed),
                Err(error) => return Err(error),
            }
        }
    }
}

fn named(tx: &mut Tx<'_>, repository: RepositoryId, reference: &Reference) -> Result<Image, Error> {
    images::by_reference(tx, repository, reference)?
        .ok_or_else(|| Error::NoSuchImage(reference.clone()))
}

fn delete_all(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    digest: Digest,
    effects: &PushEffects,
    now: Timestamp,
) -> Result<Step<()>, Error> {
    let image = named(tx, repository, &Reference::Digest(digest))?;
    let (tags, too_many) = remove(tx, repository, image.id, now)?;
    effects.after_deletion(tx, repository, &image, &tags, now)?;
    Ok(if too_many {
        Step::More(())
    } else {
        Step::Done(())
    })
}

/// Deletes the image with its tags, or only its first tags where it has too many. Returns the
/// removed tags, and whether there were too many.
fn remove(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    image: i64,
    now: Timestamp,
) -> Result<(Vec<Tag>, bool), Error> {
    let tags = tags::of_image(tx, image, "", LISTED)?;
    let too_many = tags.len() as u64 > MAX_TAGS_PER_IMAGE;
    match tags.last() {
        Some(last) if too_many => {
            tags::delete_of_image_to(tx, image, last.as_str())?;
        }
        _ => gc::delete_image(tx, repository, image, now)?,
    }
    Ok((tags, too_many))
}

/// Deletes an image of the repository with all its tags. Its caller has decided that it goes.
pub(super) fn delete(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    id: i64,
    effects: &PushEffects,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(image) = images::by_id(tx, id)? else {
        return Ok(());
    };
    loop {
        let (tags, too_many) = remove(tx, repository, id, now)?;
        effects.after_deletion(tx, repository, &image, &tags, now)?;
        if !too_many {
            return Ok(());
        }
    }
}

/// Deletes the image, unless an index has it as a member.
fn delete_named(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    reference: &Reference,
    effects: &PushEffects,
    now: Timestamp,
) -> Result<Step<Vec<Removed>>, Error> {
    let image = named(tx, repository, reference)?;
    let digest = image.digest;
    if let Some(by) = images::index_naming(tx, repository, &digest)? {
        return Err(Error::ReferencedByIndex { by });
    }
    let (tags, too_many) = remove(tx, repository, image.id, now)?;
    effects.after_deletion(tx, repository, &image, &tags, now)?;
    let mut removed: Vec<Removed> = tags.into_iter().map(|tag| (digest, Some(tag))).collect();
    if too_many {
        return Ok(Step::More(removed));
    }
    if removed.is_empty() {
        removed.push((digest, None));
    }
    Ok(Step::Done(removed))
}
