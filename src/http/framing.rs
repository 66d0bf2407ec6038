//! PURE: follows the bytes of an HTTP/1 connection and notices a request that names both of its
//! framings.
//!
//! RFC 9112 section 6.3 lets a server refuse a request with Content-Length *and* Transfer-Encoding,
//! and one that stands behind a proxy should: the two may disagree about where it ends. hyper drops
//! Content-Length without a word in either order (the chunked framing wins and the connection
//! closes), so by the time a handler runs the header is gone. This follower reads the same bytes as
//! hyper does, heads line by line and bodies by their length alone, so its cost is one pass over
//! each head.
//!
//! It decides nothing about validity. Where it loses its way it goes quiet: hyper refuses malformed
//! heads by itself.

/// Where in the stream of requests the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before or in the head: the line being read is kept in `line`.
    Head,
    /// In a body of known length.
    Body(u64),
    /// In the line that opens a chunk.
    ChunkSize,
    /// In a chunk's data, its closing CR LF included.
    Chunk(u64),
    /// After the last chunk.
    Trailers,
    /// Not followed any more: HTTP/2, an upgrade, or a head that hyper refuses.
    Lost,
}

/// Enough of a line to hold `Transfer-Encoding: gzip, chunked` or a Content-Length of 20 digits.
const LINE_KEPT_BYTES: usize = 64;

/// The state of one connection.
#[derive(Debug)]
pub struct Framing {
    place: Place,
    /// The beginning of a line that a read cut in two.
    line: Vec<u8>,
    content_length: Option<u64>,
    chunked: bool,
    started: bool,
    double: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            place: Place::Head,
            line: Vec::new(),
            content_length: None,
            chunked: false,
            started: false,
            double: false,
        }
    }
}

impl Framing {
    /// One that follows nothing, for HTTP/2 connections.
    #[must_use]
    pub fn off() -> Self {
        Self {
            place: Place::Lost,
            ..Self::default()
        }
    }

    /// Whether a request with two framings has been seen.
    #[must_use]
    pub fn is_double(&self) -> bool {
        self.double
    }

    /// Whether a head has begun and is not complete.
    #[must_use]
    pub fn in_head(&self) -> bool {
        self.place == Place::Head && self.started
    }

    /// Whether the peer owes the rest of a body.
    #[must_use]
    pub fn in_body(&self) -> bool {
        matches!(
            self.place,
            Place::Body(_) | Place::ChunkSize | Place::Chunk(_) | Place::Trailers
        )
    }

    /// Takes the next bytes that arrived.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.place {
                Place::Lost => return,
                Place::Body(left) => match skip(&mut bytes, left) {
                    0 => self.next_request(),
                    left => self.place = Place::Body(left),
                },
                Place::Chunk(left) => match skip(&mut bytes, left) {
                    0 => self.place = Place::ChunkSize,
                    left => self.place = Place::Chunk(left),
                },
                Place::Head | Place::ChunkSize | Place::Trailers => self.take_line(&mut bytes),
            }
        }
    }

    /// Reads up to the next line feed, or keeps the piece for later where none came.
    fn take_line(&mut self, bytes: &mut &[u8]) {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.started |= self.place == Place::Head;
            self.keep(bytes);
            *bytes = &[];
            return;
        };
        let (line, rest) = bytes.split_at(end);
        *bytes = &rest[1..];
        if self.line.is_empty() {
            self.line_ended(line);
        } else {
            self.keep(line);
            let line = std::mem::take(&mut self.line);
            self.line_ended(&line);
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = LINE_KEPT_BYTES.saturating_sub(self.line.len());
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn line_ended(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.place {
            Place::Head if line.is_empty() => self.head_ended(),
            Place::Head => {
                self.started = true;
                self.field(line);
            }
            Place::ChunkSize => {
                self.place = match chunk_size(line) {
                    Some(0) => Place::Trailers,
                    Some(size) => size.checked_add(2).map_or(Place::Lost, Place::Chunk),
                    None => Place::Lost,
                }
            }
            Place::Trailers if line.is_empty() => self.next_request(),
            Place::Trailers | Place::Body(_) | Place::Chunk(_) | Place::Lost => {}
        }
    }

    fn field(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            // Zero stands in for an unreadable length: hyper refuses the request, what counts is
            // that the field was there.
            self.content_length = Some(decimal(value).unwrap_or(0));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = true;
        }
    }

    fn head_ended(&mut self) {
        if !self.started {
            return; // An empty line before a request line: RFC 9112 section 2.2 has it skipped.
        }
        match (self.content_length, self.chunked) {
            (Some(_), true) => {
                self.double = true;
                self.place = Place::Lost;
            }
            (None, true) => self.place = Place::ChunkSize,
            (Some(length), false) if length > 0 => self.place = Place::Body(length),
            _ => self.next_request(),
        }
    }

    fn next_request(&mut self) {
        self.place = Place::Head;
        self.content_length = None;
        self.chunked = false;
        self.started = false;
    }
}

/// Drops up to `left` bytes; returns how many are still to come.
fn skip(bytes: &mut &[u8], left: u64) -> u64 {
    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    *bytes = &bytes[here..];
    left - here as u64
}

fn decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line
        .split(|byte| matches!(byte, b';' | b' ' | b'\t'))
        .next()?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod laws {
    use proptest::prelude::*;

    use super::*;

    /// One request as bytes, and whether it names two framings.
    fn request() -> impl Strategy<Value = (Vec<u8>, bool)> {
        let body = proptest::collection::vec(any::<u8>(), 0..200);
        (body, 0..5_u8, any::<bool>()).prop_map(|(body, kind, upper)| {
            let (length, coding) = if upper {
                ("CONTENT-LENGTH", "TRANSFER-ENCODING")
            } else {
                ("Content-Length", "transfer-encoding")
            };
            let chunks = if body.is_empty() {
                b"0\r\n\r\n".to_vec()
            } else {
                [
                    format!("{:x};a=b\r\n", body.len()).as_bytes(),
                    &body,
                    b"\r\n0\r\nX-Trailer: 1\r\n\r\n",
                ]
                .concat()
            };
            let start = b"PATCH /v2/ HTTP/1.1\r\nHost: x\r\n".to_vec();
            match kind {
                0 => ([start, b"\r\n".to_vec()].concat(), false),
                1 => (
                    [
                        start,
                        format!("{length}: {}\r\n\r\n", body.len()).into_bytes(),
                        body,
                    ]
                    .concat(),
                    false,
                ),
                2 => (
                    [
                        start,
                        format!("{coding}: chunked\r\n\r\n").into_bytes(),
                        chunks,
                    ]
                    .concat(),
                    false,
                ),
                3 => (
                    [
                        start,
                        format!("{coding}: chunked\r\n{length}: 5\r\n\r\n").into_bytes(),
                        chunks,
                    ]
                    .concat(),
                    true,
                ),
                _ => (
                    [
                        start,
                        format!("{length}: 5\r\nA: b\r\n{coding}: chunked\r\n\r\n").into_bytes(),
                        chunks,
                    ]
                    .concat(),
                    true,
                ),
            }
        })
    }

    proptest! {
        #[test]
        fn two_framings_are_seen_however_the_bytes_are_cut(
            requests in proptest::collection::vec(request(), 1..6),
            cuts in proptest::collection::vec(1..40_usize, 1..50),
        ) {
            let stream: Vec<u8> = requests.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            let expected = requests.iter().any(|(_, double)| *double);
            let mut framing = Framing::default();
            let (mut rest, mut cuts) = (stream.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, later) = rest.split_at((*cuts.next().unwrap_or(&1)).min(rest.len()));
                framing.feed(piece);
                rest = later;
            }
            prop_assert_eq!(framing.is_double(), expected);
            if !expected {
                prop_assert!(!framing.in_head() && !framing.in_body(), "{:?}", framing);
            }
        }

        #[test]
        fn no_bytes_break_it(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..16)) {
            let mut framing = Framing::default();
            for piece in pieces {
                framing.feed(&piece);
            }
        }
    }
}
