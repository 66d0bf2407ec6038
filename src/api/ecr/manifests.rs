//! `BatchGetImage`, `PutImage`: the manifests themselves.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_oci::{Algorithm, Digest, Manifest, Reference, RepositoryName, Tag};
use wharfinger_registry::{
    self as registry, ImageStatus, Puller, Push, Repository, StoredManifest,
};

use crate::images::{ImageFailure, ImageId};
use crate::resource::{RepositoryRef, ResourceId};
use crate::views::ImageIdView;
use crate::{Ecr, Result, error, upstream};

/// Most bytes of manifests in one response, four of the largest: one hundred of them would be 400
/// MiB.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// What a byte of a manifest takes of memory until the response was sent: itself, and its JSON
/// encoding, in which it may need an escape.
const RESPONSE_COPIES: usize = 3;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageView {
    registry_id: AccountId,
    repository_name: RepositoryName,
    image_id: ImageIdView,
    image_manifest: String,
    image_manifest_media_type: String,
}

fn view(repository: &Repository, stored: &StoredManifest, tag: Option<Tag>) -> ImageView {
    ImageView {
        registry_id: repository.registry.account,
        repository_name: repository.name.clone(),
        image_id: ImageIdView {
            image_digest: stored.image.digest,
            image_tag: tag,
        },
        image_manifest: String::from_utf8_lossy(&stored.bytes).into_owned(),
        image_manifest_media_type: stored.image.media_type.to_string(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchGetImage {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_ids: Vec<ImageId>,
    accepted_media_types: Option<Vec<String>>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct BatchGetImageOutput {
    images: Vec<ImageView>,
    failures: Vec<ImageFailure>,
}

impl Operation for BatchGetImage {
    type Service = Ecr;
    const NAME: &'static str = "BatchGetImage";
    type Output = BatchGetImageOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<BatchGetImageOutput> {
        let name = &self.repository.repository_name;
        let imported = upstream::import_images(cx, name, &self.image_ids).await?;
        let repository = imported.repository(cx)?;
        let images = &cx.state().registry.images;
        let accepted = |media_type: &str| {
            self.accepted_media_types
                .as_ref()
                .is_none_or(|types| types.iter().any(|one| one == media_type))
        };
        let (mut output, mut bytes) = (BatchGetImageOutput::default(), 0);
        for id in &self.image_ids {
            let named = match id.named() {
                Ok(named) => named,
                Err(why) => {
                    output.failures.push(id.failure(why));
                    continue;
                }
            };
            match images.get(repository.id, &named.reference()).await {
                Ok(stored)
                    if named.agrees(&stored.image.digest)
                        && accepted(stored.image.media_type.as_str()) =>
                {
                    bytes += stored.bytes.len();
                    if bytes > MAX_RESPONSE_BYTES {
                        return Err(error::limit_exceeded(
                            "The requested manifests are too large for one response; request fewer",
                        ));
                    }
                    cx.charge_response(RESPONSE_COPIES * stored.bytes.len())
                        .await?;
                    images.note_pull(&stored.image, || Puller {
                        registry: repository.registry.clone(),
                        principal: cx.caller().principal_arn().clone(),
                    });
                    output
                        .images
                        .push(view(repository, &stored, named.tag().cloned()));
                }
                Ok(_) | Err(registry::Error::NoSuchImage(_)) => {
                    let failure = imported.failure(&named.reference());
                    output.failures.push(match failure {
                        Some(failure) => id.failure(failure),
                        None => id.not_found(),
                    });
                }
                Err(registry::Error::ImageArchived(digest)) if named.agrees(&digest) => {
                    output.failures.push(id.failure(error::IMAGE_ARCHIVED));
                }
                Err(registry::Error::ImageArchived(_)) => output.failures.push(id.not_found()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(output)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutImage {
    #[serde(flatten)]
    repository: RepositoryRef,
    image_manifest: String,
    image_manifest_media_type: Option<String>,
    image_tag: Option<String>,
    image_digest: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct PutImageOutput {
    image: ImageView,
}

impl Operation for PutImage {
    type Service = Ecr;
    const NAME: &'static str = "PutImage";
    /// A manifest of 4 MiB, each byte of it escaped, and some.
    const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
    type Output = PutImageOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<PutImageOutput> {
        let repository = cx.resource().repository()?;
        let (push, tag) = self.into_push()?;
        let (digest, images) = (push.digest, &cx.state().registry.images);
        // Without a tag there is nothing to set on an existing image: `put` accepts that, ECR does
        // not.
        if tag.is_none() {
            match images.head(repository.id, &Reference::Digest(digest)).await {
                // A push brings an archived image back.
                Ok(image) if image.status != ImageStatus::Active => {}
                Ok(_) => return Err(error::image_exists(repository, &digest, None)),
                Err(registry::Error::NoSuchImage(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (media_type, image_manifest) =
            (push.manifest.media_type.to_string(), push.bytes.clone());
        images
            .put(repository, push)
            .await
            .map_err(|error| match error {
                registry::Error::ImageExists { digest, tag } => {
                    error::image_exists(repository, &digest, Some(&tag))
                }
                registry::Error::MissingBlobs(digests) => {
                    error::missing_content(repository, true, &digests)
                }
                registry::Error::MissingMembers(digests) => {
                    error::missing_content(repository, false, &digests)
                }
                error => error.into(),
            })?;
        let image = ImageView {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            image_id: ImageIdView {
                image_digest: digest,
                image_tag: tag,
            },
            image_manifest: String::from_utf8_lossy(&image_manifest).into_owned(),
            image_manifest_media_type: media_type,
        };
        Ok(PutImageOutput { image })
    }
}

impl PutImage {
    /// What the registry is to store, and the tag it gets.
    fn into_push(self) -> Result<(Push, Option<Tag>)> {
        const TAG_RULE: &str =
            "must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9-_.]{0,127}'";
        let tag = self
            .image_tag
            .map(|tag| {
                tag.parse::<Tag>()
                    .map_err(|_| error::invalid("imageTag", TAG_RULE))
            })
            .transpose()?;
        let given = self.image_digest.map(|text| match text.parse::<Digest>() {
            Ok(digest) => Ok((text, digest)),
            Err(_) => Err(error::invalid(
                "imageDigest",
                "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
            )),
        });
        let given = given.transpose()?;
        let bytes = Bytes::from(self.image_manifest);
        let manifest = Manifest::parse_new(&bytes, self.image_manifest_media_type.as_deref())
            .map_err(|error| error::invalid_manifest(&error))?;
        let algorithm = given
            .as_ref()
            .map_or(Algorithm::Sha256, |(_, digest)| digest.algorithm());
        let digest = Digest::of(algorithm, &bytes);
        if let Some((text, _)) = given.filter(|(_, given)| *given != digest) {
            return Err(error::digest_mismatch(&text, &digest));
        }
        Ok((
            Push {
                manifest,
                bytes,
                digest,
                tags: tag.iter().cloned().collect(),
                refuse_existing: true,
            },
            tag,
        ))
    }
}
