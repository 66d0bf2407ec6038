//! The canonical request: one text for a request, however a client or a proxy wrote it. PURE.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::sigv4::request::Request;

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Builds the canonical request. `presigned` leaves the signature itself out of the query.
pub(super) fn request(
    request: &Request<'_>,
    signed_headers: &str,
    payload_hash: &str,
    presigned: bool,
) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(request.method.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(path(request.path).as_bytes());
    text.push(b'\n');
    text.extend_from_slice(query(request.query, presigned).as_bytes());
    text.push(b'\n');
    for name in signed_headers.split(';') {
        header(&mut text, name, request);
    }
    text.push(b'\n');
    text.extend_from_slice(signed_headers.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload_hash.as_bytes());
    text
}

/// Name and value of each parameter, decoded, in the order given.
pub(super) fn query_pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
        .collect()
}

/// Removes empty and dot segments, then encodes what came once more, as every service but S3 does.
fn path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    if segments.is_empty() {
        return "/".to_owned();
    }
    let folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let mut canonical = String::with_capacity(path.len() + 8);
    for segment in segments {
        canonical.push('/');
        canonical.extend(utf8_percent_encode(segment, RESERVED));
    }
    if folder {
        canonical.push('/');
    }
    canonical
}

/// Sorts by encoded name, then by encoded value.
fn query(query: &str, presigned: bool) -> String {
    let encode = |text: &str| -> String { utf8_percent_encode(text, RESERVED).to_string() };
    let mut pairs: Vec<(String, String)> = query_pairs(query)
        .iter()
        .filter(|(name, _)| !(presigned && name == "X-Amz-Signature"))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort();
    let mut canonical = String::with_capacity(query.len());
    for (name, value) in &pairs {
        if !canonical.is_empty() {
            canonical.push('&');
        }
        canonical.push_str(name);
        canonical.push('=');
        canonical.push_str(value);
    }
    canonical
}

/// `name:value` with values trimmed, inner runs of spaces made one, and repeated headers joined by
/// commas in the order they came.
fn header(text: &mut Vec<u8>, name: &str, request: &Request<'_>) {
    text.extend_from_slice(name.as_bytes());
    text.push(b':');
    let mut values = request
        .headers
        .get_all(name)
        .iter()
        .map(|value| Cow::Borrowed(value.as_bytes()))
        .peekable();
    if values.peek().is_none()
        && let ("host" | ":authority", Some(authority)) = (name, request.authority)
    {
        text.extend_from_slice(authority.as_bytes());
    }
    for (at, value) in values.enumerate() {
        if at > 0 {
            text.push(b',');
        }
        let mut words = value
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        if let Some(first) = words.next() {
            text.extend_from_slice(first);
        }
        for word in words {
            text.push(b' ');
            text.extend_from_slice(word);
        }
    }
    text.push(b'\n');
}
