//! Requests as the load generator sends them, and the scripts that decide which comes next.

use std::fmt::Write as _;

use bytes::Bytes;

use super::response::Response;

/// One request, ready to be written.
#[derive(Clone)]
pub(crate) struct Request {
    /// Head, and body in at most two pieces (its own beginning, and bytes shared with others).
    pub(crate) parts: [Bytes; 3],
    /// The one status that is no error.
    pub(crate) expect: u16,
    /// A HEAD: its response has no body.
    pub(crate) bodiless: bool,
    /// The script wants to see Location and body of the response.
    pub(crate) keep: bool,
    /// The response counts and its latency is kept.
    pub(crate) counted: bool,
}

impl Request {
    /// A request without a body. `headers` are whole lines, each with its line end.
    pub(crate) fn new(method: &str, path: &str, headers: &str, expect: u16) -> Self {
        Self::with_body(method, path, headers, [Bytes::new(), Bytes::new()], expect)
    }

    pub(crate) fn with_body(
        method: &str,
        path: &str,
        headers: &str,
        body: [Bytes; 2],
        expect: u16,
    ) -> Self {
        let length = body[0].len() + body[1].len();
        let mut head = String::with_capacity(256);
        let _ = write!(
            head,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}"
        );
        if length > 0 || matches!(method, "POST" | "PUT" | "PATCH") {
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        head.push_str("\r\n");
        let [first, second] = body;
        Self {
            parts: [head.into(), first, second],
            expect,
            bodiless: method == "HEAD",
            keep: false,
            counted: true,
        }
    }

    #[must_use]
    pub(crate) fn kept(mut self) -> Self {
        self.keep = true;
        self
    }

    #[must_use]
    pub(crate) fn uncounted(mut self) -> Self {
        self.counted = false;
        self
    }
}

/// Chooses the next request of each connection.
pub(crate) trait Script {
    /// The next request of `connection`; `response` is that to its previous one. None: the
    /// connection
    /// has done its part.
    fn next(&mut self, connection: usize, response: Option<&Response>) -> Option<Request>;
}
