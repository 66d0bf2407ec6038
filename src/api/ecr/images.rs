//! `ListImages`, `DescribeImages`, `BatchDeleteImage`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_oci::{Digest, Reference, Tag};
use wharfinger_registry::{
    self as registry, Image, ImageFilter, ImageStatus, Repository, TagStatus,
};

use crate::resource::{RepositoryRef, ResourceId};
use crate::views::{self, ImageDetail, ImageIdView};
use crate::{Ecr, Result, error, paging};

/// `imageIds`: a digest, a tag, or both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageId {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image_tag: Option<String>,
}

/// An image identifier that names something.
#[derive(Clone, Debug)]
pub(super) enum Named {
    ByDigest(Digest),
    ByTag(Tag),
    /// The tag, as long as it is on that digest.
    Both(Digest, Tag),
}

/// Why one identifier of a batch came to nothing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageFailure {
    image_id: ImageId,
    failure_code: &'static str,
    failure_reason: String,
}

impl ImageId {
    /// What the identifier names, or why it names nothing.
    pub(super) fn named(&self) -> Result<Named, error::Failure> {
        let digest = self
            .image_digest
            .as_deref()
            .map(str::parse::<Digest>)
            .transpose()
            .map_err(|_| error::BAD_IMAGE_DIGEST)?;
        let tag = self
            .image_tag
            .as_deref()
            .map(str::parse::<Tag>)
            .transpose()
            .map_err(|_| error::BAD_IMAGE_TAG)?;
        match (digest, tag) {
            (None, None) => Err(error::NO_DIGEST_AND_TAG),
            (Some(digest), None) => Ok(Named::ByDigest(digest)),
            (None, Some(tag)) => Ok(Named::ByTag(tag)),
            (Some(digest), Some(tag)) => Ok(Named::Both(digest, tag)),
        }
    }

    pub(super) fn failure(
        &self,
        (failure_code, failure_reason): (&'static str, impl Into<String>),
    ) -> ImageFailure {
        ImageFailure {
            image_id: self.clone(),
            failure_code,
            failure_reason: failure_reason.into(),
        }
    }

    pub(super) fn not_found(&self) -> ImageFailure {
        self.failure(error::IMAGE_NOT_FOUND)
    }
}

impl Named {
    /// What to look up: the tag where there is one, since it must be on the digest anyway.
    pub(super) fn reference(&self) -> Reference {
        match self {
            Self::ByDigest(digest) => Reference::Digest(*digest),
            Self::ByTag(tag) | Self::Both(_, tag) => Reference::Tag(tag.clone()),
        }
    }

    pub(super) fn tag(&self) -> Option<&Tag> {
        match self {
            Self::ByDigest(_) => None,
            Self::ByTag(tag) | Self::Both(_, tag) => Some(tag),
        }
    }

    /// Is an image of this digest the one that was meant?
    pub(super) fn agrees(&self, digest: &Digest) -> bool {
        if let Self::Both(named, _) = self {
            named == digest
        } else {
            true
        }
    }
}

/// The image that an identifier names.
pub(super) async fn find(
    cx: &Context<Ecr>,
    repository: &Repository,
    id: &ImageId,
) -> Result<(Named, Image)> {
    let named = id
        .named()
        .map_err(|(_, reason)| error::invalid_request(reason))?;
    let missing = || {
        let (digest, tag) = (id.image_digest.as_deref(), id.image_tag.as_deref());
        error::image_not_found(repository, digest, tag)
    };
    let images = &cx.state().registry.images;
    match images.head(repository.id, &named.reference()).await {
        Ok(image) if named.agrees(&image.digest) => Ok((named, image)),
        Ok(_) | Err(registry::Error::NoSuchImage(_)) => Err(missing()),
        Err(error) => Err(error.into()),
    }
}

/// `filter` of both listings.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    tag_status: Option<String>,
    image_status: Option<String>,
}

impl Filter {
    fn tags(&self) -> TagStatus {
        match self.tag_status.as_deref() {
            Some("TAGGED") => TagStatus::Tagged,
            Some("UNTAGGED") => TagStatus::Untagged,
            _ => TagStatus::Any,
        }
    }

    /// The filter; `None` where it leaves nothing. Without a status, only active images are shown.
    fn images(&self) -> Option<ImageFilter> {
        let status = match self.image_status.as_deref() {
            None | Some("ACTIVE") => Some(ImageStatus::Active),
            Some("ARCHIVED") => Some(ImageStatus::Archived),
            Some("ACTIVATING") => Some(ImageStatus::Activating),
            Some("ANY") => None,
            Some(_) => return None,
        };
        Some(ImageFilter {
            tags: self.tags(),
            status,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListImages {
    #[serde(flatten)]
    repository: RepositoryRef,
    next_token: Option<String>,
    max_results: Option<u32>,
    filter: Option<Filter>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListImagesOutput {
    image_ids: Vec<ImageIdView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Operation for ListImages {
    type Service = Ecr;
    const NAME: &'static str = "ListImages";
    type Output = ListImagesOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<ListImagesOutput> {
        let repository = cx.resource().repository()?;
        let filter = self.filter.unwrap_or_default();
        let after = paging::image_position(Self::NAME, repository, self.next_token.as_deref())?;
        let Some(filter) = filter.images() else {
            return Ok(ListImagesOutput {
                image_ids: Vec::new(),
                next_token: None,
            });
        };
        let page = cx
            .state()
            .registry
            .images
            .list(
                repository.id,
                filter,
                after,
                paging::limit(self.max_results),
            )
            .await?;
        let image_ids = page
            .items
            .into_iter()
            .map(|found| ImageIdView {
                image_digest: found.digest,
                image_tag: found.tag,
            })
            .collect();
        Ok(ListImagesOutput {
            image_ids,
            next_token: page
                .next
                .map(|position| paging::image_token(Self::NAME, repository, &position)),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeImages {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_ids: Option<Vec<ImageId>>,
    next_token: Option<String>,
    max_results: Option<u32>,
    filter: Option<Filter>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeImagesOutput {
    image_details: Vec<ImageDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Operation for DescribeImages {
    type Service = Ecr;
    const NAME: &'static str = "DescribeImages";
    type Output = DescribeImagesOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<DescribeImagesOutput> {
        let repository = cx.resource().repository()?;
        if let Some(ids) = self.image_ids {
            if self.next_token.is_some() || self.max_results.is_some() {
                return Err(error::invalid_request(
                    "nextToken and maxResults cannot be used with imageIds",
                ));
            }
            return describe_each(cx, repository, &ids).await;
        }
        let filter = self.filter.unwrap_or_default();
        let after = paging::image_position(Self::NAME, repository, self.next_token.as_deref())?;
        let Some(filter) = filter.images() else {
            return Ok(DescribeImagesOutput {
                image_details: Vec::new(),
                next_token: None,
            });
        };
        let page = cx
            .state()
            .registry
            .images
            .describe(
                repository.id,
                filter,
                after,
                paging::limit(self.max_results),
            )
            .await?;
        let ids = page.items.iter().map(|found| found.image.id).collect();
        let scans = &cx.state().registry.scans;
        let (scans, applied) = (
            scans.of_images(ids).await?,
            scans.applied(repository).await?,
        );
        let image_details = page
            .items
            .into_iter()
            .map(|found| {
                let scan = scans.get(&found.image.id);
                views::image_detail(repository, found, scan, applied)
            })
            .collect();
        Ok(DescribeImagesOutput {
            image_details,
            next_token: page
                .next
                .map(|position| paging::image_token(Self::NAME, repository, &position)),
        })
    }
}

/// Each named image once, however many of its tags were named.
async fn describe_each(
    cx: &Context<Ecr>,
    repository: &Repository,
    ids: &[ImageId],
) -> Result<DescribeImagesOutput> {
    let scans = &cx.state().registry.scans;
    let applied = scans.applied(repository).await?;
    let mut seen = Vec::with_capacity(ids.len());
    let mut image_details = Vec::with_capacity(ids.len());
    for id in ids {
        let named = id
            .named()
            .map_err(|(_, reason)| error::invalid_request(reason))?;
        let missing = || {
            error::image_not_found(
                repository,
                id.image_digest.as_deref(),
                id.image_tag.as_deref(),
            )
        };
        let found = match cx
            .state()
            .registry
            .images
            .describe_one(repository.id, &named.reference())
            .await
        {
            Ok(found) if named.agrees(&found.image.digest) => found,
            Ok(_) | Err(registry::Error::NoSuchImage(_)) => return Err(missing()),
            Err(error) => return Err(error.into()),
        };
        if !seen.contains(&found.image.digest) {
            seen.push(found.image.digest);
            let scan = scans.of_image(&found.image).await?;
            image_details.push(views::image_detail(
                repository,
                found,
                scan.as_ref(),
                applied,
            ));
        }
    }
    Ok(DescribeImagesOutput {
        image_details,
        next_token: None,
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchDeleteImage {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_ids: Vec<ImageId>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchDeleteImageOutput {
    image_ids: Vec<ImageIdView>,
    failures: Vec<ImageFailure>,
}

impl Operation for BatchDeleteImage {
    type Service = Ecr;
    const NAME: &'static str = "BatchDeleteImage";
    type Output = BatchDeleteImageOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<BatchDeleteImageOutput> {
        let repository = cx.resource().repository()?;
        let mut output = BatchDeleteImageOutput::default();
        for id in self.image_ids {
            match delete(cx, repository, &id).await? {
                Ok(gone) => output.image_ids.extend(gone),
                Err(failure) => output.failures.push(failure),
            }
        }
        Ok(output)
    }
}

async fn delete(
    cx: &Context<Ecr>,
    repository: &Repository,
    id: &ImageId,
) -> Result<Result<Vec<ImageIdView>, ImageFailure>> {
    let named = match id.named() {
        Ok(named) => named,
        Err(why) => return Ok(Err(id.failure(why))),
    };
    let images = &cx.state().registry.images;
    if let Named::Both(digest, tag) = &named
        && !images.tag_is_on(repository.id, tag, digest).await?
    {
        return Ok(Err(id.failure(error::TAG_NOT_ON_DIGEST)));
    }
    match images
        .delete_as_ecr(repository.id, &named.reference())
        .await
    {
        Ok(gone) => Ok(Ok(gone
            .into_iter()
            .map(|(image_digest, image_tag)| ImageIdView {
                image_digest,
                image_tag,
            })
            .collect())),
        Err(registry::Error::NoSuchImage(_)) => Ok(Err(id.not_found())),
        Err(registry::Error::ReferencedByIndex { by }) => {
            Ok(Err(id.failure(error::referenced_by_index(&by))))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_name_an_image_or_fail_in_ecrs_words() {
        let id = |digest: Option<&str>, tag: Option<&str>| ImageId {
            image_digest: digest.map(Into::into),
            image_tag: tag.map(Into::into),
        };
        let code = |id: ImageId| id.named().map_or_else(|(code, _)| code, |_| "");
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(code(id(None, None)), "MissingDigestAndTag");
        assert_eq!(code(id(Some("sha256:x"), Some("t"))), "InvalidImageDigest");
        assert_eq!(code(id(None, Some("-t"))), "InvalidImageTag");
        assert_eq!(code(id(Some(&digest), Some("t"))), "");
        let named = id(Some(&digest), Some("t")).named().expect("both");
        assert!(!named.agrees(&Digest::of(wharfinger_oci::Algorithm::Sha256, b"")));
    }
}
