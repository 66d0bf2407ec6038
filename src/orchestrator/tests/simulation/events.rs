//! What happens in the simulated world.

use std::collections::BTreeSet;
use std::time::Duration;

use wharfinger_reconcile::Reconciler;

use crate::ServiceUpdate;
use crate::model::{TaskId, TaskStopCode};
use crate::tests::simulation::dice::Dice;
use crate::tests::simulation::world::{ControlPlane, SERVICE, World};

impl World {
    /// One event, as the dice fall.
    pub(super) async fn happens(&mut self, dice: &mut Dice) {
        let place = dice.below(self.hosts.len());
        let event = dice.below(40);
        self.history.push(format!("{event} on host {place}"));
        match event {
            0..=9 => self.reconcile().await,
            10..=15 => {
                for place in 0..self.hosts.len() {
                    self.sync(place, true, dice).await;
                }
            }
            16..=23 => {
                let assignments = &self.plane.orchestrator.assignments;
                for host in &mut self.hosts {
                    host.report(assignments, &self.cluster, dice).await;
                }
            }
            24..=27 => self
                .clock
                .advance(Duration::from_secs(1 + dice.below(20) as u64)),
            28 => self
                .clock
                .advance(Duration::from_secs(60 + dice.below(300) as u64)),
            29 => self.hosts[place].crash(dice),
            30 => self.hosts[place].power_off(),
            31 | 32 => self.hosts[place].is_on = true,
            33 => self.hosts[place].is_cut = true,
            34 => self.hosts[place].is_cut = false,
            35 => self.update(dice, false).await,
            36 => self.update(dice, true).await,
            37 => {
                let draining = dice.one_in(2);
                self.set_draining(place, draining).await;
            }
            38 => self.stop_any(dice).await,
            _ => {
                self.plane = ControlPlane::start(&self.db, &self.clock, &self.ids);
                for host in &mut self.hosts {
                    host.session = None;
                }
            }
        }
    }

    async fn reconcile(&mut self) {
        let now = self.now();
        let before = self.unfinished().await;
        self.plane.instances.pass(now).await.expect("a pass");
        self.plane.waiting.pass(now).await.expect("a pass");
        self.plane.services.pass(now).await.expect("a pass");
        self.check_bound(before).await;
    }

    async fn sync(&mut self, place: usize, failing: bool, dice: &mut Dice) {
        let now = self.now();
        let assignments = &self.plane.orchestrator.assignments;
        self.hosts[place]
            .sync(assignments, failing, dice, now)
            .await;
    }

    /// The user changes the service.
    async fn update(&mut self, dice: &mut Dice, deploys: bool) {
        let update = ServiceUpdate {
            desired_count: (!deploys && !self.is_daemon).then(|| dice.count(9)),
            force_new_deployment: deploys,
            ..ServiceUpdate::default()
        };
        let definition = &self.definitions[dice.below(self.definitions.len())];
        let services = &self.plane.orchestrator.services;
        let updated = services
            .update(&self.cluster, SERVICE, definition, update)
            .await;
        updated.expect("a service");
    }

    async fn set_draining(&mut self, place: usize, draining: bool) {
        let ids = [self.hosts[place].id.clone()];
        let instances = &self.plane.orchestrator.instances;
        let set = instances.set_status(&self.cluster.id, &ids, draining).await;
        set.expect("it is set");
    }

    async fn stop_any(&mut self, dice: &mut Dice) {
        let tasks: BTreeSet<TaskId> = self.seen.keys().cloned().collect();
        if let Some(id) = dice.choose(&tasks) {
            let code = TaskStopCode::UserInitiated;
            let stopped = self
                .plane
                .orchestrator
                .tasks
                .stop(&id, code, "by the user")
                .await;
            stopped.expect("it is known");
        }
    }

    /// Nothing goes wrong any more. The service must come to what is wanted.
    pub(super) async fn calm(&mut self) {
        let mut dice = Dice::new(0);
        for place in 0..self.hosts.len() {
            self.hosts[place].is_on = true;
            self.hosts[place].is_cut = false;
            self.set_draining(place, false).await;
        }
        for _ in 0..200 {
            self.reconcile().await;
            for place in 0..self.hosts.len() {
                self.sync(place, false, &mut dice).await;
                let assignments = &self.plane.orchestrator.assignments;
                self.hosts[place]
                    .report_all(assignments, &self.cluster)
                    .await;
            }
            self.check().await;
            self.clock.advance(Duration::from_secs(10));
            if self.is_as_wanted().await {
                return;
            }
        }
        let description = self.describe().await;
        panic!("never as wanted: {:?}\n{description:#?}", self.history);
    }
}
