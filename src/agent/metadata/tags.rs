//! The tags of a task and of its instance, as the path `taskWithTags` shows them.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use wharfinger_base::{Clock, Timestamp};

use crate::aws_client::{AwsClient, CallError, ECS};
use crate::context::Context;
use crate::keys::InstanceKeys;

/// For how long tags that were read are shown: a task may request them all the time.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// Members of a document.
type Members = Map<String, Value>;

/// Reads tags with the keys of the instance. Clones share what is known.
#[derive(Clone)]
pub(crate) struct TagReader {
    client: AwsClient,
    keys: Arc<InstanceKeys>,
    clock: Clock,
    instance_arn: String,
    /// When the tags of the task and its instance were read, and the members with them.
    known: Arc<Mutex<Option<(Timestamp, Members)>>>,
}

/// The response of `ListTagsForResource`.
#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

impl TagReader {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            client: context.client.clone(),
            keys: Arc::clone(&context.keys),
            clock: context.clock.clone(),
            instance_arn: context.instance_arn.clone(),
            known: Arc::default(),
        }
    }

    /// The members that the document of a task gets, with errors for what cannot be read.
    pub(super) async fn members(&self, task_arn: &str) -> Members {
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some((at, members)) = known.as_ref()
            && now.since(*at) < KNOWN_FOR
        {
            return members.clone();
        }
        let (mut members, mut errors) = (Map::new(), Vec::new());
        for (member, arn) in [
            ("TaskTags", task_arn),
            ("ContainerInstanceTags", self.instance_arn.as_str()),
        ] {
            match self.read(arn).await {
                Ok(tags) => drop(members.insert(member.to_owned(), Value::Object(tags))),
                Err(error) => errors.push(described(&error, member, arn)),
            }
        }
        if !errors.is_empty() {
            members.insert("Errors".to_owned(), Value::Array(errors));
        }
        *known = Some((now, members.clone()));
        members
    }

    async fn read(&self, arn: &str) -> Result<Members, CallError> {
        let keys = self.keys.get().await.map_err(CallError::NoKeys)?;
        let request = json!({ "resourceArn": arn });
        let listed = self
            .client
            .call(&keys, ECS, "ListTagsForResource", &request);
        let Listed { tags } = listed.await?;
        let tags = tags.into_iter().map(|tag| (tag.key, tag.value.into()));
        Ok(tags.collect())
    }
}

fn described(error: &CallError, member: &str, arn: &str) -> Value {
    let mut described = json!({
        "ErrorField": member,
        "ErrorMessage": error.to_string(),
        "ResourceARN": arn,
    });
    if let CallError::Refused {
        status,
        code,
        message,
    } = error
    {
        described["ErrorCode"] = json!(code);
        described["ErrorMessage"] = json!(message);
        described["StatusCode"] = json!(status);
    }
    described
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::post;

    use super::*;
    use crate::context::tests::context;
    use crate::runtime::tests::simulated::Simulated;

    #[tokio::test]
    async fn tags_are_read_once_in_a_while_and_a_refusal_is_told() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let reply = async move |body: String| {
            counted.fetch_add(1, Ordering::Relaxed);
            if body.contains("arn:instance") {
                let refusal = json!({"__type": "AccessDeniedException", "message": "no"});
                return (StatusCode::BAD_REQUEST, refusal.to_string());
            }
            let tags = json!({"tags": [{"key": "team", "value": "web"}]});
            (StatusCode::OK, tags.to_string())
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = axum::serve(listener, Router::new().route("/", post(reply)));
        let server = tokio::spawn(server.into_future());
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Simulated::new(Clock::default());
        let context = context(runtime, &format!("http://{address}/"), folder.path()).await;
        let reader = TagReader::new(&context);
        let members = reader.members("arn:task").await;
        let expected = json!({
            "TaskTags": {"team": "web"},
            "Errors": [{
                "ErrorField": "ContainerInstanceTags",
                "ErrorCode": "AccessDeniedException",
                "ErrorMessage": "no",
                "StatusCode": 400,
                "ResourceARN": "arn:instance",
            }],
        });
        assert_eq!(Value::Object(members.clone()), expected);
        assert_eq!(reader.members("arn:task").await, members);
        assert_eq!(calls.load(Ordering::Relaxed), 2, "one for each resource");
        server.abort();
    }
}
