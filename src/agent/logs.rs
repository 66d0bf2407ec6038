//! Ships the output of containers with the log driver `awslogs` to CloudWatch Logs.
//!
//! The engine keeps the output in files. The agent follows it, sends it in batches, and notes on
//! its disk how far it is. Before each batch it notes the sequence token that it sends with it:
//! after a crash the server tells by the token how much of the next batch it has already.
//!
//! Source: Docker's documentation of the `awslogs` driver; CloudWatch Logs API reference,
//! `PutLogEvents`.

mod batch;
mod lines;
mod position;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Deserialize;
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
use crate::logs::lines::Lines;
use crate::logs::position::Position;
use crate::record::task_id;
use crate::roles::TaskRoles;

/// How long an event waits for others to be sent with.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Between attempts to send, and to follow a container whose stream broke.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Digits of a sequence token. That of an empty stream is zero.
const TOKEN_DIGITS: usize = 56;

/// Where the output of a container goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogTarget {
    pub(crate) group: String,
    pub(crate) stream: String,
    region: Option<String>,
    makes_group: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct PutOutput {
    next_sequence_token: Option<String>,
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
        let made = self.make_stream().await;
        made.map_err(|error| {
            format!(
                "failed to initialize logging driver: failed to create Cloudwatch log stream: \
                 {error}"
            )
        })
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
        let mut lines = Lines::new(position.clone());
        let mut batch = Batch::default();
        let mut flush_at = Instant::now();
        loop {
            let piece = tokio::select! {
                piece = pieces.next() => piece,
                () = sleep_until(flush_at), if !batch.is_empty() => {
                    self.flush(&mut batch, position).await;
                    continue;
                }
            };
            let broken = match piece {
                Some(Ok(piece)) => {
                    for line in lines.push(&piece) {
                        if batch.is_empty() {
                            flush_at = Instant::now() + FLUSH_INTERVAL;
                        }
                        if !batch.takes(&line) {
                            self.flush(&mut batch, position).await;
                            flush_at = Instant::now() + FLUSH_INTERVAL;
                        }
                        batch.push(line);
                    }
                    continue;
                }
                Some(Err(crate::runtime::RuntimeError::Missing(_))) | None => Ok(()),
                Some(Err(error)) => Err(error),
            };
            for line in lines.rest() {
                batch.push(line);
            }
            self.flush(&mut batch, position).await;
            return broken;
        }
    }

    /// Sends a batch, and notes how far the container's output is sent.
    async fn flush(&self, batch: &mut Batch, position: &mut Position) {
        let mut backoff = self.backoff();
        let first_token = "0".repeat(TOKEN_DIGITS);
        while !batch.is_empty() {
            let body = json!({
                "logGroupName": self.target.group,
                "logStreamName": self.target.stream,
                "logEvents": batch.events(),
                "sequenceToken": position.token.as_deref().unwrap_or(&first_token),
            });
            let sent = self.call::<PutOutput>("PutLogEvents", &body).await;
            match sent {
                Ok(output) => {
                    position.token = output.next_sequence_token;
                    batch.sent(batch.len(), position);
                }
                Err(error) if error.is("DataAlreadyAccepted") => {
                    let expected = expected_token(&error);
                    let had = already_there(position.token.as_deref(), expected.as_deref());
                    position.token = expected;
                    batch.sent(had.unwrap_or(batch.len()).min(batch.len()), position);
                }
                Err(error) if error.is("ResourceNotFound") && self.make_stream().await.is_ok() => {
                    position.token = None;
                    continue;
                }
                Err(error) if error.is_transient() || is_denied(&error) => {
                    let stream = &self.target.stream;
                    tracing::warn!(stream, %error, "log events were not sent; trying again");
                    self.context.keys.forget().await;
                    backoff.wait().await;
                    continue;
                }
                Err(error) => {
                    let (stream, events) = (&self.target.stream, batch.len());
                    tracing::error!(stream, events, %error, "log events were refused");
                    batch.sent(batch.len(), position);
                }
            }
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

fn is_denied(error: &CallError) -> bool {
    let codes = ["AccessDenied", "ExpiredToken", "UnrecognizedClient"];
    codes.iter().any(|code| error.is(code))
}

/// The token that a refusal ends with: `… next batch can be sent with sequenceToken: N`.
fn expected_token(error: &CallError) -> Option<String> {
    let CallError::Refused { message, .. } = error else {
        return None;
    };
    let token = message.rsplit(' ').next()?;
    let digits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| token.to_owned())
}

/// How many events the server took since the token was issued: its tokens count events.
fn already_there(sent: Option<&str>, expected: Option<&str>) -> Option<usize> {
    let number = |token: Option<&str>| token?.trim_start_matches('0').parse::<usize>().ok();
    let sent = number(sent).unwrap_or(0);
    number(expected)?.checked_sub(sent)
}

#[cfg(test)]
mod tests {
    use wharfinger_ecs_protocol::DockerConfig;

    use super::*;

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
    }

    #[test]
    fn tokens_count_what_is_there() {
        let error = CallError::Refused {
            status: 400,
            code: "DataAlreadyAcceptedException".to_owned(),
            message: "The next batch can be sent with sequenceToken: 0012".to_owned(),
        };
        let expected = expected_token(&error);
        assert_eq!(expected.as_deref(), Some("0012"));
        assert_eq!(already_there(Some("0007"), expected.as_deref()), Some(5));
        assert_eq!(already_there(Some("0000"), Some("03")), Some(3));
        assert_eq!(already_there(Some("9"), Some("3")), None);
    }
}
