//! Requests that RFC 9110, 9112 or 9113 require a server to reject and that hyper accepts, and
//! those with too many header fields.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::Full;

use crate::connection::Connection;
use crate::head_capture::{BodyFraming, Framing};
use crate::response_body::ResponseContent;

/// Most header fields of a request: the limit that hyper has on HTTP/1. Each takes about 120 bytes
/// of memory besides its text, so that without a limit the length of a head would not bound its
/// memory.
const MAX_FIELDS: usize = 100;

/// Why a request is rejected before it reaches a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a request has either Content-Length or Transfer-Encoding, not both")]
    Framing,
    #[error("an HTTP/1.1 request has exactly one Host field")]
    HostCount,
    #[error("the Host field is not a host name with an optional port")]
    Host,
    #[error("the Host field differs from the request's target")]
    HostConflict,
    #[error("a request has at most {MAX_FIELDS} header fields")]
    Fields,
}

/// Checks one request of this connection. To be called once for each, in their order.
pub(crate) fn check<B: Body>(
    request: &Request<B>,
    connection: &Connection,
) -> Result<(), Malformed> {
    if request.version() <= Version::HTTP_11 {
        check_framing(request, connection)?;
    }
    if request.headers().len() > MAX_FIELDS {
        return Err(Malformed::Fields);
    }
    check_host(request)
}

fn check_framing<B: Body>(request: &Request<B>, connection: &Connection) -> Result<(), Malformed> {
    let chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let body = match request.body().size_hint().exact() {
        Some(length) if !chunked => BodyFraming::Length(length),
        _ => BodyFraming::Chunked,
    };
    let framing = connection.head().take(request.method(), body);
    match framing {
        Framing::Unambiguous => Ok(()),
        Framing::Conflicting | Framing::Unknown => Err(Malformed::Framing),
    }
}

/// RFC 9112 section 3.2 and RFC 9113 section 8.3.1.
fn check_host<B>(request: &Request<B>) -> Result<(), Malformed> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) if request.version() != Version::HTTP_11 => return Ok(()),
        _ => return Err(Malformed::HostCount),
    };
    if !is_host(host) {
        return Err(Malformed::Host);
    }
    let target = request.uri().authority().map(Authority::as_str);
    match target {
        Some(target) if request.version() == Version::HTTP_2 && target != host => {
            Err(Malformed::HostConflict)
        }
        _ => Ok(()),
    }
}

/// `uri-host [ ":" port ]`, which may be empty.
fn is_host(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    // The complete grammar takes a copy.
    is_plain_host(value)
        || !bytes.contains(&b'@')
            && Authority::try_from(bytes).is_ok_and(|authority| {
                let port = &authority.as_str()[authority.host().len()..];
                !authority.host().is_empty() && is_port(port)
            })
}

/// Letters, digits, dots and hyphens, with or without a port: what most hosts consist of.
fn is_plain_host(value: &HeaderValue) -> bool {
    let Ok(host) = value.to_str() else {
        return false;
    };
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    name.bytes().all(is_plain) && (port.is_empty() || !name.is_empty()) && is_port(port)
}

/// Nothing, or a colon and the decimal number of a port, which may be empty.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some("") => true,
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}

impl Malformed {
    const fn status(self) -> StatusCode {
        match self {
            Self::Fields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Framing | Self::HostCount | Self::Host | Self::HostConflict => {
                StatusCode::BAD_REQUEST
            }
        }
    }

    /// 400 or 431, after which the connection closes.
    pub(crate) fn into_response<B>(self) -> Response<ResponseContent<B>> {
        let text = Bytes::from(format!("{self}\n"));
        let mut response = Response::new(ResponseContent::Right(Full::new(text)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(version: Version, target: &str, hosts: &[&str]) -> Result<(), Malformed> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        check_host(&request.body(()).expect("a request"))
    }

    #[test]
    fn http_1_1_needs_one_valid_host() {
        for (hosts, expected) in [
            (&["localhost:5000"][..], Ok(())),
            (&["a.dkr.ecr.eu-west-1.amazonaws.com"], Ok(())),
            (&["[::1]:80"], Ok(())),
            (&["127.0.0.1:"], Ok(())),
            (&[""], Ok(())),
            (&[], Err(Malformed::HostCount)),
            (&["a", "a"], Err(Malformed::HostCount)),
            (&["a b"], Err(Malformed::Host)),
            (&["a/b"], Err(Malformed::Host)),
            (&["user@a"], Err(Malformed::Host)),
            (&["a:x"], Err(Malformed::Host)),
            (&["a.b-c:65535"], Ok(())),
            (&["a:65536"], Err(Malformed::Host)),
            (&["a:99999"], Err(Malformed::Host)),
            (&[":80"], Err(Malformed::Host)),
        ] {
            assert_eq!(host(Version::HTTP_11, "/", hosts), expected, "{hosts:?}");
        }
        assert_eq!(host(Version::HTTP_10, "/", &[]), Ok(()));
    }

    #[test]
    fn http_2_needs_no_host_but_no_other_one() {
        let target = "http://a:1/";
        assert_eq!(host(Version::HTTP_2, target, &[]), Ok(()));
        assert_eq!(host(Version::HTTP_2, target, &["a:1"]), Ok(()));
        assert_eq!(
            host(Version::HTTP_2, target, &["b:1"]),
            Err(Malformed::HostConflict)
        );
    }
}
