//! The one door: every request comes in here, is given its id, counted, limited, handed to the face
//! that its path names, and logged once.
//!
//! It is one function instead of a stack of layers: what all faces need costs about a microsecond
//! here, and reads from top to bottom.

use std::any::Any;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt as _;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use tracing::Instrument as _;
use wharfinger_http::{Connection, Handler};
use wharfinger_telemetry::{Metrics, REQUEST_ID, Reading, RequestId, RequestIds, continue_trace};

use crate::api::gateway::{self, Answered};
use crate::api::rate::RateLimit;
use crate::api::refusal::Refused;
use crate::api::request_log::{Line, RequestLog};
use crate::api::v2::actions::TABLE;
use crate::api::v2::route::Endpoint;
use crate::api::{health, reset, token, v2};
use crate::app::App;
use crate::config::Config;

/// Requests that only ask must have their answer begun by then. Those that bring a body are bounded
/// by how it flows.
const ANSWER_TIME: Duration = Duration::from_mins(1);

/// Who a request is for, told by method and path alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    /// The Distribution API.
    V2,
    /// The AWS APIs.
    Aws,
    Token,
    Live,
    Ready,
    Metrics,
    /// Only under `--dev`; nobody there otherwise.
    Reset,
    Nobody,
}

impl Face {
    fn of(method: &Method, path: &str, dev: bool) -> Self {
        match path {
            "/" if matches!(*method, Method::POST | Method::GET) => Self::Aws,
            "/v2" => Self::V2,
            "/token" => Self::Token,
            "/healthz" => Self::Live,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/_wharfinger/reset" if dev && *method == Method::POST => Self::Reset,
            path if path.starts_with("/v2/") => Self::V2,
            _ => Self::Nobody,
        }
    }

    /// The label in metrics and logs where the face itself does not say more.
    const fn label(self) -> Option<&'static str> {
        match self {
            Self::Token => Some("Token"),
            Self::Live => Some("Live"),
            Self::Ready => Some("Ready"),
            Self::Metrics => Some("Metrics"),
            Self::Reset => Some("Reset"),
            Self::V2 | Self::Aws | Self::Nobody => None,
        }
    }

    const LABELS: [&'static str; 5] = ["Token", "Live", "Ready", "Metrics", "Reset"];
}

/// Every label that a request may be counted under.
fn labels() -> impl Iterator<Item = &'static str> {
    TABLE
        .iter()
        .map(|row| row.endpoint.name())
        .chain(operations())
        .chain(Face::LABELS)
}

fn operations() -> impl Iterator<Item = &'static str> {
    gateway::SERVICES
        .iter()
        .flat_map(|service| service.operations)
        .map(|entry| entry.name)
}

/// The door of one server. Cloning shares it.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    app: Arc<App>,
    metrics: Metrics,
    request_ids: RequestIds,
    rate: Option<RateLimit>,
    log: RequestLog,
    traced: bool,
}

impl Door {
    /// `readings` are other parts' numbers for `/metrics`.
    pub fn new(app: Arc<App>, readings: Vec<Reading>) -> Self {
        let Config {
            access_log,
            slow_request,
            rate,
            traces,
            ..
        } = &app.config;
        Self(Arc::new(Inner {
            metrics: Metrics::new(labels(), readings),
            request_ids: RequestIds::new(&app.ids),
            rate: rate.map(RateLimit::new),
            log: RequestLog {
                all: *access_log,
                slow: *slow_request,
            },
            traced: traces.is_some(),
            app,
        }))
    }
}

impl Handler for Door {
    type Body = Body;

    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        let (inner, connection) = (Arc::clone(&self.0), Arc::clone(connection));
        async move { inner.answer(request, connection).await }
    }
}

impl Inner {
    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: Arc<Connection>,
    ) -> Response<Body> {
        let started = self.metrics.start();
        let id = self.request_ids.of(request.headers());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let (face, peer) = (
            Face::of(&method, uri.path(), self.app.config.dev),
            connection.peer().ip(),
        );
        let double = connection.is_doubly_framed();
        let kind = face.fault_kind(request.headers());
        let mut response = match self.admit(double, request.headers(), peer) {
            Ok(()) => self
                .served(face, self.prepare(request, &id, connection))
                .await
                .unwrap_or_else(|refused| refused.answer(kind, &id)),
            Err(refused) => refused.answer(kind, &id),
        };
        response.headers_mut().insert(REQUEST_ID, id.to_header());
        if double {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let status = response.status();
        let answered = response.extensions().get::<Answered>();
        let operation = match answered {
            Some(answered) => answered.operation,
            None => response
                .extensions()
                .get::<Endpoint>()
                .map(|endpoint| endpoint.name())
                .or(face.label()),
        };
        if response.extensions().get::<Endpoint>() == Some(&Endpoint::ReadBlob)
            && status.is_success()
        {
            self.metrics
                .blob_bytes_out(response.body().size_hint().exact().unwrap_or(0));
        }
        let took = started.finish(operation, status.as_u16());
        let (caller, fault) = answered.map_or((None, None), |answered| {
            (answered.caller.as_deref(), answered.fault.as_deref())
        });
        let path = uri.path();
        self.log.write(&Line {
            id: &id,
            peer,
            method: &method,
            path,
            status,
            operation,
            caller,
            fault,
            took,
        });
        response
    }

    fn admit(&self, double: bool, headers: &HeaderMap, peer: IpAddr) -> Result<(), Refused> {
        if double {
            return Err(Refused::TwoFramings);
        }
        let Some(rate) = &self.rate else {
            return Ok(());
        };
        rate.admit(headers, peer).map_err(|wait| {
            self.metrics.refused_for_rate();
            Refused::TooOften { wait }
        })
    }

    /// Runs the face, and keeps a panic or an endless wait in it from going further than this
    /// request.
    async fn served(&self, face: Face, request: Request<Body>) -> Result<Response<Body>, Refused> {
        let asks_only = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::DELETE
        );
        let span = if self.traced {
            span(&request)
        } else {
            tracing::Span::none()
        };
        // Boxed: several kilobytes, which each of the layers around it would move again.
        let work = AssertUnwindSafe(Box::pin(self.dispatch(face, request)))
            .catch_unwind()
            .instrument(span);
        // Pinned here, and awaited through the pin: a future awaited in two places would be held
        // twice.
        tokio::pin!(work);
        let outcome = if asks_only {
            timeout(ANSWER_TIME, work)
                .await
                .map_err(|_| Refused::TooLong)?
        } else {
            work.await
        };
        outcome.map_err(|panic| broken(panic.as_ref()))
    }

    /// Gives the request what faces look for among its extensions: its id, its connection and,
    /// where a blob may be read, the way for the kernel to send it.
    fn prepare(
        &self,
        request: Request<Incoming>,
        id: &RequestId,
        connection: Arc<Connection>,
    ) -> Request<Body> {
        let uploads = request.uri().path().contains("/blobs/uploads/");
        let mut request = request.map(|body| match body.is_end_stream() {
            true => Body::empty(),
            false if uploads => self.counted(body),
            false => Body::new(body),
        });
        if reads_blob(request.method(), request.uri())
            && let Some(queue) = connection.sendfile()
        {
            queue.offer(&mut request);
        }
        request.extensions_mut().insert(id.clone());
        request.extensions_mut().insert(connection);
        request
    }

    fn counted(&self, body: Incoming) -> Body {
        let count = self.metrics.blob_bytes_in();
        Body::new(body.map_frame(move |frame| {
            count(frame.data_ref().map_or(0, bytes::Bytes::len));
            frame
        }))
    }

    async fn dispatch(&self, face: Face, request: Request<Body>) -> Response<Body> {
        match face {
            Face::V2 => v2::serve(&self.app, request).await,
            Face::Aws => Box::pin(gateway::serve(&self.app, request)).await,
            Face::Token => token::serve(&self.app, request).await,
            Face::Live => health::live(),
            Face::Ready => health::ready(&self.app).await,
            Face::Metrics => health::metrics(&self.metrics),
            Face::Reset => reset::everything(&self.app).await,
            Face::Nobody => health::text(
                StatusCode::NOT_FOUND,
                "there is nothing here: /v2/ is the registry, POST / the AWS APIs\n",
            ),
        }
    }
}

fn span(request: &Request<Body>) -> tracing::Span {
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        http.request.method = %request.method(),
        url.path = request.uri().path(),
        request_id = request.extensions().get::<RequestId>().map(tracing::field::display),
    );
    continue_trace(&span, request.headers());
    span
}

fn reads_blob(method: &Method, uri: &Uri) -> bool {
    *method == Method::GET && uri.path().contains("/blobs/")
}

fn broken(panic: &(dyn Any + Send)) -> Refused {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        panic = message.unwrap_or("of an unknown kind"),
        "a request panicked"
    );
    Refused::Broken
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn paths_find_their_face() {
        for (method, path, face) in [
            (Method::GET, "/v2/", Face::V2),
            (Method::GET, "/v2", Face::V2),
            (Method::PUT, "/v2/a/blobs/uploads/", Face::V2),
            (Method::GET, "/v2x", Face::Nobody),
            (Method::POST, "/", Face::Aws),
            (Method::PUT, "/", Face::Nobody),
            (Method::POST, "/token", Face::Token),
            (Method::GET, "/readyz", Face::Ready),
            (Method::GET, "/v1/_ping", Face::Nobody),
            (Method::POST, "/_wharfinger/reset", Face::Nobody),
        ] {
            assert_eq!(Face::of(&method, path, false), face, "{method} {path}");
        }
        assert_eq!(
            Face::of(&Method::POST, "/_wharfinger/reset", true),
            Face::Reset
        );
        assert_eq!(
            Face::of(&Method::GET, "/_wharfinger/reset", true),
            Face::Nobody
        );
    }

    #[test]
    fn labels_do_not_repeat() {
        let all: Vec<_> = labels().collect();
        assert_eq!(
            all.iter().collect::<BTreeSet<_>>().len(),
            all.len(),
            "{all:?}"
        );
    }
}
