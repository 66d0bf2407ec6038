//! Finds requests that carry both Content-Length and Transfer-Encoding.
//!
//! RFC 9112 section 6.1 lets a server reject such a request, and a server that may be used through
//! a proxy should: the two may disagree about where the request ends. hyper removes Content-Length
//! while it parses the head and closes the connection after the response, so a handler cannot see
//! the conflict. Therefore the bytes of each head are kept until hyper has parsed it.
//!
//! Bodies are not followed. After a body in chunks it is not known where the next head begins if
//! the peer did not wait for the response (pipelining). A chunked request whose own head was not
//! seen whole is rejected too.

use http::Method;
use memchr::memmem;

/// More than this stays allocated only while a head needs it.
const KEPT_BYTES: usize = 4 * 1024;

/// The bytes that arrived since the last request.
#[derive(Debug, Default)]
pub(crate) struct HeadCapture {
    bytes: Vec<u8>,
}

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// By one rule of RFC 9112.
    Unambiguous,
    /// The head has both Content-Length and Transfer-Encoding.
    Conflicting,
    /// The head was not seen whole.
    Unknown,
}

impl HeadCapture {
    /// Adds bytes that arrived, up to `limit` in all.
    pub(crate) fn extend(&mut self, bytes: &[u8], limit: usize) {
        let left = limit.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(left)]);
    }

    /// To be called for each parsed request: removes its head. What follows is kept only if the
    /// request has no body, because then it is the next head.
    pub(crate) fn take(&mut self, method: &Method, has_body: bool, chunked: bool) -> Framing {
        if !chunked && self.is_one_head() {
            self.clear();
            return Framing::Unambiguous;
        }
        let head = Head::find(&self.bytes);
        let framing = match &head {
            _ if !chunked => Framing::Unambiguous,
            Some(head) if head.method != method.as_str().as_bytes() => Framing::Unknown,
            Some(head) if head.has_length => Framing::Conflicting,
            Some(_) => Framing::Unambiguous,
            None => Framing::Unknown,
        };
        match head.map(|head| head.end) {
            Some(end) if !has_body && end < self.bytes.len() => drop(self.bytes.drain(..end)),
            _ => self.clear(),
        }
        framing
    }

    /// Whether the bytes are a single head with the usual line ends: the case of nearly every
    /// request, found without reading line by line.
    fn is_one_head(&self) -> bool {
        const END: &[u8] = b"\r\n\r\n";
        memmem::find(&self.bytes, END).is_some_and(|start| start + END.len() == self.bytes.len())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }
}

/// A complete head.
struct Head<'a> {
    method: &'a [u8],
    has_length: bool,
    /// Bytes up to and including the empty line.
    end: usize,
}

impl<'a> Head<'a> {
    fn find(bytes: &'a [u8]) -> Option<Self> {
        let mut method = None;
        let mut has_length = false;
        let mut end = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            let line = line.strip_suffix(b"\n")?;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match (method, line.is_empty()) {
                // RFC 9112 section 2.2: empty lines before a request line are ignored.
                (None, true) => {}
                (None, false) => method = line.split(|byte| *byte == b' ').next(),
                (Some(method), true) => {
                    return Some(Self {
                        method,
                        has_length,
                        end,
                    });
                }
                (Some(_), false) => has_length |= is_content_length(line),
            }
        }
        None
    }
}

fn is_content_length(line: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length";
    let name = line.get(..NAME.len());
    name.is_some_and(|name| name.eq_ignore_ascii_case(NAME)) && line.get(NAME.len()) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 32 * 1024;

    fn take(capture: &mut HeadCapture, chunked: bool) -> Framing {
        capture.take(&Method::POST, chunked, chunked)
    }

    #[test]
    fn a_conflict_is_found_in_either_order_however_the_bytes_arrive() {
        for (fields, framing) in [
            ("Transfer-Encoding: chunked", Framing::Unambiguous),
            (
                "Transfer-Encoding: chunked\r\nX-Content-Length: 3",
                Framing::Unambiguous,
            ),
            (
                "transfer-encoding: chunked\r\nCONTENT-LENGTH: 3",
                Framing::Conflicting,
            ),
            (
                "Content-Length: 3\nTransfer-Encoding: chunked",
                Framing::Conflicting,
            ),
        ] {
            let head = format!("\r\nPOST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n0\r\n\r\n");
            for piece in [1, 2, 7, 64, 1_000] {
                let mut capture = HeadCapture::default();
                for bytes in head.as_bytes().chunks(piece) {
                    capture.extend(bytes, LIMIT);
                }
                assert_eq!(take(&mut capture, true), framing, "{fields} by {piece}");
            }
        }
    }

    #[test]
    fn a_pipelined_request_is_checked_by_its_own_head() {
        let mut capture = HeadCapture::default();
        let first = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        capture.extend(first, LIMIT);
        capture.extend(
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            LIMIT,
        );
        assert_eq!(
            capture.take(&Method::GET, false, false),
            Framing::Unambiguous
        );
        assert_eq!(take(&mut capture, true), Framing::Conflicting);
    }

    #[test]
    fn a_chunked_request_whose_head_was_not_seen_is_unknown() {
        let mut capture = HeadCapture::default();
        assert_eq!(take(&mut capture, true), Framing::Unknown);
        capture.extend(b"ing: chunked\r\n\r\n", LIMIT);
        assert_eq!(take(&mut capture, true), Framing::Unknown);
        assert_eq!(take(&mut capture, false), Framing::Unambiguous);
        capture.extend(&[b'a'; 100], 10);
        assert_eq!(capture.bytes.len(), 10);
    }
}
