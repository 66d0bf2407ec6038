//! The request log: one line per request that fails, changes something or is slow.

use std::net::IpAddr;
use std::time::Duration;

use http::{Method, StatusCode};

use crate::operation_kind::reads;

/// Which requests are logged.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLog {
    /// Log all requests.
    pub(super) all: bool,
    /// From this duration on a request is slow.
    pub(super) slow: Duration,
}

/// One request whose response has ended. Neither its query nor its headers are logged: they may
/// hold signatures and tickets.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) id: &'a str,
    pub(super) peer: IpAddr,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) status: StatusCode,
    pub(super) operation: Option<&'a str>,
    pub(super) caller: Option<&'a str>,
    pub(super) error_code: Option<&'a str>,
    /// Bytes of the response's body.
    pub(super) sent: u64,
    /// Whether the body ended early.
    pub(super) aborted: bool,
    pub(super) took: Duration,
}

/// The level of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Error,
    Info,
    Debug,
}

impl RequestLog {
    pub(super) fn write(self, line: &Line<'_>) {
        macro_rules! log_line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = line.id,
                    peer = %line.peer,
                    method = %line.method,
                    path = line.path,
                    status = line.status.as_u16(),
                    operation = line.operation,
                    caller = line.caller,
                    error_code = line.error_code,
                    sent_bytes = line.sent,
                    aborted = line.aborted,
                    took_us = u64::try_from(line.took.as_micros()).unwrap_or(u64::MAX),
                    "request"
                )
            };
        }
        match self.level(line) {
            Level::Error => log_line!(error),
            Level::Info => log_line!(info),
            Level::Debug => log_line!(debug),
        }
    }

    fn level(self, line: &Line<'_>) -> Level {
        // An operation that this server does not have is the client's matter.
        if line.status.is_server_error() && line.status != StatusCode::NOT_IMPLEMENTED {
            Level::Error
        } else if self.all
            || line.took >= self.slow
            || line.status == StatusCode::FORBIDDEN
            || changes(line)
        {
            Level::Info
        } else {
            Level::Debug
        }
    }
}

/// Whether the request was made to change something. On the AWS APIs all are POST, and the
/// operation's name says it.
fn changes(line: &Line<'_>) -> bool {
    if matches!(*line.method, Method::GET | Method::HEAD | Method::OPTIONS) || line.path == "/token"
    {
        return false;
    }
    line.path != "/" || line.operation.is_some_and(|name| !reads(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successful_reads_are_quiet() {
        let log = RequestLog {
            all: false,
            slow: Duration::from_secs(1),
        };
        for (method, path, operation, status, ms, level) in [
            (Method::GET, "/v2/", "Ping", 200, 1, Level::Debug),
            (Method::GET, "/v2/", "Ping", 401, 1, Level::Debug),
            (Method::GET, "/v2/", "Ping", 200, 1000, Level::Info),
            (Method::GET, "/v2/", "Ping", 500, 1, Level::Error),
            (Method::POST, "/", "GetObject", 501, 1, Level::Debug),
            (
                Method::GET,
                "/v2/a/tags/list",
                "ListTags",
                403,
                1,
                Level::Info,
            ),
            (
                Method::PUT,
                "/v2/a/manifests/b",
                "PutManifest",
                201,
                1,
                Level::Info,
            ),
            (Method::POST, "/", "DescribeImages", 200, 1, Level::Debug),
            (Method::POST, "/", "PutImage", 200, 1, Level::Info),
            (Method::POST, "/token", "Token", 200, 1, Level::Debug),
        ] {
            let line = Line {
                id: "1",
                peer: IpAddr::from([127, 0, 0, 1]),
                method: &method,
                path,
                status: StatusCode::from_u16(status).expect("a status"),
                operation: Some(operation),
                caller: None,
                error_code: None,
                sent: 0,
                aborted: false,
                took: Duration::from_millis(ms),
            };
            assert_eq!(log.level(&line), level, "{method} {path} {status} {ms}");
            assert_ne!(RequestLog { all: true, ..log }.level(&line), Level::Debug);
        }
    }
}
