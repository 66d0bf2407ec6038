//! Finds requests that carry both Content-Length and Transfer-Encoding.
//!
//! RFC 9112 section 6.1 lets a server reject such a request, and a server that may be used through
//! a proxy should: the two may disagree about where the request ends. hyper removes Content-Length
//! while it parses the head and closes the connection after the response, so a handler cannot see
//! the conflict. Therefore the bytes of each head are kept until hyper has parsed it.
//!
//! Bodies are not kept. Where the next head begins is known if the peer waited for the response; if
//! it did not (pipelining), the first part of its head may have arrived with the body before it.
//! What follows could then begin like a head of its own, in the middle of a line. Therefore what
//! arrives before a head is followed as far as the body's framing allows, and a chunked request
//! whose own head was not seen whole is rejected too.

use http::Method;
use memchr::memmem;

/// More than this stays allocated only while a head needs it.
const KEPT_BYTES: usize = 4 * 1024;

/// The bytes that arrived since the last request.
#[derive(Debug, Default)]
pub(crate) struct HeadCapture {
    bytes: Vec<u8>,
    /// How many arrived; more than were kept where the limit was reached.
    arrived: u64,
    tail: Tail,
    before: Before,
}

/// What must still arrive before the next head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    /// Nothing: what is kept begins with the head.
    #[default]
    Nothing,
    /// This many bytes of a body.
    Length(u64),
    /// A body in chunks, which ends with an empty line. A part of the next head does not.
    Chunks(Tail),
    /// The start of the next head has passed, or may have.
    Passed,
}

/// The last three bytes that arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tail([u8; 3]);

impl Tail {
    fn then(self, bytes: &[u8]) -> Self {
        let mut tail = self.0;
        for byte in &bytes[bytes.len().saturating_sub(tail.len())..] {
            tail = [tail[1], tail[2], *byte];
        }
        Self(tail)
    }

    fn is_empty_line(self) -> bool {
        self.0.ends_with(b"\n\n") || self.0 == *b"\n\r\n"
    }
}

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// Its length in bytes, which may be 0.
    Length(u64),
    Chunked,
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
    /// Adds bytes that arrived, up to `limit` in all. Those of a body are not kept.
    pub(crate) fn extend(&mut self, mut bytes: &[u8], limit: usize, in_flight: bool) {
        match self.before {
            Before::Length(left) => {
                let of_body =
                    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.before = match left - of_body as u64 {
                    0 => Before::Nothing,
                    left => Before::Length(left),
                };
                bytes = &bytes[of_body..];
            }
            Before::Chunks(tail) if in_flight => {
                self.before = Before::Chunks(tail.then(bytes));
                return;
            }
            Before::Nothing | Before::Chunks(_) | Before::Passed => {}
        }
        let left = limit.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(left)]);
        self.arrived += bytes.len() as u64;
        self.tail = self.tail.then(bytes);
    }

    /// To be called for each parsed request: removes its head, and its body as far as it arrived
    /// and has a length. What follows is the next head.
    pub(crate) fn take(&mut self, method: &Method, body: BodyFraming) -> Framing {
        let seen = match self.before {
            Before::Nothing => true,
            Before::Chunks(tail) => tail.is_empty_line(),
            Before::Length(_) | Before::Passed => false,
        };
        let chunked = body == BodyFraming::Chunked;
        if seen && body == BodyFraming::Length(0) && self.is_one_head() {
            self.clear(Before::Nothing);
            return Framing::Unambiguous;
        }
        let head = Head::find(&self.bytes)
            .filter(|head| seen && head.method == method.as_str().as_bytes());
        let framing = match &head {
            _ if !chunked => Framing::Unambiguous,
            Some(head) if head.has_length => Framing::Conflicting,
            Some(_) => Framing::Unambiguous,
            None => Framing::Unknown,
        };
        let Some(Head { end, .. }) = head else {
            self.clear(Before::Passed);
            return framing;
        };
        let after = self.arrived - end as u64;
        let all_kept = self.arrived == self.bytes.len() as u64;
        match body {
            BodyFraming::Chunked => self.clear(Before::Chunks(self.tail)),
            BodyFraming::Length(length) if length > after => {
                self.clear(Before::Length(length - after));
            }
            BodyFraming::Length(length) if all_kept => {
                let next = end + usize::try_from(length).unwrap_or(usize::MAX);
                self.bytes.drain(..next);
                self.arrived = after - length;
                self.before = Before::Nothing;
            }
            BodyFraming::Length(_) => self.clear(Before::Passed),
        }
        framing
    }

    /// Whether the bytes are a single head with the usual line ends: the case of nearly every
    /// request, found without reading line by line.
    fn is_one_head(&self) -> bool {
        const END: &[u8] = b"\r\n\r\n";
        memmem::find(&self.bytes, END).is_some_and(|start| start + END.len() == self.bytes.len())
    }

    fn clear(&mut self, before: Before) {
        self.before = before;
        self.arrived = 0;
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
        let body = if chunked {
            BodyFraming::Chunked
        } else {
            BodyFraming::Length(0)
        };
        capture.take(&Method::POST, body)
    }

    /// A chunked `POST` after the last byte of `first`, a request with this framing whose response
    /// is complete by then. Its head arrives in two parts, the first of them in flight.
    fn take_after(
        first: &str,
        framing: BodyFraming,
        in_flight: &str,
        idle: &str,
    ) -> (Framing, Framing) {
        let mut capture = HeadCapture::default();
        capture.extend(first.as_bytes(), LIMIT, false);
        let before = capture.take(&Method::POST, framing);
        capture.extend(in_flight.as_bytes(), LIMIT, true);
        capture.extend(idle.as_bytes(), LIMIT, false);
        (before, take(&mut capture, true))
    }

    #[test]
    fn the_start_of_a_head_that_came_with_the_body_before_it_hides_nothing() {
        const LENGTH: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n";
        const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        const START: &str = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX: a";
        const REST: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let length = BodyFraming::Length(3);
        for (first, framing, body) in [
            (LENGTH, length, "abc"),
            (CHUNKED, BodyFraming::Chunked, "3\r\nabc\r\n0\r\n\r\n"),
        ] {
            let in_flight = format!("{body}{START}");
            let found = match framing {
                BodyFraming::Length(_) => Framing::Conflicting,
                BodyFraming::Chunked => Framing::Unknown,
            };
            let expected = (Framing::Unambiguous, found);
            assert_eq!(take_after(first, framing, &in_flight, REST), expected);
            let at_once = format!("{first}{in_flight}");
            assert_eq!(take_after(&at_once, framing, "", REST), expected);

            let expected = (Framing::Unambiguous, Framing::Unambiguous);
            assert_eq!(take_after(first, framing, body, CHUNKED), expected);
            let at_once = format!("{first}{body}");
            assert_eq!(take_after(&at_once, framing, "", CHUNKED), expected);
            let (head, tail) = body.split_at(2);
            let begun = format!("{first}{head}");
            assert_eq!(take_after(&begun, framing, tail, CHUNKED), expected);
        }
        let nothing = BodyFraming::Length(0);
        let first = "POST / HTTP/1.1\r\nHost: x\r\n\r\n";
        let expected = (Framing::Unambiguous, Framing::Conflicting);
        assert_eq!(take_after(first, nothing, START, REST), expected);
        let expected = (Framing::Unambiguous, Framing::Unambiguous);
        assert_eq!(take_after(first, nothing, "", CHUNKED), expected);
    }

    #[test]
    fn a_body_longer_than_what_is_kept_is_counted_whole() {
        let mut capture = HeadCapture::default();
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n";
        capture.extend(head.as_bytes(), 80, false);
        capture.extend(&[b'a'; 60], 80, false);
        capture.take(&Method::POST, BodyFraming::Length(100));
        capture.extend(&[b'a'; 40], 80, true);
        let next = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        capture.extend(next, 80, false);
        assert_eq!(take(&mut capture, true), Framing::Unambiguous);
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
                    capture.extend(bytes, LIMIT, false);
                }
                assert_eq!(take(&mut capture, true), framing, "{fields} by {piece}");
            }
        }
    }

    #[test]
    fn a_pipelined_request_is_checked_by_its_own_head() {
        let mut capture = HeadCapture::default();
        let first = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        capture.extend(first, LIMIT, false);
        capture.extend(
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            LIMIT,
            false,
        );
        assert_eq!(
            capture.take(&Method::GET, BodyFraming::Length(0)),
            Framing::Unambiguous
        );
        assert_eq!(take(&mut capture, true), Framing::Conflicting);
    }

    #[test]
    fn a_chunked_request_whose_head_was_not_seen_is_unknown() {
        let mut capture = HeadCapture::default();
        assert_eq!(take(&mut capture, true), Framing::Unknown);
        capture.extend(b"ing: chunked\r\n\r\n", LIMIT, false);
        assert_eq!(take(&mut capture, true), Framing::Unknown);
        assert_eq!(take(&mut capture, false), Framing::Unambiguous);
        capture.extend(&[b'a'; 100], 10, false);
        assert_eq!(capture.bytes.len(), 10);
    }
}
