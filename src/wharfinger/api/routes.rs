//! The routes of every API, assembled into the HTTP service.

use std::error::Error;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::routing::post;
use http::Response;
use wharfinger_api_agent::{self as agent, AgentState};
use wharfinger_api_core::{
    Gateway, HttpService, HttpServiceBuilder, MountedService, PlainErrors, ReadinessCheck,
    ResponseInfo, ServiceModel, health_routes,
};
use wharfinger_api_distribution::{self as distribution, DistributionErrors, DistributionState};
use wharfinger_api_ecr as ecr;
use wharfinger_api_ecs as ecs;
use wharfinger_api_iam::{iam, sts};
use wharfinger_api_logs as logs;
use wharfinger_api_secrets::{parameter_store, secrets_manager};
use wharfinger_db::Db;
use wharfinger_telemetry::{Metrics, MetricsError, Reading};

use crate::api::{clock, reset};
use crate::app::App;

/// An AWS API of this server.
pub struct AwsService {
    pub model: &'static ServiceModel,
    mount: fn(&App) -> MountedService,
}

/// Every AWS API. Adding one adds its crate and a line here.
pub static AWS_SERVICES: &[AwsService] = &[
    AwsService {
        model: &ecr::MODEL,
        mount: |app| MountedService::new::<ecr::Ecr>(app.ecr_state()),
    },
    AwsService {
        model: &ecs::MODEL,
        mount: |app| MountedService::new::<ecs::Ecs>(app.ecs_state()),
    },
    AwsService {
        model: &iam::MODEL,
        mount: |app| MountedService::new::<iam::IamService>(app.iam_state()),
    },
    AwsService {
        model: &sts::MODEL,
        mount: |app| {
            let iam = Arc::clone(&app.iam);
            MountedService::new::<sts::Sts>(sts::State { iam })
        },
    },
    AwsService {
        model: &logs::MODEL,
        mount: |app| {
            let logs = app.logs.clone();
            MountedService::new::<logs::LogsService>(logs::State { logs })
        },
    },
    AwsService {
        model: &secrets_manager::MODEL,
        mount: |app| {
            let secrets = app.secrets.clone();
            let state = secrets_manager::State { secrets };
            MountedService::new::<secrets_manager::SecretsManager>(state)
        },
    },
    AwsService {
        model: &parameter_store::MODEL,
        mount: |app| {
            let parameters = app.parameters.clone();
            let state = parameter_store::State { parameters };
            MountedService::new::<parameter_store::ParameterStore>(state)
        },
    },
];

/// Operations outside of the AWS and Distribution APIs, as metrics and logs name them.
const OTHER_OPERATIONS: [&str; 5] = ["Live", "Ready", "Metrics", "Reset", "Clock"];

/// The HTTP service over all routes. `readings` are other parts' numbers for `/metrics`.
///
/// # Errors
/// [`MetricsError`] where the metrics cannot be set up.
pub fn http_service(
    app: &Arc<App>,
    agents: &Arc<AgentState>,
    readings: Vec<Reading>,
) -> Result<HttpService, MetricsError> {
    let gateway = Gateway {
        services: AWS_SERVICES
            .iter()
            .map(|service| (service.mount)(app))
            .collect(),
        iam: Arc::clone(&app.iam),
        names: Arc::new(app.config.names.clone()),
        clock: app.clock.clone(),
        audit: app.audit.clone(),
    };
    let operations = gateway.operation_names().chain(OTHER_OPERATIONS);
    let operations = operations.chain(distribution::operations());
    let operations = operations.chain(agent::OPERATIONS);
    let metrics = Arc::new(Metrics::new(operations, readings)?);
    let mut service = HttpServiceBuilder::new(&app.config.http, &app.ids, Arc::clone(&metrics));
    if app.config.dev {
        let development = Router::new()
            .route("/_wharfinger/reset", post(reset))
            .route("/_wharfinger/clock", post(advance_clock));
        service = service
            .guard_against_browsers(&app.config.names)
            .routes::<PlainErrors>(development.with_state(Arc::clone(app)));
    }
    let service = service
        .routes::<DistributionErrors>(distribution_routes(app, &metrics))
        .gateway(gateway)
        .routes::<PlainErrors>(agent::routes(Arc::clone(agents)))
        .unlimited_routes::<PlainErrors>(health_routes(Index(app.db.clone()), metrics))
        .build();
    Ok(service)
}

struct Index(Db);

impl ReadinessCheck for Index {
    async fn check(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.check_ready().await?)
    }
}

fn distribution_routes(app: &App, metrics: &Arc<Metrics>) -> Router {
    distribution::routes(Arc::new(DistributionState {
        registry: app.registry.clone(),
        pull_through: app.pull_through.clone(),
        iam: Arc::clone(&app.iam),
        clock: app.clock.clone(),
        names: app.config.names.clone(),
        metrics: Arc::clone(metrics),
        audit: app.audit.clone(),
        config: app.config.distribution,
    }))
}

async fn reset(State(app): State<Arc<App>>) -> Response<Body> {
    ResponseInfo::of("Reset").attach(reset::everything(&app).await)
}

async fn advance_clock(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response<Body> {
    let advanced = clock::advance(&app, query.as_deref().unwrap_or_default());
    ResponseInfo::of("Clock").attach(advanced)
}
