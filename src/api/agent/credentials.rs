//! The roles of an instance's tasks: credentials in payloads, and new ones before they end.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use wharfinger_base::Timestamp;
use wharfinger_ecs_protocol::acs::IamRoleCredentialsMessage;
use wharfinger_ecs_protocol::{RoleCredentials, RoleType, Task};
use wharfinger_orchestrator::model::{DesiredStatus, TaskId, TaskStatus};
use wharfinger_orchestrator::payload::TaskParts;
use wharfinger_orchestrator::{
    self as orchestrator, AssignedTask, CredentialsError, RENEWED_BEFORE, TaskToRun, payload,
};

use crate::AgentState;
use crate::connected_instance::ConnectedInstance;

/// Credentials that one step issues at most, so that heartbeats stay in time.
const RENEWED_AT_ONCE: usize = 10;

/// Tasks that are read at once when an agent connects.
const TASKS_AT_ONCE: usize = 20;

/// When credentials are sent again that the agent did not acknowledge, or could not be issued.
const RETRY: Duration = Duration::from_mins(1);

/// Where the agent has credentials from an earlier connection, new ones come within this time,
/// spread over it: those that it has hold for longer.
const SPREAD: Duration = Duration::from_mins(5);

/// The roles of the tasks of one instance, with the times at which their credentials are renewed.
#[derive(Debug, Default)]
pub(crate) struct Roles {
    uses: HashMap<(TaskId, RoleType), RoleUse>,
    /// By message: whose credentials wait for acknowledgement, and when they are to be renewed.
    sent: HashMap<String, ((TaskId, RoleType), Instant)>,
}

#[derive(Debug)]
struct RoleUse {
    role_arn: String,
    credentials_id: String,
    due: Instant,
}

impl Roles {
    /// When the next credentials are to be renewed.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.uses.values().map(|one| one.due).min()
    }

    /// Finds the roles of tasks that the agent has already, `repeated` ones among them.
    pub(crate) async fn find(
        &mut self,
        state: &AgentState,
        instance: &ConnectedInstance,
        tasks: &[AssignedTask],
        (has_credentials, repeated): (bool, &HashSet<TaskId>),
    ) -> Result<(), orchestrator::Error> {
        let assignments = &state.orchestrator.assignments;
        let home = &instance.cluster.name.home;
        let is_new =
            |id: &TaskId| repeated.contains(id) || !self.uses.keys().any(|(of, _)| of == id);
        let ids: Vec<TaskId> = tasks
            .iter()
            .map(|task| task.id.clone())
            .filter(|id| is_new(id))
            .collect();
        for ids in ids.chunks(TASKS_AT_ONCE) {
            for found in assignments.tasks(home, &instance.id, ids).await? {
                let due = Instant::now()
                    + if has_credentials {
                        spread(state)
                    } else {
                        Duration::ZERO
                    };
                self.remember(state, &found, due).await?;
            }
        }
        Ok(())
    }

    /// The task for a payload, with the credentials of its roles; `None` where these cannot be
    /// issued. If trying again does not help, a task that does not run yet is stopped.
    pub(crate) async fn task(
        &mut self,
        state: &AgentState,
        instance: &ConnectedInstance,
        found: &TaskToRun,
    ) -> Result<Option<Task>, orchestrator::Error> {
        let id = &found.task.id;
        let group = found.task.group.as_str();
        let mut task = payload::payload(&TaskParts {
            cluster: &instance.cluster.name,
            task: &found.task,
            definition: &found.definition,
            service_name: found
                .task
                .service
                .as_ref()
                .and(group.strip_prefix("service:")),
            registries: &state.registries,
        });
        if found.task.desired_status == DesiredStatus::Stopped {
            return Ok(Some(task));
        }
        self.remember(state, found, Instant::now()).await?;
        for kind in [RoleType::TaskApplication, RoleType::TaskExecution] {
            let key = (id.clone(), kind);
            let Some(known) = self.uses.get_mut(&key) else {
                continue;
            };
            match known.issue(state, instance, id).await {
                Ok((credentials, due)) => {
                    known.due = due;
                    match kind {
                        RoleType::TaskApplication => task.role_credentials = Some(credentials),
                        RoleType::TaskExecution => {
                            task.execution_role_credentials = Some(credentials);
                        }
                    }
                }
                Err(error) => {
                    let is_pending = found.task.last_status < TaskStatus::Running;
                    if is_pending {
                        self.uses.retain(|(of, _), _| of != id);
                    } else {
                        // It runs, with credentials that end.
                        known.due = Instant::now() + RETRY;
                    }
                    if is_pending && matches!(error, CredentialsError::NotAssumable(_)) {
                        let assignments = &state.orchestrator.assignments;
                        assignments.fail(id, &error.to_string()).await?;
                    } else {
                        tracing::warn!(task = id.0, %error, "no credentials for a task");
                    }
                    return Ok(None);
                }
            }
        }
        Ok(Some(task))
    }

    /// New credentials for those that are due. Roles that can no longer be assumed are tried again:
    /// the task runs on, and its role may be repaired.
    pub(crate) async fn renew(
        &mut self,
        state: &AgentState,
        instance: &ConnectedInstance,
        now: Instant,
    ) -> Result<Vec<IamRoleCredentialsMessage>, orchestrator::Error> {
        let due = self.uses.iter().filter(|(_, one)| one.due <= now);
        let mut due: Vec<_> = due.map(|(key, one)| (one.due, key.clone())).collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        due.sort_unstable_by_key(|one| one.0);
        let assigned = state
            .orchestrator
            .assignments
            .manifest(&instance.id)
            .await?;
        self.uses
            .retain(|(id, _), _| assigned.iter().any(|task| task.id == *id));
        let mut messages = Vec::new();
        for (_, key) in due.into_iter().take(RENEWED_AT_ONCE) {
            let Some(known) = self.uses.get_mut(&key) else {
                continue;
            };
            known.due = now + RETRY;
            let (credentials, due) = match known.issue(state, instance, &key.0).await {
                Ok(issued) => issued,
                Err(error) => {
                    tracing::warn!(task = key.0.0, %error, "credentials were not renewed");
                    continue;
                }
            };
            let message_id = state.ids.uuid().to_string();
            messages.push(IamRoleCredentialsMessage {
                message_id: message_id.clone(),
                task_arn: instance.cluster.name.task_arn(&key.0).to_string(),
                role_type: key.1,
                role_credentials: credentials,
            });
            self.sent.retain(|_, (of, _)| *of != key);
            self.sent.insert(message_id, (key, due));
        }
        Ok(messages)
    }

    /// Notes that the agent has the credentials of a message.
    pub(crate) fn acknowledged(&mut self, message_id: &str) {
        if let Some((key, due)) = self.sent.remove(message_id)
            && let Some(known) = self.uses.get_mut(&key)
        {
            known.due = due;
        }
    }

    async fn remember(
        &mut self,
        state: &AgentState,
        found: &TaskToRun,
        due: Instant,
    ) -> Result<(), orchestrator::Error> {
        let task_role = payload::task_role(&found.task, &found.definition);
        let execution_role = payload::execution_role(&found.task, &found.definition);
        if task_role.is_none() && execution_role.is_none() {
            return Ok(());
        }
        let assignments = &state.orchestrator.assignments;
        let id = &found.task.id;
        let Some(ids) = assignments.credentials_ids(&found.task, &state.ids).await? else {
            return Ok(());
        };
        let uses = [
            (RoleType::TaskApplication, task_role, ids.task_role),
            (RoleType::TaskExecution, execution_role, ids.execution_role),
        ];
        for (kind, role_arn, credentials_id) in uses {
            if let Some(role_arn) = role_arn {
                let known = RoleUse {
                    role_arn: role_arn.to_owned(),
                    credentials_id,
                    due,
                };
                self.uses.insert((id.clone(), kind), known);
            }
        }
        Ok(())
    }
}

impl RoleUse {
    /// Issues credentials, and tells when they are to be renewed.
    async fn issue(
        &self,
        state: &AgentState,
        instance: &ConnectedInstance,
        task: &TaskId,
    ) -> Result<(RoleCredentials, Instant), CredentialsError> {
        let name = &instance.cluster.name;
        let issued = state.credentials.issue(name, task, &self.role_arn).await?;
        let due = renewal(state.clock.now(), issued.expires_at);
        let credentials = RoleCredentials {
            credentials_id: self.credentials_id.clone(),
            role_arn: self.role_arn.clone(),
            access_key_id: issued.access_key_id,
            secret_access_key: issued.secret_access_key.into_inner(),
            session_token: issued.session_token.into_inner(),
            expiration: issued.expires_at.to_rfc3339(),
        };
        Ok((credentials, due))
    }
}

/// When credentials are to be renewed that end at `expires_at`.
fn renewal(now: Timestamp, expires_at: Timestamp) -> Instant {
    Instant::now() + expires_at.minus(RENEWED_BEFORE).since(now)
}

fn spread(state: &AgentState) -> Duration {
    let [low, high] = state.ids.bytes::<2>();
    SPREAD * u32::from(u16::from_le_bytes([low, high])) / u32::from(u16::MAX)
}
