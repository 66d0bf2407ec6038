//! What requests for tasks come to: decided on the snapshots of instances, and stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx};

use crate::error::{Error, Result};
use crate::model::{
    CapacityProviderStrategyItem, ClusterId, InstanceId, LaunchType, Reservation, Task, TaskId,
};
use crate::nodes::Wants;
use crate::placement::{ClusterNodes, LaunchKind, Node, Refusal, Unplaced, Wanted, next_provider};
use crate::store;
use crate::store::client_tokens::{TokenKey, TokenUse};
use crate::tasks::launch::Launch;
use crate::tasks::new_task::{Chosen, new_task};
use crate::tasks::prepared::Prepared;
use crate::tasks::queue::{Job, Outcome};
use crate::tasks::request::{Placement, ServiceGuard, StartTasks, StartedTasks};
use crate::tasks::{MAX_ATTEMPTS, Tasks};

/// What was decided for a request.
#[derive(Clone, Default)]
struct Decision {
    tasks: Vec<Task>,
    /// What is taken of each instance, and the version of its row.
    taken: BTreeMap<InstanceId, (i64, Reservation)>,
    token: Option<(TokenKey, TokenUse)>,
    guard: Option<ServiceGuard>,
    unplaced: Option<Unplaced>,
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stored,
    /// Some instances are not as they were when the decision was made.
    Lost,
    TokenUsed,
    /// The service of the request is not the one any more that it was made for.
    Outdated,
}

impl Tasks {
    /// Works on the requests of a cluster until none wait.
    pub(super) async fn work(&self, cluster: &ClusterId) {
        let worker = self.starts.worker(cluster.clone());
        loop {
            let mut jobs = worker.next();
            if jobs.is_empty() {
                return;
            }
            while !jobs.is_empty() {
                jobs = self.run(cluster, jobs).await;
            }
        }
    }

    /// Decides requests and stores what was decided. Returns those that lost a race.
    async fn run(&self, cluster: &ClusterId, jobs: Vec<Job>) -> Vec<Job> {
        let decided = self.decide_and_store(cluster, &jobs).await;
        let (decisions, fates) = match decided {
            Ok(decided) => decided,
            Err(error) => {
                for job in jobs {
                    job.respond(Err(error.clone()));
                }
                return Vec::new();
            }
        };
        let mut again = Vec::new();
        for (mut job, (decision, fate)) in jobs.into_iter().zip(decisions.iter().zip(fates)) {
            match fate {
                Fate::Stored => job.respond(Ok(Outcome::Started(StartedTasks {
                    tasks: decision.tasks.clone(),
                    unplaced: decision.unplaced.clone(),
                }))),
                Fate::Outdated => job.respond(Ok(Outcome::Started(StartedTasks {
                    tasks: Vec::new(),
                    unplaced: None,
                }))),
                Fate::TokenUsed => job.respond(Ok(Outcome::TokenUsed)),
                Fate::Lost => {
                    job.attempts += 1;
                    if job.attempts < MAX_ATTEMPTS {
                        again.push(job);
                    } else {
                        job.respond(Err(Error::Index(db::Error::Conflict)));
                    }
                }
            }
        }
        again
    }

    async fn decide_and_store(
        &self,
        cluster: &ClusterId,
        jobs: &[Job],
    ) -> Result<(Arc<Vec<Decision>>, Vec<Fate>)> {
        let looks_at_tasks = |job: &Job| job.prepared.needs.looks_at_tasks();
        let wants = if jobs.iter().any(looks_at_tasks) {
            Wants::All
        } else {
            Wants::Resources
        };
        let (of_cluster, mut loaded) = self.nodes.lock(cluster, wants).await?;
        let mut decisions = self.decide(&mut loaded.nodes, jobs);
        let newest = jobs.iter().map(|job| job.queued_at).max();
        let is_refused = decisions.iter().any(|decision| decision.unplaced.is_some());
        if is_refused && !loaded.is_compared_after(newest) {
            // A refusal must be true: changes that this server did not hear of are looked for.
            let taken = decisions.iter().flat_map(|decision| decision.taken.keys());
            taken.for_each(|instance| of_cluster.note(instance));
            self.nodes
                .compare(cluster, &of_cluster, &mut loaded)
                .await?;
            decisions = self.decide(&mut loaded.nodes, jobs);
        }
        let decisions = Arc::new(decisions);
        let stored = self.store(Arc::clone(&decisions)).await;
        let mut stored_versions = BTreeMap::new();
        for (position, decision) in decisions.iter().enumerate() {
            let fate = stored.as_ref().ok().and_then(|fates| fates.get(position));
            for (instance, (version, _)) in &decision.taken {
                if fate == Some(&Fate::Stored) {
                    stored_versions.insert(instance, version + 1);
                } else {
                    // What was taken of the snapshot is given back by reading it again.
                    of_cluster.note(instance);
                }
            }
        }
        for (instance, version) in &stored_versions {
            loaded.nodes.set_version(instance, *version);
            self.sessions.wake(instance);
        }
        Ok((decisions, stored?))
    }

    fn decide(&self, nodes: &mut ClusterNodes, jobs: &[Job]) -> Vec<Decision> {
        let now = self.clock.now();
        let decided = jobs
            .iter()
            .map(|job| Deciding::new(self, &job.prepared, nodes, now).decide(nodes));
        decided.collect()
    }

    /// Stores decisions in one transaction: each as a whole or not at all.
    async fn store(&self, decisions: Arc<Vec<Decision>>) -> db::Result<Vec<Fate>> {
        if decisions.iter().all(|decision| decision.tasks.is_empty()) {
            return Ok(vec![Fate::Stored; decisions.len()]);
        }
        let work = move |tx: &mut Tx<'_>| {
            let mut known: BTreeMap<&InstanceId, bool> = BTreeMap::new();
            let mut taken: BTreeMap<&InstanceId, (i64, Reservation)> = BTreeMap::new();
            let mut fates = Vec::with_capacity(decisions.len());
            for decision in decisions.iter() {
                let mut is_current = true;
                for (instance, (version, _)) in &decision.taken {
                    is_current &= match known.get(instance) {
                        Some(is_current) => *is_current,
                        None => {
                            let current = store::nodes::is_current(tx, instance, *version)?;
                            known.insert(instance, current);
                            current
                        }
                    };
                }
                let fate = if is_current {
                    insert(tx, decision)?
                } else {
                    Fate::Lost
                };
                if fate == Fate::Stored {
                    for (instance, (version, reservation)) in &decision.taken {
                        let (_, total) = taken
                            .entry(instance)
                            .or_insert_with(|| (*version, Reservation::default()));
                        total.take(reservation);
                    }
                }
                fates.push(fate);
            }
            for (instance, (version, reservation)) in taken {
                if !store::instances::take(tx, instance, version, &reservation)? {
                    return Err(db::Error::Conflict);
                }
            }
            Ok(fates)
        };
        self.db.write(work).await
    }
}

/// Stores the tasks of a decision, unless its service has changed or its client token was used
/// meanwhile. The service gets the next version: what another server decided without the tasks is
/// outdated.
fn insert(tx: &mut Tx<'_>, decision: &Decision) -> db::Result<Fate> {
    if decision.tasks.is_empty() {
        return Ok(Fate::Stored);
    }
    if let Some(ServiceGuard { service, version }) = &decision.guard
        && !store::services::raise_version(tx, service, *version)?
    {
        return Ok(Fate::Outdated);
    }
    if let Some((key, used)) = &decision.token
        && !store::client_tokens::insert(tx, key, used)?
    {
        return Ok(Fate::TokenUsed);
    }
    for task in &decision.tasks {
        store::tasks::insert(tx, task)?;
    }
    Ok(Fate::Stored)
}

/// A decision in progress.
struct Deciding<'a> {
    tasks: &'a Tasks,
    prepared: &'a Prepared,
    has_fargate_instances: bool,
    now: Timestamp,
    decision: Decision,
}

impl<'a> Deciding<'a> {
    fn new(tasks: &'a Tasks, prepared: &'a Prepared, nodes: &ClusterNodes, now: Timestamp) -> Self {
        Self {
            tasks,
            prepared,
            has_fargate_instances: nodes.has_fargate_instances(),
            now,
            decision: Decision::default(),
        }
    }

    fn decide(mut self, nodes: &mut ClusterNodes) -> Decision {
        let request = &self.prepared.request;
        match (&request.placement, &request.launch) {
            (Placement::On(instances), launch) => {
                self.place_on(nodes, instances, launch.launch_type());
            }
            (Placement::Chosen(count), Launch::Type(launch_type)) => {
                let wanted = self.wanted(*launch_type, None);
                for _ in 0..*count {
                    if let Err(unplaced) = self.place(nodes, &wanted, *launch_type, None) {
                        self.decision.unplaced = Some(unplaced);
                        break;
                    }
                }
            }
            (Placement::Chosen(count), Launch::Providers(launch_type, items)) => {
                self.place_by_providers(nodes, *count, *launch_type, items);
            }
        }
        self.decision.guard.clone_from(&request.guard);
        if let (Some(key), Some(token)) = (request.token_key(), &request.token) {
            let ids: Vec<&TaskId> = self.decision.tasks.iter().map(|task| &task.id).collect();
            let used = TokenUse {
                request: token.request.clone(),
                result: serde_json::to_string(&ids).unwrap_or_default(),
                created_at: self.now,
            };
            self.decision.token = Some((key, used));
        }
        self.decision
    }

    fn place_on(
        &mut self,
        nodes: &mut ClusterNodes,
        instances: &[InstanceId],
        launch_type: LaunchType,
    ) {
        let wanted = self.wanted(launch_type, None);
        let mut refused: Vec<(InstanceId, Refusal)> = Vec::new();
        for instance in instances {
            match nodes.take(instance, &wanted.needs) {
                Ok(()) => self.add(nodes, instance, launch_type, None),
                Err(refusal) => refused.push((instance.clone(), refusal)),
            }
        }
        self.decision.unplaced = (!refused.is_empty()).then_some(Unplaced::Refused(refused));
    }

    fn place_by_providers(
        &mut self,
        nodes: &mut ClusterNodes,
        count: usize,
        launch_type: LaunchType,
        items: &[CapacityProviderStrategyItem],
    ) {
        let mut counts = self.prepared.provider_counts.clone();
        let mut wanted: BTreeMap<&str, Arc<Wanted>> = BTreeMap::new();
        let mut full: BTreeSet<&str> = BTreeSet::new();
        let mut may_wait = self.prepared.may_wait;
        for _ in 0..count {
            let Some(provider) = next_provider(items, &counts) else {
                break;
            };
            *counts.entry(provider.to_owned()).or_default() += 1;
            let named = Some(provider.to_owned());
            let of_provider = wanted
                .entry(provider)
                .or_insert_with(|| self.wanted(launch_type, Some(provider)));
            let of_provider = Arc::clone(of_provider);
            let placed = if full.contains(provider) {
                Err(Unplaced::NoInstances)
            } else {
                self.place(nodes, &of_provider, launch_type, named.clone())
            };
            let Err(unplaced) = placed else { continue };
            full.insert(provider);
            if launch_type == LaunchType::Fargate || may_wait == 0 {
                self.decision.unplaced.get_or_insert(unplaced);
                continue;
            }
            may_wait -= 1;
            let task = self.new_task(None, launch_type, named);
            self.decision.tasks.push(task);
        }
    }

    /// What a task needs of its instance.
    fn wanted(&self, launch_type: LaunchType, provider: Option<&str>) -> Arc<Wanted> {
        let mut needs = self.prepared.needs.clone();
        needs.launch = LaunchKind::of(launch_type, self.has_fargate_instances);
        // Instances for Fargate belong to no provider that somebody registered.
        let is_registered = launch_type != LaunchType::Fargate;
        needs.capacity_provider = provider.filter(|_| is_registered).map(str::to_owned);
        Arc::new(Wanted {
            needs,
            strategies: self.prepared.strategies.clone(),
        })
    }

    fn place(
        &mut self,
        nodes: &mut ClusterNodes,
        wanted: &Arc<Wanted>,
        launch_type: LaunchType,
        provider: Option<String>,
    ) -> Result<(), Unplaced> {
        let instance = nodes.place(wanted)?;
        self.add(nodes, &instance, launch_type, provider);
        Ok(())
    }

    /// Adds a task on an instance of which its resources were taken.
    fn add(
        &mut self,
        nodes: &ClusterNodes,
        instance: &InstanceId,
        launch_type: LaunchType,
        provider: Option<String>,
    ) {
        let Some(node) = nodes.get(instance) else {
            return;
        };
        let task = self.new_task(Some(node), launch_type, provider);
        let (_, reservation) = self
            .decision
            .taken
            .entry(instance.clone())
            .or_insert_with(|| (node.version, Reservation::default()));
        reservation.take(&self.prepared.needs.reservation);
        self.decision.tasks.push(task);
    }

    fn new_task(
        &self,
        node: Option<&Node>,
        launch_type: LaunchType,
        capacity_provider: Option<String>,
    ) -> Task {
        let request: &StartTasks = &self.prepared.request;
        let chosen = Chosen {
            node,
            capacity_provider,
            launch_type,
            reservation: self.prepared.needs.reservation.clone(),
        };
        new_task(request, chosen, &self.tasks.ids, self.now)
    }
}
