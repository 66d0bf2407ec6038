//! `BatchCheckLayerAvailability`, `GetDownloadUrlForLayer` and the three steps of a layer's upload.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use wharfinger_aws::{AccountId, Fault};
use wharfinger_iam::{LAYER_TICKET_TTL, LayerGrant};
use wharfinger_oci::{Algorithm, Digest, RepositoryName};
use wharfinger_registry::{Error, Part, RegistryId, Repository};

use wharfinger_api_core::RequestScope as Scope;

use crate::api::context::{Context, Demand};
use crate::api::ecr::error;
use crate::api::ecr::place::Place;
use crate::api::operation::Operation;
use crate::api::v2::layer_url;

/// The part size that clients are told to use, in bytes: within ECR's documented 5 to 10 MiB.
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
    place: Place,
    layer_digests: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Availability {
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
    const NAME: &'static str = "BatchCheckLayerAvailability";
    type Output = Availability;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![
            self.place.demand("ecr:BatchCheckLayerAvailability", scope),
        ])
    }

    async fn run(self, cx: &Context) -> Result<Availability, Fault> {
        let repository = self.place.repository(cx).await?;
        let mut answer = Availability::default();
        for layer_digest in self.layer_digests {
            let Ok(digest) = layer_digest.parse::<Digest>() else {
                answer.failures.push(LayerFailure::of(layer_digest));
                continue;
            };
            let size = match cx
                .app()
                .registry
                .content
                .get_and_keep(repository.id, &digest)
                .await
            {
                Ok(blob) => Some(blob.size),
                Err(Error::NoSuchBlob(_)) => None,
                Err(error) => return Err(error::fault(cx, &error)),
            };
            let availability = if size.is_some() {
                "AVAILABLE"
            } else {
                "UNAVAILABLE"
            };
            answer.layers.push(LayerView {
                layer_digest,
                availability,
                size,
            });
        }
        Ok(answer)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetDownloadUrlForLayer {
    #[serde(flatten)]
    place: Place,
    layer_digest: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DownloadUrl {
    download_url: String,
    layer_digest: Digest,
}

impl Operation for GetDownloadUrlForLayer {
    const NAME: &'static str = "GetDownloadUrlForLayer";
    type Output = DownloadUrl;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![self.place.demand("ecr:GetDownloadUrlForLayer", scope)])
    }

    async fn run(self, cx: &Context) -> Result<DownloadUrl, Fault> {
        let repository = self.place.repository(cx).await?;
        let layer_digest: Digest = self
            .layer_digest
            .parse()
            .map_err(|_| error::layer_not_found(&repository, &self.layer_digest))?;
        let content = &cx.app().registry.content;
        let blob = match content.get(repository.id, &layer_digest).await {
            Ok(blob) => blob,
            Err(Error::NoSuchBlob(_)) => {
                return Err(error::layer_not_found(&repository, &self.layer_digest));
            }
            Err(error) => return Err(error::fault(cx, &error)),
        };
        if !content
            .is_referenced(repository.id, &layer_digest)
            .await
            .map_err(|error| error::fault(cx, &error))?
        {
            return Err(error::layer_inaccessible(&repository, &layer_digest));
        }
        let from_store = if cx.app().config.presigned_redirects {
            content
                .presign(&blob, LAYER_TICKET_TTL)
                .await
                .map_err(|error| error::fault(cx, &error))?
        } else {
            None
        };
        let download_url = match from_store {
            Some(url) => url.into(),
            None => own_address(cx, &repository, &layer_digest)?,
        };
        Ok(DownloadUrl {
            download_url,
            layer_digest,
        })
    }
}

/// The layer's URL on `/v2/` with a ticket, by which anyone who has the URL reads this one layer in
/// the name of the caller for a while.
fn own_address(cx: &Context, repository: &Repository, digest: &Digest) -> Result<String, Fault> {
    let RegistryId { account, region } = repository.registry.clone();
    let grant = LayerGrant {
        account,
        region,
        repository: repository.name.clone(),
        digest: *digest,
    };
    let ticket = cx
        .app()
        .iam
        .layer_ticket(cx.caller(), &grant)
        .map_err(|error| cx.internal(&error))?;
    Ok(layer_url(
        &cx.base(),
        &repository.name,
        digest,
        ticket.token.reveal(),
    ))
}

#[derive(Debug, Deserialize)]
pub(super) struct InitiateLayerUpload {
    #[serde(flatten)]
    place: Place,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadStarted {
    upload_id: UploadId,
    part_size: u64,
}

impl Operation for InitiateLayerUpload {
    const NAME: &'static str = "InitiateLayerUpload";
    type Output = UploadStarted;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![self.place.demand("ecr:InitiateLayerUpload", scope)])
    }

    async fn run(self, cx: &Context) -> Result<UploadStarted, Fault> {
        let repository = self.place.repository(cx).await?;
        let upload = cx
            .app()
            .registry
            .uploads
            .start(
                repository.id,
                Algorithm::Sha256,
                &cx.caller().arn().to_string(),
            )
            .await
            .map_err(|error| error::fault(cx, &error))?;
        Ok(UploadStarted {
            upload_id: UploadId(upload.id),
            part_size: PART_BYTES,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadLayerPart {
    #[serde(flatten)]
    place: Place,
    upload_id: UploadId,
    part_first_byte: u64,
    part_last_byte: u64,
    layer_part_blob: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartTaken {
    registry_id: AccountId,
    repository_name: RepositoryName,
    upload_id: UploadId,
    last_byte_received: u64,
}

impl Operation for UploadLayerPart {
    const NAME: &'static str = "UploadLayerPart";
    /// The model's largest part, 20 MiB, in Base64, and some.
    const MAX_BODY: usize = 28 * 1024 * 1024;
    type Output = PartTaken;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![self.place.demand("ecr:UploadLayerPart", scope)])
    }

    async fn run(self, cx: &Context) -> Result<PartTaken, Fault> {
        let repository = self.place.repository(cx).await?;
        let UploadId(upload) = self.upload_id;
        let bytes = STANDARD
            .decode(self.layer_part_blob)
            .map_err(|_| Fault::serialization("'layerPartBlob' is not valid Base64"))?;
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
            let last = last_byte(cx, &repository, upload).await?;
            return Err(error::invalid_part(
                &repository,
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
            .app()
            .registry
            .uploads
            .append(repository.id, upload, part)
            .await
        {
            Ok(taken) => taken,
            Err(error @ Error::OutOfOrder { expected, .. }) => {
                let last = expected.saturating_sub(1);
                return Err(error::invalid_part(
                    &repository,
                    &upload.to_string(),
                    last,
                    error.to_string(),
                ));
            }
            Err(error) => return Err(upload_fault(cx, &repository, upload, error)),
        };
        Ok(PartTaken {
            registry_id: repository.registry.account,
            repository_name: repository.name,
            upload_id: self.upload_id,
            last_byte_received: taken.size.saturating_sub(1),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CompleteLayerUpload {
    #[serde(flatten)]
    place: Place,
    upload_id: UploadId,
    layer_digests: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LayerDone {
    registry_id: AccountId,
    repository_name: RepositoryName,
    upload_id: UploadId,
    layer_digest: Digest,
}

impl Operation for CompleteLayerUpload {
    const NAME: &'static str = "CompleteLayerUpload";
    type Output = LayerDone;

    fn demands(&self, scope: &Scope) -> Result<Vec<Demand>, Fault> {
        Ok(vec![self.place.demand("ecr:CompleteLayerUpload", scope)])
    }

    async fn run(self, cx: &Context) -> Result<LayerDone, Fault> {
        let repository = self.place.repository(cx).await?;
        // A digest of an algorithm that is not supported matches nothing; the others are tried.
        let digests: Vec<Digest> = self
            .layer_digests
            .iter()
            .filter_map(|digest| digest.parse().ok())
            .collect();
        let (uploads, UploadId(upload)) = (&cx.app().registry.uploads, self.upload_id);
        for digest in &digests {
            match cx
                .app()
                .registry
                .content
                .get_and_keep(repository.id, digest)
                .await
            {
                Ok(_) => {
                    uploads
                        .cancel(repository.id, upload)
                        .await
                        .map_err(|error| upload_fault(cx, &repository, upload, error))?;
                    return Err(error::layer_exists(&repository, digest));
                }
                Err(Error::NoSuchBlob(_)) => {}
                Err(error) => return Err(error::fault(cx, &error)),
            }
        }
        let done = uploads.complete_parts(repository.id, upload, digests).await;
        let blob = done.map_err(|error| upload_fault(cx, &repository, upload, error))?;
        Ok(LayerDone {
            registry_id: repository.registry.account,
            repository_name: repository.name,
            upload_id: self.upload_id,
            layer_digest: blob.digest,
        })
    }
}

/// The last byte that an upload holds; 0 for one that holds none, as the model's lowest value is.
async fn last_byte(cx: &Context, repository: &Repository, upload: Uuid) -> Result<u64, Fault> {
    let status = cx
        .app()
        .registry
        .uploads
        .status(repository.id, upload)
        .await;
    status
        .map(|upload| upload.size.saturating_sub(1))
        .map_err(|error| upload_fault(cx, repository, upload, error))
}

fn upload_fault(cx: &Context, repository: &Repository, upload: Uuid, error: Error) -> Fault {
    match error {
        Error::NoSuchUpload => {
            error::no_such_upload(&repository.registry, &repository.name, &upload.to_string())
        }
        error => error::fault(cx, &error),
    }
}
