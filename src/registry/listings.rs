//! Pages over a repository's tags and images. Each page costs the same wherever in the listing it
//! lies.

use wharfinger_base::Page;
use wharfinger_db::Tx;
use wharfinger_oci::{Digest, Tag};

use crate::error::Error;
use crate::images::Images;
use crate::model::{Image, ImageListing, ImageStatus, RepositoryId, TagStatus, TaggedImage};
use crate::repositories::rows;
use crate::store::{images, tags};

/// A place in a listing of images: after this digest (stored form), and for a listing by tag after
/// this tag of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ImagePosition {
    pub digest: Vec<u8>,
    pub tag: String,
}

/// Tags looked at for one page of tagged images, as a multiple of its size: an image with many tags
/// is met at each of them, and shown at its first.
const TAGS_PER_PAGE_FACTOR: usize = 10;

/// Which images a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ImageFilter {
    pub tags: TagStatus,
    /// `None` for images of any status.
    pub status: Option<ImageStatus>,
}

impl ImageFilter {
    fn shows(self, status: ImageStatus) -> bool {
        self.status.is_none_or(|wanted| wanted == status)
    }
}

/// Most tags that one image is described with: ECR's quota of tags on an image. `ListImages` shows
/// them all, page by page.
const TAGS_DESCRIBED: i64 = 1_000;

impl Images {
    /// Up to `limit` tags after `after` in byte order; the page's key is the last tag.
    pub async fn tags_page(
        &self,
        repository: RepositoryId,
        after: &str,
        limit: usize,
    ) -> Result<Page<String>, Error> {
        let after = after.to_owned();
        self.db
            .read(move |tx| {
                Ok(Page::of(
                    tags::page(tx, repository, &after, rows(limit))?,
                    limit,
                    Clone::clone,
                ))
            })
            .await
    }

    /// One page of `ListImages`: each (digest, tag) pair, and untagged digests. A page may be short
    /// of `limit` and still have a next one.
    pub async fn list(
        &self,
        repository: RepositoryId,
        filter: ImageFilter,
        after: ImagePosition,
        limit: usize,
    ) -> Result<Page<ImageListing, ImagePosition>, Error> {
        self.db
            .read(move |tx| {
                first_with_items(after.clone(), |after| match filter.tags {
                    TagStatus::Any => list_any(tx, repository, filter.status, after, limit),
                    TagStatus::Tagged => {
                        let found =
                            tags::page_with_images(tx, repository, &after.tag, rows(limit))?;
                        let page = Page::of(found, limit, |(tag, ..)| ImagePosition {
                            digest: Vec::new(),
                            tag: tag.to_string(),
                        });
                        Ok(page.filtered(|(tag, digest, status)| {
                            filter.shows(status).then_some(ImageListing {
                                digest,
                                tag: Some(tag),
                            })
                        }))
                    }
                    TagStatus::Untagged => {
                        let found =
                            images::page_untagged(tx, repository, &after.digest, rows(limit))?;
                        Ok(Page::of(found, limit, position).filtered(|image| {
                            filter.shows(image.status).then_some(ImageListing {
                                digest: image.digest,
                                tag: None,
                            })
                        }))
                    }
                })
            })
            .await
    }

    /// One page of `DescribeImages`: images with all their tags. A page may be short of `limit` and
    /// still have a next one.
    pub async fn describe(
        &self,
        repository: RepositoryId,
        filter: ImageFilter,
        after: ImagePosition,
        limit: usize,
    ) -> Result<Page<TaggedImage, ImagePosition>, Error> {
        self.db
            .read(move |tx| {
                let page = first_with_items(after.clone(), |after| {
                    let found = match filter.tags {
                        TagStatus::Any => page(tx, repository, filter.status, after, limit)?,
                        TagStatus::Untagged => {
                            images::page_untagged(tx, repository, &after.digest, rows(limit))?
                        }
                        TagStatus::Tagged => {
                            return tagged(tx, repository, filter, after, limit);
                        }
                    };
                    let page = Page::of(found, limit, position);
                    Ok(page.filtered(|image| filter.shows(image.status).then_some(image)))
                })?;
                let items = page
                    .items
                    .into_iter()
                    .map(|image| with_tags(tx, image))
                    .collect::<Result<_, Error>>()?;
                Ok(Page {
                    items,
                    next: page.next,
                })
            })
            .await
    }

    /// The image with all its tags.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`].
    pub async fn describe_one(
        &self,
        repository: RepositoryId,
        reference: &wharfinger_oci::Reference,
    ) -> Result<TaggedImage, Error> {
        let image = self.head(repository, reference).await?;
        self.db.get(move |tx| with_tags(tx, image.clone())).await
    }

    /// Whether `tag` names `digest` now.
    pub async fn tag_is_on(
        &self,
        repository: RepositoryId,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let (tag, digest) = (tag.clone(), *digest);
        self.db
            .get(move |tx| {
                Ok::<_, Error>(
                    tags::target(tx, repository, tag.as_str())?
                        .is_some_and(|(_, target)| target == digest),
                )
            })
            .await
    }
}

fn with_tags(tx: &mut Tx<'_>, image: Image) -> Result<TaggedImage, Error> {
    let tags = tags::of_image(tx, image.id, "", TAGS_DESCRIBED)?;
    Ok(TaggedImage { image, tags })
}

/// Most pages that are read for one where the filter leaves nothing of them.
const EMPTY_PAGES: usize = 16;

/// The first page of which the filter leaves something. After [`EMPTY_PAGES`] an empty one, whose
/// next position leads on.
fn first_with_items<T>(
    mut after: ImagePosition,
    mut read: impl FnMut(&ImagePosition) -> Result<Page<T, ImagePosition>, Error>,
) -> Result<Page<T, ImagePosition>, Error> {
    for _ in 1..EMPTY_PAGES {
        let page = read(&after)?;
        match page.next {
            Some(next) if page.items.is_empty() => after = next,
            next => return Ok(Page { next, ..page }),
        }
    }
    read(&after)
}

fn position(image: &Image) -> ImagePosition {
    ImagePosition {
        digest: image.digest.to_stored(),
        tag: String::new(),
    }
}

/// Images after the position; of archived ones, which may be few among many, no others.
fn page(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    status: Option<ImageStatus>,
    after: &ImagePosition,
    limit: usize,
) -> Result<Vec<Image>, Error> {
    let read = match status {
        Some(ImageStatus::Archived) => images::page_archived,
        Some(ImageStatus::Activating) => images::page_activating,
        _ => images::page,
    };
    Ok(read(tx, repository, &after.digest, rows(limit))?)
}

fn tag_text(tag: Option<&Tag>) -> String {
    tag.map(ToString::to_string).unwrap_or_default()
}

fn list_any(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    status: Option<ImageStatus>,
    after: &ImagePosition,
    limit: usize,
) -> Result<Page<ImageListing, ImagePosition>, Error> {
    let mut listings = Vec::new();
    // The page may have ended among the tags of one image: that one's other tags come first.
    if let Some(digest) = Digest::from_stored(&after.digest).filter(|_| !after.tag.is_empty())
        && let Some(image) = images::by_digest(tx, repository, &digest)?
        && status.is_none_or(|status| status == image.status)
    {
        let rest = tags::of_image(tx, image.id, &after.tag, rows(limit))?;
        listings.extend(rest.into_iter().map(|tag| ImageListing {
            digest,
            tag: Some(tag),
        }));
    }
    if listings.len() <= limit {
        let found = page(tx, repository, status, after, limit)?;
        let is_last = found.len() <= limit;
        let mut last = None;
        for image in found {
            let digest = image.digest;
            last = Some(position(&image));
            if status.is_some_and(|status| status != image.status) {
                continue;
            }
            let on_it = tags::of_image(tx, image.id, "", rows(limit))?;
            if on_it.is_empty() {
                listings.push(ImageListing { digest, tag: None });
            }
            listings.extend(on_it.into_iter().map(|tag| ImageListing {
                digest,
                tag: Some(tag),
            }));
            if listings.len() > limit {
                break;
            }
        }
        if listings.len() <= limit && !is_last {
            // The filter left few of many images.
            return Ok(Page {
                items: listings,
                next: last,
            });
        }
    }
    Ok(Page::of(listings, limit, |listing| ImagePosition {
        digest: listing.digest.to_stored(),
        tag: tag_text(listing.tag.as_ref()),
    }))
}

fn tagged(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    filter: ImageFilter,
    after: &ImagePosition,
    limit: usize,
) -> Result<Page<Image, ImagePosition>, Error> {
    let most = limit.saturating_mul(TAGS_PER_PAGE_FACTOR);
    let found = Page::of(
        tags::page_with_images(tx, repository, &after.tag, rows(most))?,
        most,
        |(tag, ..)| tag.to_string(),
    );
    let (mut items, mut next) = (Vec::new(), found.next);
    let mut last_seen = String::new();
    for (tag, digest, status) in found.items {
        if items.len() == limit {
            next = Some(last_seen);
            break;
        }
        last_seen = tag.to_string();
        if !filter.shows(status) {
            continue;
        }
        let Some(image) = images::by_digest(tx, repository, &digest)? else {
            continue;
        };
        if tags::of_image(tx, image.id, "", 1)?.first() == Some(&tag) {
            items.push(image);
        }
    }
    Ok(Page {
        items,
        next: next.map(|tag| ImagePosition {
            digest: Vec::new(),
            tag,
        }),
    })
}
