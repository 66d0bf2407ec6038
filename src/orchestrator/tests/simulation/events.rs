//! What happens in the simulated world.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wharfinger_base::Clock;
use wharfinger_reconcile::Reconciler as _;

use crate::model::{DeploymentConfiguration, DeploymentRolloutState, TaskId, TaskStopCode};
use crate::tests::simulation::dice::Dice;
use crate::tests::simulation::host::Host;
use crate::tests::simulation::turns::in_turns;
use crate::tests::simulation::world::{SERVICE, Server, World};
use crate::{Orchestrator, ServiceUpdate};

/// The time between two passes over the instances, and between two heartbeats: the longest that is
/// not taken for a jump of the clock, less some.
const STEP: Duration = Duration::from_secs(25);

impl World {
    /// One event, as the dice fall. Returns whether it may have changed the index, where that is
    /// not checked yet.
    pub(super) async fn happens(&mut self, dice: &mut Dice) -> bool {
        let place = dice.below(self.hosts.len());
        let event = dice.below(46);
        self.history.push(format!("{event} on host {place}"));
        match event {
            0..=9 => {
                let works = dice.below(1 + self.servers.len());
                self.reconcile(works, dice).await;
            }
            10..=15 => {
                for place in 0..self.hosts.len() {
                    self.sync(place, true, dice).await;
                }
            }
            16..=23 => {
                for host in &mut self.hosts {
                    let assignments = &self.servers[host.server].orchestrator.assignments;
                    host.report(assignments, &self.cluster, dice).await;
                }
            }
            24..=27 => self.wait(1 + dice.below(20)).await,
            28 => self.wait(60 + dice.below(300)).await,
            29 => self.hosts[place].crash(dice),
            30 => self.hosts[place].power_off(),
            31 | 32 => self.hosts[place].is_on = true,
            33 => self.hosts[place].is_cut = true,
            34 => self.hosts[place].is_cut = false,
            35 => self.update(dice, false).await,
            36 => self.update(dice, true).await,
            37 => {
                let draining = dice.one_in(2);
                let server = dice.below(self.servers.len());
                self.set_draining(server, place, draining).await;
            }
            38 => self.stop_any(dice).await,
            39 => {
                let server = dice.below(self.servers.len());
                let clock = self.servers[server].clock.clone();
                self.servers[server] = Server::start(&self.db, &clock, &self.ids);
                let connected = self.hosts.iter_mut().filter(|host| host.server == server);
                connected.for_each(|host| drop(host.end_session()));
            }
            40 => self.jump(dice),
            41..=43 => {
                let host = &mut self.hosts[place];
                let assignments = &self.servers[host.server].orchestrator.assignments;
                host.send(assignments).await;
            }
            44 => self.hosts[place].is_hung = !self.hosts[place].is_hung,
            _ => {
                // The connection breaks. The server may not find that out.
                let host = &mut self.hosts[place];
                let assignments = &self.servers[host.server].orchestrator.assignments;
                if let Some(session) = host.end_session()
                    && dice.one_in(2)
                {
                    assignments.disconnect(session).await.expect("ended");
                }
            }
        }
        !matches!(event, 0..=9 | 29..=34 | 40 | 44)
    }

    /// Time passes: agents give signs of life, and servers look for those that do not.
    async fn wait(&mut self, seconds: usize) {
        let mut left = Duration::from_secs(seconds as u64);
        while !left.is_zero() {
            let step = left.min(STEP);
            left -= step;
            self.elapsed += step;
            for server in &self.servers {
                server.clock.advance(step);
            }
            for host in &mut self.hosts {
                host.beat(&self.servers[host.server].clock, self.elapsed);
            }
            let mut done = 0;
            for server in &mut self.servers {
                let now = server.clock.now();
                done += server.instances.pass(now).await.expect("a pass").done;
            }
            if done > 0 {
                self.check().await;
            }
            self.hosts.iter_mut().for_each(Host::record);
        }
    }

    /// All clocks are set, forwards or backwards, or the control plane was suspended.
    fn jump(&mut self, dice: &mut Dice) {
        let longest = [2 * 60, 60 * 60, 26 * 60 * 60][dice.below(3)];
        let seconds = 60 + dice.below(longest);
        let by = i64::try_from(seconds * 1_000).expect("no overflow");
        let by = if dice.one_in(2) { by } else { -by };
        self.history.push(format!("the clock jumps by {by} ms"));
        for server in &self.servers {
            let Clock::Manual(ms) = &server.clock else {
                unreachable!("the clocks are set by hand");
            };
            ms.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// The reconcilers of a server run, or those of all servers at the same time where there is no
    /// server of this number. What they did is checked.
    async fn reconcile(&mut self, server: usize, dice: &mut Dice) {
        let before = self.seen.len();
        match (&mut self.servers[..], server) {
            ([one], _) => one.pass().await,
            ([first, second], 2) => {
                let (first, second) = (first.pass(), second.pass());
                in_turns(Box::pin(first), Box::pin(second), dice).await;
            }
            (servers, _) => servers[server].pass().await,
        }
        self.check().await;
        for host in &mut self.hosts {
            if host.server == server || server >= self.servers.len() {
                host.record();
            }
        }
        self.check_bound(before).await;
    }

    async fn sync(&mut self, place: usize, failing: bool, dice: &mut Dice) {
        let host = &mut self.hosts[place];
        if !host.has_session() {
            host.server = dice.below(self.servers.len());
        }
        let server = &self.servers[host.server];
        let assignments = &server.orchestrator.assignments;
        host.beat(&server.clock, self.elapsed);
        host.sync(assignments, failing, dice, self.elapsed).await;
    }

    /// The control plane as a user reaches it: any of the servers.
    fn any_server(&self, dice: &mut Dice) -> &Orchestrator {
        &self.servers[dice.below(self.servers.len())].orchestrator
    }

    /// The user changes the service.
    async fn update(&mut self, dice: &mut Dice, deploys: bool) {
        let update = ServiceUpdate {
            desired_count: (!deploys && !self.is_daemon).then(|| dice.count(9)),
            force_new_deployment: deploys,
            ..ServiceUpdate::default()
        };
        let place = dice.below(self.definitions.len() + 1);
        let definition = self.definitions.get(place);
        let services = &self.any_server(dice).services;
        let updated = services
            .update(&self.cluster, SERVICE, definition, update)
            .await;
        updated.expect("a service");
    }

    async fn set_draining(&mut self, server: usize, place: usize, draining: bool) {
        let ids = [self.hosts[place].id.clone()];
        let instances = &self.servers[server].orchestrator.instances;
        let set = instances.set_status(&self.cluster.id, &ids, draining).await;
        set.expect("it is set");
    }

    async fn stop_any(&mut self, dice: &mut Dice) {
        let tasks: BTreeSet<TaskId> = self.seen.keys().cloned().collect();
        if let Some(id) = dice.choose(&tasks) {
            let code = TaskStopCode::UserInitiated;
            let tasks = &self.any_server(dice).tasks;
            let stopped = tasks.stop(&id, code, "by the user").await;
            stopped.expect("it is known");
        }
    }

    /// The user repairs what no reconciler may: a deployment that failed with none to go back to,
    /// and one whose bounds let no task be stopped before another is started nor the other way
    /// round.
    async fn repair(&self) {
        let described = self.describe().await;
        let service = &described.service;
        let configuration = &service.details.deployment_configuration;
        let percent = |percent: Option<i32>| i64::from(percent.unwrap_or_default());
        let low = service.desired_count * percent(configuration.minimum_healthy_percent);
        let high = service.desired_count * percent(configuration.maximum_percent);
        let blocks = !self.is_daemon && high / 100 <= (low + 99) / 100;
        let has_failed = described.deployments.first().is_some_and(|(primary, _)| {
            primary.details.rollout_state == DeploymentRolloutState::Failed
        });
        if !blocks && !has_failed {
            return;
        }
        let update = ServiceUpdate {
            deployment_configuration: blocks.then(|| DeploymentConfiguration {
                maximum_percent: Some(200),
                ..DeploymentConfiguration::default()
            }),
            force_new_deployment: has_failed,
            ..ServiceUpdate::default()
        };
        let services = &self.servers[0].orchestrator.services;
        let updated = services.update(&self.cluster, SERVICE, None, update).await;
        updated.expect("a service");
    }

    /// Nothing goes wrong any more. The service must come to what is wanted, without the last host
    /// if that does not come back.
    pub(super) async fn calm(&mut self, last_is_gone: bool) {
        let mut dice = Dice::new(0);
        for place in 0..self.hosts.len() {
            self.hosts[place].is_on = true;
            self.hosts[place].is_cut = false;
            self.hosts[place].is_hung = false;
            self.set_draining(0, place, false).await;
        }
        if last_is_gone && let Some(last) = self.hosts.last_mut() {
            last.power_off();
        }
        for _ in 0..200 {
            self.repair().await;
            self.reconcile(self.servers.len(), &mut dice).await;
            for place in 0..self.hosts.len() {
                self.sync(place, false, &mut dice).await;
                let host = &mut self.hosts[place];
                let assignments = &self.servers[host.server].orchestrator.assignments;
                host.report_all(assignments, &self.cluster).await;
            }
            self.check().await;
            self.wait(10).await;
            if self.is_as_wanted().await {
                return;
            }
        }
        let description = self.describe().await;
        panic!("never as wanted: {:?}\n{description:#?}", self.history);
    }
}
