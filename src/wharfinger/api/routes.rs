//! The routes of every API, assembled into the HTTP service.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::{any, post};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use wharfinger_api_core::{
    ErrorFormat, HEALTH_OPERATIONS, HttpService, HttpServiceBuilder, PlainErrors, ReadinessCheck,
    RequestContext, ResponseInfo, ServiceError, health_routes, response,
};
use wharfinger_aws::{Family, Fault, json, xml};
use wharfinger_db::Db;
use wharfinger_telemetry::{Metrics, Reading};

use crate::api::gateway::SERVICES;
use crate::api::v2::actions::TABLE;
use crate::api::{gateway, reset, sts, token, v2};
use crate::app::App;

const AWS_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The HTTP service over all routes. `readings` are other parts' numbers for `/metrics`.
pub fn http_service(app: &Arc<App>, readings: Vec<Reading>) -> HttpService {
    let metrics = Arc::new(Metrics::new(operations(), readings));
    let mut service = HttpServiceBuilder::new(&app.config.http, &app.ids, Arc::clone(&metrics))
        .routes::<v2::error::DistributionErrors>(v2::routes(app, &metrics))
        .routes::<v2::error::DistributionErrors>(token_routes(app))
        .routes::<AwsErrors>(aws_routes(app))
        .unlimited_routes::<PlainErrors>(health_routes(Index(app.db.clone()), metrics));
    if app.config.dev {
        let reset = Router::new().route("/_wharfinger/reset", post(reset));
        service = service.routes::<PlainErrors>(reset.with_state(Arc::clone(app)));
    }
    service.build()
}

/// Every operation that a request may be counted under.
fn operations() -> impl Iterator<Item = &'static str> {
    let aws = SERVICES.iter().flat_map(|service| service.operations);
    TABLE
        .iter()
        .map(|row| row.endpoint.name())
        .chain(aws.map(|entry| entry.name))
        .chain(["Token", "Reset"])
        .chain(HEALTH_OPERATIONS)
}

struct Index(Db);

impl ReadinessCheck for Index {
    async fn check(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.check_ready().await?)
    }
}

fn token_routes(app: &Arc<App>) -> Router {
    Router::new()
        .route("/token", any(token))
        .with_state(Arc::clone(app))
}

async fn token(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    ResponseInfo::of("Token").attach(token::serve(&app, request).await)
}

async fn reset(State(app): State<Arc<App>>) -> Response<Body> {
    ResponseInfo::of("Reset").attach(reset::everything(&app).await)
}

fn aws_routes(app: &Arc<App>) -> Router {
    Router::new()
        .route("/", post(aws).get(aws))
        .with_state(Arc::clone(app))
}

async fn aws(
    State(app): State<Arc<App>>,
    context: RequestContext,
    request: Request,
) -> Response<Body> {
    Box::pin(gateway::serve(&app, &context, request)).await
}

/// Errors of the HTTP service in the two AWS protocols.
#[derive(Clone, Copy)]
struct AwsErrors(Family);

impl ErrorFormat for AwsErrors {
    fn of(headers: &HeaderMap) -> Self {
        Self(if headers.contains_key("x-amz-target") {
            Family::Json
        } else {
            Family::Query
        })
    }

    fn encode(&self, error: ServiceError, request_id: &str) -> Response<Body> {
        let Self(family) = *self;
        let fault = match error {
            ServiceError::TooManyRequests { .. } => Fault::throttled(family),
            ServiceError::TimedOut => Fault::unavailable(family),
            ServiceError::Internal => Fault::internal(family),
        };
        let (content_type, body) = match family {
            Family::Json => (json::CONTENT_TYPE, json::fault(&fault)),
            Family::Query => (
                xml::CONTENT_TYPE,
                xml::fault(&fault, sts::SERVICE.namespace, request_id),
            ),
        };
        let content_type = HeaderValue::from_static(content_type);
        let mut response = response::document(error.status(), content_type, body);
        if let Ok(id) = HeaderValue::from_str(request_id) {
            response.headers_mut().insert(AWS_REQUEST_ID, id);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn operations_have_distinct_names() {
        let all: Vec<_> = operations().collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
    }
}
