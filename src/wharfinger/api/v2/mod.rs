//! The `/v2/` face: the OCI Distribution specification over the registry's verbs.
//!
//! A request goes through [`serve`] from top to bottom: read the path and query, learn who sends
//! it, pass the gate, call one verb. The body is first touched by the verb, so nothing is received
//! from those who may not send it.

mod access;
pub mod actions;
mod blobs;
mod catalog;
pub mod challenge;
pub mod conditional;
pub mod error;
pub mod link;
mod manifests;
pub mod query;
pub mod range;
mod referrers;
pub mod route;
mod tags;
mod uploads;
mod visit;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::any;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::BodyExt as _;
use wharfinger_api_core::{RequestContext, ResponseInfo};
use wharfinger_iam::{EvaluationBudget, LayerGrant};
use wharfinger_oci::RepositoryName;
use wharfinger_registry::{Error, RegistryId, Repository};
use wharfinger_telemetry::Metrics;

use self::access::Arrival;
use self::error::Refusal;
use self::query::Query;
use self::route::{Route, RouteError};
use self::visit::{JSON, Visit, document};
use crate::api::gate::Gate;
use crate::app::App;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What the handlers of these routes use.
#[derive(Clone)]
struct DistributionState {
    app: Arc<App>,
    metrics: Arc<Metrics>,
}

/// The routes of the Distribution API. Repository names hold slashes, so one route takes every path
/// and [`Route::parse`] reads it.
pub fn routes(app: &Arc<App>, metrics: &Arc<Metrics>) -> Router {
    let state = DistributionState {
        app: Arc::clone(app),
        metrics: Arc::clone(metrics),
    };
    Router::new()
        .route("/v2", any(serve))
        .route("/v2/", any(serve))
        .route("/v2/{*rest}", any(serve))
        .with_state(state)
}

/// Serves one request.
async fn serve(
    State(DistributionState { app, metrics }): State<DistributionState>,
    context: RequestContext,
    request: Request<Body>,
) -> Response<Body> {
    let app = &*app;
    let (head, mut body) = request.into_parts();
    if matches!(head.method, Method::POST | Method::PATCH | Method::PUT)
        && head.uri.path().contains("/blobs/uploads/")
    {
        let received = metrics.blob_bytes_in();
        body = Body::new(body.map_frame(move |frame| {
            received.add(frame.data_ref().map_or(0, bytes::Bytes::len));
            frame
        }));
    }
    let route = Route::parse(&head.method, head.uri.path());
    let endpoint = route.as_ref().ok().map(Route::endpoint);
    let outcome = answer(
        app,
        &context,
        &head,
        route.as_ref().map_err(Clone::clone),
        &mut body,
    )
    .await;
    let mut response = match outcome {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    response
        .headers_mut()
        .insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    let is_blob = endpoint == Some(route::Endpoint::ReadBlob) && response.status().is_success();
    ResponseInfo {
        operation: endpoint.map(route::Endpoint::name),
        sent_bytes: is_blob.then(|| metrics.blob_bytes_out()),
        ..ResponseInfo::default()
    }
    .attach(response)
}

async fn answer(
    app: &App,
    context: &RequestContext,
    head: &Parts,
    route: Result<&Route, RouteError>,
    body: &mut Body,
) -> Result<Response<Body>, Refusal> {
    let origin = context.origin();
    // A query that cannot be read is told only to those who may ask at all.
    let (parsed, none) = (Query::parse(head.uri.query()), Query::default());
    let query = parsed.as_ref().unwrap_or(&none);
    let arrival = Arrival {
        app,
        origin,
        headers: &head.headers,
        route: route.as_ref().ok().copied(),
        query,
    };
    let ticket = arrival.ticket().await?;
    let (caller, registry) = match ticket {
        Some((
            caller,
            LayerGrant {
                account, region, ..
            },
        )) => (caller, RegistryId { account, region }),
        None => {
            let caller = arrival.authenticate().await?;
            context
                .admit_caller(&caller)
                .map_err(Refusal::from_service)?;
            let scope = origin.registry_scope(&app.config.names, caller.account);
            let registry = RegistryId {
                account: scope.account,
                region: scope.region,
            };
            arrival.check_registry(&caller, &registry)?;
            (caller, registry)
        }
    };
    let route = route?;
    parsed.as_ref().map_err(Clone::clone)?;
    let gate = Gate {
        app,
        caller: &caller,
        registry: &registry,
        origin,
        budget: &EvaluationBudget::default(),
    };
    let sendfile = context.sendfile();
    dispatch(
        &Visit {
            app,
            arrival: &arrival,
            gate,
            headers: &head.headers,
            query,
            sendfile,
        },
        route,
        body,
    )
    .await
}

async fn dispatch(
    visit: &Visit<'_>,
    route: &Route,
    body: &mut Body,
) -> Result<Response<Body>, Refusal> {
    let Some(name) = route.repository() else {
        return match route {
            Route::Catalog => catalog::list(visit).await,
            _ => Ok(document(JSON, b"{}".to_vec())),
        };
    };
    let repository = access::admit(visit, name, &demanded(visit, route, body)).await?;
    if let Route::ListReferrers { subject, .. } = route {
        return referrers::list(visit, name, repository.as_ref(), subject).await;
    }
    let repository = match repository {
        Some(repository) => repository,
        None if matches!(route, Route::StartUpload { .. } | Route::PutManifest { .. }) => {
            create_on_push(visit, name).await?
        }
        None => return Err(no_such_repository(visit, name)),
    };
    // What moves bytes has large futures: boxed, they cost one allocation there instead of
    // kilobytes for every request and connection.
    match route {
        Route::ReadBlob { digest, .. } => blobs::read(visit, &repository, digest).await,
        Route::CheckBlob { digest, .. } => blobs::check(visit, &repository, digest).await,
        Route::DeleteBlob { digest, .. } => blobs::delete(visit, &repository, digest).await,
        Route::ReadManifest { reference, .. } => {
            manifests::read(visit, &repository, reference).await
        }
        Route::CheckManifest { reference, .. } => {
            manifests::check(visit, &repository, reference).await
        }
        Route::PutManifest { reference, .. } => {
            Box::pin(manifests::put(visit, &repository, reference, body)).await
        }
        Route::DeleteManifest { reference, .. } => {
            manifests::delete(visit, &repository, reference).await
        }
        Route::StartUpload { .. } => Box::pin(uploads::start(visit, &repository, body)).await,
        Route::AskUpload { id, .. } => uploads::ask(visit, &repository, *id).await,
        Route::AppendUpload { id, .. } => {
            Box::pin(uploads::append(visit, &repository, *id, body)).await
        }
        Route::FinishUpload { id, .. } => {
            Box::pin(uploads::finish(visit, &repository, *id, body)).await
        }
        Route::CancelUpload { id, .. } => uploads::cancel(visit, &repository, *id).await,
        Route::ListTags { .. } => tags::list(visit, &repository).await,
        Route::Ping | Route::Catalog | Route::ListReferrers { .. } => {
            Err(RouteError::NoSuchEndpoint.into())
        }
    }
}

/// The row of the table, and what the request itself adds: a POST with the whole blob does what
/// three requests would do, a closing PUT with bytes what two would.
fn demanded(visit: &Visit<'_>, route: &Route, body: &Body) -> Vec<&'static str> {
    let mut demanded = route.endpoint().row().actions.to_vec();
    match route {
        Route::StartUpload { .. } if visit.query.first("digest").is_some() => {
            demanded.extend([actions::APPEND_UPLOAD, actions::FINISH_UPLOAD]);
        }
        // A mount adds a layer to the repository, as completing an upload does.
        Route::StartUpload { .. } if visit.query.first("mount").is_some() => {
            demanded.push(actions::FINISH_UPLOAD);
        }
        Route::FinishUpload { .. } if !http_body::Body::is_end_stream(body) => {
            demanded.push(actions::APPEND_UPLOAD);
        }
        _ => {}
    }
    demanded
}

/// Makes the repository that a push names, where that is configured and the caller may.
async fn create_on_push(visit: &Visit<'_>, name: &RepositoryName) -> Result<Repository, Refusal> {
    if !visit.app.config.create_on_push {
        return Err(no_such_repository(visit, name));
    }
    access::admit(visit, name, &[actions::CREATE_REPOSITORY]).await?;
    Ok(visit
        .app
        .registry
        .repositories
        .find_or_create(visit.gate.registry, name)
        .await?)
}

fn no_such_repository(visit: &Visit<'_>, name: &RepositoryName) -> Refusal {
    Error::NoSuchRepository {
        name: name.clone(),
        registry: visit.gate.registry.clone(),
    }
    .into()
}
