//! The reconciler of services.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wharfinger_base::{Chain, Timestamp};
use wharfinger_db::Tx;
use wharfinger_reconcile::{Pass, Reconciler, Wake};

use crate::error::Result;
use crate::model::ServiceId;
use crate::nodes::Nodes;
use crate::reconcile::service::{Idle, Next, ServicePass};
use crate::services::Services;
use crate::store::services as store;
use crate::tasks::Tasks;

/// How often every service is looked at, whatever happens.
const EVERY_SERVICE: Duration = Duration::from_secs(10);

/// The shortest time between two looks at every service: thousands of agents may connect at once.
const ALL_REST: Duration = Duration::from_secs(1);

/// How long starts wait after no instance took a task.
const UNPLACED_PAUSE: Duration = Duration::from_secs(2);

/// A look at a service that takes this long lets the service rest for [`REST_FACTOR`] times as
/// long: reports of tens of thousands of tasks would bring one after the other.
const LONG_LOOK: Duration = Duration::from_millis(50);
const REST_FACTOR: u32 = 4;

/// Services whose identifiers one read loads.
const BATCH: usize = 500;

/// Brings about what services are to run.
pub struct ServiceReconciler {
    services: Services,
    tasks: Tasks,
    nodes: Nodes,
    /// When every service was looked at, and whether to do so again before the period is over.
    all_at: Option<Timestamp>,
    all_again: bool,
    /// When to look at single services again.
    due: BTreeMap<ServiceId, Timestamp>,
    /// Until when services that found no instance start nothing.
    unplaced: BTreeMap<ServiceId, Timestamp>,
    /// Until when hints do not bring a look at services with many tasks.
    resting: BTreeMap<ServiceId, Timestamp>,
    /// What the last look found at services that had nothing to do.
    idle: BTreeMap<ServiceId, Idle>,
}

impl ServiceReconciler {
    pub(crate) const fn new(services: Services, tasks: Tasks, nodes: Nodes) -> Self {
        Self {
            services,
            tasks,
            nodes,
            all_at: None,
            all_again: false,
            due: BTreeMap::new(),
            unplaced: BTreeMap::new(),
            resting: BTreeMap::new(),
            idle: BTreeMap::new(),
        }
    }

    /// The services to look at.
    async fn waiting(&mut self, now: Timestamp) -> Result<BTreeSet<ServiceId>> {
        if self.all_at.is_some_and(|at| at > now) {
            // The clock went back: these times may be far away now.
            self.unplaced.clear();
            self.resting.clear();
        }
        let hints = self.services.wake.take();
        self.resting.retain(|_, until| *until > now);
        let mut found = BTreeSet::new();
        for id in hints.services {
            if let Some(until) = self.resting.get(&id) {
                let due = self.due.entry(id).or_insert(*until);
                *due = (*due).min(*until);
            } else {
                found.insert(id);
            }
        }
        let period_is_over = self
            .all_at
            .is_none_or(|at| now.since(at) >= EVERY_SERVICE || at > now);
        self.all_again |= hints.all;
        let rested = self
            .all_at
            .is_none_or(|at| now.since(at) >= ALL_REST || at > now);
        if period_is_over || (self.all_again && rested) {
            found.extend(self.all().await?);
            self.idle.retain(|id, _| found.contains(id));
            self.all_at = Some(now);
            self.all_again = false;
        }
        if hints.all {
            // There may be instances for what found none.
            self.unplaced.clear();
        }
        let due = self.due.iter().filter(|(_, at)| **at <= now);
        found.extend(due.map(|(id, _)| id.clone()));
        self.unplaced.retain(|_, until| *until > now);
        Ok(found)
    }

    async fn all(&self) -> Result<BTreeSet<ServiceId>> {
        let read = |tx: &mut Tx<'_>| -> Result<BTreeSet<ServiceId>> {
            let mut found = BTreeSet::new();
            loop {
                let after = found.last().map(|last: &ServiceId| last.0.clone());
                let page = store::unfinished(tx, after.as_deref().unwrap_or_default(), BATCH)?;
                let is_last = page.len() < BATCH;
                found.extend(page);
                if is_last {
                    return Ok(found);
                }
            }
        };
        self.services.db.read(read).await
    }

    async fn run(&mut self, id: &ServiceId, now: Timestamp) -> bool {
        self.due.remove(id);
        let may_start = !self.unplaced.contains_key(id);
        let pass = ServicePass {
            services: &self.services,
            tasks: &self.tasks,
            nodes: &self.nodes,
        };
        let begun = self.services.clock.now();
        let idle = self.idle.remove(id);
        let outcome = pass.run(id, may_start, idle, now).await;
        let took = self.services.clock.now().since(begun);
        if took >= LONG_LOOK {
            let until = now.plus(took.saturating_mul(REST_FACTOR + 1));
            self.resting.insert(id.clone(), until);
        }
        let next = outcome.map(|look| {
            self.idle.extend(look.idle.map(|idle| (id.clone(), idle)));
            look.next
        });
        match next {
            Ok(Next::Now) => {
                self.due.insert(id.clone(), now);
                true
            }
            Ok(Next::At(time)) => {
                self.due.insert(id.clone(), time);
                false
            }
            Ok(Next::Later) => false,
            Ok(Next::Unplaced) => {
                let until = now.plus(UNPLACED_PAUSE);
                self.unplaced.insert(id.clone(), until);
                self.due.insert(id.clone(), until);
                false
            }
            Err(error) => {
                // One service does not hold up the others. It is looked at with all of them.
                let error = Chain(&error);
                tracing::warn!(service = id.0, %error, "a service was not reconciled");
                false
            }
        }
    }
}

impl Reconciler for ServiceReconciler {
    const NAME: &'static str = "services";
    const EVERY: Duration = Duration::from_secs(1);
    const REST: Duration = Duration::from_millis(50);

    fn wake(&self) -> Wake {
        self.services.wake.wake()
    }

    async fn pass(&mut self, now: Timestamp) -> anyhow::Result<Pass> {
        let waiting = self.waiting(now).await?;
        let seen = waiting.len();
        let mut done = 0;
        for id in waiting {
            done += usize::from(self.run(&id, now).await);
        }
        Ok(Pass {
            seen,
            done,
            again: done > 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::services::tests::{NOW, World, new_service};

    #[tokio::test]
    async fn a_service_whose_task_definition_is_gone_rests_and_says_so() {
        for db in every_engine(crate::MIGRATIONS) {
            let world = World::on(db).await;
            world.create(new_service()).await.expect("a service");
            world.forget(&world.definitions[0]).await;
            let mut reconciler = world.orchestrator.service_reconciler();
            let first = reconciler.pass(NOW).await.expect("a pass");
            assert_eq!((first.seen, first.again), (1, false));
            let second = reconciler.pass(NOW).await.expect("a pass");
            assert_eq!((second.seen, second.again), (0, false));
            let described = world.described().await;
            assert!(
                described.events[0]
                    .message
                    .contains("task definition of the service does not exist"),
                "{described:?}"
            );
        }
    }
}
