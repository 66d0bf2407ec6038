//! ACS: brings an agent its tasks, the manifest of all it should run, and credentials of roles.

pub(crate) mod delivery;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use wharfinger_ecs_protocol::acs::{
    AgentMessage, CloseMessage, ErrorMessage, HeartbeatMessage, PayloadMessage, ServerMessage,
    TaskManifestMessage, TaskStopVerificationAck, TaskStopVerificationMessage,
};
use wharfinger_ecs_protocol::limits::{HEARTBEAT_INTERVAL, SILENCE};
use wharfinger_ecs_protocol::{FrameError, Task, TaskIdentifier};
use wharfinger_orchestrator::identifiers::task_id;
use wharfinger_orchestrator::model::{DesiredStatus, TaskId};
use wharfinger_orchestrator::{self as orchestrator, AgentSession, AssignedTask, SessionEvent};

use crate::AgentState;
use crate::acs::delivery::{Delivery, Pulse, Unacknowledged};
use crate::connected_instance::{ConnectedInstance, Standing};
use crate::credentials::Roles;
use crate::socket::{AgentSocket, SocketError};

/// A connection is ended after this long, so that the agent signs in again: Amazon's agent does so
/// by itself every 30 to 35 minutes. The same holds for telemetry.
pub(crate) const MAX_AGE: Duration = Duration::from_mins(45);

/// The pause before a task is built again that failed for a reason of the server.
const RETRY: Duration = Duration::from_secs(5);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the agent opened another connection")]
    Replaced,
    #[error("ConnectionExpired: Reconnect to continue")]
    Expired,
    #[error("the server stops")]
    Stopping,
    #[error("the container instance was deregistered")]
    Inactive,
    #[error("the permission to connect for the container instance has ended")]
    Revoked,
    #[error("nothing came from the agent for too long")]
    Silent,
    #[error("the agent acknowledges nothing")]
    Unacknowledged,
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Failed(#[from] orchestrator::Error),
}

impl From<Unacknowledged> for End {
    fn from(_: Unacknowledged) -> Self {
        Self::Unacknowledged
    }
}

/// Serves the connection of an agent to its end. `has_credentials`: the agent got those of its
/// tasks on an earlier connection.
pub(crate) async fn serve(
    state: Arc<AgentState>,
    socket: AgentSocket,
    instance: ConnectedInstance,
    has_credentials: bool,
) {
    let now = Instant::now();
    let mut connection = Acs {
        socket,
        delivery: Delivery::default(),
        roles: Roles::default(),
        pulse: Pulse::new(now, HEARTBEAT_INTERVAL, SILENCE),
        expires_at: now + MAX_AGE,
        last_number: 0,
        is_beginning: false,
        instance,
        state,
    };
    let id = connection.instance.id.clone();
    let state = Arc::clone(&connection.state);
    let assignments = &state.orchestrator.assignments;
    let connected = async {
        let session = assignments.connect(&id).await?;
        Ok((session, assignments.is_beginning(&id).await?))
    };
    let end = match connected.await {
        Ok((Some(session), is_beginning)) => {
            tracing::debug!(instance = id.0, "an agent connected");
            connection.is_beginning = is_beginning;
            let has_credentials = has_credentials && !is_beginning;
            let end = connection.run(&session, has_credentials).await;
            if let Err(error) = assignments.disconnect(session).await {
                // The instances' reconciler finds that the agent is silent.
                tracing::warn!(instance = id.0, %error, "the end of a connection is not recorded");
            }
            end
        }
        Ok((None, _)) => End::Inactive,
        Err(error) => End::Failed(error),
    };
    if let End::Failed(error) = &end {
        tracing::warn!(instance = id.0, %error, "the connection of an agent failed");
    } else {
        tracing::debug!(instance = id.0, reason = %end, "the connection of an agent ended");
    }
    connection.close(&end).await;
}

/// Ends a connection whose instance was deregistered, or for which its principal may not connect
/// any more.
pub(crate) async fn check(state: &AgentState, instance: &ConnectedInstance) -> Result<(), End> {
    match instance.standing(state).await {
        Ok(Standing::Registered) => Ok(()),
        Ok(Standing::Deregistered) => Err(End::Inactive),
        Ok(Standing::Revoked) => Err(End::Revoked),
        // All agents would connect again, which needs the index too.
        Err(error @ orchestrator::Error::Index(_)) => {
            tracing::warn!(instance = instance.id.0, %error, "an instance cannot be checked");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The connection of one agent.
struct Acs {
    state: Arc<AgentState>,
    instance: ConnectedInstance,
    socket: AgentSocket,
    delivery: Delivery,
    roles: Roles,
    pulse: Pulse,
    expires_at: Instant,
    /// The last number of a payload or manifest.
    last_number: i64,
    /// Whether the agent began anew and has yet to take the tasks that ran, as the index has it: an
    /// agent says so on its first connection only, which may end early.
    is_beginning: bool,
}

/// What woke the connection.
enum Wake {
    Frame(Result<Option<Utf8Bytes>, SocketError>),
    Event(SessionEvent),
    Timer,
    Stop,
}

impl Acs {
    async fn run(&mut self, session: &AgentSession, has_credentials: bool) -> End {
        let mut stop = self.state.stop.subscribe();
        if let Err(end) = self.begin(has_credentials).await {
            return end;
        }
        loop {
            let wake = self.wait(session, &mut stop).await;
            let handled = match wake {
                Wake::Frame(frame) => self.take(session, frame).await,
                Wake::Event(SessionEvent::Changed) => self.deliver().await,
                Wake::Event(SessionEvent::Replaced) => Err(End::Replaced),
                Wake::Timer => self.on_timer().await,
                Wake::Stop => Err(End::Stopping),
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    async fn wait(&mut self, session: &AgentSession, stop: &mut watch::Receiver<bool>) -> Wake {
        let next = self.next_timer();
        tokio::select! {
            frame = self.socket.next() => Wake::Frame(frame),
            event = session.event() => Wake::Event(event),
            () = sleep_until(next) => Wake::Timer,
            () = stopped(stop) => Wake::Stop,
        }
    }

    fn next_timer(&self) -> Instant {
        let mut next = self.pulse.next().min(self.expires_at);
        let further = [self.delivery.next_expiry(), self.roles.next_due()];
        for at in further.into_iter().flatten() {
            next = next.min(at);
        }
        next
    }

    /// Tells the agent all that it may have missed.
    async fn begin(&mut self, has_credentials: bool) -> Result<(), End> {
        let state = Arc::clone(&self.state);
        let assignments = &state.orchestrator.assignments;
        let waiting = assignments.waiting(&self.instance.id).await?;
        let tasks = assignments.manifest(&self.instance.id).await?;
        // An agent that begins anew may have lost its state. It takes a task that it has once only.
        let mut running = Vec::new();
        if !has_credentials {
            let waits: HashSet<&TaskId> = waiting.iter().map(|task| &task.id).collect();
            let others = tasks.iter().filter(|task| !waits.contains(&task.id));
            running.extend(others.cloned());
        }
        let repeated: HashSet<TaskId> = running.iter().map(|task| task.id.clone()).collect();
        self.delivery.repeat(running);
        if !has_credentials {
            self.note_beginning(self.delivery.repeats()).await?;
        }
        self.deliver().await?;
        // A task may have ended since: an agent that was told it again stops what this lacks.
        let listed = assignments.manifest(&self.instance.id).await?;
        self.send_manifest(&listed).await?;
        let known = self
            .roles
            .find(&state, &self.instance, &tasks, (has_credentials, &repeated));
        known.await?;
        Ok(())
    }

    async fn take(
        &mut self,
        session: &AgentSession,
        frame: Result<Option<Utf8Bytes>, SocketError>,
    ) -> Result<(), End> {
        let frame = frame?;
        self.pulse.heard(Instant::now());
        session.note_seen(self.state.clock.now());
        let Some(text) = frame else {
            return Ok(());
        };
        match AgentMessage::from_frame(&text)? {
            Some(AgentMessage::Ack(ack)) => self.replied(&ack.message_id).await?,
            Some(AgentMessage::Nack(nack)) => {
                let reason = nack.reason.unwrap_or_default();
                let instance = self.instance.id.0.as_str();
                tracing::warn!(instance, reason, "an agent refused a message");
                // What it refused once, it refuses again: it is told anew on the next connection.
                self.replied(&nack.message_id).await?;
            }
            Some(AgentMessage::CredentialsAck(ack)) => {
                self.roles.acknowledged(&ack.message_id.unwrap_or_default());
            }
            Some(AgentMessage::TaskStopVerification(message)) => self.verify(message).await?,
            Some(AgentMessage::HeartbeatAck(_)) | None => {}
        }
        Ok(())
    }

    /// Goes on after the reply to a payload.
    async fn replied(&mut self, message_id: &str) -> Result<(), End> {
        let repeated = self.delivery.repeats();
        let others_wait = self.delivery.replied(message_id);
        if repeated && !self.delivery.repeats() {
            self.note_beginning(false).await?;
        }
        if others_wait {
            self.deliver().await?;
        }
        Ok(())
    }

    async fn note_beginning(&mut self, begins: bool) -> Result<(), End> {
        if self.is_beginning != begins {
            let assignments = &self.state.orchestrator.assignments;
            assignments
                .note_beginning(&self.instance.id, begins)
                .await?;
            self.is_beginning = begins;
        }
        Ok(())
    }

    async fn on_timer(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.pulse.is_silent(now) {
            return Err(End::Silent);
        }
        if now >= self.expires_at {
            return Err(End::Expired);
        }
        if self.pulse.beats(now) {
            check(&self.state, &self.instance).await?;
            let heartbeat = HeartbeatMessage {
                healthy: Some(true),
                message_id: Some(self.new_message_id()),
            };
            self.send(&ServerMessage::Heartbeat(heartbeat)).await?;
        }
        if self.delivery.expire(now)? {
            self.deliver().await?;
        }
        for message in self.roles.renew(&self.state, &self.instance, now).await? {
            self.send(&ServerMessage::Credentials(message)).await?;
        }
        Ok(())
    }

    /// Tells the agent what it does not know yet of its tasks.
    async fn deliver(&mut self) -> Result<(), End> {
        let state = Arc::clone(&self.state);
        let assignments = &state.orchestrator.assignments;
        let mut waiting = assignments.waiting(&self.instance.id).await?;
        loop {
            let next = self.delivery.next(&waiting);
            if next.is_empty() {
                return Ok(());
            }
            let (tasks, told) = self.build(next.clone()).await?;
            if told.iter().any(|told| !next.contains(told)) {
                // Something else is wanted of them since.
                waiting = assignments.waiting(&self.instance.id).await?;
            }
            if tasks.is_empty() {
                continue;
            }
            let message_id = self.new_message_id();
            let payload = PayloadMessage {
                cluster_arn: self.instance.cluster_arn(),
                container_instance_arn: self.instance.arn(),
                message_id: message_id.clone(),
                seq_num: self.next_number(),
                generated_at: self.state.clock.now().as_ms(),
                tasks,
            };
            self.send(&ServerMessage::Payload(payload)).await?;
            self.delivery.sent(message_id, told, Instant::now());
        }
    }

    /// The tasks of a payload, and what the agent knows after it. The others are postponed: those
    /// without credentials now, and those that the instance does not have any more.
    async fn build(
        &mut self,
        next: Vec<AssignedTask>,
    ) -> Result<(Vec<Task>, Vec<AssignedTask>), End> {
        let state = Arc::clone(&self.state);
        let assignments = &state.orchestrator.assignments;
        let ids: Vec<TaskId> = next.iter().map(|task| task.id.clone()).collect();
        let home = &self.instance.cluster.name.home;
        let found = assignments.tasks(home, &self.instance.id, &ids).await?;
        for gone in &ids {
            if !found.iter().any(|one| one.task.id == *gone) {
                self.delivery.forget(gone);
            }
        }
        let mut tasks = Vec::with_capacity(found.len());
        let mut told: Vec<AssignedTask> = Vec::with_capacity(found.len());
        for one in found {
            let desired = one.task.desired_status;
            if let Some(task) = self.roles.task(&state, &self.instance, &one).await? {
                tasks.push(task);
                told.push(AssignedTask {
                    id: one.task.id,
                    desired,
                });
            }
        }
        let until = Instant::now() + RETRY;
        for task in next {
            if !told.iter().any(|told| told.id == task.id) {
                self.delivery.postpone(task, until);
            }
        }
        Ok((tasks, told))
    }

    async fn send_manifest(&mut self, tasks: &[AssignedTask]) -> Result<(), End> {
        let tasks = tasks
            .iter()
            .map(|task| identifier(&self.instance, &task.id, task.desired));
        let manifest = TaskManifestMessage {
            cluster_arn: self.instance.cluster_arn(),
            container_instance_arn: self.instance.arn(),
            tasks: tasks.collect(),
            message_id: self.new_message_id(),
            generated_at: self.state.clock.now().as_ms(),
            timeline: self.next_number(),
        };
        self.send(&ServerMessage::TaskManifest(manifest)).await
    }

    /// Tells the agent which of the tasks that it has a question about it is to stop: those that
    /// the instance does not have.
    async fn verify(&mut self, message: TaskStopVerificationMessage) -> Result<(), End> {
        let assigned = self
            .state
            .orchestrator
            .assignments
            .manifest(&self.instance.id)
            .await?;
        let is_kept = |candidate: &TaskIdentifier| {
            let id = task_id(&self.instance.cluster.name, &candidate.task_arn).ok();
            id.is_some_and(|id| {
                let mut assigned = assigned.iter();
                assigned.any(|task| task.id == id && task.desired == DesiredStatus::Running)
            })
        };
        let candidates = message.stop_candidates.into_iter();
        let stop_tasks = candidates.filter(|candidate| !is_kept(candidate));
        let stop_tasks = stop_tasks.map(|candidate| TaskIdentifier {
            desired_status: wharfinger_ecs_protocol::DesiredStatus::Stopped,
            ..candidate
        });
        let ack = TaskStopVerificationAck {
            message_id: message.message_id,
            generated_at: self.state.clock.now().as_ms(),
            stop_tasks: stop_tasks.collect(),
        };
        self.send(&ServerMessage::TaskStopVerificationAck(ack))
            .await
    }

    async fn send(&mut self, message: &ServerMessage) -> Result<(), End> {
        let frame = message.to_frame()?;
        self.socket.send(frame).await.map_err(End::Socket)
    }

    async fn close(mut self, end: &End) {
        let reason = end.to_string();
        let message = match end {
            End::Inactive => Some(ServerMessage::InactiveInstance(ErrorMessage {
                message: Some(reason.clone()),
            })),
            End::Replaced | End::Expired | End::Stopping | End::Revoked => {
                let message = Some(reason.clone());
                Some(ServerMessage::Close(CloseMessage { message }))
            }
            End::Frame(_) | End::Unacknowledged => {
                let message = Some(reason.clone());
                Some(ServerMessage::Error(ErrorMessage { message }))
            }
            End::Failed(_) | End::Silent | End::Socket(_) => None,
        };
        if let Some(message) = message
            && self.send(&message).await.is_err()
        {
            return;
        }
        let code = match end {
            End::Socket(error) => return self.socket.close(error).await,
            End::Failed(_) => CloseCode::Error,
            End::Frame(_) | End::Unacknowledged | End::Revoked => CloseCode::Policy,
            End::Stopping => CloseCode::Away,
            End::Replaced | End::Expired | End::Inactive | End::Silent => CloseCode::Normal,
        };
        self.socket.close_with(code, &reason).await;
    }

    fn new_message_id(&self) -> String {
        self.state.ids.uuid().to_string()
    }

    /// Numbers grow over all connections of an agent and all servers: agents ignore a manifest
    /// with a lower one, and start tasks after those that an earlier payload stopped.
    fn next_number(&mut self) -> i64 {
        self.last_number = (self.last_number + 1).max(self.state.clock.now().as_ms());
        self.last_number
    }
}

/// Ready when the server stops.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone stops as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn identifier(
    instance: &ConnectedInstance,
    task: &TaskId,
    desired: DesiredStatus,
) -> TaskIdentifier {
    TaskIdentifier {
        task_arn: instance.cluster.name.task_arn(task).to_string(),
        task_cluster_arn: instance.cluster_arn(),
        desired_status: match desired {
            DesiredStatus::Running => wharfinger_ecs_protocol::DesiredStatus::Running,
            DesiredStatus::Stopped => wharfinger_ecs_protocol::DesiredStatus::Stopped,
        },
    }
}
