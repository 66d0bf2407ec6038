//! What a task asks of its agent: credentials of the task role, and metadata of version 4.
//!
//! Source: ECS developer guide, "Amazon ECS task metadata endpoint version 4" and "Amazon ECS task
//! IAM role".

mod document;

use std::net::TcpListener;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::container_config::HostChoices;
use crate::context::Context;
use crate::metadata::document::{container_document, task_document};
use crate::record::TaskRecord;
use crate::roles::TaskRoles;
use crate::shown::Shown;

/// Where containers find the endpoints.
const BASE: &str = "http://169.254.170.2";

/// What the endpoints of a task answer from.
#[derive(Clone)]
pub(crate) struct Endpoints {
    pub(crate) context: Arc<Context>,
    pub(crate) roles: Arc<TaskRoles>,
    pub(crate) shown: Arc<Shown>,
}

impl Endpoints {
    /// Serves on a listener until the returned future is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let routes = Router::new()
            .route("/v2/credentials/{id}", get(credentials))
            .route("/v4/{id}", get(container))
            .route("/v4/{id}/task", get(task))
            .route("/v4/{id}/taskWithTags", get(task))
            .with_state(self);
        let served = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => axum::serve(listener, routes).await,
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::warn!(%error, "the endpoints of a task ended");
        }
    }
}

/// Adds the variables by which containers find the endpoints.
pub(crate) fn add_variables(choices: &mut HostChoices, record: &TaskRecord) {
    let id = metadata_id(&choices.name);
    let mut set = |name: &str, value: String| {
        choices.environment.insert(name.to_owned(), value);
    };
    set("ECS_CONTAINER_METADATA_URI_V4", format!("{BASE}/v4/{id}"));
    let launch = record.task.launch_type.as_deref();
    let environment = match launch {
        Some("FARGATE") => "AWS_ECS_FARGATE",
        _ => "AWS_ECS_EC2",
    };
    set("AWS_EXECUTION_ENV", environment.to_owned());
    if let Some(role) = &record.task.role_credentials {
        let path = format!("/v2/credentials/{}", role.credentials_id);
        set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", path);
    }
}

/// The id of a container in paths: the digits at the end of its name, which nobody can guess.
fn metadata_id(runtime_name: &str) -> &str {
    runtime_name.rsplit('-').next().unwrap_or(runtime_name)
}

async fn credentials(State(endpoints): State<Endpoints>, Path(id): Path<String>) -> Response {
    let role = endpoints.roles.application();
    let Some(role) = role.filter(|role| role.credentials_id == id) else {
        let message = "credentials not found";
        return refusal("InvalidIdInRequest", message);
    };
    let body = json!({
        "RoleArn": role.role_arn,
        "AccessKeyId": role.access_key_id,
        "SecretAccessKey": role.secret_access_key,
        "Token": role.session_token,
        "Expiration": role.expiration,
    });
    axum_json(StatusCode::OK, &body)
}

async fn container(State(endpoints): State<Endpoints>, Path(id): Path<String>) -> Response {
    let Some(record) = endpoints.shown.get().record else {
        return refusal("NotReady", "the task has not started");
    };
    let mut all = record.containers.iter();
    match all.find(|(_, one)| metadata_id(&one.runtime_name) == id) {
        Some((name, _)) => {
            let body = container_document(&endpoints.context, &record, name);
            axum_json(StatusCode::OK, &body)
        }
        None => refusal("NotFound", "there is no such container"),
    }
}

async fn task(State(endpoints): State<Endpoints>) -> Response {
    match endpoints.shown.get().record {
        Some(record) => {
            let body = task_document(&endpoints.context, &record);
            axum_json(StatusCode::OK, &body)
        }
        None => refusal("NotReady", "the task has not started"),
    }
}

fn refusal(code: &str, message: &str) -> Response {
    let body = json!({"code": code, "message": message, "HTTPErrorCode": 404});
    axum_json(StatusCode::NOT_FOUND, &body)
}

fn axum_json(status: StatusCode, body: &Value) -> Response {
    let content_type = [(axum::http::header::CONTENT_TYPE, "application/json")];
    (status, content_type, body.to_string()).into_response()
}
