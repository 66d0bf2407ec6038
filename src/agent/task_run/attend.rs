//! What goes on beside a container: its output is shipped, and its endpoints reply.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::logs::{Shipper, log_target};
use crate::metadata::{Endpoints, ServedTasks, Serving};
use crate::namespace;
use crate::runtime::Inspection;
use crate::task_run::TaskRun;
use crate::view::ContainerState;

/// How long the rest of the output of an ended task may take to be sent.
const SHIPPING_TIMEOUT: Duration = Duration::from_mins(10);

/// The work beside the containers of a task. It ends with it.
#[derive(Default)]
pub(super) struct Attendance {
    shippers: JoinSet<()>,
    /// One shipper at a time works on a container, also when it is started again.
    turns: BTreeMap<String, Arc<Mutex<()>>>,
    endpoints: Vec<Serving>,
}

impl Attendance {
    /// Waits for the output of the ended containers to be sent.
    pub(super) async fn end(&mut self) {
        self.endpoints.clear();
        let shipped = async { while self.shippers.join_next().await.is_some() {} };
        if timeout(SHIPPING_TIMEOUT, shipped).await.is_err() {
            tracing::error!("the rest of the output of a task was not sent");
        }
    }
}

impl TaskRun {
    /// What ships the output of a container, if the agent does.
    pub(super) fn shipper(&self, name: &str) -> Option<Shipper> {
        let definition = self
            .record
            .task
            .containers
            .iter()
            .find(|one| one.name == name)?;
        Some(Shipper {
            context: Arc::clone(&self.context),
            roles: Arc::clone(&self.roles),
            target: log_target(&self.record.task, definition)?,
            container: self.record.containers.get(name)?.runtime_name.clone(),
        })
    }

    /// Ships the output of a container that has started, or had.
    pub(super) fn ship(&mut self, name: &str) {
        let Some(shipper) = self.shipper(name) else {
            return;
        };
        let turn = Arc::clone(self.attendance.turns.entry(name.to_owned()).or_default());
        self.attendance.shippers.spawn(async move {
            let _turn = turn.lock().await;
            shipper.run().await;
        });
    }

    /// Replies in the network namespace of a container that has started.
    pub(super) fn reply_in(&mut self, seen: &Inspection) {
        let mode = self.record.task.network_mode.as_deref();
        // The namespace of the whole task has its listener already; that of the host gets none.
        let Some(pid) = seen
            .pid
            .filter(|_| !matches!(mode, Some("awsvpc" | "host")))
        else {
            return;
        };
        match namespace::listen(pid) {
            Ok(listener) => self.reply_on(listener),
            Err(error) => self.warn_about_endpoints(&error),
        }
    }

    pub(super) fn reply_on(&mut self, listener: TcpListener) {
        let served = ServedTasks::default();
        served.add(&self.record.task.arn, self.endpoints());
        self.attendance.endpoints.push(served.serve(listener));
    }

    /// Replies on the listener of the host, if the task shares its network.
    pub(super) fn reply_on_host(&self) {
        if self.record.task.network_mode.as_deref() == Some("host") {
            let arn = &self.record.task.arn;
            self.context
                .host_endpoints
                .served
                .add(arn, self.endpoints());
        }
    }

    fn endpoints(&self) -> Endpoints {
        Endpoints {
            context: Arc::clone(&self.context),
            roles: Arc::clone(&self.roles),
            shown: Arc::clone(&self.shown),
        }
    }

    fn warn_about_endpoints(&self, error: &std::io::Error) {
        let task = &self.record.task.arn;
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            tracing::warn!(
                task,
                "credentials and metadata cannot be served to the task: run the agent as root, or \
                 with CAP_SYS_ADMIN and CAP_NET_ADMIN"
            );
        } else {
            tracing::warn!(task, %error, "credentials and metadata are not served to the task");
        }
    }

    /// Takes up the work beside containers that an earlier run had started.
    pub(super) async fn attend_again(&mut self) {
        let containers = self.record.containers.iter();
        let started = containers.filter(|(_, one)| {
            matches!(
                one.state,
                ContainerState::Running { .. } | ContainerState::Exited(_)
            )
        });
        let names: Vec<String> = started.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.ship(&name);
        }
        if let Some(namespace) = &self.record.namespace
            && let Some(seen) = self.context.inspect(&namespace.runtime_name).await
            && let Some(pid) = seen.pid
        {
            match namespace::listen(pid) {
                Ok(listener) => self.reply_on(listener),
                Err(error) => self.warn_about_endpoints(&error),
            }
        }
    }
}
