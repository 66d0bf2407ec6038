//! `/v2/NAME/blobs/DIGEST`: blobs read, whole or by range, checked and deleted.

use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;
use wharfinger_api_core::ResponseInfo;
use wharfinger_api_core::response::empty;
use wharfinger_oci::Digest;
use wharfinger_registry::{Blob, ImportedLayer};

use crate::error::{Code, DistributionError};
use crate::preconditions::{Preconditions, check_preconditions, range_applies, set_digest_headers};
use crate::range::ByteRange;
use crate::request::AuthorizedRequest;
use crate::response::{DOCKER_CONTENT_DIGEST, ascii, digest_header};

const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");

/// How long a redirect to the blob store is valid. A client follows it at once, and returns here to
/// resume.
const REDIRECT_LIFETIME: Duration = Duration::from_mins(20);

/// GET: the bytes, or the single requested range; several ranges get the whole. Where configured
/// and possible, a redirect to a signed URL of the blob store.
pub(crate) async fn read(
    request: &AuthorizedRequest<'_>,
) -> Result<Response<Body>, DistributionError> {
    let state = request.state();
    if let Some(layer) = &request.importing {
        return import(request, layer);
    }
    let content = &state.registry.content;
    let blob = request.blob()?.blob.clone();
    let mut response = head(request.headers(), &blob.digest, blob.size);
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    if state.config.presigned_redirects
        && let Some(url) = content.presign(&blob, REDIRECT_LIFETIME).await?
    {
        return Ok(redirect(url.into(), &blob));
    }
    let range = requested_range(request.headers(), &blob.digest, blob.size)?;
    if let Some(range) = &range {
        set_content_range(&mut response, range, blob.size);
    }
    let reader = content.open(&blob, range).await?;
    *response.body_mut() = match request.incoming.context.sendfile() {
        // The kernel sends the file where the connection can pass it on: plain HTTP/1.
        Some(queue) => reader.into_file().map_or_else(Body::new, |(file, range)| {
            Body::new(queue.body(file, range))
        }),
        None => Body::new(reader),
    };
    let sent_bytes = Some(state.metrics.blob_bytes_out());
    let info = ResponseInfo {
        sent_bytes,
        ..ResponseInfo::default()
    };
    Ok(info.attach(response))
}

/// GET of a layer that is on its way from an upstream registry: the bytes as they arrive. Where the
/// import fails, or the layer has another digest at the end, the response breaks off.
fn import(
    request: &AuthorizedRequest<'_>,
    layer: &ImportedLayer,
) -> Result<Response<Body>, DistributionError> {
    let (headers, size) = (request.headers(), layer.size());
    let mut response = head(headers, layer.digest(), size);
    if response.status() != StatusCode::OK {
        return Ok(response);
    }
    let range = requested_range(headers, layer.digest(), size)?;
    if let Some(range) = &range {
        set_content_range(&mut response, range, size);
    }
    *response.body_mut() = Body::from_stream(layer.read(range.unwrap_or(0..size)));
    let sent_bytes = Some(request.state().metrics.blob_bytes_out());
    let info = ResponseInfo {
        sent_bytes,
        ..ResponseInfo::default()
    };
    Ok(info.attach(response))
}

/// HEAD: whether the blob exists. It is then kept for the time that a push takes. `Range` has no
/// meaning for a HEAD.
pub(crate) async fn check(
    request: &AuthorizedRequest<'_>,
) -> Result<Response<Body>, DistributionError> {
    if let Some(layer) = &request.importing {
        return Ok(head(request.headers(), layer.digest(), layer.size()));
    }
    let content = &request.state().registry.content;
    let blob = content.keep(request.blob()?).await?;
    Ok(head(request.headers(), &blob.digest, blob.size))
}

/// DELETE: unlinks the blob from this repository.
pub(crate) async fn delete(
    request: &AuthorizedRequest<'_>,
) -> Result<Response<Body>, DistributionError> {
    let content = &request.state().registry.content;
    content
        .unlink(request.repository()?.id, request.digest()?)
        .await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// The head of the response: 200, 304 or 412.
fn head(headers: &HeaderMap, digest: &Digest, size: u64) -> Response<Body> {
    let preconditions = check_preconditions(headers, digest);
    if preconditions == Preconditions::Failed {
        return empty(StatusCode::PRECONDITION_FAILED);
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    set_digest_headers(headers, digest);
    if preconditions == Preconditions::NotModified {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    headers.insert(CONTENT_TYPE, OCTET_STREAM);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(ACCEPT_RANGES, BYTES);
    response
}

fn redirect(url: String, blob: &Blob) -> Response<Body> {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    let headers = response.headers_mut();
    headers.insert(LOCATION, ascii(url));
    headers.insert(DOCKER_CONTENT_DIGEST, digest_header(&blob.digest));
    response
}

fn set_content_range(response: &mut Response<Body>, range: &Range<u64>, total: u64) {
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let text = format!("bytes {}-{}/{total}", range.start, range.end - 1);
    let headers = response.headers_mut();
    headers.insert(CONTENT_RANGE, ascii(text));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
}

/// The requested range; `None` for the whole. An unsatisfiable range is 416 with the size.
fn requested_range(
    headers: &HeaderMap,
    digest: &Digest,
    size: u64,
) -> Result<Option<Range<u64>>, DistributionError> {
    let applies = || range_applies(headers, digest);
    let Some(header) = headers.get(RANGE).filter(|_| applies()) else {
        return Ok(None);
    };
    // A header that is not ASCII is not a range that RFC 9110 defines.
    let header = header.to_str().unwrap_or("bytes=");
    match ByteRange::parse(header, size) {
        ByteRange::Whole => Ok(None),
        ByteRange::Part(range) => Ok(Some(range)),
        ByteRange::Unsatisfiable => {
            let message = "the range does not lie within the blob";
            let error = DistributionError::new(Code::SizeInvalid, message)
                .with_status(StatusCode::RANGE_NOT_SATISFIABLE)
                .with_detail(&json!({ "range": header, "size": size }))
                .with_header(CONTENT_RANGE, ascii(format!("bytes */{size}")));
            Err(error)
        }
    }
}
