//! `/v2/NAME/blobs/DIGEST`: blobs read, whole or by range, checked and deleted.

use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LOCATION, RANGE,
};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use wharfinger_oci::Digest;
use wharfinger_registry::{Blob, Repository};

use crate::api::v2::conditional::{Verdict, entity_tag, judge, range_applies};
use crate::api::v2::error::{Code, Refusal};
use crate::api::v2::range::Asked;
use crate::api::v2::visit::{DOCKER_CONTENT_DIGEST, Visit, digest_header, empty, visible};

const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");

/// How long a redirect to the blob store can be followed: a client follows at once, and comes back
/// here to resume.
const REDIRECT_LIFETIME: Duration = Duration::from_mins(20);

/// GET: the bytes, or the one range asked for; several ranges get the whole. Where configured and
/// possible, the way to the blob store's own signed address instead.
pub(super) async fn read(
    visit: &Visit<'_>,
    repository: &Repository,
    digest: &Digest,
) -> Result<Response<Body>, Refusal> {
    let content = &visit.app.registry.content;
    let blob = content.get(repository.id, digest).await?;
    let mut response = answer(visit, &blob);
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    if visit.app.config.presigned_redirects
        && let Some(url) = content.presign(&blob, REDIRECT_LIFETIME).await?
    {
        let mut redirect = empty(StatusCode::TEMPORARY_REDIRECT);
        redirect.headers_mut().insert(LOCATION, visible(url.into()));
        redirect
            .headers_mut()
            .insert(DOCKER_CONTENT_DIGEST, digest_header(digest));
        return Ok(redirect);
    }
    let range = asked_range(visit, &blob)?;
    if let Some(range) = &range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, blob.size);
        response.headers_mut().insert(CONTENT_RANGE, visible(text));
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    }
    let sent = content.open(&blob, range).await?;
    *response.body_mut() = match visit.sendfile {
        // The kernel sends the file where the connection can hand it over: plain HTTP/1.
        Some(queue) => sent.into_file().map_or_else(Body::new, |(file, range)| {
            Body::new(queue.body(file, range))
        }),
        None => Body::new(sent),
    };
    Ok(response)
}

/// HEAD: whether the blob is here, and that it will be for a push's time; `Range` means nothing to
/// a HEAD.
pub(super) async fn check(
    visit: &Visit<'_>,
    repository: &Repository,
    digest: &Digest,
) -> Result<Response<Body>, Refusal> {
    Ok(answer(
        visit,
        &visit
            .app
            .registry
            .content
            .get_and_keep(repository.id, digest)
            .await?,
    ))
}

/// DELETE: this repository lets go of the blob.
pub(super) async fn delete(
    visit: &Visit<'_>,
    repository: &Repository,
    digest: &Digest,
) -> Result<Response<Body>, Refusal> {
    visit
        .app
        .registry
        .content
        .unlink(repository.id, digest)
        .await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// Head of the answer: 200, 304 or 412.
fn answer(visit: &Visit<'_>, blob: &Blob) -> Response<Body> {
    let verdict = judge(visit.headers, &blob.digest);
    if verdict == Verdict::Failed {
        return empty(StatusCode::PRECONDITION_FAILED);
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(DOCKER_CONTENT_DIGEST, digest_header(&blob.digest));
    headers.insert(ETAG, entity_tag(&blob.digest));
    if verdict == Verdict::NotModified {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(CONTENT_TYPE, OCTET_STREAM);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(blob.size));
    headers.insert(ACCEPT_RANGES, BYTES);
    response
}

/// The part asked for; `None` for the whole. A range of which nothing exists is 416 with the size.
fn asked_range(visit: &Visit<'_>, blob: &Blob) -> Result<Option<Range<u64>>, Refusal> {
    let Some(header) = visit
        .headers
        .get(RANGE)
        .filter(|_| range_applies(visit.headers, &blob.digest))
    else {
        return Ok(None);
    };
    // What is not visible ASCII is no range that RFC 9110 knows.
    let header = header.to_str().unwrap_or("bytes=");
    match Asked::of(header, blob.size) {
        Asked::Whole => Ok(None),
        Asked::Part(range) => Ok(Some(range)),
        Asked::Nothing => Err(Refusal::new(
            Code::SizeInvalid,
            "the range does not lie within the blob",
        )
        .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
        .with_detail(&json!({ "range": header, "size": blob.size }))
        .with_header(CONTENT_RANGE, visible(format!("bytes */{}", blob.size)))),
    }
}
