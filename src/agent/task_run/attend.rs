//! What goes on beside a container: its output is shipped, and its endpoints reply.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;
use wharfinger_ecs_protocol::Task;

use crate::context::Context;
use crate::logs::{Shipper, log_target};
use crate::metadata::{Endpoints, ServedTasks, Serving, TagReader, TaskShare};
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
    /// By container; that in the namespace of the whole task has no name.
    endpoints: BTreeMap<Option<String>, Serving>,
    /// Whether the namespace of the whole task has a listener. Held while it gets one, because all
    /// of its containers request it.
    is_namespace_served: Arc<Mutex<bool>>,
    /// The same for all endpoints of the task.
    share: Arc<TaskShare>,
}

impl Attendance {
    pub(super) fn is_namespace_served(&self) -> Arc<Mutex<bool>> {
        Arc::clone(&self.is_namespace_served)
    }

    /// Takes over what replies to a container; what did so before ends.
    fn serve(&mut self, container: Option<&str>, serving: Serving) {
        let container = container.map(ToOwned::to_owned);
        self.endpoints.insert(container, serving);
    }

    /// Ends what replies to a container that does not run any more.
    pub(super) fn leave(&mut self, container: &str) {
        self.endpoints.remove(&Some(container.to_owned()));
    }

    /// Waits for the output of the ended containers to be sent.
    pub(super) async fn end(&mut self) {
        self.endpoints.clear();
        let shipped = async { while self.shippers.join_next().await.is_some() {} };
        if timeout(SHIPPING_TIMEOUT, shipped).await.is_err() {
            tracing::error!("the rest of the output of a task was not sent");
        }
    }
}

impl Context {
    /// A listener in the network namespace of a container that runs, unless another one serves it.
    pub(super) async fn listen_in_container(
        &self,
        task: &Task,
        seen: &Inspection,
    ) -> Option<TcpListener> {
        // The namespace of the whole task has its listener already; that of the host gets none.
        if matches!(task.network_mode.as_deref(), Some("awsvpc" | "host")) {
            return None;
        }
        self.listen_in(task, seen.pid?).await
    }

    /// A listener in the network namespace of a whole task, unless it has one.
    pub(super) async fn listen_in_namespace(
        &self,
        task: &Task,
        pid: Option<i32>,
        is_served: &Mutex<bool>,
    ) -> Option<TcpListener> {
        let mut is_served = is_served.lock().await;
        if *is_served {
            return None;
        }
        let listener = self.listen_in(task, pid?).await;
        *is_served = listener.is_some();
        listener
    }

    /// A listener in the namespace of a process. Without one the task runs on, and the log says
    /// what it lacks.
    async fn listen_in(&self, task: &Task, pid: i32) -> Option<TcpListener> {
        let task = &task.arn;
        if !self.engine_is_local {
            tracing::warn!(
                task,
                "credentials and metadata cannot be served to the task: its Docker Engine is not \
                 on the host of the agent"
            );
            return None;
        }
        match namespace::listen(pid).await {
            Ok(listener) => Some(listener),
            Err(error) => {
                tracing::warn!(task, "{}", why_not_served(&error));
                None
            }
        }
    }
}

/// What the operator is told of a task without endpoints.
fn why_not_served(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let why = "credentials and metadata cannot be served to the task: run the agent as root, \
                   or with CAP_SYS_ADMIN and CAP_NET_ADMIN";
        return why.to_owned();
    }
    format!("credentials and metadata are not served to the task: {error}")
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
        while self.attendance.shippers.try_join_next().is_some() {}
        let turn = Arc::clone(self.attendance.turns.entry(name.to_owned()).or_default());
        self.attendance.shippers.spawn(async move {
            let _turn = turn.lock().await;
            shipper.run().await;
        });
    }

    /// Replies on a listener in the namespace of a container, or of the whole task.
    pub(super) fn reply_on(&mut self, container: Option<&str>, listener: Option<TcpListener>) {
        let Some(listener) = listener else {
            return;
        };
        let served = ServedTasks::default();
        served.add(&self.record.task.arn, self.endpoints());
        self.attendance.serve(container, served.serve(listener));
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
            cluster: self.context.cluster.clone(),
            availability_zone: self.context.availability_zone.clone(),
            runtime: Arc::clone(&self.context.runtime),
            roles: Arc::clone(&self.roles),
            shown: Arc::clone(&self.shown),
            share: Arc::clone(&self.attendance.share),
            tags: Some(TagReader::new(&self.context)),
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
        {
            let is_served = self.attendance.is_namespace_served();
            let task = &self.record.task;
            let listening = self.context.listen_in_namespace(task, seen.pid, &is_served);
            let listener = listening.await;
            self.reply_on(None, listener);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether somebody listens at a port.
    async fn is_served(port: u16) -> bool {
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
    }

    async fn until_free(port: u16) {
        let free = async {
            while is_served(port).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), free)
            .await
            .expect("its listener ends");
    }

    fn serving() -> (Serving, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("set");
        let port = listener.local_addr().expect("an address").port();
        (ServedTasks::default().serve(listener), port)
    }

    #[tokio::test]
    async fn an_agent_without_privileges_says_what_it_lacks() {
        // Of this thread, and of those that it starts: tests have threads of their own.
        let mut own = rustix::thread::capabilities(None).expect("read");
        own.effective = rustix::thread::CapabilitySet::empty();
        rustix::thread::set_capabilities(None, own).expect("given up");
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let error = namespace::listen(pid).await.expect_err("it may not");
        let why = why_not_served(&error);
        assert!(why.contains("CAP_SYS_ADMIN and CAP_NET_ADMIN"), "{why}");
        let other = why_not_served(&io::Error::other("no such device"));
        assert!(other.ends_with(": no such device"), "{other}");
    }

    #[tokio::test]
    async fn a_container_that_starts_again_has_one_listener() {
        let mut attendance = Attendance::default();
        let (first, first_port) = serving();
        attendance.serve(Some("web"), first);
        let (task, task_port) = serving();
        attendance.serve(None, task);
        assert!(is_served(first_port).await);
        let (second, second_port) = serving();
        attendance.serve(Some("web"), second);
        until_free(first_port).await;
        assert!(is_served(second_port).await);
        attendance.leave("web");
        until_free(second_port).await;
        assert!(is_served(task_port).await);
    }
}
