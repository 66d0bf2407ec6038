//! The parts of a request that a signature covers.

use http::HeaderMap;

/// All of a request that a signature covers.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Path and query as they came, still percent-encoded; the query without its `?`.
    pub path: &'a str,
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// The authority of the request's URI: stands in for `host`, which HTTP/2 does not send.
    pub authority: Option<&'a str>,
    /// Lower-case hexadecimal SHA-256 of the body.
    pub body_hash: &'a str,
}
