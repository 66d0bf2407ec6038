//! Carries out the actions that were decided for a task.

use std::sync::Arc;
use std::time::Duration;

use crate::context::Context;
use crate::images::ResolvedImage;
use crate::plan::ContainerPlan;
use crate::prepare::START_FAILED;
use crate::record::ContainerRecord;
use crate::runtime::{Inspection, RuntimeError};
use crate::step::{Action, Unresolvable};
use crate::task_run::{Created, Outcome, Started, TaskRun};
use crate::view::{ContainerState, Work};

/// Between two attempts to stop a container that the runtime fails to stop.
const STOP_RETRY_INTERVAL: Duration = Duration::from_secs(5);

impl TaskRun {
    /// Begins an action. Its outcome comes by `under_way`.
    pub(super) fn perform(&mut self, action: &Action) {
        match action {
            Action::Pull(name) => self.pull(name),
            Action::Create(name) => self.create(name),
            Action::Start(name) | Action::Restart(name) => self.start(name),
            Action::Stop(name) => self.stop(name),
            Action::Abandon(name) => {
                if let Some(pull) = self.pulls.remove(name) {
                    pull.abort();
                }
                self.work.remove(name);
            }
            Action::Fail(name, why) => {
                let reason = unresolvable(why, &self.record.task.arn);
                self.fail(name, reason);
            }
        }
    }

    /// Fails every container of a task whose dependencies can never be met.
    pub(super) fn fail_all(&mut self) {
        let arn = self.record.task.arn.clone();
        let names: Vec<String> = self.record.containers.keys().cloned().collect();
        for name in names {
            let reason = "TaskDependencyError: Task dependencies cannot be resolved, taskArn: ";
            self.fail(&name, format!("{reason}{arn}"));
        }
    }

    pub(super) fn fail(&mut self, name: &str, reason: String) {
        if let Some(container) = self.record.containers.get_mut(name) {
            tracing::warn!(
                task = self.record.task.arn,
                container = name,
                reason,
                "not started"
            );
            container.state = ContainerState::Failed;
            container.reason = Some(reason);
        }
    }

    /// Looks at a container.
    pub(super) fn look_at(&mut self, name: &str) {
        let Some(container) = self.record.containers.get(name) else {
            return;
        };
        let (name, id) = (name.to_owned(), runtime_id(container));
        let context = Arc::clone(&self.context);
        self.under_way.spawn(async move {
            let seen = context.inspect(&id).await;
            Outcome::Inspected(name, seen)
        });
    }

    /// Looks at the container that holds the network namespace.
    pub(super) fn look_at_namespace(&mut self, id: String) {
        let context = Arc::clone(&self.context);
        self.under_way
            .spawn(async move { Outcome::InspectedNamespace(context.inspect(&id).await) });
    }

    fn pull(&mut self, name: &str) {
        let task = self.record.task.clone();
        let container = task.containers.iter().find(|one| one.name == name).cloned();
        let Some(mut container) = container else {
            return;
        };
        // What an earlier run of the agent has reported.
        let known = self.record.containers.get(name);
        let known = known.and_then(|known| known.image_digest.clone());
        container.image_digest = container.image_digest.or(known);
        self.work.insert(name.to_owned(), Work::Pull);
        let (name, context) = (name.to_owned(), Arc::clone(&self.context));
        let key = name.clone();
        let handle = self.under_way.spawn(async move {
            let found = context.resolve(&task, &container).await;
            Outcome::Resolved(name, found)
        });
        self.pulls.insert(key, handle);
    }

    /// Pulls an image whose digest is known, as far as it can be known before.
    pub(super) fn pull_resolved(&mut self, name: String, found: ResolvedImage) {
        let (key, context) = (name.clone(), Arc::clone(&self.context));
        let handle = self.under_way.spawn(async move {
            let pulled = context.images.pull(found).await;
            Outcome::Pulled(name, pulled)
        });
        self.pulls.insert(key, handle);
    }

    fn create(&mut self, name: &str) {
        self.work.insert(name.to_owned(), Work::Create);
        let (name, context) = (name.to_owned(), Arc::clone(&self.context));
        let record = self.record.clone();
        let is_served = self.attendance.is_namespace_served();
        self.under_way.spawn(async move {
            let made = match context.create_container(&record, &name).await {
                Ok((runtime_id, namespace)) => {
                    // Before the container starts, so that it finds its endpoints.
                    let pid = namespace.as_ref().and_then(|namespace| namespace.pid);
                    let listening = context.listen_in_namespace(&record.task, pid, &is_served);
                    Ok(Created {
                        runtime_id,
                        listener: listening.await,
                        namespace: namespace.map(|namespace| namespace.record),
                    })
                }
                Err(reason) => Err(reason),
            };
            Outcome::Created(name, made)
        });
    }

    fn start(&mut self, name: &str) {
        let Some(container) = self.record.containers.get(name) else {
            return;
        };
        self.work.insert(name.to_owned(), Work::Start);
        let (name, id) = (name.to_owned(), runtime_id(container));
        let (context, shipper) = (Arc::clone(&self.context), self.shipper(&name));
        let task = self.record.task.clone();
        self.under_way.spawn(async move {
            let prepared = match &shipper {
                Some(shipper) => shipper.prepare().await,
                None => Ok(()),
            };
            let started = match prepared {
                Ok(()) => context.start_container(&id).await,
                Err(why) => Err(format!("{START_FAILED}: {why}")),
            };
            let started = match started {
                Ok(seen) => Ok(Started {
                    listener: context.listen_in_container(&task, &seen).await,
                    seen,
                }),
                Err(reason) => Err(reason),
            };
            Outcome::Started(name, started)
        });
    }

    fn stop(&mut self, name: &str) {
        let plan = self
            .plan
            .container(name)
            .map(|plan: &ContainerPlan| plan.stop_timeout);
        let (Some(timeout), Some(container)) = (plan, self.record.containers.get(name)) else {
            return;
        };
        self.work.insert(name.to_owned(), Work::Stop);
        let (name, id) = (name.to_owned(), runtime_id(container));
        let context = Arc::clone(&self.context);
        self.under_way.spawn(async move {
            let stopped = match context.runtime.stop(&id, timeout).await {
                Ok(()) => context.runtime.inspect(&id).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &stopped {
                tracing::warn!(container = id, %error, "a container was not stopped");
                tokio::time::sleep(STOP_RETRY_INTERVAL).await;
            }
            let reason = |error: RuntimeError| match error {
                RuntimeError::Missing(_) => String::new(),
                error => format!("CannotStopContainerError: {error}"),
            };
            Outcome::Stopped(name, stopped.map_err(reason))
        });
    }
}

impl Context {
    /// Looks at a container until the runtime replies; `None` for one that is not there.
    pub(super) async fn inspect(&self, id: &str) -> Option<Inspection> {
        loop {
            match self.runtime.inspect(id).await {
                Ok(seen) => return Some(seen),
                Err(RuntimeError::Missing(_)) => return None,
                Err(error) => {
                    tracing::warn!(container = id, %error, "a container was not inspected");
                    tokio::time::sleep(STOP_RETRY_INTERVAL).await;
                }
            }
        }
    }
}

fn runtime_id(container: &ContainerRecord) -> String {
    let id = container.runtime_id.as_ref();
    id.unwrap_or(&container.runtime_name).clone()
}

fn unresolvable(why: &Unresolvable, task_arn: &str) -> String {
    match why {
        Unresolvable::Impossible { on, condition } => format!(
            "TaskDependencyError: dependency on container {on} with the condition {condition} \
             cannot be resolved, taskArn: {task_arn}"
        ),
        Unresolvable::TimedOut { on, condition } => format!(
            "TaskDependencyError: dependency on container {on} with the condition {condition} has \
             timed out, taskArn: {task_arn}"
        ),
    }
}
