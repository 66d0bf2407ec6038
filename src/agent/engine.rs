//! The tasks of an instance: takes them from the control plane and from the disk, and passes on
//! what the runtime says of their containers.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::task::AbortHandle;
use wharfinger_ecs_protocol::{DesiredStatus, RoleCredentials, RoleType, Task};

use crate::backoff::Backoff;
use crate::context::Context;
use crate::inbox::Inbox;
use crate::labels;
use crate::record::TaskRecord;
use crate::removal::remove_containers;
use crate::runtime::ListedContainer;
use crate::shown::{Shown, Snapshot};
use crate::task_run::TaskRun;

/// Between attempts to listen to the runtime.
const EVENTS_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The tasks of an instance. Dropping it ends the agent's work; containers go on.
pub(crate) struct Engine {
    context: Arc<Context>,
    tasks: Arc<Tasks>,
    /// Whether containers without a task were left.
    has_orphans: bool,
}

#[derive(Default)]
struct Tasks(Mutex<BTreeMap<String, Handle>>);

/// A task that is run.
struct Handle {
    inbox: Arc<Inbox>,
    shown: Arc<Shown>,
    run: AbortHandle,
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Handle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for handle in self.tasks.lock().values() {
            handle.run.abort();
        }
    }
}

impl Engine {
    /// Takes up the tasks that lie on the disk.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) async fn open(context: Arc<Context>) -> io::Result<Self> {
        let records = context.state.tasks().await?;
        let mut engine = Self {
            context,
            tasks: Arc::default(),
            has_orphans: false,
        };
        for record in records {
            engine.run(record);
        }
        engine.has_orphans = !engine.remove_orphans().await;
        Ok(engine)
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Takes a task of a payload. It is on the disk when this returns.
    ///
    /// # Errors
    /// Those of the file system: the payload must not be acknowledged.
    pub(crate) async fn accept(&self, task: Task) -> io::Result<()> {
        let known = {
            let tasks = self.tasks.lock();
            tasks.get(&task.arn).map(|handle| Arc::clone(&handle.inbox))
        };
        if let Some(inbox) = known {
            if task.desired_status == DesiredStatus::Stopped {
                inbox.stop();
            }
            if let Some(role) = task.role_credentials {
                inbox.credentials(RoleType::TaskApplication, role);
            }
            if let Some(role) = task.execution_role_credentials {
                inbox.credentials(RoleType::TaskExecution, role);
            }
            return Ok(());
        }
        let record = TaskRecord::new(task, &self.context.ids);
        let text = serde_json::to_vec(&record).map_err(io::Error::other)?;
        self.context.state.set_task(record.id(), text).await?;
        self.run(record);
        Ok(())
    }

    /// Gives a task newer credentials.
    pub(crate) fn credentials(&self, arn: &str, of: RoleType, credentials: RoleCredentials) {
        if let Some(handle) = self.tasks.lock().get(arn) {
            handle.inbox.credentials(of, credentials);
        }
    }

    /// Stops a task.
    pub(crate) fn stop(&self, arn: &str) {
        if let Some(handle) = self.tasks.lock().get(arn) {
            handle.inbox.stop();
        }
    }

    /// All tasks by ARN.
    pub(crate) fn snapshots(&self) -> BTreeMap<String, Snapshot> {
        let tasks = self.tasks.lock();
        let all = tasks.iter();
        all.map(|(arn, handle)| (arn.clone(), handle.shown.get()))
            .collect()
    }

    fn run(&self, record: TaskRecord) {
        let (inbox, shown) = (Arc::new(Inbox::default()), Arc::new(Shown::default()));
        let arn = record.task.arn.clone();
        let context = Arc::clone(&self.context);
        let run = TaskRun::new(context, Arc::clone(&inbox), Arc::clone(&shown), record);
        // Inserted before it can end and be removed.
        let mut tasks = self.tasks.lock();
        let (all, ended) = (Arc::clone(&self.tasks), arn.clone());
        let run = tokio::spawn(async move {
            run.run().await;
            all.lock().remove(&ended);
        });
        let run = run.abort_handle();
        tasks.insert(arn, Handle { inbox, shown, run });
    }

    /// Passes on changes of containers, and removes those without a task, until the agent ends.
    pub(crate) async fn watch(&self) {
        tokio::join!(self.pass_on_changes(), self.remove_left_orphans());
    }

    async fn pass_on_changes(&self) {
        let label = format!("{}={}", labels::INSTANCE, self.context.instance_arn);
        loop {
            let since = self.context.clock.now().minus(EVENTS_RETRY_INTERVAL);
            let mut events = self.context.runtime.events(&label, since);
            for handle in self.tasks.lock().values() {
                handle.inbox.look_at_all();
            }
            while let Some(event) = events.next().await {
                let arn = event.labels.get(labels::TASK_ARN);
                let tasks = self.tasks.lock();
                if let Some(handle) = arn.and_then(|arn| tasks.get(arn)) {
                    handle.inbox.changed(event.id);
                }
            }
            tracing::warn!("the events of the container runtime ended; listening again");
            tokio::time::sleep(EVENTS_RETRY_INTERVAL).await;
        }
    }

    async fn remove_left_orphans(&self) {
        let mut backoff = Backoff::of_removals(self.context.ids.clone());
        let mut are_left = self.has_orphans;
        while are_left {
            backoff.wait().await;
            are_left = !self.remove_orphans().await;
        }
    }

    /// Removes containers of this instance that belong to no task: the record of their task was
    /// lost, so nobody would ever stop them. Returns whether none is left.
    async fn remove_orphans(&self) -> bool {
        let label = format!("{}={}", labels::INSTANCE, self.context.instance_arn);
        // A task removes its containers before it ends.
        let is_kept = |container: &ListedContainer| {
            let arn = container.labels.get(labels::TASK_ARN);
            arn.is_some_and(|arn| self.tasks.lock().contains_key(arn))
        };
        remove_containers(&*self.context.runtime, &label, is_kept).await
    }
}
