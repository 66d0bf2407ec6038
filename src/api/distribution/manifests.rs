//! `/v2/NAME/manifests/REFERENCE`: manifests read, pushed and deleted. The bytes are never changed.

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use wharfinger_api_core::response::empty;
use wharfinger_api_core::{ReceiveBodyError, ReceivedBody};
use wharfinger_oci::{Algorithm, Digest, Manifest, Reference, RepositoryName, Tag};
use wharfinger_registry::{Image, Puller, Push, StoredManifest};

use crate::error::{Code, DistributionError};
use crate::preconditions::{Preconditions, check_preconditions, set_digest_headers};
use crate::request::AuthorizedRequest;
use crate::response::{DOCKER_CONTENT_DIGEST, ascii, digest_header};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// GET: the bytes as they were pushed, whatever `Accept` says, since another form would have
/// another digest.
pub(crate) fn read(request: &AuthorizedRequest<'_>) -> Result<Response<Body>, DistributionError> {
    let images = &request.state().registry.images;
    let StoredManifest { image, bytes } = request.manifest()?;
    let mut response = head(request.headers(), image);
    if response.status() == StatusCode::OK {
        images.note_pull(image, || Puller {
            registry: request.registry.clone(),
            principal: request.caller.principal_arn().clone(),
        });
        *response.body_mut() = Body::from(bytes.clone());
    }
    Ok(response)
}

/// HEAD: the same head.
pub(crate) fn check(request: &AuthorizedRequest<'_>) -> Result<Response<Body>, DistributionError> {
    Ok(head(request.headers(), &request.manifest()?.image))
}

/// PUT: 201 when the manifest and its tags are durable and visible to every reader.
pub(crate) async fn put(
    request: &AuthorizedRequest<'_>,
    body: Body,
) -> Result<Response<Body>, DistributionError> {
    let (repository, reference) = (request.repository()?, request.reference()?);
    let extra_tags = request.query.tags()?;
    // Held until the manifest is stored: the memory of its bytes is charged until then.
    let received = receive_manifest(request, body).await?;
    let bytes = received.bytes.clone();
    let digest = checked_digest(reference, &bytes)?;
    let content_type = request.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let manifest = Manifest::parse_new(&bytes, content_type)?;
    let subject = manifest.subject.as_ref().map(|subject| subject.digest);
    let mut tags = extra_tags.clone();
    if let Reference::Tag(tag) = reference
        && !tags.contains(tag)
    {
        tags.push(tag.clone());
    }
    let push = Push {
        manifest,
        bytes,
        digest,
        tags,
        refuse_existing: false,
    };
    let images = &request.state().registry.images;
    images.put(repository, push).await?;
    Ok(created(
        &repository.name,
        &digest,
        subject.as_ref(),
        &extra_tags,
    ))
}

/// DELETE: a tag alone, or a manifest with every tag on it.
pub(crate) async fn delete(
    request: &AuthorizedRequest<'_>,
) -> Result<Response<Body>, DistributionError> {
    let repository = request.repository()?.id;
    let images = &request.state().registry.images;
    match request.reference()? {
        Reference::Tag(tag) => images.delete_tag(repository, tag).await?,
        Reference::Digest(digest) => images.delete_manifest(repository, digest).await?,
    }
    Ok(empty(StatusCode::ACCEPTED))
}

/// The head of the response: 200, 304 or 412.
fn head(headers: &HeaderMap, image: &Image) -> Response<Body> {
    let preconditions = check_preconditions(headers, &image.digest);
    if preconditions == Preconditions::Failed {
        return empty(StatusCode::PRECONDITION_FAILED);
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    set_digest_headers(headers, &image.digest);
    if preconditions == Preconditions::NotModified {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(CONTENT_TYPE, ascii(image.media_type.to_string()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(image.manifest_size));
    response
}

/// The digest of a pushed manifest, by the algorithm of the reference.
///
/// # Errors
/// `DIGEST_INVALID` where the reference is another digest.
fn checked_digest(reference: &Reference, bytes: &[u8]) -> Result<Digest, DistributionError> {
    let Reference::Digest(expected) = reference else {
        return Ok(Digest::of(Algorithm::Sha256, bytes));
    };
    let digest = Digest::of(expected.algorithm(), bytes);
    if digest == *expected {
        return Ok(digest);
    }
    let message = format!("the digest of the manifest is {digest}, not {expected}");
    Err(DistributionError::new(Code::DigestInvalid, message))
}

/// Receives the body, which has at most [`Manifest::MAX_BYTES`]. A larger `Content-Length` is
/// refused before a byte is read.
async fn receive_manifest(
    request: &AuthorizedRequest<'_>,
    body: Body,
) -> Result<ReceivedBody, DistributionError> {
    let max_bytes = Manifest::MAX_BYTES;
    let declared = request.content_length();
    if declared.is_some_and(|declared| declared > max_bytes as u64) {
        return Err(body_error(ReceiveBodyError::TooLarge));
    }
    let context = request.incoming.context;
    let received = context.receive_body(body, max_bytes, request.caller.budget_id());
    received.await.map_err(body_error)
}

fn body_error(error: ReceiveBodyError) -> DistributionError {
    match error {
        ReceiveBodyError::TooLarge => {
            let message = format!("a manifest has at most {} bytes", Manifest::MAX_BYTES);
            DistributionError::new(Code::SizeInvalid, message)
                .with_status(StatusCode::PAYLOAD_TOO_LARGE)
        }
        ReceiveBodyError::Exhausted => no_memory(error),
        ReceiveBodyError::Malformed | ReceiveBodyError::EndedEarly => {
            DistributionError::new(Code::ManifestInvalid, error.to_string())
        }
    }
}

/// 503 for a body that the server has no memory for.
pub(crate) fn no_memory(error: ReceiveBodyError) -> DistributionError {
    DistributionError::new(Code::Unknown, error.to_string())
        .with_status(StatusCode::SERVICE_UNAVAILABLE)
        .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
}

fn created(
    name: &RepositoryName,
    digest: &Digest,
    subject: Option<&Digest>,
    tags: &[Tag],
) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(LOCATION, ascii(format!("/v2/{name}/manifests/{digest}")));
    headers.insert(DOCKER_CONTENT_DIGEST, digest_header(digest));
    if let Some(subject) = subject {
        headers.insert(OCI_SUBJECT, digest_header(subject));
    }
    if !tags.is_empty() {
        let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
        headers.insert(OCI_TAG, ascii(tags.join(", ")));
    }
    response
}
