//! What every handler may know of its request: its id, its connection and its sender.

use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::FromRequestParts;
use bytes::Bytes;
use http::request::Parts;
use tower_http::request_id::RequestId;
use wharfinger_http::{Connection, SendfileQueue};
use wharfinger_iam::Caller;

use crate::body_budget::{BodyBudget, BodyReservation, ReceiveBodyError, ReceivedBody};
use crate::origin::Origin;
use crate::rate_limit::Admission;
use crate::service_error::ServiceError;

/// The context of one request, made by the HTTP service's middleware. Handlers take it as an
/// extractor, once: it is moved, since a copy would cost several counters that threads share.
#[derive(Clone, Debug)]
pub struct RequestContext {
    request_id: RequestId,
    origin: Origin,
    connection: Arc<Connection>,
    is_http1: bool,
    admission: Option<Arc<Admission>>,
    bodies: Arc<BodyBudget>,
}

impl RequestContext {
    /// The context of the request with this head; `None` where the middleware is missing.
    pub(crate) fn of(
        head: &Parts,
        admission: Option<Arc<Admission>>,
        bodies: &Arc<BodyBudget>,
    ) -> Option<Self> {
        Some(Self {
            request_id: head.extensions.get::<RequestId>()?.clone(),
            origin: Origin::of(head),
            connection: Arc::clone(head.extensions.get::<Arc<Connection>>()?),
            is_http1: head.version <= http::Version::HTTP_11,
            admission,
            bodies: Arc::clone(bodies),
        })
    }

    /// The id that the response carries and the log contains.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.request_id.header_value().to_str().unwrap_or("-")
    }

    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The queue by which the kernel sends files on this connection: plain HTTP/1 only, since TLS
    /// encrypts and HTTP/2 cuts bodies into frames.
    #[must_use]
    pub fn sendfile(&self) -> Option<&SendfileQueue> {
        self.connection.sendfile().filter(|_| self.is_http1)
    }

    /// Receives the whole body, up to `max_bytes`. All bodies that are received whole share the
    /// memory of the server, in which each peer and each access key has a bounded part.
    pub async fn receive_body<B>(
        &self,
        body: B,
        max_bytes: usize,
        access_key: Option<&str>,
    ) -> Result<ReceivedBody, ReceiveBodyError>
    where
        B: HttpBody<Data = Bytes, Error = axum::Error> + Unpin,
    {
        let peer = self.origin.peer();
        self.bodies.receive(body, max_bytes, peer, access_key).await
    }

    /// The memory for a response to the holder of `access_key`; nothing is charged yet.
    pub(crate) fn reserve_response(&self, access_key: Option<&str>) -> BodyReservation {
        self.bodies.reserve(self.origin.peer(), access_key)
    }

    /// Charges the request to the rate limit of a caller whose credentials were verified. Every
    /// handler that authenticates calls it once; a request for which nobody did is charged to its
    /// address.
    ///
    /// # Errors
    /// [`ServiceError::TooManyRequests`].
    pub fn admit_caller(&self, caller: &Caller) -> Result<(), ServiceError> {
        self.admission
            .as_ref()
            .map_or(Ok(()), |admission| admission.admit_caller(caller))
    }
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = ServiceError;

    async fn from_request_parts(head: &mut Parts, _state: &S) -> Result<Self, ServiceError> {
        // The middleware wraps every route.
        head.extensions.remove().ok_or(ServiceError::Internal)
    }
}
