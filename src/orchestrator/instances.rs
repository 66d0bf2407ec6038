//! Container instances: registered, found, listed, drained and deregistered.

use std::sync::Arc;

use wharfinger_base::{Clock, Ids, Page};
use wharfinger_db::{self as db, Db, Tx};

use crate::agent_sessions::AgentSessions;
use crate::assignments::stop_all;
use crate::clusters::active;
use crate::error::{Error, Result};
use crate::model::{
    Cluster, ClusterId, ContainerInstance, InstanceId, InstanceStatus, Reservation, TaskStatus,
    new_hex_id,
};
use crate::nodes::Nodes;
use crate::placement::Expression;
use crate::quotas;
use crate::registration::{self, Registration};
use crate::service_wake::ServiceWake;
use crate::store::client_tokens::{self, TokenKey, TokenUse};
use crate::store::{clusters, counts, instances as store, nodes, tasks};

/// Instances that one statement of a listing reads.
const SCANNED: usize = 500;

/// The operation under which the tokens of registrations are kept.
const REGISTER: &str = "RegisterContainerInstance";

/// Operations on container instances.
#[derive(Clone)]
pub struct Instances {
    db: Db,
    clock: Clock,
    ids: Ids,
    sessions: AgentSessions,
    nodes: Nodes,
    services: ServiceWake,
}

/// An instance with the numbers of its tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedInstance {
    pub instance: ContainerInstance,
    pub running_tasks: i64,
    pub pending_tasks: i64,
}

/// What a listing is limited to.
#[derive(Clone, Debug, Default)]
pub struct InstanceFilter {
    pub status: Option<InstanceStatus>,
    pub expression: Option<Arc<Expression>>,
}

/// Why the state of an instance did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFailure {
    Missing,
    Inactive,
}

impl Instances {
    pub(super) const fn new(
        db: Db,
        clock: Clock,
        ids: Ids,
        sessions: AgentSessions,
        nodes: Nodes,
        services: ServiceWake,
    ) -> Self {
        Self {
            db,
            clock,
            ids,
            sessions,
            nodes,
            services,
        }
    }

    /// Registers an instance in a cluster, or registers `known` again. A request with the token of
    /// an earlier one returns what that one made.
    ///
    /// # Errors
    /// [`Error::ClusterInactive`], [`Error::InvalidParameter`] for a request that breaks a rule,
    /// [`Error::Client`] where `known` is not in the cluster, or no longer registered;
    /// [`Error::OtherRegistrant`] for an instance that another principal registered, unless it is
    /// the one that the request administers; [`Error::LimitExceeded`].
    pub async fn register(
        &self,
        cluster: &Cluster,
        known: Option<InstanceId>,
        token: Option<String>,
        request: Registration,
    ) -> Result<DescribedInstance> {
        crate::tags::check(&request.tags)?;
        registration::check(&request)?;
        let now = self.clock.now();
        let id = InstanceId(new_hex_id(&self.ids));
        let cluster = cluster.clone();
        let work = move |tx: &mut Tx<'_>| {
            active(clusters::by_id(tx, &cluster.id)?)?;
            let key = token.clone().map(|token| TokenKey {
                cluster: cluster.id.clone(),
                operation: REGISTER,
                token,
            });
            let earlier = match &key {
                Some(key) => registered_with(tx, &cluster.id, key)?,
                None => None,
            };
            let old = match &known {
                Some(known) => Some(registered(tx, &cluster.id, known)?),
                None => earlier,
            };
            if let Some(old) = &old {
                check_registrant(old, &request)?;
            }
            let region = cluster.name.home.region.as_str();
            let has = old.as_ref().map(|old| &old.details);
            let details = registration::details(&request, region, has)?;
            let instance = if let Some(mut instance) = old {
                let version = instance.version;
                instance.details = details;
                instance.seen_at = now;
                store::update(tx, &instance, version)?;
                instance.version = version + 1;
                instance
            } else {
                let new = ContainerInstance {
                    id: id.clone(),
                    cluster: cluster.id.clone(),
                    status: InstanceStatus::Active,
                    registered_at: now,
                    // Until its agent opens a connection.
                    agent_connected: false,
                    seen_at: now,
                    version: 1,
                    reserved: Reservation::default(),
                    details,
                };
                quotas::check_instances(tx, &cluster.id)?;
                store::insert(tx, &new)?;
                new
            };
            if let Some(key) = &key {
                let used = TokenUse {
                    request: String::new(),
                    result: instance.id.0.clone(),
                    created_at: now,
                };
                client_tokens::insert(tx, key, &used)?;
            }
            described(tx, instance)
        };
        let registered: DescribedInstance = self.db.write(work).await?;
        self.note(&registered.instance.id);
        Ok(registered)
    }

    /// The instances of the cluster with these identifiers, also inactive ones, in their order.
    pub async fn find(
        &self,
        cluster: &ClusterId,
        ids: &[InstanceId],
    ) -> Result<Vec<Option<DescribedInstance>>> {
        let (cluster, ids) = (cluster.clone(), ids.to_vec());
        let read = move |tx: &mut Tx<'_>| {
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                let instance = of_cluster(tx, &cluster, id)?;
                found.push(instance.map(|one| described(tx, one)).transpose()?);
            }
            Ok(found)
        };
        self.db.read(read).await
    }

    /// Up to `limit` instances of the cluster with identifiers after `after`, without inactive
    /// ones; the page's key is the last identifier.
    pub async fn page(
        &self,
        cluster: &ClusterId,
        filter: InstanceFilter,
        after: &str,
        limit: usize,
    ) -> Result<Page<InstanceId>> {
        let mut found: Vec<InstanceId> = Vec::new();
        let mut after = after.to_owned();
        loop {
            let (cluster, from, filter) = (cluster.clone(), after.clone(), filter.clone());
            let read = move |tx: &mut Tx<'_>| matching(tx, &cluster, &filter, &from);
            let (mut matching, last) = self.db.read::<_, _, Error>(read).await?;
            found.append(&mut matching);
            match last {
                Some(last) if found.len() <= limit => after = last.0,
                _ => return Ok(Page::of(found, limit, |id| id.0.clone())),
            }
        }
    }

    /// Sets instances of the cluster to active or draining. What is not there, or no longer
    /// registered, is told in its place.
    pub async fn set_status(
        &self,
        cluster: &ClusterId,
        ids: &[InstanceId],
        draining: bool,
    ) -> Result<Vec<Result<DescribedInstance, StateFailure>>> {
        let (cluster, ids) = (cluster.clone(), ids.to_vec());
        let status = if draining {
            InstanceStatus::Draining
        } else {
            InstanceStatus::Active
        };
        let work = move |tx: &mut Tx<'_>| {
            let mut changed = Vec::with_capacity(ids.len());
            for id in &ids {
                changed.push(match of_cluster(tx, &cluster, id)? {
                    None => Err(StateFailure::Missing),
                    Some(one) if one.status == InstanceStatus::Inactive => {
                        Err(StateFailure::Inactive)
                    }
                    Some(mut one) => {
                        if one.status != status {
                            let version = one.version;
                            one.status = status;
                            store::update(tx, &one, version)?;
                            one.version = version + 1;
                        }
                        Ok(described(tx, one)?)
                    }
                });
            }
            Ok(changed)
        };
        let changed: Vec<Result<DescribedInstance, _>> = self.db.write::<_, _, Error>(work).await?;
        for described in changed.iter().flatten() {
            self.note(&described.instance.id);
        }
        Ok(changed)
    }

    /// Takes an instance out of its cluster. With `force` its tasks count as stopped. One that is
    /// out of it already is returned as it is.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for an instance that is not in the cluster, or has tasks without
    /// `force`.
    pub async fn deregister(
        &self,
        cluster: &ClusterId,
        id: &InstanceId,
        force: bool,
    ) -> Result<DescribedInstance> {
        let now = self.clock.now();
        let (of, wanted) = (cluster.clone(), id.clone());
        let work = move |tx: &mut Tx<'_>| {
            let found = of_cluster(tx, &of, &wanted)?.ok_or_else(|| missing(&wanted))?;
            if found.status == InstanceStatus::Inactive {
                return described(tx, found);
            }
            if !tasks::of_instance(tx, &wanted)?.is_empty() {
                if !force {
                    let message = "Found running tasks on the instance.";
                    return Err(Error::InvalidParameter(message.to_owned()));
                }
                let reason = "Container instance deregistration forced by user";
                stop_all(tx, &wanted, None, reason, now)?;
            }
            let mut instance = of_cluster(tx, &of, &wanted)?.ok_or_else(|| missing(&wanted))?;
            let version = instance.version;
            instance.status = InstanceStatus::Inactive;
            instance.agent_connected = false;
            instance.seen_at = now;
            store::update(tx, &instance, version)?;
            instance.version = version + 1;
            described(tx, instance)
        };
        let instance = self.db.write(work).await?;
        // The session sees that the instance is gone, and ends.
        self.sessions.wake(id);
        self.note(id);
        Ok(instance)
    }

    /// Tells placement and services that an instance changed. To be called after the commit.
    fn note(&self, instance: &InstanceId) {
        self.nodes.note(instance);
        self.services.touch_all();
    }
}

/// The instance, if it is in the cluster; also an inactive one.
pub(crate) fn of_cluster(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
    id: &InstanceId,
) -> db::Result<Option<ContainerInstance>> {
    let found = store::by_id(tx, id)?;
    Ok(found.filter(|found| found.cluster == *cluster))
}

/// An instance that an agent knows from an earlier registration.
fn registered(tx: &mut Tx<'_>, cluster: &ClusterId, id: &InstanceId) -> Result<ContainerInstance> {
    let found = of_cluster(tx, cluster, id)?;
    let found = found.filter(|found| found.status != InstanceStatus::Inactive);
    found.ok_or_else(|| {
        Error::Client(format!(
            "The container instance {} is not registered in the cluster.",
            id.0
        ))
    })
}

/// Checks that the request may register the instance again, which makes its principal the one that
/// gets the instance's tasks and their credentials.
fn check_registrant(old: &ContainerInstance, request: &Registration) -> Result<()> {
    let is_own = old.details.registered_by == request.registered_by;
    if is_own || request.administers.as_ref() == Some(&old.id) {
        return Ok(());
    }
    Err(Error::OtherRegistrant {
        instance: old.id.clone(),
        message: "Only the principal that registered a container instance may register it again.",
    })
}

/// What an earlier request with the same token registered, if it still is.
fn registered_with(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
    key: &TokenKey,
) -> db::Result<Option<ContainerInstance>> {
    let Some(used) = client_tokens::get(tx, key)? else {
        return Ok(None);
    };
    let found = of_cluster(tx, cluster, &InstanceId(used.result))?;
    Ok(found.filter(|found| found.status != InstanceStatus::Inactive))
}

fn missing(id: &InstanceId) -> Error {
    Error::InvalidParameter(format!("Referenced container instance {} not found.", id.0))
}

fn described(tx: &mut Tx<'_>, instance: ContainerInstance) -> Result<DescribedInstance> {
    let (mut running_tasks, mut pending_tasks) = (0, 0);
    for (status, count) in counts::tasks_of_instance(tx, &instance.id)? {
        match status {
            TaskStatus::Provisioning | TaskStatus::Pending | TaskStatus::Activating => {
                pending_tasks += count;
            }
            TaskStatus::Running
            | TaskStatus::Deactivating
            | TaskStatus::Stopping
            | TaskStatus::Deprovisioning => running_tasks += count,
            TaskStatus::Stopped => {}
        }
    }
    Ok(DescribedInstance {
        instance,
        running_tasks,
        pending_tasks,
    })
}

/// The instances that match among the next ones after `after`; and the last of those that were
/// read, where more may follow.
fn matching(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
    filter: &InstanceFilter,
    after: &str,
) -> Result<(Vec<InstanceId>, Option<InstanceId>)> {
    let read = store::in_cluster(tx, cluster, after, SCANNED)?;
    let last = read.last().map(|last| last.id.clone());
    let last = last.filter(|_| read.len() == SCANNED);
    let mut found = Vec::new();
    for instance in read {
        let has_status = filter.status.is_none_or(|status| instance.status == status);
        if !has_status || instance.details.is_fargate {
            continue;
        }
        if let Some(expression) = &filter.expression {
            let node = nodes::node(tx, cluster, &instance.id)?;
            if !node.is_some_and(|node| expression.matches(&node)) {
                continue;
            }
        }
        found.push(instance.id);
    }
    Ok((found, last))
}

#[cfg(test)]
mod tests;
