//! One line per request worth telling about.

use std::net::IpAddr;
use std::time::Duration;

use http::{Method, StatusCode};
use wharfinger_telemetry::RequestId;

/// What is worth telling.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLog {
    /// All requests.
    pub(super) all: bool,
    /// From here a request is slow.
    pub(super) slow: Duration,
}

/// One request, answered. Never its query or headers: they may hold signatures and tickets.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) id: &'a RequestId,
    pub(super) peer: IpAddr,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) status: StatusCode,
    pub(super) operation: Option<&'a str>,
    pub(super) caller: Option<&'a str>,
    pub(super) fault: Option<&'a str>,
    pub(super) took: Duration,
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    Error,
    Info,
    Debug,
}

impl RequestLog {
    pub(super) fn write(self, line: &Line<'_>) {
        macro_rules! tell {
            ($level:ident) => {
                tracing::$level!(
                    request_id = %line.id,
                    peer = %line.peer,
                    method = %line.method,
                    path = line.path,
                    status = line.status.as_u16(),
                    operation = line.operation,
                    caller = line.caller,
                    fault = line.fault,
                    took_us = u64::try_from(line.took.as_micros()).unwrap_or(u64::MAX),
                    "request"
                )
            };
        }
        match self.voice(line) {
            Voice::Error => tell!(error),
            Voice::Info => tell!(info),
            Voice::Debug => tell!(debug),
        }
    }

    fn voice(self, line: &Line<'_>) -> Voice {
        if line.status.is_server_error() {
            Voice::Error
        } else if self.all
            || line.took >= self.slow
            || line.status == StatusCode::FORBIDDEN
            || changes(line)
        {
            Voice::Info
        } else {
            Voice::Debug
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
    let reads = ["Describe", "List", "Get", "BatchGet", "BatchCheck"];
    line.path != "/"
        || line
            .operation
            .is_some_and(|name| !reads.iter().any(|verb| name.starts_with(verb)))
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
        let id = RequestId::Made(uuid::Uuid::nil());
        for (method, path, operation, status, ms, voice) in [
            (Method::GET, "/v2/", "Ping", 200, 1, Voice::Debug),
            (Method::GET, "/v2/", "Ping", 401, 1, Voice::Debug),
            (Method::GET, "/v2/", "Ping", 200, 1000, Voice::Info),
            (Method::GET, "/v2/", "Ping", 500, 1, Voice::Error),
            (
                Method::GET,
                "/v2/a/tags/list",
                "ListTags",
                403,
                1,
                Voice::Info,
            ),
            (
                Method::PUT,
                "/v2/a/manifests/b",
                "PutManifest",
                201,
                1,
                Voice::Info,
            ),
            (Method::POST, "/", "DescribeImages", 200, 1, Voice::Debug),
            (Method::POST, "/", "PutImage", 200, 1, Voice::Info),
            (Method::POST, "/token", "Token", 200, 1, Voice::Debug),
        ] {
            let line = Line {
                id: &id,
                peer: IpAddr::from([127, 0, 0, 1]),
                method: &method,
                path,
                status: StatusCode::from_u16(status).expect("a status"),
                operation: Some(operation),
                caller: None,
                fault: None,
                took: Duration::from_millis(ms),
            };
            assert_eq!(log.voice(&line), voice, "{method} {path} {status} {ms}");
            assert_ne!(RequestLog { all: true, ..log }.voice(&line), Voice::Debug);
        }
    }
}
