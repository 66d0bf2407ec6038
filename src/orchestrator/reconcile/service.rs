//! One pass over one service: load, decide, write, start.

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;

use crate::deployment::{Change, Event, step};
use crate::error::Result;
use crate::model::ServiceId;
use crate::nodes::Nodes;
use crate::reconcile::changes::{self, has_lately};
use crate::reconcile::service_view::ServiceRows;
use crate::reconcile::starts;
use crate::services::Services;
use crate::store;
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

/// Works on services.
pub(super) struct ServicePass<'a> {
    pub(super) services: &'a Services,
    pub(super) tasks: &'a Tasks,
    pub(super) nodes: &'a Nodes,
}

impl ServicePass<'_> {
    /// Decides about the service and carries the decision out. `may_start` tells whether starts are
    /// tried, which is futile right after one found no instance.
    pub(super) async fn run(
        &self,
        id: &ServiceId,
        may_start: bool,
        now: Timestamp,
    ) -> Result<Next> {
        let load = {
            let id = id.clone();
            move |tx: &mut Tx<'_>| ServiceRows::load(tx, &id)
        };
        let Some(rows) = self.services.db.read(load).await? else {
            return Ok(Next::Later);
        };
        let daemon_groups = self.daemon_groups(&rows).await?;
        let view = {
            let (_, loaded) = self.nodes.lock(&rows.service.cluster).await?;
            rows.view(&self.services.settings, &loaded.nodes, &daemon_groups)
        };
        let mut plan = step(&view, now);
        let is_start =
            |change: &Change| matches!(change, Change::Start { .. } | Change::StartOn(_));
        if !may_start {
            plan.changes.retain(|change| !is_start(change));
        }
        self.mute(&rows, &mut plan.changes, now).await?;
        let next = plan.next.map_or(Next::Later, Next::At);
        if plan.changes.is_empty() {
            return Ok(next);
        }
        let written = {
            let (services, rows, changes) =
                (self.services.clone(), rows.clone(), plan.changes.clone());
            let write = move |tx: &mut Tx<'_>| changes::write(tx, &services, &rows, &changes, now);
            self.services.db.write(write).await?
        };
        let Some(written) = written else {
            // Somebody else changed the service.
            return Ok(Next::Now);
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
        Ok(if starts.is_unplaced && starts.started == 0 {
            Next::Unplaced
        } else {
            // What was written may bring the next decision, such as the steady state.
            Next::Now
        })
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
