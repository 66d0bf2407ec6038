//! A host with its agent.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent_sessions::AgentSession;
use crate::assignments::Assignments;
use crate::model::{Cluster, DesiredStatus, InstanceId, TaskId};
use crate::tests::simulation::dice::Dice;
use crate::{ReportedStatus, Reporter, TaskReport};
use wharfinger_base::Timestamp;

pub(super) struct Host {
    pub(super) id: InstanceId,
    /// The host is on. One that is off has no containers when it comes back.
    pub(super) is_on: bool,
    /// Its network is cut: nothing is heard, containers go on.
    pub(super) is_cut: bool,
    /// The server that the agent is or was connected to.
    pub(super) server: usize,
    pub(super) session: Option<AgentSession>,
    /// What runs.
    pub(super) containers: BTreeSet<TaskId>,
    /// Tasks that the agent has ever begun; on its disk.
    begun: BTreeSet<TaskId>,
    /// Reports that the control plane did not acknowledge.
    outbox: Vec<(TaskId, ReportedStatus)>,
}

impl Host {
    pub(super) fn new(id: InstanceId) -> Self {
        Self {
            id,
            is_on: true,
            is_cut: false,
            server: 0,
            session: None,
            containers: BTreeSet::new(),
            begun: BTreeSet::new(),
            outbox: Vec::new(),
        }
    }

    pub(super) fn power_off(&mut self) {
        self.is_on = false;
        self.containers.clear();
        self.session = None;
    }

    pub(super) fn is_heard(&self) -> bool {
        self.is_on && !self.is_cut
    }

    /// The agent connects if need be, reads what it should run, and starts and stops containers.
    pub(super) async fn sync(
        &mut self,
        assignments: &Assignments,
        failing: bool,
        dice: &mut Dice,
        now: Timestamp,
    ) {
        if !self.is_heard() {
            return;
        }
        if self.session.as_ref().is_none_or(AgentSession::is_replaced) {
            self.session = assignments.connect(&self.id).await.expect("connects");
        }
        if let Some(session) = &self.session {
            session.note_seen(now);
        }
        let assigned = assignments.manifest(&self.id).await.expect("a manifest");
        let assigned: BTreeMap<_, _> = assigned
            .into_iter()
            .map(|one| (one.id, one.desired))
            .collect();
        for (id, desired) in &assigned {
            let runs = self.containers.contains(id);
            match desired {
                DesiredStatus::Running if runs => {}
                DesiredStatus::Running if self.begun.insert(id.clone()) => {
                    if failing && dice.one_in(6) {
                        self.outbox.push((id.clone(), ReportedStatus::Stopped));
                    } else {
                        self.containers.insert(id.clone());
                        self.outbox.push((id.clone(), ReportedStatus::Running));
                    }
                }
                DesiredStatus::Running | DesiredStatus::Stopped => {
                    self.containers.remove(id);
                    self.begun.insert(id.clone());
                    self.outbox.push((id.clone(), ReportedStatus::Stopped));
                }
            }
        }
        // The control plane gave these tasks up.
        self.containers.retain(|id| assigned.contains_key(id));
    }

    /// A container ends by itself.
    pub(super) fn crash(&mut self, dice: &mut Dice) {
        if let Some(id) = dice.choose(&self.containers) {
            self.containers.remove(&id);
            self.outbox.push((id, ReportedStatus::Stopped));
        }
    }

    /// Delivers one report, any of those that wait; some are delivered again later.
    pub(super) async fn report(
        &mut self,
        assignments: &Assignments,
        cluster: &Cluster,
        dice: &mut Dice,
    ) {
        if !self.is_heard() || self.outbox.is_empty() {
            return;
        }
        let place = dice.below(self.outbox.len());
        let (id, status) = self.outbox[place].clone();
        if !dice.one_in(5) {
            self.outbox.remove(place);
        }
        self.deliver(assignments, cluster, &id, status).await;
    }

    /// Delivers all reports, in their order.
    pub(super) async fn report_all(&mut self, assignments: &Assignments, cluster: &Cluster) {
        for (id, status) in std::mem::take(&mut self.outbox) {
            self.deliver(assignments, cluster, &id, status).await;
        }
    }

    async fn deliver(
        &self,
        assignments: &Assignments,
        cluster: &Cluster,
        id: &TaskId,
        status: ReportedStatus,
    ) {
        let report = TaskReport {
            status: Some(status),
            ..TaskReport::default()
        };
        // The task may be gone.
        let _ = assignments
            .report(cluster, id, Reporter::Instance(&self.id), report)
            .await;
    }
}
