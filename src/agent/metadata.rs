//! What a task requests of its agent: credentials of the task role, and metadata of version 4.
//!
//! Source: ECS developer guide, "Amazon ECS task metadata endpoint version 4" and "Amazon ECS task
//! IAM role".

mod document;
mod serving;
mod stats;
mod tags;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::container_config::HostChoices;
use crate::metadata::document::{container_document, task_document};
pub(crate) use crate::metadata::serving::Serving;
use crate::metadata::serving::serve;
pub(crate) use crate::metadata::stats::TaskShare;
use crate::metadata::stats::{container_stats, task_stats};
pub(crate) use crate::metadata::tags::TagReader;
use crate::record::TaskRecord;
use crate::roles::TaskRoles;
use crate::runtime::ContainerRuntime;
use crate::shown::Shown;

/// Where containers with a network of their own find the endpoints.
const NAMESPACE_BASE: &str = "http://169.254.170.2";

/// What is served about a task.
#[derive(Clone)]
pub(crate) struct Endpoints {
    /// The name of the cluster.
    pub(crate) cluster: String,
    pub(crate) availability_zone: String,
    pub(crate) runtime: Arc<dyn ContainerRuntime>,
    pub(crate) roles: Arc<TaskRoles>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) share: Arc<TaskShare>,
    /// `None` where there is no API to read tags of.
    pub(crate) tags: Option<TagReader>,
}

/// The tasks that a listener replies about, by their ARNs. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct ServedTasks(Arc<Mutex<BTreeMap<String, Endpoints>>>);

impl ServedTasks {
    /// Adds a task.
    pub(crate) fn add(&self, arn: &str, endpoints: Endpoints) {
        self.lock().insert(arn.to_owned(), endpoints);
    }

    pub(crate) fn remove(&self, arn: &str) {
        self.lock().remove(arn);
    }

    /// Serves on a listener until the return value is dropped.
    pub(crate) fn serve(self, listener: TcpListener) -> Serving {
        let routes = Router::new()
            .route("/v2/credentials/{id}", get(credentials))
            .route("/v4/{id}", get(container))
            .route("/v4/{id}/stats", get(stats_of_container))
            .route("/v4/{id}/task", get(task))
            .route("/v4/{id}/task/stats", get(stats_of_task))
            .route("/v4/{id}/taskWithTags", get(task_with_tags))
            .with_state(self);
        serve(listener, routes)
    }

    /// The task that has the container with this id, and its name.
    fn find(&self, id: &str) -> Option<(Endpoints, Arc<TaskRecord>, String)> {
        let tasks = self.lock();
        tasks.values().find_map(|endpoints| {
            let record = endpoints.shown.get().record?;
            let mut all = record.containers.iter();
            let found = all.find(|(_, one)| metadata_id(&one.runtime_name) == id);
            let name = found.map(|(name, _)| name.clone())?;
            Some((endpoints.clone(), record, name))
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Endpoints>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the variables by which containers find the endpoints. `host_base` is where those find them
/// that share the network of the host.
pub(crate) fn add_variables(choices: &mut HostChoices, record: &TaskRecord, host_base: &str) {
    let shares_host = record.task.network_mode.as_deref() == Some("host");
    let base = if shares_host {
        host_base
    } else {
        NAMESPACE_BASE
    };
    let id = metadata_id(&choices.name).to_owned();
    let mut set = |name: &str, value: String| {
        choices.environment.insert(name.to_owned(), value);
    };
    set("ECS_CONTAINER_METADATA_URI_V4", format!("{base}/v4/{id}"));
    let environment = match record.task.launch_type.as_deref() {
        Some("FARGATE") => "AWS_ECS_FARGATE",
        _ => "AWS_ECS_EC2",
    };
    set("AWS_EXECUTION_ENV", environment.to_owned());
    let Some(role) = &record.task.role_credentials else {
        return;
    };
    let path = format!("/v2/credentials/{}", role.credentials_id);
    // The SDKs take whole URIs with loopback addresses, and complete paths with the address of the
    // namespaces.
    if shares_host {
        set(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            format!("{base}{path}"),
        );
    } else {
        set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", path);
    }
}

/// The id of a container in paths: the digits at the end of its name, which nobody can guess.
fn metadata_id(runtime_name: &str) -> &str {
    runtime_name.rsplit('-').next().unwrap_or(runtime_name)
}

async fn credentials(State(served): State<ServedTasks>, Path(id): Path<String>) -> Response {
    let role = {
        let tasks = served.lock();
        let mut roles = tasks.values().filter_map(|one| one.roles.application());
        roles.find(|role| role.credentials_id == id)
    };
    let Some(role) = role else {
        return refusal("InvalidIdInRequest", "credentials not found");
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

async fn container(State(served): State<ServedTasks>, Path(id): Path<String>) -> Response {
    match served.find(&id) {
        Some((endpoints, record, name)) => {
            let body = container_document(&endpoints, &record, &name);
            axum_json(StatusCode::OK, &body)
        }
        None => refusal("NotFound", "there is no such container"),
    }
}

async fn task(State(served): State<ServedTasks>, Path(id): Path<String>) -> Response {
    match served.find(&id) {
        Some((endpoints, record, _)) => {
            let body = task_document(&endpoints, &record);
            axum_json(StatusCode::OK, &body)
        }
        None => refusal("NotFound", "there is no such task"),
    }
}

async fn task_with_tags(State(served): State<ServedTasks>, Path(id): Path<String>) -> Response {
    let Some((endpoints, record, _)) = served.find(&id) else {
        return refusal("NotFound", "there is no such task");
    };
    let Some(_turn) = endpoints.share.turn() else {
        return too_many();
    };
    let mut body = task_document(&endpoints, &record);
    if let (Some(tags), Value::Object(body)) = (&endpoints.tags, &mut body) {
        body.extend(tags.members(&record.task.arn).await);
    }
    axum_json(StatusCode::OK, &body)
}

async fn stats_of_container(State(served): State<ServedTasks>, Path(id): Path<String>) -> Response {
    let Some((endpoints, record, name)) = served.find(&id) else {
        return refusal("NotFound", "there is no such container");
    };
    let Some(_turn) = endpoints.share.turn() else {
        return too_many();
    };
    match container_stats(&endpoints, &record, &name).await {
        Some(body) => axum_json(StatusCode::OK, &body),
        None => refusal("NotFound", "the container is not measured"),
    }
}

async fn stats_of_task(State(served): State<ServedTasks>, Path(id): Path<String>) -> Response {
    let Some((endpoints, record, _)) = served.find(&id) else {
        return refusal("NotFound", "there is no such task");
    };
    let Some(_turn) = endpoints.share.turn() else {
        return too_many();
    };
    let body = task_stats(&endpoints, &record).await;
    axum_json(StatusCode::OK, &body)
}

fn too_many() -> Response {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let message = "too many requests for figures are under way";
    let body = json!({"code": "RequestLimitExceeded", "message": message, "HTTPErrorCode": 429});
    axum_json(status, &body)
}

fn refusal(code: &str, message: &str) -> Response {
    let body = json!({"code": code, "message": message, "HTTPErrorCode": 404});
    axum_json(StatusCode::NOT_FOUND, &body)
}

fn axum_json(status: StatusCode, body: &Value) -> Response {
    let content_type = [(axum::http::header::CONTENT_TYPE, "application/json")];
    (status, content_type, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use wharfinger_base::Ids;
    use wharfinger_ecs_protocol::{Container, RoleCredentials, Task};

    use super::*;
    use crate::runtime::tests::simulated::Simulated;

    fn variables(network_mode: &str) -> BTreeMap<String, String> {
        let task = Task {
            network_mode: Some(network_mode.to_owned()),
            containers: vec![Container {
                name: "web".to_owned(),
                ..Container::default()
            }],
            role_credentials: Some(RoleCredentials {
                credentials_id: "id".to_owned(),
                ..RoleCredentials::default()
            }),
            ..Task::default()
        };
        let mut choices = HostChoices {
            name: "ecs-web-1-web-0123".to_owned(),
            ..HostChoices::default()
        };
        let record = TaskRecord::new(task, &Ids::seeded(1));
        add_variables(&mut choices, &record, "http://127.0.0.1:5000");
        choices.environment
    }

    #[test]
    fn containers_find_their_endpoints_by_their_network() {
        let bridge = variables("bridge");
        let uri = &bridge["ECS_CONTAINER_METADATA_URI_V4"];
        assert_eq!(uri, "http://169.254.170.2/v4/0123");
        let path = &bridge["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
        assert_eq!(path, "/v2/credentials/id");
        let host = variables("host");
        let uri = &host["AWS_CONTAINER_CREDENTIALS_FULL_URI"];
        assert_eq!(uri, "http://127.0.0.1:5000/v2/credentials/id");
        assert!(!host.contains_key("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"));
    }
    #[tokio::test]
    async fn the_keys_of_the_execution_role_are_not_served() {
        let keys = |id: &str| RoleCredentials {
            credentials_id: id.to_owned(),
            role_arn: format!("arn:{id}"),
            ..RoleCredentials::default()
        };
        let roles = Arc::new(TaskRoles::default());
        roles.set(&Task {
            role_credentials: Some(keys("own")),
            execution_role_credentials: Some(keys("execution")),
            ..Task::default()
        });
        let served = ServedTasks::default();
        served.add(
            "arn:task",
            Endpoints {
                cluster: "default".to_owned(),
                availability_zone: "us-east-1a".to_owned(),
                runtime: Arc::new(Simulated::new(wharfinger_base::Clock::default())),
                roles,
                shown: Arc::default(),
                share: Arc::default(),
                tags: None,
            },
        );
        let fetch = async |id: &str| {
            let response = credentials(State(served.clone()), Path(id.to_owned())).await;
            let status = response.status();
            let body = axum::body::to_bytes(response.into_body(), 1_000).await;
            let body: Value = serde_json::from_slice(&body.expect("a body")).expect("JSON");
            (status, body)
        };
        let (status, body) = fetch("own").await;
        assert_eq!(
            (status, &body["RoleArn"]),
            (StatusCode::OK, &json!("arn:own"))
        );
        let (status, body) = fetch("execution").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert_eq!(body["code"], "InvalidIdInRequest");
        served.remove("arn:task");
        assert_eq!(fetch("own").await.0, StatusCode::NOT_FOUND);
    }
}
