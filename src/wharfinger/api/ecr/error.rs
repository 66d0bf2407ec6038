//! The registry's refusals in ECR's codes and words. The only place of this face that holds wire
//! error codes.
//!
//! Source: the ECR API reference; messages as clients and issues quote them.

use wharfinger_aws::Fault;
use wharfinger_aws::constraints::ECR;
use wharfinger_oci::{Digest, ManifestError, RepositoryName, Tag};
use wharfinger_registry::{Error, RegistryId, Repository};

use crate::api::context::Context;

/// An error of a verb that needs no more than itself to be told.
pub(super) fn fault(cx: &Context, error: &Error) -> Fault {
    let message = error.to_string();
    match error {
        Error::NoSuchRepository { .. } => Fault::sender("RepositoryNotFoundException", message),
        Error::RepositoryExists { .. } => {
            Fault::sender("RepositoryAlreadyExistsException", message)
        }
        Error::RepositoryNotEmpty { .. } => Fault::sender("RepositoryNotEmptyException", message),
        Error::NoRepositoryPolicy { .. } => {
            Fault::sender("RepositoryPolicyNotFoundException", message)
        }
        Error::NoSuchImage(_) => Fault::sender("ImageNotFoundException", message),
        Error::ImageExists { .. } => Fault::sender("ImageAlreadyExistsException", message),
        Error::TagImmutable { .. } => Fault::sender("ImageTagAlreadyExistsException", message),
        Error::ManifestDigestMismatch { .. } => {
            Fault::sender("ImageDigestDoesNotMatchException", message)
        }
        Error::Manifest(ManifestError::Syntax(_)) => invalid_manifest("Invalid JSON syntax"),
        Error::Manifest(_) => invalid_manifest(&message),
        Error::MissingBlobs(_) | Error::NoSuchBlob(_) => {
            Fault::sender("LayersNotFoundException", message)
        }
        Error::MissingMembers(_) => Fault::sender("ReferencedImagesNotFoundException", message),
        Error::ReferencedByIndex { .. } => Fault::sender("InvalidParameterException", message),
        Error::NoSuchUpload => Fault::sender("UploadNotFoundException", message),
        Error::OutOfOrder { .. } | Error::PartLength { .. } | Error::UploadBusy => {
            Fault::sender("InvalidLayerPartException", message)
        }
        Error::DigestMismatch { .. } => Fault::sender(
            "InvalidLayerException",
            "None of the provided layer digests match the calculated layer digest",
        ),
        Error::PartTooSmall { .. } => Fault::sender("LayerPartTooSmallException", message),
        Error::EmptyUpload => Fault::sender("EmptyUploadException", message),
        Error::TooLarge { .. } | Error::TooManyUploads { .. } => {
            Fault::sender("LimitExceededException", message)
        }
        Error::NoSpace | Error::BodyEnded(_) | Error::Index(_) | Error::Blobs(_) => {
            cx.internal(error)
        }
    }
}

/// A member that breaks a rule which only its handler can check.
pub(super) fn invalid(member: &str, constraint: &str) -> Fault {
    ECR.refusal(member, constraint)
}

/// A sentence of its own under the same code.
pub(super) fn invalid_request(message: impl Into<String>) -> Fault {
    Fault::sender("InvalidParameterException", message)
}

/// A manifest that the registry does not take. Of one that is no JSON, ECR says `Invalid JSON
/// syntax`.
pub(super) fn invalid_manifest(why: &str) -> Fault {
    invalid("ImageManifest", why)
}

pub(super) fn image_not_found(
    repository: &Repository,
    digest: Option<&str>,
    tag: Option<&str>,
) -> Fault {
    let shown = |part: Option<&str>| part.unwrap_or("null").to_owned();
    let (name, account) = (&repository.name, repository.registry.account);
    let message = format!(
        "The image with imageId {{imageDigest:'{}', imageTag:'{}'}} does not exist within the repository with name '{name}' in the \
         registry with id '{account}'",
        shown(digest),
        shown(tag)
    );
    Fault::sender("ImageNotFoundException", message)
}

pub(super) fn image_exists(repository: &Repository, digest: &Digest, tag: Option<&Tag>) -> Fault {
    let (name, account) = (&repository.name, repository.registry.account);
    let tag = tag.map_or("null", Tag::as_str);
    let message = format!(
        "Image with digest '{digest}' and tag '{tag}' already exists in the repository with name '{name}' in registry with id '{account}'"
    );
    Fault::sender("ImageAlreadyExistsException", message)
}

/// `PutImage` of a manifest whose layers, or (for an index) images, are not there.
pub(super) fn missing_content(repository: &Repository, layers: bool, digests: &[Digest]) -> Fault {
    /// Most digests that are named: a message is for people.
    const NAMED: usize = 20;
    let (code, what) = if layers {
        ("LayersNotFoundException", "Layers")
    } else {
        ("ReferencedImagesNotFoundException", "Images")
    };
    let list = digests
        .iter()
        .take(NAMED)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let (name, account) = (&repository.name, repository.registry.account);
    let message = format!(
        "{what} with digests '[{list}]' required for pushing image into repository with name '{name}' in the registry with id '{account}' \
         do not exist"
    );
    Fault::sender(code, message)
}

pub(super) fn layer_not_found(repository: &Repository, digest: &str) -> Fault {
    let (name, account) = (&repository.name, repository.registry.account);
    let message = format!(
        "The layer with digest {digest} does not exist within the repository with name '{name}' in the registry with id '{account}'"
    );
    Fault::sender("LayersNotFoundException", message)
}

pub(super) fn layer_inaccessible(repository: &Repository, digest: &Digest) -> Fault {
    let name = &repository.name;
    let message = format!(
        "The layer with digest {digest} is not referenced by any image in the repository with name '{name}'"
    );
    Fault::sender("LayerInaccessibleException", message)
}

pub(super) fn layer_exists(repository: &Repository, digest: &Digest) -> Fault {
    let name = &repository.name;
    Fault::sender(
        "LayerAlreadyExistsException",
        format!("Layer with digest '{digest}' already exists in the repository with name '{name}'"),
    )
}

pub(super) fn no_such_upload(registry: &RegistryId, name: &RepositoryName, upload: &str) -> Fault {
    let account = registry.account;
    let message = format!(
        "The upload with id '{upload}' does not exist in the repository with name '{name}' in the registry with id '{account}'"
    );
    Fault::sender("UploadNotFoundException", message)
}

/// A part that does not fit behind what is there, with the members that let a client find its place
/// again.
pub(super) fn invalid_part(
    repository: &Repository,
    upload: &str,
    last_valid_byte: u64,
    message: String,
) -> Fault {
    Fault::sender("InvalidLayerPartException", message)
        .with_field("registryId", repository.registry.account.as_str())
        .with_field("repositoryName", repository.name.as_str())
        .with_field("uploadId", upload)
        .with_field("lastValidByteReceived", last_valid_byte)
}

pub(super) fn digest_mismatch(given: &str, actual: &Digest) -> Fault {
    Fault::sender(
        "ImageDigestDoesNotMatchException",
        format!("The image digest '{given}' does not match the calculated digest '{actual}'"),
    )
}

pub(super) fn too_many_tags(limit: usize) -> Fault {
    Fault::sender(
        "TooManyTagsException",
        format!("A resource can have at most {limit} tags"),
    )
}

pub(super) fn invalid_tag(message: String) -> Fault {
    Fault::sender("InvalidTagParameterException", message)
}

pub(super) fn limit_exceeded(message: impl Into<String>) -> Fault {
    Fault::sender("LimitExceededException", message)
}

/// A code and a reason, for one item of a batch.
pub(super) type Failure = (&'static str, &'static str);

pub(super) const IMAGE_NOT_FOUND: Failure = ("ImageNotFound", "Requested image not found");
pub(super) const NO_DIGEST_AND_TAG: Failure = (
    "MissingDigestAndTag",
    "Invalid request parameters: both tag and digest cannot be null",
);
pub(super) const BAD_IMAGE_DIGEST: Failure = (
    "InvalidImageDigest",
    "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
);
pub(super) const BAD_IMAGE_TAG: Failure = (
    "InvalidImageTag",
    "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9_][a-zA-Z0-9-_.]{0,127}'",
);
pub(super) const TAG_NOT_ON_DIGEST: Failure = (
    "ImageTagDoesNotMatchDigest",
    "Requested image tag does not belong to the requested image digest",
);
pub(super) const NO_LAYER_DIGEST: Failure = (
    "MissingLayerDigest",
    "Invalid request parameters: layer digest cannot be empty",
);
pub(super) const BAD_LAYER_DIGEST: Failure = (
    "InvalidLayerDigest",
    "Invalid request parameters: layer digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
);

/// The failure of deleting a member of an index.
pub(super) fn referenced_by_index(by: &Digest) -> (&'static str, String) {
    (
        "ImageReferencedByManifestList",
        format!("Requested image referenced by manifest list: [{by}]"),
    )
}
