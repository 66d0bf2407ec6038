//! A request on its way through the face: where it comes from, who sends it, and the parts that
//! answers are made of.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use wharfinger_http::SendfileQueue;
use wharfinger_oci::{Digest, RepositoryName};

use crate::api::gate::Gate;
use crate::api::v2::access::Arrival;
use crate::api::v2::query::Query;
use crate::app::App;

pub(super) const DOCKER_CONTENT_DIGEST: HeaderName =
    HeaderName::from_static("docker-content-digest");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Most items on a page of tags or repositories, and how many there are where the client does not
/// say: about 130 KB of the longest tags, one read of a few milliseconds.
pub(super) const PAGE_ITEMS: usize = 1_000;

/// What every handler may know of its request.
pub(super) struct Visit<'a> {
    pub(super) app: &'a App,
    pub(super) arrival: &'a Arrival<'a>,
    pub(super) gate: Gate<'a>,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: &'a Query<'a>,
    /// Where the connection can send files by itself.
    pub(super) sendfile: Option<&'a SendfileQueue>,
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

/// 200 with a document.
pub(super) fn document(content_type: HeaderValue, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(Bytes::from(body));
    response
}

/// A header of text that is known to be visible ASCII: digests, names, paths.
pub(super) fn visible(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

pub(super) fn digest_header(digest: &Digest) -> HeaderValue {
    visible(digest.to_string())
}

/// Where a blob of a repository is read.
pub(super) fn blob_path(name: &RepositoryName, digest: &Digest) -> String {
    format!("/v2/{name}/blobs/{digest}")
}
