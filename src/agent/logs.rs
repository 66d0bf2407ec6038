//! Ships the output of containers with the log driver `awslogs` to CloudWatch Logs.
//!
//! The engine keeps the output in files. The agent follows it, sends it in batches, and notes on
//! its disk how far it is. A batch that was on its way in a crash is sent again.
//!
//! Source: Docker's documentation of the `awslogs` driver; CloudWatch Logs API reference,
//! `PutLogEvents`.

mod batch;
mod lines;
mod multiline;
mod position;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use regex::Regex;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use wharfinger_base::Timestamp;
use wharfinger_ecs_protocol::{Container, Task};

use crate::aws_client::{AwsClient, CallError, LOGS};
use crate::backoff::Backoff;
use crate::container_config::log_driver;
use crate::context::Context;
use crate::keys::Keys;
use crate::logs::batch::Batch;
use crate::logs::lines::{Line, Lines};
use crate::logs::multiline::first_line;
use crate::logs::position::Position;
use crate::record::task_id;
use crate::roles::TaskRoles;

/// How long an event waits for others to be sent with.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// How long further lines of an event are waited for, as Docker's driver does.
const EVENT_WAIT: Duration = Duration::from_secs(5);
/// Between attempts to send, and to follow a container whose stream broke.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Where the output of a container goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogTarget {
    pub(crate) group: String,
    pub(crate) stream: String,
    region: Option<String>,
    makes_group: bool,
    /// The pattern of the first line of an event, where events have several.
    first_line: Option<String>,
}

/// The target of a container's output; `None` where the agent does not ship it.
pub(crate) fn log_target(task: &Task, container: &Container) -> Option<LogTarget> {
    let (driver, options) = log_driver(container);
    if driver != "awslogs" {
        return None;
    }
    let option = |name: &str| options.get(name).cloned().filter(|value| !value.is_empty());
    let id = task_id(&task.arn);
    let stream =
        option("awslogs-stream").unwrap_or_else(|| match option("awslogs-stream-prefix") {
            Some(prefix) => format!("{prefix}/{}/{id}", container.name),
            None => format!("{}/{id}", container.name),
        });
    Some(LogTarget {
        group: option("awslogs-group")?,
        stream,
        region: option("awslogs-region"),
        makes_group: option("awslogs-create-group").is_some_and(|value| value == "true"),
        first_line: first_line(&options),
    })
}

/// Ships the output of one container.
pub(crate) struct Shipper {
    pub(crate) context: Arc<Context>,
    pub(crate) roles: Arc<TaskRoles>,
    pub(crate) target: LogTarget,
    /// The container's name in the runtime; its position is stored under it.
    pub(crate) container: String,
}

impl Shipper {
    /// Makes the log stream, and the group if its definition says so.
    ///
    /// # Errors
    /// A reason as Docker's driver gives it.
    pub(crate) async fn prepare(&self) -> Result<(), String> {
        let failed = |why: String| format!("failed to initialize logging driver: {why}");
        self.first_line().map_err(failed)?;
        let made = self.make_stream().await;
        made.map_err(|why| failed(format!("failed to create Cloudwatch log stream: {why}")))
    }

    fn first_line(&self) -> Result<Option<Regex>, String> {
        let pattern = self.target.first_line.as_deref();
        pattern.map(multiline::compiled).transpose()
    }

    async fn make_stream(&self) -> Result<(), CallError> {
        let LogTarget { group, stream, .. } = &self.target;
        if self.target.makes_group {
            let body = json!({"logGroupName": group});
            existing(self.call::<Value>("CreateLogGroup", &body).await)?;
        }
        let body = json!({"logGroupName": group, "logStreamName": stream});
        existing(self.call::<Value>("CreateLogStream", &body).await)
    }

    /// Follows the container until it ends, and sends all of its output.
    pub(crate) async fn run(&self) {
        let state = &self.context.state;
        let mut position = state.log_position(&self.container).await.unwrap_or_else(|error| {
            let container = &self.container;
            tracing::error!(container, %error, "the position in a log is lost; shipping all of it");
            None
        });
        let mut backoff = self.backoff();
        let mut position: Position = position.take().unwrap_or_default();
        loop {
            match self.follow(&mut position).await {
                Ok(()) => return,
                Err(error) => {
                    let container = &self.container;
                    tracing::warn!(container, %error, "the output of a container broke off");
                    backoff.wait().await;
                }
            }
        }
    }

    async fn follow(&self, position: &mut Position) -> Result<(), crate::runtime::RuntimeError> {
        let since = position.since().unwrap_or(Timestamp::from_ms(0));
        let mut pieces = self.context.runtime.logs(&self.container, since);
        // A pattern that is wrong keeps the container from starting.
        let mut lines = Lines::new(position.clone(), self.first_line().ok().flatten());
        let mut batch = Batch::default();
        let mut flush_at = Instant::now();
        let mut release_at = Instant::now();
        loop {
            let piece = tokio::select! {
                piece = pieces.next() => piece,
                () = sleep_until(flush_at), if !batch.is_empty() => {
                    self.flush(&mut batch, position).await;
                    continue;
                }
                () = sleep_until(release_at), if lines.is_holding() => {
                    for line in lines.release() {
                        self.collect(line, &mut batch, position, &mut flush_at).await;
                    }
                    continue;
                }
            };
            let broken = match piece {
                Some(Ok(piece)) => {
                    let held = lines.is_holding();
                    let found = lines.push(&piece);
                    if !held || !found.is_empty() {
                        release_at = Instant::now() + EVENT_WAIT;
                    }
                    for line in found {
                        self.collect(line, &mut batch, position, &mut flush_at)
                            .await;
                    }
                    continue;
                }
                Some(Err(crate::runtime::RuntimeError::Missing(_))) | None => Ok(()),
                Some(Err(error)) => Err(error),
            };
            for line in lines.rest() {
                self.collect(line, &mut batch, position, &mut flush_at)
                    .await;
            }
            self.flush(&mut batch, position).await;
            return broken;
        }
    }

    /// Adds an event to the batch. One that does not fit is the first of the next.
    async fn collect(
        &self,
        line: Line,
        batch: &mut Batch,
        position: &mut Position,
        flush_at: &mut Instant,
    ) {
        if !batch.takes(&line) {
            self.flush(batch, position).await;
        }
        if batch.is_empty() {
            *flush_at = Instant::now() + FLUSH_INTERVAL;
        }
        batch.push(line);
    }

    /// Sends a batch, and notes how far the container's output is sent.
    async fn flush(&self, batch: &mut Batch, position: &mut Position) {
        let mut backoff = self.backoff();
        while !batch.is_empty() {
            let body = json!({
                "logGroupName": self.target.group,
                "logStreamName": self.target.stream,
                "logEvents": batch.events(),
            });
            match self.call::<Value>("PutLogEvents", &body).await {
                Ok(_) => {}
                Err(error) if error.is("ResourceNotFound") && self.make_stream().await.is_ok() => {
                    continue;
                }
                Err(error) if error.is_transient() || error.is_denied() => {
                    let stream = &self.target.stream;
                    tracing::warn!(stream, %error, "log events were not sent; trying again");
                    // Those of the execution role come anew by themselves.
                    if error.is_denied() && self.roles.execution().is_none() {
                        self.context.keys.forget().await;
                    }
                    backoff.wait().await;
                    continue;
                }
                Err(error) => {
                    let (stream, events) = (&self.target.stream, batch.len());
                    tracing::error!(stream, events, %error, "log events were refused");
                }
            }
            batch.sent(position);
            let state = &self.context.state;
            if let Err(error) = state.set_log_position(&self.container, position).await {
                let container = &self.container;
                tracing::error!(container, %error, "the position in a log was not stored");
            }
        }
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        operation: &str,
        body: &Value,
    ) -> Result<T, CallError> {
        let keys = match self.roles.execution() {
            Some(role) => Keys::of_role(&role),
            None => self.context.keys.get().await.map_err(CallError::NoKeys)?,
        };
        let client: AwsClient = self.context.client.at(None, self.target.region.as_deref());
        client.call(&keys, LOGS, operation, body).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(FIRST_RETRY, LONGEST_RETRY, self.context.ids.clone())
    }
}

/// What exists already is as good as made.
fn existing(made: Result<Value, CallError>) -> Result<(), CallError> {
    match made {
        Err(error) if !error.is("ResourceAlreadyExists") => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    use axum::Router;
    use axum::extract::State;
    use axum::http::StatusCode;
    use axum::routing::post;
    use wharfinger_base::Clock;
    use wharfinger_ecs_protocol::{DockerConfig, RoleCredentials};

    use super::*;
    use crate::context::tests::context;
    use crate::keys::tests::TestKeys;
    use crate::keys::{InstanceKeys, KeySource};
    use crate::runtime::LogPiece;
    use crate::runtime::tests::simulated::Simulated;

    fn target(options: &Value) -> Option<LogTarget> {
        let config = json!({"LogConfig": {"Type": "awslogs", "Config": options}});
        let container = Container {
            name: "web".to_owned(),
            docker_config: Some(DockerConfig {
                host_config: Some(config.to_string()),
                ..DockerConfig::default()
            }),
            ..Container::default()
        };
        let task = Task {
            arn: "arn:aws:ecs:us-east-1:1:task/demo/ab".to_owned(),
            ..Task::default()
        };
        log_target(&task, &container)
    }

    #[test]
    fn streams_are_named_by_prefix_container_and_task() {
        let found = target(&json!({"awslogs-group": "/ecs/web", "awslogs-stream-prefix": "app"}));
        assert_eq!(found.expect("a target").stream, "app/web/ab");
        let found = target(&json!({"awslogs-group": "g", "awslogs-create-group": "true"}));
        assert!(found.expect("a target").makes_group);
        assert_eq!(target(&json!({})), None);
        let options = json!({"awslogs-group": "g", "awslogs-multiline-pattern": "^INFO"});
        let found = target(&options).expect("a target");
        assert_eq!(found.first_line.as_deref(), Some("^INFO"));
    }

    /// Refuses the first request as one without rights.
    async fn refuse_once(State(requests): State<Arc<AtomicUsize>>) -> (StatusCode, &'static str) {
        if requests.fetch_add(1, Relaxed) == 0 {
            return (
                StatusCode::BAD_REQUEST,
                r#"{"__type": "AccessDeniedException"}"#,
            );
        }
        (StatusCode::OK, "{}")
    }

    /// Sends one event, which is refused at first, and returns how often the keys of the instance
    /// are fetched before and after.
    async fn keys_fetched(execution_role: Option<RoleCredentials>) -> usize {
        let routes = Router::new().route("/", post(refuse_once));
        let routes = routes.with_state(Arc::new(AtomicUsize::new(0)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let folder = tempfile::tempdir().expect("a folder");
        let keys = Arc::new(TestKeys::default());
        let context = Context {
            keys: Arc::new(InstanceKeys::new(
                Arc::clone(&keys) as Arc<dyn KeySource>,
                Clock::default(),
            )),
            ..context(Simulated::new(Clock::default()), &endpoint, folder.path()).await
        };
        let roles = TaskRoles::default();
        roles.set(&Task {
            execution_role_credentials: execution_role,
            ..Task::default()
        });
        let shipper = Shipper {
            context: Arc::new(context),
            roles: Arc::new(roles),
            target: target(&json!({"awslogs-group": "g"})).expect("a target"),
            container: "web".to_owned(),
        };
        let instance_keys = &shipper.context.keys;
        instance_keys.get().await.expect("keys");
        let (mut batch, mut position) = (Batch::default(), Position::default());
        let piece = LogPiece {
            is_stderr: false,
            bytes: "2026-01-01T00:00:00Z text\n".into(),
        };
        for line in Lines::new(position.clone(), None).push(&piece) {
            batch.push(line);
        }
        shipper.flush(&mut batch, &mut position).await;
        assert!(batch.is_empty());
        instance_keys.get().await.expect("keys");
        keys.fetched.load(Relaxed)
    }

    #[tokio::test]
    async fn a_refused_execution_role_says_nothing_of_the_keys_of_the_instance() {
        assert_eq!(keys_fetched(Some(RoleCredentials::default())).await, 1);
        assert_eq!(keys_fetched(None).await, 2);
    }
}
