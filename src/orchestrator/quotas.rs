//! How many resources an account or a cluster has at most.
//!
//! Source: AWS General Reference, "Amazon Elastic Container Service endpoints and quotas".

use wharfinger_db::Tx;

use crate::error::{Error, Result};
use crate::model::{AccountRegion, ClusterId};
use crate::store::quotas;

/// Most clusters of an account in a region.
const CLUSTERS: usize = 10_000;
/// Most services of a cluster.
const SERVICES: usize = 5_000;
/// Most container instances of a cluster.
const INSTANCES: usize = 5_000;
/// Most revisions of a family. Those that are deregistered or deleted count as well.
const REVISIONS: i64 = 1_000_000;

/// Checks that there may be one more cluster.
///
/// # Errors
/// [`Error::LimitExceeded`].
pub(crate) fn check_clusters(tx: &mut Tx<'_>, home: &AccountRegion) -> Result<()> {
    let has = quotas::clusters(tx, home, CLUSTERS)?;
    check(has < CLUSTERS, "clusters per account", CLUSTERS)
}

/// Checks that the cluster may have one more service.
///
/// # Errors
/// [`Error::LimitExceeded`].
pub(crate) fn check_services(tx: &mut Tx<'_>, cluster: &ClusterId) -> Result<()> {
    let has = quotas::services(tx, cluster, SERVICES)?;
    check(has < SERVICES, "services per cluster", SERVICES)
}

/// Checks that the cluster may have one more container instance.
///
/// # Errors
/// [`Error::LimitExceeded`].
pub(crate) fn check_instances(tx: &mut Tx<'_>, cluster: &ClusterId) -> Result<()> {
    let has = quotas::instances(tx, cluster, INSTANCES)?;
    check(
        has < INSTANCES,
        "container instances per cluster",
        INSTANCES,
    )
}

/// Checks that a family may have this revision.
///
/// # Errors
/// [`Error::LimitExceeded`].
pub(crate) fn check_revision(revision: i64) -> Result<()> {
    let within = revision <= REVISIONS;
    check(within, "revisions per task definition family", REVISIONS)
}

fn check(within: bool, what: &str, most: impl std::fmt::Display) -> Result<()> {
    if within {
        return Ok(());
    }
    Err(Error::LimitExceeded(format!(
        "The limit of {most} {what} has been reached."
    )))
}

#[cfg(test)]
mod tests {
    use wharfinger_base::Timestamp;
    use wharfinger_db::{self as db, Db};

    use super::*;
    use crate::model::{
        Cluster, ClusterDetails, ClusterName, ClusterStatus, ContainerInstance, InstanceDetails,
        InstanceId, InstanceStatus, Reservation, Service, ServiceId, ServiceStatus, home,
    };
    use crate::store::services::tests::service;
    use crate::store::{clusters, instances, services};

    fn id() -> ClusterId {
        ClusterId("c".to_owned())
    }

    fn cluster(number: usize) -> Cluster {
        Cluster {
            id: ClusterId(number.to_string()),
            name: ClusterName {
                home: home(),
                name: format!("c{number}"),
            },
            status: ClusterStatus::Active,
            created_at: Timestamp::from_ms(1),
            details: ClusterDetails::default(),
        }
    }

    fn service_of(number: usize) -> Service {
        Service {
            id: ServiceId(number.to_string()),
            cluster: id(),
            ..service("s", &format!("s{number}"))
        }
    }

    fn instance(number: usize) -> ContainerInstance {
        ContainerInstance {
            id: InstanceId(number.to_string()),
            cluster: id(),
            status: InstanceStatus::Active,
            registered_at: Timestamp::from_ms(1),
            agent_connected: false,
            seen_at: Timestamp::from_ms(1),
            version: 1,
            reserved: Reservation::default(),
            details: InstanceDetails::default(),
        }
    }

    /// Runs the check with one resource fewer than the quota, with all, and after the end of one.
    async fn at_the_quota(
        quota: usize,
        insert: fn(&mut Tx<'_>, usize) -> db::Result<()>,
        end_one: fn(&mut Tx<'_>) -> db::Result<()>,
        check: fn(&mut Tx<'_>) -> Result<()>,
    ) -> String {
        let db = Db::memory(crate::MIGRATIONS).expect("an index");
        let work = move |tx: &mut Tx<'_>| -> Result<Error> {
            (1..quota).try_for_each(|number| insert(tx, number))?;
            check(tx)?;
            insert(tx, quota)?;
            let refused = check(tx).expect_err("the quota is reached");
            end_one(tx)?;
            check(tx)?;
            Ok(refused)
        };
        db.write(work).await.expect("checked").to_string()
    }

    #[tokio::test]
    async fn what_has_ended_does_not_count() {
        let refused = at_the_quota(
            CLUSTERS,
            |tx, number| clusters::insert(tx, &cluster(number)).map(drop),
            |tx| {
                let mut ended = cluster(1);
                ended.status = ClusterStatus::Inactive;
                clusters::update(tx, &ended)
            },
            |tx| check_clusters(tx, &home()),
        );
        let message = "The limit of 10000 clusters per account has been reached.";
        assert_eq!(refused.await, message);
        let refused = at_the_quota(
            SERVICES,
            |tx, number| services::insert(tx, &service_of(number)),
            |tx| {
                let mut ended = service_of(1);
                ended.status = ServiceStatus::Inactive;
                services::update(tx, &ended).map(drop)
            },
            |tx| check_services(tx, &id()),
        );
        let message = "The limit of 5000 services per cluster has been reached.";
        assert_eq!(refused.await, message);
        let refused = at_the_quota(
            INSTANCES,
            |tx, number| instances::insert(tx, &instance(number)),
            |tx| {
                let mut ended = instance(1);
                ended.status = InstanceStatus::Inactive;
                instances::update(tx, &ended, 1).map(drop)
            },
            |tx| check_instances(tx, &id()),
        );
        let message = "The limit of 5000 container instances per cluster has been reached.";
        assert_eq!(refused.await, message);
        assert_eq!(check_revision(REVISIONS), Ok(()));
        assert!(check_revision(REVISIONS + 1).is_err());
    }
}
