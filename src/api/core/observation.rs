//! Metrics and the request log, recorded when the response's body has ended, whichever way.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use wharfinger_http::Connection;
use wharfinger_telemetry::{BytesCounter, REQUEST_ID, Started};

use crate::request_log::{Line, RequestLog};

/// What the handler says about its response, for metrics and the log: an extension of the response.
#[derive(Clone, Debug, Default)]
pub struct ResponseInfo {
    /// The operation, by a name from a table; `None` for a request that names none.
    pub operation: Option<&'static str>,
    /// The AWS service of the operation, where it is known.
    pub service: Option<&'static str>,
    /// The authenticated caller.
    pub caller: Option<String>,
    /// The error code of the response.
    pub error_code: Option<String>,
    /// Counts the bytes of the body as they are sent.
    pub sent_bytes: Option<BytesCounter>,
}

impl ResponseInfo {
    /// Information that names the operation only.
    #[must_use]
    pub fn of(operation: &'static str) -> Self {
        Self {
            operation: Some(operation),
            ..Self::default()
        }
    }

    /// Attaches the information to a response.
    #[must_use]
    pub fn attach(self, mut response: Response<Body>) -> Response<Body> {
        response.extensions_mut().insert(self);
        response
    }
}

/// A request from its start to the end of its response's body.
pub(crate) struct Observation {
    started: Started,
    log: RequestLog,
    peer: IpAddr,
    method: Method,
    uri: Uri,
}

impl Observation {
    pub(crate) fn start<B>(
        started: Started,
        log: RequestLog,
        request: &http::Request<B>,
        connection: &Connection,
    ) -> Self {
        Self {
            started,
            log,
            peer: connection.peer().ip(),
            method: request.method().clone(),
            uri: request.uri().clone(),
        }
    }

    /// Attaches the observation to its response: it is recorded when the body ends or is dropped.
    pub(crate) fn follow(self, response: Response<Body>) -> Response<ObservedBody> {
        let (mut head, body) = response.into_parts();
        let record = Record {
            observation: self,
            status: head.status,
            request_id: head.headers.get(REQUEST_ID).cloned(),
            info: head.extensions.remove().unwrap_or_default(),
            sent: 0,
        };
        let observed = if body.is_end_stream() {
            record.write(false);
            ObservedBody { body, record: None }
        } else {
            let record = Some(Box::new(record));
            ObservedBody { body, record }
        };
        Response::from_parts(head, observed)
    }
}

/// What is recorded about a request.
struct Record {
    observation: Observation,
    status: StatusCode,
    request_id: Option<HeaderValue>,
    info: ResponseInfo,
    sent: u64,
}

impl Record {
    fn write(self, aborted: bool) {
        let Self {
            observation,
            status,
            request_id,
            info,
            sent,
        } = self;
        let took = observation
            .started
            .finish(info.operation, status.as_u16(), aborted);
        let id = request_id.as_ref().and_then(|id| id.to_str().ok());
        observation.log.write(&Line {
            id: id.unwrap_or("-"),
            peer: observation.peer,
            method: &observation.method,
            path: observation.uri.path(),
            status,
            operation: info.operation,
            caller: info.caller.as_deref(),
            error_code: info.error_code.as_deref(),
            sent,
            aborted,
            took,
        });
    }
}

/// A response's body that records the request when it ends. A body that is dropped before its end
/// was aborted by the client, or by an error while it was read.
pub struct ObservedBody {
    body: Body,
    record: Option<Box<Record>>,
}

impl ObservedBody {
    fn finish(&mut self, aborted: bool) {
        if let Some(record) = self.record.take() {
            record.write(aborted);
        }
    }
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if let Some(record) = &mut self.record {
                    record.sent += bytes as u64;
                    if let Some(counter) = &record.info.sent_bytes {
                        counter.add(bytes);
                    }
                }
                // A body of known length is not polled again after its last byte.
                if self.body.is_end_stream() {
                    self.finish(false);
                }
            }
            Some(Err(_)) => self.finish(true),
            None => self.finish(false),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ObservedBody {
    fn drop(&mut self) {
        // hyper drops a body of known length after its last byte without polling for the end.
        let aborted = self.body.size_hint().exact() != Some(0);
        self.finish(aborted);
    }
}
