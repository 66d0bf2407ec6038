//! Headers and sizes that responses of several endpoints share.

use http::{HeaderName, HeaderValue};
use wharfinger_oci::Digest;

pub(crate) const DOCKER_CONTENT_DIGEST: HeaderName =
    HeaderName::from_static("docker-content-digest");

/// Most items on a page of tags or repositories, and their number where the client does not state
/// one: about 130 KB of the longest tags, one read of a few milliseconds.
pub(crate) const PAGE_ITEMS: usize = 1_000;

/// The value of a header whose text is known to be printable ASCII: digests, names, paths.
pub(crate) fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

pub(crate) fn digest_header(digest: &Digest) -> HeaderValue {
    ascii(digest.to_string())
}
