//! Brings reports of tasks to the control plane, and keeps records.

use std::time::Duration;

use serde_json::Value;

use crate::aws_client::{CallError, ECS};
use crate::backoff::Backoff;
use crate::context::Context;

/// Between attempts to report a task.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

impl Context {
    /// Reports a task until the control plane takes the report, or says that it never will.
    pub(crate) async fn submit(&self, body: &Value) {
        let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY, self.ids.clone());
        loop {
            let error = match self.try_submit(body).await {
                Ok(()) => return,
                Err(error) => error,
            };
            let denied = error.is_denied();
            if denied {
                self.keys.forget().await;
            }
            let task = body["task"].as_str().unwrap_or_default();
            if !denied && !error.is_transient() {
                tracing::error!(task, %error, "the control plane does not take a report");
                return;
            }
            tracing::warn!(task, %error, "a report was not sent; it will be tried again");
            backoff.wait().await;
        }
    }

    async fn try_submit(&self, body: &Value) -> Result<(), CallError> {
        let keys = self.keys.get().await.map_err(CallError::NoKeys)?;
        let call = self.client.call(&keys, ECS, "SubmitTaskStateChange", body);
        call.await.map(|_: Value| ())
    }

    /// Stores the record of a task. If that fails the agent goes on all the same: it would forget
    /// the task at its next restart, but stopping what runs would be worse.
    pub(crate) async fn save(&self, id: &str, record: Vec<u8>) {
        if let Err(error) = self.state.set_task(id, record).await {
            tracing::error!(task = id, %error, "a task was not stored");
        }
    }
}
