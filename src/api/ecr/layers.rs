//! `BatchCheckLayerAvailability`, `GetDownloadUrlForLayer` and the three steps of a layer's upload.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::AccountId;
use wharfinger_iam::{LAYER_TICKET_PARAMETER, LAYER_TICKET_TTL, LayerGrant};
use wharfinger_oci::{Algorithm, Digest, RepositoryName};
use wharfinger_registry::{self as registry, LayerUse, Part, RegistryId, Repository};

use crate::resource::{RepositoryRef, ResourceId};
use crate::{Ecr, Error, Result, error, upstream};

/// The part size that clients are to use, in bytes: within ECR's documented 5 to 10 MiB.
const PART_BYTES: u64 = 10 * 1024 * 1024;

/// An upload's id, a UUID in either case.
#[derive(Clone, Copy, Debug)]
struct UploadId(Uuid);

impl Serialize for UploadId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UploadId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?
            .parse()
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchCheckLayerAvailability {
    #[serde(flatten)]
    repository: RepositoryRef,
    layer_digests: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct BatchCheckLayerAvailabilityOutput {
    layers: Vec<LayerView>,
    failures: Vec<LayerFailure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LayerView {
    layer_digest: String,
    #[serde(rename = "layerAvailability")]
    availability: &'static str,
    #[serde(rename = "layerSize", skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LayerFailure {
    layer_digest: String,
    failure_code: &'static str,
    failure_reason: &'static str,
}

impl LayerFailure {
    /// The failure of a text that is no digest.
    fn of(layer_digest: String) -> Self {
        let (failure_code, failure_reason) = if layer_digest.is_empty() {
            error::NO_LAYER_DIGEST
        } else {
            error::BAD_LAYER_DIGEST
        };
        Self {
            layer_digest,
            failure_code,
            failure_reason,
        }
    }
}

impl Operation for BatchCheckLayerAvailability {
    type Service = Ecr;
    const NAME: &'static str = "BatchCheckLayerAvailability";
    type Output = BatchCheckLayerAvailabilityOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<BatchCheckLayerAvailabilityOutput> {
        let repository = cx.resource().repository()?;
        let mut output = BatchCheckLayerAvailabilityOutput::default();
        let mut available = Vec::new();
        for layer_digest in self.layer_digests {
            let Ok(digest) = layer_digest.parse::<Digest>() else {
                output.failures.push(LayerFailure::of(layer_digest));
                continue;
            };
            let content = &cx.state().registry.content;
            let (size, availability) = match content.get_and_keep(repository.id, &digest).await {
                Ok(blob) => match content.layer_use(repository.id, &digest).await? {
                    LayerUse::Archived => (Some(blob.size), "ARCHIVED"),
                    LayerUse::Active | LayerUse::None => (Some(blob.size), "AVAILABLE"),
                },
                Err(registry::Error::NoSuchBlob(_)) => {
                    let archived = content.archived_size(repository.id, &digest).await?;
                    (archived, archived.map_or("UNAVAILABLE", |_| "ARCHIVED"))
                }
                Err(error) => return Err(error.into()),
            };
            if size.is_some() {
                available.push((output.layers.len(), digest));
            }
            output.layers.push(LayerView {
                layer_digest,
                availability,
                size,
                media_type: None,
            });
        }
        let (layers, digests): (Vec<_>, Vec<_>) = available.into_iter().unzip();
        if !digests.is_empty() {
            let content = &cx.state().registry.content;
            let types = content.media_types(repository.id, digests).await?;
            for (layer, media_type) in layers.into_iter().zip(types) {
                output.layers[layer].media_type = media_type;
            }
        }
        Ok(output)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetDownloadUrlForLayer {
    #[serde(flatten)]
    repository: RepositoryRef,
    layer_digest: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetDownloadUrlForLayerOutput {
    download_url: String,
    layer_digest: Digest,
}

impl Operation for GetDownloadUrlForLayer {
    type Service = Ecr;
    const NAME: &'static str = "GetDownloadUrlForLayer";
    type Output = GetDownloadUrlForLayerOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<GetDownloadUrlForLayerOutput> {
        let repository = cx.resource().repository()?;
        let layer_digest: Digest = self
            .layer_digest
            .parse()
            .map_err(|_| error::layer_not_found(repository, &self.layer_digest))?;
        let content = &cx.state().registry.content;
        let blob = match content.get(repository.id, &layer_digest).await {
            Ok(blob) => blob,
            Err(registry::Error::NoSuchBlob(_)) => {
                let archived = content.archived_size(repository.id, &layer_digest);
                if archived.await?.is_some() {
                    return Err(error::layer_archived(repository, &layer_digest));
                }
                if !upstream::import_layer(cx, repository, &layer_digest).await? {
                    return Err(error::layer_not_found(repository, &self.layer_digest));
                }
                // Whoever reads the layer by this URL gets it as it arrives.
                return Ok(GetDownloadUrlForLayerOutput {
                    download_url: download_url(cx, repository, &layer_digest)?,
                    layer_digest,
                });
            }
            Err(error) => return Err(error.into()),
        };
        match content.layer_use(repository.id, &layer_digest).await? {
            LayerUse::Active => {}
            LayerUse::Archived => return Err(error::layer_archived(repository, &layer_digest)),
            LayerUse::None => return Err(error::layer_inaccessible(repository, &layer_digest)),
        }
        let from_store = if cx.state().presigned_downloads {
            content.presign(&blob, LAYER_TICKET_TTL).await?
        } else {
            None
        };
        let download_url = match from_store {
            Some(url) => url.into(),
            None => download_url(cx, repository, &layer_digest)?,
        };
        Ok(GetDownloadUrlForLayerOutput {
            download_url,
            layer_digest,
        })
    }
}

/// The layer's URL on `/v2/` with a ticket, by which anyone who has the URL reads this one layer in
/// the name of the caller for a while.
fn download_url(cx: &Context<Ecr>, repository: &Repository, digest: &Digest) -> Result<String> {
    let RegistryId { account, region } = repository.registry.clone();
    let name = &repository.name;
    let grant = LayerGrant {
        account,
        region,
        repository: name.clone(),
        digest: *digest,
    };
    let state = cx.state();
    let issued = state.iam.layer_ticket(cx.caller(), &grant)?;
    let ticket = issued.token.reveal();
    let base = cx.origin().base_url(&state.names);
    Ok(format!(
        "{base}/v2/{name}/blobs/{digest}?{LAYER_TICKET_PARAMETER}={ticket}"
    ))
}

#[derive(Debug, Deserialize)]
pub(super) struct InitiateLayerUpload {
    #[serde(flatten)]
    repository: RepositoryRef,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InitiateLayerUploadOutput {
    upload_id: UploadId,
    part_size: u64,
}

impl Operation for InitiateLayerUpload {
    type Service = Ecr;
    const NAME: &'static str = "InitiateLayerUpload";
    type Output = InitiateLayerUploadOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<InitiateLayerUploadOutput> {
        let repository = cx.resource().repository()?;
        // All sessions of a role count as one caller: whoever assumes it chooses their names.
        let owner = cx.caller().principal_arn().as_str();
        let uploads = &cx.state().registry.uploads;
        let upload = uploads
            .start(repository.id, Algorithm::Sha256, owner)
            .await?;
        Ok(InitiateLayerUploadOutput {
            upload_id: UploadId(upload.id),
            part_size: PART_BYTES,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadLayerPart {
    #[serde(flatten)]
    repository: RepositoryRef,
    upload_id: UploadId,
    part_first_byte: u64,
    part_last_byte: u64,
    layer_part_blob: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadLayerPartOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    upload_id: UploadId,
    last_byte_received: u64,
}

impl Operation for UploadLayerPart {
    type Service = Ecr;
    const NAME: &'static str = "UploadLayerPart";
    /// The model's largest part, 20 MiB, in Base64, and some.
    const MAX_BODY_BYTES: usize = 28 * 1024 * 1024;
    type Output = UploadLayerPartOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<UploadLayerPartOutput> {
        let repository = cx.resource().repository()?;
        let UploadId(upload) = self.upload_id;
        let bytes = STANDARD
            .decode(self.layer_part_blob)
            .map_err(|_| error::serialization("'layerPartBlob' is not valid Base64"))?;
        let declared = self
            .part_last_byte
            .checked_sub(self.part_first_byte)
            .and_then(|length| length.checked_add(1));
        let actual = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if declared != Some(actual) {
            let message = format!(
                "The layer part has {actual} bytes, which do not fill {} to {}",
                self.part_first_byte, self.part_last_byte
            );
            let last = last_byte(cx, repository, upload).await?;
            return Err(error::invalid_part(
                repository,
                &upload.to_string(),
                last,
                message,
            ));
        }
        let body = futures_util::stream::iter([Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
            Bytes::from(bytes),
        )]);
        let part = Part {
            body,
            offset: Some(self.part_first_byte),
            length: Some(actual),
        };
        let taken = match cx
            .state()
            .registry
            .uploads
            .append(repository.id, upload, part)
            .await
        {
            Ok(taken) => taken,
            Err(error @ registry::Error::OutOfOrder { expected, .. }) => {
                let last = expected.saturating_sub(1);
                return Err(error::invalid_part(
                    repository,
                    &upload.to_string(),
                    last,
                    error.to_string(),
                ));
            }
            Err(error) => return Err(upload_error(repository, upload, error)),
        };
        Ok(UploadLayerPartOutput {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            upload_id: self.upload_id,
            last_byte_received: taken.size.saturating_sub(1),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CompleteLayerUpload {
    #[serde(flatten)]
    repository: RepositoryRef,
    upload_id: UploadId,
    layer_digests: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CompleteLayerUploadOutput {
    registry_id: AccountId,
    repository_name: RepositoryName,
    upload_id: UploadId,
    layer_digest: Digest,
}

impl Operation for CompleteLayerUpload {
    type Service = Ecr;
    const NAME: &'static str = "CompleteLayerUpload";
    type Output = CompleteLayerUploadOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(self.repository.id(scope))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<CompleteLayerUploadOutput> {
        let repository = cx.resource().repository()?;
        // A digest of an algorithm that is not supported matches nothing; the others are tried.
        let digests: Vec<Digest> = self
            .layer_digests
            .iter()
            .filter_map(|digest| digest.parse().ok())
            .collect();
        let (uploads, UploadId(upload)) = (&cx.state().registry.uploads, self.upload_id);
        for digest in &digests {
            match cx
                .state()
                .registry
                .content
                .get_and_keep(repository.id, digest)
                .await
            {
                Ok(_) => {
                    uploads
                        .cancel(repository.id, upload)
                        .await
                        .map_err(|error| upload_error(repository, upload, error))?;
                    return Err(error::layer_exists(repository, digest));
                }
                Err(registry::Error::NoSuchBlob(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let done = uploads.complete_parts(repository.id, upload, digests).await;
        let blob = done.map_err(|error| upload_error(repository, upload, error))?;
        Ok(CompleteLayerUploadOutput {
            registry_id: repository.registry.account,
            repository_name: repository.name.clone(),
            upload_id: self.upload_id,
            layer_digest: blob.digest,
        })
    }
}

/// The last byte that an upload holds; 0 if it holds none, as the model's lowest value is.
async fn last_byte(cx: &Context<Ecr>, repository: &Repository, upload: Uuid) -> Result<u64> {
    let status = cx.state().registry.uploads.status(repository.id, upload);
    let upload = status
        .await
        .map_err(|error| upload_error(repository, upload, error))?;
    Ok(upload.size.saturating_sub(1))
}

/// The error of an upload, whose message names the upload and the repository.
fn upload_error(repository: &Repository, upload: Uuid, error: registry::Error) -> Error {
    match error {
        registry::Error::NoSuchUpload => error::no_such_upload(repository, &upload.to_string()),
        error => error.into(),
    }
}
