//! One pass over one service: load, decide, write, start.

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;

use crate::deployment::{Change, Event, step};
use crate::error::Result;
use crate::model::{ClusterId, ServiceId};
use crate::nodes::{Nodes, Wants};
use crate::reconcile::changes::{self, has_lately};
use crate::reconcile::service_view::ServiceRows;
use crate::reconcile::starts;
use crate::services::Services;
use crate::store;
use crate::store::service_tasks::TasksState;
use crate::tasks::Tasks;

/// When to look at the service again if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is more to do.
    Now,
    At(Timestamp),
    /// With all others.
    Later,
    /// It wants tasks that no instance takes now.
    Unplaced,
}

/// What was found at a look that had nothing to do. The decision is pure: it has nothing to do
/// again while none of this has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Idle {
    cluster: ClusterId,
    facts: Facts,
    /// When it was looked at, and when time alone changes the decision.
    at: Timestamp,
    until: Option<Timestamp>,
}

/// What changes with everything that a decision about replicas knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    /// The version of the service, which grows with changes of its deployments too.
    version: i64,
    tasks: TasksState,
    /// The generation of the instances.
    instances: u64,
}

/// What came of a look.
pub(super) struct Look {
    pub(super) next: Next,
    /// Where there was nothing to do.
    pub(super) idle: Option<Idle>,
}

impl From<Next> for Look {
    fn from(next: Next) -> Self {
        Self { next, idle: None }
    }
}

/// Works on services.
pub(super) struct ServicePass<'a> {
    pub(super) services: &'a Services,
    pub(super) tasks: &'a Tasks,
    pub(super) nodes: &'a Nodes,
}

impl ServicePass<'_> {
    /// Decides about the service and carries the decision out. `may_start` tells whether starts are
    /// tried, which is futile right after one found no instance. `idle` is what the last look found
    /// if it had nothing to do.
    pub(super) async fn run(
        &self,
        id: &ServiceId,
        may_start: bool,
        idle: Option<Idle>,
        now: Timestamp,
    ) -> Result<Look> {
        if let Some(idle) = idle
            && self.is_still_idle(id, &idle, now).await?
        {
            return Ok(Look {
                next: idle.until.map_or(Next::Later, Next::At),
                idle: Some(idle),
            });
        }
        let load = {
            let id = id.clone();
            move |tx: &mut Tx<'_>| ServiceRows::load(tx, &id)
        };
        let Some(rows) = self.services.db.read(load).await? else {
            return Ok(Next::Later.into());
        };
        let daemon_groups = self.daemon_groups(&rows).await?;
        let (view, instances) = {
            let wants = if rows.is_daemon() {
                Wants::All
            } else {
                Wants::Resources
            };
            let (_, loaded) = self.nodes.lock(&rows.service.cluster, wants).await?;
            let view = rows.view(&self.services.settings, &loaded.nodes, &daemon_groups);
            (view, loaded.nodes.generation())
        };
        let mut plan = step(&view, now);
        // Constraints of daemons may be about the tasks of an instance.
        let idle = (plan.changes.is_empty() && !rows.is_daemon()).then(|| Idle {
            cluster: rows.service.cluster.clone(),
            facts: Facts {
                version: rows.service.version,
                tasks: rows.tasks_state(),
                instances,
            },
            at: now,
            until: plan.next,
        });
        let is_start =
            |change: &Change| matches!(change, Change::Start { .. } | Change::StartOn(_));
        if !may_start {
            plan.changes.retain(|change| !is_start(change));
        }
        self.mute(&rows, &mut plan.changes, now).await?;
        let next = plan.next.map_or(Next::Later, Next::At);
        if plan.changes.is_empty() {
            return Ok(Look { next, idle });
        }
        let written = {
            let (services, rows, changes) =
                (self.services.clone(), rows.clone(), plan.changes.clone());
            let write = move |tx: &mut Tx<'_>| changes::write(tx, &services, &rows, &changes, now);
            self.services.db.write(write).await?
        };
        let Some(written) = written else {
            // Somebody else changed the service.
            return Ok(Next::Now.into());
        };
        self.tasks.wake_agents(&written.instances);
        let starts = starts::carry_out(
            self.services,
            self.tasks,
            &rows,
            &plan.changes,
            written.version,
            now,
        );
        let starts = starts.await?;
        let next = if starts.is_unplaced && starts.started == 0 {
            Next::Unplaced
        } else {
            // What was written may bring the next decision, such as the steady state.
            Next::Now
        };
        Ok(next.into())
    }

    /// Whether all is as it was when there was nothing to do, which costs little however many tasks
    /// the service has.
    async fn is_still_idle(&self, id: &ServiceId, idle: &Idle, now: Timestamp) -> Result<bool> {
        if now < idle.at || idle.until.is_some_and(|until| now >= until) {
            return Ok(false);
        }
        let id = id.clone();
        let read = move |tx: &mut Tx<'_>| -> Result<_> {
            let version = store::services::version(tx, &id)?;
            Ok((version, store::service_tasks::state(tx, &id)?))
        };
        let (version, tasks) = self.services.db.read(read).await?;
        let (_, loaded) = self.nodes.lock(&idle.cluster, Wants::Resources).await?;
        let facts = version.map(|version| Facts {
            version,
            tasks,
            instances: loaded.nodes.generation(),
        });
        Ok(facts == Some(idle.facts))
    }

    /// Leaves out events that the service had lately.
    async fn mute(
        &self,
        rows: &ServiceRows,
        changes: &mut Vec<Change>,
        now: Timestamp,
    ) -> Result<()> {
        let events: Vec<Event> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Event(event) if event.is_muted() => Some(event.clone()),
                _ => None,
            })
            .collect();
        if events.is_empty() {
            return Ok(());
        }
        let service = rows.service.clone();
        let read = move |tx: &mut Tx<'_>| -> Result<Vec<Event>> {
            let mut known = Vec::new();
            for event in &events {
                if has_lately(tx, &service, event, now)? {
                    known.push(event.clone());
                }
            }
            Ok(known)
        };
        let known = self.services.db.read(read).await?;
        changes.retain(|change| match change {
            Change::Event(event) => !known.contains(event),
            _ => true,
        });
        Ok(())
    }

    /// The groups of the cluster's daemons, which leave an instance that drains last.
    async fn daemon_groups(&self, rows: &ServiceRows) -> Result<Vec<String>> {
        if !rows.is_daemon() {
            return Ok(Vec::new());
        }
        let cluster = rows.service.cluster.clone();
        let read = move |tx: &mut Tx<'_>| store::services::daemons(tx, &cluster);
        let names = self.services.db.read(read).await?;
        Ok(names.iter().map(|name| format!("service:{name}")).collect())
    }
}
