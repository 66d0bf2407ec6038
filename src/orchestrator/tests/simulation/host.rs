//! A host with its agent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::agent_sessions::AgentSession;
use crate::assignments::Assignments;
use crate::model::{Cluster, DesiredStatus, InstanceId, TaskId};
use crate::tests::simulation::dice::Dice;
use crate::{ReportedStatus, Reporter, TaskReport};
use wharfinger_base::Clock;

/// What the control plane told an agent: all tasks of its instance.
type Message = BTreeMap<TaskId, DesiredStatus>;

pub(super) struct Host {
    pub(super) id: InstanceId,
    /// The host is on. One that is off has no containers when it comes back.
    pub(super) is_on: bool,
    /// Its network is cut: nothing is heard, containers go on.
    pub(super) is_cut: bool,
    /// The agent has fallen silent with its connection open: it neither reads nor reports.
    pub(super) is_hung: bool,
    /// The server that the agent is or was connected to.
    pub(super) server: usize,
    session: Option<AgentSession>,
    /// When its server noted a sign of life last, in the time that has passed, and when one was
    /// recorded, so that every server knows.
    noted_at: Duration,
    pub(super) heard_at: Duration,
    /// Messages on the connection that the agent has not read. They are lost with it.
    unread: VecDeque<Message>,
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
            is_hung: false,
            server: 0,
            session: None,
            noted_at: Duration::ZERO,
            heard_at: Duration::ZERO,
            unread: VecDeque::new(),
            containers: BTreeSet::new(),
            begun: BTreeSet::new(),
            outbox: Vec::new(),
        }
    }

    pub(super) fn power_off(&mut self) {
        self.is_on = false;
        self.containers.clear();
        self.end_session();
    }

    pub(super) const fn has_session(&self) -> bool {
        self.session.is_some()
    }

    pub(super) fn end_session(&mut self) -> Option<AgentSession> {
        self.unread.clear();
        self.noted_at = self.heard_at;
        self.session.take()
    }

    const fn is_heard(&self) -> bool {
        self.is_on && !self.is_cut && !self.is_hung
    }

    /// The agent gives a sign of life, if it is connected.
    pub(super) fn beat(&mut self, clock: &Clock, elapsed: Duration) {
        if let (true, Some(session)) = (self.is_heard(), &self.session) {
            session.note_seen(clock.now());
            self.noted_at = elapsed;
        }
    }

    /// Its server records signs of life.
    pub(super) const fn record(&mut self) {
        self.heard_at = self.noted_at;
    }

    /// The control plane tells the agent what to run. The agent does not read it yet.
    pub(super) async fn send(&mut self, assignments: &Assignments) {
        if self.session.is_some() {
            let assigned = assignments.manifest(&self.id).await.expect("a manifest");
            let message = assigned.into_iter().map(|one| (one.id, one.desired));
            self.unread.push_back(message.collect());
        }
    }

    /// The agent connects if need be, reads what it should run, and starts and stops containers.
    pub(super) async fn sync(
        &mut self,
        assignments: &Assignments,
        failing: bool,
        dice: &mut Dice,
        elapsed: Duration,
    ) {
        if !self.is_heard() {
            return;
        }
        if self.session.as_ref().is_none_or(AgentSession::is_replaced) {
            self.end_session();
            self.session = assignments.connect(&self.id).await.expect("connects");
            (self.noted_at, self.heard_at) = (elapsed, elapsed);
        }
        if self.unread.is_empty() || !failing || !dice.one_in(3) {
            self.send(assignments).await;
        }
        // One after the other, however late. The agent may fall silent in between.
        while let Some(message) = self.unread.pop_front() {
            self.obey(assignments, &message, failing, dice).await;
            if failing && dice.one_in(8) {
                break;
            }
        }
    }

    /// The agent carries out a message.
    async fn obey(
        &mut self,
        assignments: &Assignments,
        assigned: &Message,
        failing: bool,
        dice: &mut Dice,
    ) {
        for (id, desired) in assigned {
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
        // The control plane may have given tasks up that it does not name. The agent lets that
        // be confirmed before it stops them: the message may be old.
        if self.containers.iter().any(|id| !assigned.contains_key(id)) {
            let known = assignments.manifest(&self.id).await.expect("a manifest");
            let known: BTreeSet<_> = known.into_iter().map(|one| one.id).collect();
            self.containers.retain(|id| known.contains(id));
        }
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
