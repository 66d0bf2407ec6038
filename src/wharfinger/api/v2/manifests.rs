//! `/v2/NAME/manifests/REFERENCE`: manifests read, pushed and deleted. The bytes are never changed.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use wharfinger_oci::{Algorithm, Digest, Manifest, Reference, Tag};
use wharfinger_registry::{Image, Push, Repository, StoredManifest};

use crate::api::v2::conditional::{Verdict, entity_tag, judge};
use crate::api::v2::error::{Code, Refusal};
use crate::api::v2::visit::{DOCKER_CONTENT_DIGEST, Visit, digest_header, empty, visible};

const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// GET: the bytes as they were pushed, whatever `Accept` says, since another form would have
/// another digest.
pub(super) async fn read(
    visit: &Visit<'_>,
    repository: &Repository,
    reference: &Reference,
) -> Result<Response<Body>, Refusal> {
    let images = &visit.app.registry.images;
    let StoredManifest { image, bytes } = images.get(repository.id, reference).await?;
    let mut response = answer(visit, &image);
    if response.status() == StatusCode::OK {
        images.note_pull(&image);
        *response.body_mut() = Body::from(bytes);
    }
    Ok(response)
}

/// HEAD: the same answer from the image's row alone.
pub(super) async fn check(
    visit: &Visit<'_>,
    repository: &Repository,
    reference: &Reference,
) -> Result<Response<Body>, Refusal> {
    Ok(answer(
        visit,
        &visit
            .app
            .registry
            .images
            .head(repository.id, reference)
            .await?,
    ))
}

/// Head of the answer: 200, 304 or 412.
fn answer(visit: &Visit<'_>, image: &Image) -> Response<Body> {
    let verdict = judge(visit.headers, &image.digest);
    if verdict == Verdict::Failed {
        return empty(StatusCode::PRECONDITION_FAILED);
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(DOCKER_CONTENT_DIGEST, digest_header(&image.digest));
    headers.insert(ETAG, entity_tag(&image.digest));
    if verdict == Verdict::NotModified {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(CONTENT_TYPE, visible(image.media_type.to_string()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(image.manifest_size));
    response
}

/// PUT: 201 when the manifest and its tags are durable and every reader sees them.
pub(super) async fn put(
    visit: &Visit<'_>,
    repository: &Repository,
    reference: &Reference,
    body: &mut Body,
) -> Result<Response<Body>, Refusal> {
    let extra_tags = visit.query.tags()?;
    let content_type = visit
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let bytes = read_bounded(visit, body).await?;
    let algorithm = match reference {
        Reference::Digest(digest) => digest.algorithm(),
        Reference::Tag(_) => Algorithm::Sha256,
    };
    let digest = Digest::of(algorithm, &bytes);
    let mut tags = extra_tags.clone();
    match reference {
        Reference::Digest(expected) if *expected != digest => {
            return Err(Refusal::new(
                Code::DigestInvalid,
                format!("the manifest's digest is {digest}, not {expected}"),
            ));
        }
        Reference::Digest(_) => {}
        Reference::Tag(tag) if tags.contains(tag) => {}
        Reference::Tag(tag) => tags.push(tag.clone()),
    }
    let manifest = Manifest::parse(&bytes, content_type)?;
    let subject = manifest.subject.as_ref().map(|subject| subject.digest);
    visit
        .app
        .registry
        .images
        .put(
            repository,
            Push {
                manifest,
                bytes,
                digest,
                tags,
                refuse_existing: false,
            },
        )
        .await?;
    Ok(created(repository, &digest, subject.as_ref(), &extra_tags))
}

fn created(
    repository: &Repository,
    digest: &Digest,
    subject: Option<&Digest>,
    tags: &[Tag],
) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(
        LOCATION,
        visible(format!("/v2/{}/manifests/{digest}", repository.name)),
    );
    headers.insert(DOCKER_CONTENT_DIGEST, digest_header(digest));
    if let Some(subject) = subject {
        headers.insert(OCI_SUBJECT, digest_header(subject));
    }
    if !tags.is_empty() {
        headers.insert(
            OCI_TAG,
            visible(tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ")),
        );
    }
    response
}

/// The whole body, which may have at most [`Manifest::MAX_BYTES`]. A length that says more is
/// refused before anything is read.
async fn read_bounded(visit: &Visit<'_>, body: &mut Body) -> Result<Bytes, Refusal> {
    let too_large = || {
        let message = format!("a manifest has at most {} bytes", Manifest::MAX_BYTES);
        Refusal::new(Code::SizeInvalid, message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    let declared = visit
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|declared| declared > Manifest::MAX_BYTES) {
        return Err(too_large());
    }
    match Limited::new(body, Manifest::MAX_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Refusal::new(
            Code::ManifestInvalid,
            format!("the request's body ended early: {error}"),
        )),
    }
}

/// DELETE: a tag goes alone, a digest with every tag on it.
pub(super) async fn delete(
    visit: &Visit<'_>,
    repository: &Repository,
    reference: &Reference,
) -> Result<Response<Body>, Refusal> {
    let images = &visit.app.registry.images;
    match reference {
        Reference::Tag(tag) => images.delete_tag(repository.id, tag).await?,
        Reference::Digest(digest) => images.delete_manifest(repository.id, digest).await?,
    }
    Ok(empty(StatusCode::ACCEPTED))
}
