//! Clusters: created, found, listed, configured and deleted.

use wharfinger_base::{Clock, Ids, Page};
use wharfinger_db::{Db, Tx};

use crate::capacity_strategy::{check_providers, check_strategy, is_fargate};
use crate::error::{Error, Result};
use crate::identifiers::cluster_name;
use crate::model::{
    AccountRegion, CapacityProviderStatus, CapacityProviderStrategyItem, Cluster, ClusterDetails,
    ClusterId, ClusterName, ClusterStatus, LaunchType, ServiceStatus, TaskStatus, new_hex_id,
};
use crate::quotas;
use crate::store::{capacity_providers, clusters as store, counts};

/// Operations on clusters.
#[derive(Clone)]
pub struct Clusters {
    db: Db,
    clock: Clock,
    ids: Ids,
}

/// Numbers of what is in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterCounts {
    /// Active and draining ones.
    pub instances: i64,
    pub running_tasks: LaunchCounts,
    pub pending_tasks: LaunchCounts,
    pub active_services: LaunchCounts,
    pub draining_services: LaunchCounts,
}

/// Numbers by launch type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaunchCounts {
    pub ec2: i64,
    pub fargate: i64,
    pub external: i64,
    pub managed_instances: i64,
}

impl LaunchCounts {
    pub const fn total(&self) -> i64 {
        self.ec2 + self.fargate + self.external + self.managed_instances
    }

    const fn add(&mut self, launch_type: LaunchType, count: i64) {
        match launch_type {
            LaunchType::Ec2 => self.ec2 += count,
            LaunchType::Fargate => self.fargate += count,
            LaunchType::External => self.external += count,
            LaunchType::ManagedInstances => self.managed_instances += count,
        }
    }
}

impl Clusters {
    pub(super) const fn new(db: Db, clock: Clock, ids: Ids) -> Self {
        Self { db, clock, ids }
    }

    /// Makes a cluster, or returns the active one of this name if the request does not differ from
    /// what it has. An inactive cluster of the name is replaced by a new one.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a request that differs from the cluster of this name, or
    /// with capacity providers that break a rule or do not exist; [`Error::LimitExceeded`].
    pub async fn create(&self, name: &ClusterName, details: ClusterDetails) -> Result<Cluster> {
        check_capacity(
            &details.capacity_providers,
            &details.default_capacity_provider_strategy,
        )?;
        let new = Cluster {
            id: ClusterId(new_hex_id(&self.ids)),
            name: name.clone(),
            status: ClusterStatus::Active,
            created_at: self.clock.now(),
            details,
        };
        let work = move |tx: &mut Tx<'_>| {
            if let Some(old) = store::by_name(tx, &new.name)? {
                if old.status == ClusterStatus::Active {
                    return same(old, &new.details);
                }
                store::delete(tx, &old.id)?;
            }
            quotas::check_clusters(tx, &new.name.home)?;
            require_providers(tx, &new.name.home, &new.details.capacity_providers)?;
            store::insert(tx, &new)?;
            Ok(new.clone())
        };
        self.db.write(work).await
    }

    /// The active cluster that a member of a request names: by its name or ARN, or the default one.
    ///
    /// # Errors
    /// [`Error::Identifier`], [`Error::ClusterNotFound`], [`Error::ClusterInactive`].
    pub async fn find(&self, home: &AccountRegion, text: Option<&str>) -> Result<Cluster> {
        let cluster = self.get(&cluster_name(home, text)?).await?;
        active(cluster)
    }

    /// The cluster of this name, also an inactive one.
    pub async fn get(&self, name: &ClusterName) -> Result<Option<Cluster>> {
        let name = name.clone();
        let found = self.db.get(move |tx| store::by_name(tx, &name)).await?;
        Ok(found)
    }

    /// Up to `limit` active clusters with names after `after`; the page's key is the last name.
    pub async fn page(
        &self,
        home: &AccountRegion,
        after: &str,
        limit: usize,
    ) -> Result<Page<Cluster>> {
        let (home, after) = (home.clone(), after.to_owned());
        let read = move |tx: &mut Tx<'_>| store::page(tx, &home, &after, limit + 1);
        let rows = self.db.read(read).await?;
        Ok(Page::of(rows, limit, |cluster| cluster.name.name.clone()))
    }

    /// Changes the settings of an active cluster and returns it.
    ///
    /// # Errors
    /// [`Error::ClusterNotFound`]; [`Error::Client`] for an inactive one.
    pub async fn update(
        &self,
        name: &ClusterName,
        change: impl Fn(&mut ClusterDetails) + Send + 'static,
    ) -> Result<Cluster> {
        let name = name.clone();
        let work = move |tx: &mut Tx<'_>| {
            let mut cluster = changeable(store::by_name(tx, &name)?)?;
            change(&mut cluster.details);
            store::update(tx, &cluster)?;
            Ok(cluster)
        };
        self.db.write(work).await
    }

    /// Sets the capacity providers and the default strategy of an active cluster.
    ///
    /// # Errors
    /// [`Error::ClusterNotFound`]; [`Error::Client`] for an inactive one;
    /// [`Error::InvalidParameter`] for providers or a strategy that break a rule;
    /// [`Error::ResourceInUse`] for a provider to remove that a service or task has.
    pub async fn put_capacity_providers(
        &self,
        name: &ClusterName,
        providers: Vec<String>,
        strategy: Vec<CapacityProviderStrategyItem>,
    ) -> Result<Cluster> {
        check_capacity(&providers, &strategy)?;
        let name = name.clone();
        let work = move |tx: &mut Tx<'_>| {
            let mut cluster = changeable(store::by_name(tx, &name)?)?;
            require_providers(tx, &name.home, &providers)?;
            let old = &cluster.details.capacity_providers;
            for removed in old.iter().filter(|one| !providers.contains(one)) {
                if counts::uses_capacity_provider(tx, &cluster.id, removed)? {
                    let message =
                        "The specified capacity provider is in use and cannot be removed.";
                    return Err(Error::ResourceInUse(message.to_owned()));
                }
            }
            cluster.details.capacity_providers.clone_from(&providers);
            cluster
                .details
                .default_capacity_provider_strategy
                .clone_from(&strategy);
            store::update(tx, &cluster)?;
            Ok(cluster)
        };
        self.db.write(work).await
    }

    /// Makes an empty cluster inactive. An inactive one is returned as it is.
    ///
    /// # Errors
    /// [`Error::ClusterNotFound`]; [`Error::ClusterContainsServices`],
    /// [`Error::ClusterContainsTasks`], [`Error::ClusterContainsInstances`] for what is in it.
    pub async fn delete(&self, name: &ClusterName) -> Result<Cluster> {
        let (name, now) = (name.clone(), self.clock.now());
        let work = move |tx: &mut Tx<'_>| {
            let cluster = store::by_name(tx, &name)?;
            let mut cluster = cluster.ok_or(Error::ClusterNotFound)?;
            let counts = count(tx, &cluster.id)?;
            if counts.active_services.total() + counts.draining_services.total() > 0 {
                return Err(Error::ClusterContainsServices);
            }
            if counts.running_tasks.total() + counts.pending_tasks.total() > 0 {
                return Err(Error::ClusterContainsTasks);
            }
            if counts.instances > 0 {
                return Err(Error::ClusterContainsInstances);
            }
            if cluster.status == ClusterStatus::Active {
                cluster.details.ended_at = Some(now);
            }
            cluster.status = ClusterStatus::Inactive;
            cluster.details.capacity_providers.clear();
            cluster.details.default_capacity_provider_strategy.clear();
            store::update(tx, &cluster)?;
            Ok(cluster)
        };
        self.db.write(work).await
    }

    /// Numbers of what is in the cluster.
    pub async fn counts(&self, id: &ClusterId) -> Result<ClusterCounts> {
        let id = id.clone();
        self.db.read(move |tx| count(tx, &id)).await
    }
}

/// The cluster, if it is there and active.
pub(super) fn active(cluster: Option<Cluster>) -> Result<Cluster> {
    let cluster = cluster.ok_or(Error::ClusterNotFound)?;
    match cluster.status {
        ClusterStatus::Active => Ok(cluster),
        ClusterStatus::Inactive => Err(Error::ClusterInactive),
    }
}

/// The cluster, if it is there and its settings may change.
fn changeable(cluster: Option<Cluster>) -> Result<Cluster> {
    active(cluster).map_err(|error| match error {
        Error::ClusterInactive => Error::Client("Cluster was not ACTIVE.".to_owned()),
        error => error,
    })
}

fn check_capacity(providers: &[String], strategy: &[CapacityProviderStrategyItem]) -> Result<()> {
    check_providers(providers)?;
    check_strategy(strategy, providers)
}

/// Checks that the account has these capacity providers.
fn require_providers(tx: &mut Tx<'_>, home: &AccountRegion, providers: &[String]) -> Result<()> {
    for provider in providers.iter().filter(|one| !is_fargate(one)) {
        let found = capacity_providers::by_name(tx, home, provider)?;
        if found.is_none_or(|found| found.status != CapacityProviderStatus::Active) {
            let message = "The specified capacity provider does not exist. Specify a valid name \
                           or ARN and try again.";
            return Err(Error::InvalidParameter(message.to_owned()));
        }
    }
    Ok(())
}

/// An existing cluster, if a repeated request says nothing else than what it has.
fn same(old: Cluster, requested: &ClusterDetails) -> Result<Cluster> {
    let ClusterDetails {
        settings,
        configuration,
        capacity_providers,
        default_capacity_provider_strategy,
        service_connect_defaults,
        tags,
        ended_at: _,
    } = requested;
    let has = &old.details;
    let differs = (!settings.is_empty() && *settings != has.settings)
        || (configuration.is_some() && *configuration != has.configuration)
        || (!capacity_providers.is_empty() && *capacity_providers != has.capacity_providers)
        || differs(
            default_capacity_provider_strategy,
            &has.default_capacity_provider_strategy,
        )
        || (service_connect_defaults.is_some()
            && *service_connect_defaults != has.service_connect_defaults)
        || (!tags.is_empty() && *tags != has.tags);
    if differs {
        let message = "Arguments on this idempotent request are inconsistent with arguments used \
                       in previous request(s).";
        return Err(Error::InvalidParameter(message.to_owned()));
    }
    Ok(old)
}

fn differs(
    requested: &[CapacityProviderStrategyItem],
    has: &[CapacityProviderStrategyItem],
) -> bool {
    !requested.is_empty() && requested != has
}

fn count(tx: &mut Tx<'_>, id: &ClusterId) -> Result<ClusterCounts> {
    let mut counts = ClusterCounts {
        instances: counts::instances_of_cluster(tx, id)?,
        ..ClusterCounts::default()
    };
    for found in counts::tasks_of_cluster(tx, id)? {
        let group = match found.status {
            TaskStatus::Provisioning | TaskStatus::Pending | TaskStatus::Activating => {
                &mut counts.pending_tasks
            }
            TaskStatus::Running
            | TaskStatus::Deactivating
            | TaskStatus::Stopping
            | TaskStatus::Deprovisioning => &mut counts.running_tasks,
            TaskStatus::Stopped => continue,
        };
        group.add(found.launch_type, found.count);
    }
    for (status, launch_type) in counts::services_of_cluster(tx, id)? {
        let group = match status {
            ServiceStatus::Active => &mut counts.active_services,
            ServiceStatus::Draining => &mut counts.draining_services,
            ServiceStatus::Inactive => continue,
        };
        group.add(launch_type, 1);
    }
    Ok(counts)
}
