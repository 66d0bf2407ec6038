//! The errors of the ECR API: every wire code and message of this API is here.
//!
//! Source: the ECR API reference; messages as clients and issues quote them.

use wharfinger_aws::{Family, Fault};
use wharfinger_iam as iam;
use wharfinger_oci::{Digest, ManifestError, Tag};
use wharfinger_registry::{self as registry, ImportError, Repository, SecretError};

use crate::MODEL;

/// An error of an ECR operation. Errors of the registry and of sign-in convert into it, so that
/// operations use `?`.
#[derive(Debug)]
pub struct Error(Box<Fault>);

impl Error {
    #[cfg(test)]
    pub(super) fn fault(&self) -> &Fault {
        &self.0
    }

    /// An operation on a repository for whose request no repository was loaded.
    pub(super) fn no_repository() -> Self {
        Fault::internal(Family::Json).into()
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self(Box::new(fault))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        *error.0
    }
}

impl From<iam::Error> for Error {
    fn from(error: iam::Error) -> Self {
        match error {
            iam::Error::Policy(why) => invalid_policy(&why),
            iam::Error::LimitExceeded { .. } => invalid("PolicyText", &error.to_string()),
            _ => Fault::internal(Family::Json).with_cause(&error).into(),
        }
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        use registry::Error as E;
        let code = match &error {
            E::NoSuchRepository { .. } => "RepositoryNotFoundException",
            E::RepositoryExists { .. } => "RepositoryAlreadyExistsException",
            E::RepositoryNotEmpty { .. } => "RepositoryNotEmptyException",
            E::NoRepositoryPolicy { .. } => "RepositoryPolicyNotFoundException",
            E::NoRegistryPolicy { .. } => "RegistryPolicyNotFoundException",
            E::NoSigningConfiguration { .. } => "SigningConfigurationNotFoundException",
            E::TemplateExists { .. } => "TemplateAlreadyExistsException",
            E::NoSuchTemplate { .. } => "TemplateNotFoundException",
            E::ExclusionExists { .. } => "ExclusionAlreadyExistsException",
            E::NoSuchExclusion { .. } => "ExclusionNotFoundException",
            E::NoSuchImage(_) | E::ImageArchived(_) => "ImageNotFoundException",
            E::ArchiveOfMember { .. } => "ImageStorageClassUpdateNotSupportedException",
            E::LifecyclePolicy(why) => return invalid_lifecycle_policy(why),
            E::NoLifecyclePolicy { .. } => "LifecyclePolicyNotFoundException",
            E::NoLifecyclePreview { .. } => "LifecyclePolicyPreviewNotFoundException",
            E::LifecyclePreviewInProgress { .. } => "LifecyclePolicyPreviewInProgressException",
            E::ImageExists { .. } => "ImageAlreadyExistsException",
            E::TagImmutable { .. } => "ImageTagAlreadyExistsException",
            E::ManifestDigestMismatch { .. } => "ImageDigestDoesNotMatchException",
            E::Manifest(error) => return invalid_manifest(error),
            E::MissingBlobs(_) | E::NoSuchBlob(_) => "LayersNotFoundException",
            E::MissingMembers(_) => "ReferencedImagesNotFoundException",
            E::ReferencedByIndex { .. } => "InvalidParameterException",
            E::UnsupportedImage => "UnsupportedImageTypeException",
            E::NoSuchUpload => "UploadNotFoundException",
            E::OutOfOrder { .. } | E::PartLength { .. } | E::UploadBusy => {
                "InvalidLayerPartException"
            }
            E::DigestMismatch { .. } => return layer_digest_mismatch(),
            E::PartTooSmall { .. } => "LayerPartTooSmallException",
            E::EmptyUpload => "EmptyUploadException",
            E::TooLarge { .. }
            | E::TooManyTags { .. }
            | E::TooManyUploads { .. }
            | E::QuotaReached { .. }
            | E::ScanQuota
            | E::TooManyPullThroughRules { .. } => "LimitExceededException",
            E::NoSuchPullThroughRule { .. } => "PullThroughCacheRuleNotFoundException",
            E::PullThroughRuleExists { .. } => "PullThroughCacheRuleAlreadyExistsException",
            E::UnsupportedUpstream(_) => "UnsupportedUpstreamRegistryException",
            E::UpstreamSecret(SecretError::NotFound) => "SecretNotFoundException",
            E::UpstreamSecret(SecretError::Inaccessible) => "UnableToAccessSecretException",
            E::UpstreamSecret(SecretError::Undecryptable) => "UnableToDecryptSecretValueException",
            E::UpstreamSecret(SecretError::Malformed | SecretError::Role)
            | E::NoReplicationDestination { .. } => "ValidationException",
            E::Import(_) => "UnableToGetUpstreamImageException",
            E::ReplicationRules(why) => {
                return invalid("replicationConfiguration", &why.to_string());
            }
            E::BackfillInProgress { .. } => "ReplicationBackfillInProgressException",
            E::NoSuchBackfill { .. } => "ReplicationBackfillNotFoundException",
            E::BackfillNotRunning { .. } => "ReplicationBackfillInvalidStatusException",
            _ if error.is_unavailable() => {
                return Fault::unavailable(Family::Json).with_cause(&error).into();
            }
            E::NoSpace
            | E::BodyEnded(_)
            | E::Index(_)
            | E::Blobs(_)
            | E::UpstreamSecret(SecretError::Failed)
            | E::SigningKeyName(_)
            | E::SigningKeyExists(_)
            | E::NoSigningKey(_) => {
                return Fault::internal(Family::Json).with_cause(&error).into();
            }
        };
        sender(code, error.to_string())
    }
}

fn sender(code: &'static str, message: impl Into<String>) -> Error {
    Fault::sender(code, message).into()
}

/// A member that breaks a rule which only its operation can check.
pub(super) fn invalid(member: &str, constraint: &str) -> Error {
    MODEL.limits.refusal(member, constraint).into()
}

/// A policy that is not valid. ECR's own message says nothing about the cause; it is added.
pub(super) fn invalid_policy(why: &iam::PolicyError) -> Error {
    let constraint = format!("Invalid repository policy provided: {why}");
    invalid("PolicyText", &constraint)
}

/// A policy of a registry that is not valid.
pub(super) fn invalid_registry_policy(why: &iam::PolicyError) -> Error {
    let constraint = format!("Invalid registry policy provided: {why}");
    invalid("PolicyText", &constraint)
}

/// Why the principals of a registry policy cannot be looked up.
pub(super) fn of_registry_policy(error: iam::Error) -> Error {
    match error {
        iam::Error::Policy(why) => invalid_registry_policy(&why),
        error => error.into(),
    }
}

/// What the operations for registries say of members that do not go together.
pub(super) fn validation(message: impl Into<String>) -> Error {
    sender("ValidationException", message)
}

/// A lifecycle policy that is not valid.
fn invalid_lifecycle_policy(why: &registry::LifecyclePolicyError) -> Error {
    let constraint = format!("Lifecycle policy validation failure: {why}");
    invalid("LifecyclePolicyText", &constraint)
}

/// An invalid combination of members.
pub(super) fn invalid_request(message: impl Into<String>) -> Error {
    sender("InvalidParameterException", message)
}

/// The failure of an image that did not come from upstream; `None` for one that is not there.
pub(super) fn upstream_failure(why: &ImportError) -> Option<(&'static str, String)> {
    let code = match why {
        ImportError::NotFound => return None,
        ImportError::Denied(_) | ImportError::Secret(_) => "UpstreamAccessDenied",
        ImportError::TooManyRequests { .. } => "UpstreamTooManyRequests",
        ImportError::Unavailable(_)
        | ImportError::Invalid(_)
        | ImportError::RepositoryAppeared
        | ImportError::Internal => "UpstreamUnavailable",
    };
    Some((code, why.to_string()))
}

/// A rule whose secret gives no credentials for its upstream registry.
pub(super) fn no_upstream_image(why: SecretError) -> Error {
    sender("UnableToGetUpstreamImageException", why.to_string())
}

pub(super) fn no_upstream_layer(why: &ImportError) -> Error {
    sender("UnableToGetUpstreamLayerException", why.to_string())
}

pub(super) fn unsupported_upstream(url: &str) -> Error {
    registry::Error::UnsupportedUpstream(url.to_owned()).into()
}

/// A member that is not of the type that its shape has, such as text that is no Base64.
pub(super) fn serialization(message: &str) -> Error {
    Fault::serialization(message).into()
}

/// A manifest that the registry does not accept. Of text that is no JSON, ECR says
/// `Invalid JSON syntax`.
pub(super) fn invalid_manifest(error: &ManifestError) -> Error {
    match error {
        ManifestError::Syntax(_) => invalid("ImageManifest", "Invalid JSON syntax"),
        error => invalid("ImageManifest", &error.to_string()),
    }
}

fn layer_digest_mismatch() -> Error {
    let message = "None of the provided layer digests match the calculated layer digest";
    sender("InvalidLayerException", message)
}

pub(super) fn image_not_found(
    repository: &Repository,
    digest: Option<&str>,
    tag: Option<&str>,
) -> Error {
    let shown = |part: Option<&str>| part.unwrap_or("null").to_owned();
    let (name, account) = (&repository.name, repository.registry.account);
    let message = format!(
        "The image with imageId {{imageDigest:'{}', imageTag:'{}'}} does not exist \
         within the repository with name '{name}' in the registry with id '{account}'",
        shown(digest),
        shown(tag)
    );
    sender("ImageNotFoundException", message)
}

/// An image that was never scanned.
pub(super) fn no_scan(repository: &Repository, digest: Option<&str>, tag: Option<&str>) -> Error {
    let shown = |part: Option<&str>| part.unwrap_or("null").to_owned();
    let (name, account) = (&repository.name, repository.registry.account);
    let message = format!(
        "Image scan does not exist for the image with '{{imageDigest:'{}', imageTag:'{}'}}' in the \
         repository with name '{name}' in the registry with id '{account}'",
        shown(digest),
        shown(tag)
    );
    sender("ScanNotFoundException", message)
}

/// An index or artifact, which has no layers of files.
pub(super) fn unsupported_image(repository: &Repository, digest: &Digest) -> Error {
    let (name, account) = (&repository.name, repository.registry.account);
    let message = format!(
        "The image with digest '{digest}' in the repository with name '{name}' in the registry \
         with id '{account}' is of a type that cannot be scanned"
    );
    sender("UnsupportedImageTypeException", message)
}

/// An archived image, whose layers cannot be read. The message is the model's description of the
/// exception.
pub(super) fn image_archived() -> Error {
    sender(
        "ImageArchivedException",
        "The specified image is archived and cannot be scanned.",
    )
}

pub(super) fn image_exists(repository: &Repository, digest: &Digest, tag: Option<&Tag>) -> Error {
    let (name, account) = (&repository.name, repository.registry.account);
    let tag = tag.map_or("null", Tag::as_str);
    let message = format!(
        "Image with digest '{digest}' and tag '{tag}' already exists in the repository with \
         name '{name}' in registry with id '{account}'"
    );
    sender("ImageAlreadyExistsException", message)
}

/// `PutImage` of a manifest whose layers, or (for an index) images, are not there.
pub(super) fn missing_content(repository: &Repository, layers: bool, digests: &[Digest]) -> Error {
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
        "{what} with digests '[{list}]' required for pushing image into repository with \
         name '{name}' in the registry with id '{account}' do not exist"
    );
    sender(code, message)
}

pub(super) fn layer_not_found(repository: &Repository, digest: &str) -> Error {
    let (name, account) = (&repository.name, repository.registry.account);
    let message = format!(
        "The layer with digest {digest} does not exist within the repository with name '{name}' \
         in the registry with id '{account}'"
    );
    sender("LayersNotFoundException", message)
}

pub(super) fn layer_inaccessible(repository: &Repository, digest: &Digest) -> Error {
    let name = &repository.name;
    let message = format!(
        "The layer with digest {digest} is not referenced by any image in the repository \
         with name '{name}'"
    );
    sender("LayerInaccessibleException", message)
}

/// A layer that only archived images need.
pub(super) fn layer_archived(repository: &Repository, digest: &Digest) -> Error {
    let name = &repository.name;
    let message = format!(
        "The layer with digest {digest} belongs to archived images only in the repository with \
         name '{name}'"
    );
    sender("LayerInaccessibleException", message)
}

pub(super) fn layer_exists(repository: &Repository, digest: &Digest) -> Error {
    let name = &repository.name;
    sender(
        "LayerAlreadyExistsException",
        format!("Layer with digest '{digest}' already exists in the repository with name '{name}'"),
    )
}

pub(super) fn no_such_upload(repository: &Repository, upload: &str) -> Error {
    let Repository { name, registry, .. } = repository;
    let account = registry.account;
    let message = format!(
        "The upload with id '{upload}' does not exist in the repository with name '{name}' in \
         the registry with id '{account}'"
    );
    sender("UploadNotFoundException", message)
}

/// A part that does not follow the bytes received so far, with the members by which a client
/// resumes.
pub(super) fn invalid_part(
    repository: &Repository,
    upload: &str,
    last_valid_byte: u64,
    message: String,
) -> Error {
    Fault::sender("InvalidLayerPartException", message)
        .with_field("registryId", repository.registry.account.as_str())
        .with_field("repositoryName", repository.name.as_str())
        .with_field("uploadId", upload)
        .with_field("lastValidByteReceived", last_valid_byte)
        .into()
}

pub(super) fn digest_mismatch(given: &str, actual: &Digest) -> Error {
    sender(
        "ImageDigestDoesNotMatchException",
        format!("The image digest '{given}' does not match the calculated digest '{actual}'"),
    )
}

pub(super) fn too_many_tags(limit: usize) -> Error {
    sender(
        "TooManyTagsException",
        format!("A resource can have at most {limit} tags"),
    )
}

pub(super) fn invalid_tag(message: String) -> Error {
    sender("InvalidTagParameterException", message)
}

pub(super) fn limit_exceeded(message: impl Into<String>) -> Error {
    sender("LimitExceededException", message)
}

/// A code and a reason, for one item of a batch.
pub(super) type Failure = (&'static str, &'static str);

pub(super) const IMAGE_NOT_FOUND: Failure = ("ImageNotFound", "Requested image not found");
pub(super) const IMAGE_ARCHIVED: Failure = (
    "ImageInaccessible",
    "Requested image is archived and must be restored before it can be pulled",
);
pub(super) const NO_DIGEST_AND_TAG: Failure = (
    "MissingDigestAndTag",
    "Invalid request parameters: both tag and digest cannot be null",
);
pub(super) const BAD_IMAGE_DIGEST: Failure = (
    "InvalidImageDigest",
    "Invalid request parameters: image digest should satisfy the regex \
     '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
);
pub(super) const BAD_IMAGE_TAG: Failure = (
    "InvalidImageTag",
    "Invalid request parameters: image tag should satisfy the regex \
     '[a-zA-Z0-9_][a-zA-Z0-9-_.]{0,127}'",
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
    "Invalid request parameters: layer digest should satisfy the regex \
     '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
);

/// The failure of deleting a member of an index.
pub(super) fn referenced_by_index(by: &Digest) -> (&'static str, String) {
    (
        "ImageReferencedByManifestList",
        format!("Requested image referenced by manifest list: [{by}]"),
    )
}
