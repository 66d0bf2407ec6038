//! Rows of `services`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{ClusterId, Service, ServiceId};
use crate::store::{document, from_document, parsed, row_count};

/// A statement that selects services, with conditions as given. [`read`] reads its columns.
macro_rules! select_services {
    ($rest:literal) => {
        concat!(
            "SELECT service_id, cluster_id, name, status, desired_count, created_at, version, ",
            "details FROM services ",
            $rest
        )
    };
}

fn read(row: &Row<'_>) -> db::Result<Service> {
    Ok(Service {
        id: ServiceId(row.text(0).to_owned()),
        cluster: ClusterId(row.text(1).to_owned()),
        name: row.text(2).to_owned(),
        status: parsed(row.text(3))?,
        desired_count: row.integer(4),
        created_at: Timestamp::from_ms(row.integer(5)),
        version: row.integer(6),
        details: from_document(row.text(7))?,
    })
}

pub(crate) fn insert(tx: &mut Tx<'_>, service: &Service) -> db::Result<()> {
    tx.execute(
        "INSERT INTO services (service_id, cluster_id, name, status, desired_count, created_at, \
         version, details) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            &service.id.0,
            &service.cluster.0,
            &service.name,
            service.status.as_str(),
            service.desired_count,
            service.created_at,
            service.version,
            document(&service.details)?
        ],
    )?;
    Ok(())
}

/// Writes what can change of a service and returns true, or changes nothing and returns false where
/// the row has no longer the version that `service` was read with. The row gets the next version.
pub(crate) fn update(tx: &mut Tx<'_>, service: &Service) -> db::Result<bool> {
    let changed = tx.execute(
        "UPDATE services SET status = ?3, desired_count = ?4, details = ?5, version = ?2 + 1 \
         WHERE service_id = ?1 AND version = ?2",
        params![
            &service.id.0,
            service.version,
            service.status.as_str(),
            service.desired_count,
            document(&service.details)?
        ],
    )?;
    Ok(changed == 1)
}

pub(crate) fn by_id(tx: &mut Tx<'_>, id: &ServiceId) -> db::Result<Option<Service>> {
    let sql = select_services!("WHERE service_id = ?1");
    tx.query_optional(sql, params![&id.0], read)
}

/// Gives the row the next version and returns true, or changes nothing and returns false where it
/// has no longer this version.
pub(crate) fn raise_version(tx: &mut Tx<'_>, id: &ServiceId, version: i64) -> db::Result<bool> {
    let changed = tx.execute(
        "UPDATE services SET version = ?2 + 1 WHERE service_id = ?1 AND version = ?2",
        params![&id.0, version],
    )?;
    Ok(changed == 1)
}

/// The version of a service.
pub(crate) fn version(tx: &mut Tx<'_>, id: &ServiceId) -> db::Result<Option<i64>> {
    tx.query_optional(
        "SELECT version FROM services WHERE service_id = ?1",
        params![&id.0],
        |row| Ok(row.integer(0)),
    )
}

/// The newest service of this name, also an inactive one.
pub(crate) fn by_name(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
    name: &str,
) -> db::Result<Option<Service>> {
    let sql = select_services!(
        "WHERE cluster_id = ?1 AND name = ?2 ORDER BY created_at DESC, service_id DESC LIMIT 1"
    );
    tx.query_optional(sql, params![&cluster.0, name], read)
}

/// Up to `limit` active services of the cluster with names after `after`, by name.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
    after: &str,
    limit: usize,
) -> db::Result<Vec<Service>> {
    let sql = select_services!(
        "WHERE cluster_id = ?1 AND name > ?2 AND status = 'ACTIVE' ORDER BY name LIMIT ?3"
    );
    tx.query(sql, params![&cluster.0, after, row_count(limit)], read)
}

/// Up to `limit` services with identifiers after `after` that have or want tasks.
pub(crate) fn unfinished(tx: &mut Tx<'_>, after: &str, limit: usize) -> db::Result<Vec<ServiceId>> {
    tx.query(
        "SELECT service_id FROM services
         WHERE status IN ('ACTIVE', 'DRAINING') AND service_id > ?1
         ORDER BY service_id LIMIT ?2",
        params![after, row_count(limit)],
        |row| Ok(ServiceId(row.text(0).to_owned())),
    )
}

/// The names of the cluster's active daemons.
pub(crate) fn daemons(tx: &mut Tx<'_>, cluster: &ClusterId) -> db::Result<Vec<String>> {
    let sql = select_services!("WHERE cluster_id = ?1 AND status = 'ACTIVE'");
    let found = tx.query(sql, params![&cluster.0], read)?;
    let daemons = found.into_iter().filter(|service| !service.is_replicas());
    Ok(daemons.map(|service| service.name).collect())
}

/// Up to `limit` inactive services with identifiers after `after`.
pub(crate) fn inactive(tx: &mut Tx<'_>, after: &str, limit: usize) -> db::Result<Vec<Service>> {
    let sql = select_services!(
        "WHERE status = 'INACTIVE' AND service_id > ?1 ORDER BY service_id LIMIT ?2"
    );
    tx.query(sql, params![after, row_count(limit)], read)
}

/// Removes the service's row.
pub(crate) fn delete(tx: &mut Tx<'_>, id: &ServiceId) -> db::Result<()> {
    let sql = "DELETE FROM services WHERE service_id = ?1";
    tx.execute(sql, params![&id.0]).map(drop)
}

#[cfg(test)]
pub(crate) mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::model::{
        AvailabilityZoneRebalancing, DeploymentConfiguration, DeploymentController,
        DeploymentControllerType, PropagateTags, SchedulingStrategy, ServiceDetails, ServiceStatus,
        ServiceTarget,
    };

    pub(crate) fn target() -> ServiceTarget {
        ServiceTarget {
            task_definition: None,
            launch_type: None,
            capacity_provider_strategy: Vec::new(),
            platform_version: None,
            platform_family: None,
            network_configuration: None,
            load_balancers: Vec::new(),
            service_registries: Vec::new(),
        }
    }

    pub(crate) fn service(id: &str, name: &str) -> Service {
        Service {
            id: ServiceId(id.to_owned()),
            cluster: ClusterId("c".to_owned()),
            name: name.to_owned(),
            status: ServiceStatus::Active,
            desired_count: 2,
            created_at: Timestamp::from_ms(1),
            version: 1,
            details: ServiceDetails {
                created_by: "me".to_owned(),
                scheduling_strategy: SchedulingStrategy::Replica,
                deployment_controller: DeploymentController {
                    kind: DeploymentControllerType::Ecs,
                },
                deployment_configuration: DeploymentConfiguration::default(),
                placement_constraints: Vec::new(),
                placement_strategy: Vec::new(),
                health_check_grace_period_seconds: None,
                availability_zone_rebalancing: AvailabilityZoneRebalancing::Disabled,
                enable_ecs_managed_tags: false,
                propagate_tags: PropagateTags::None,
                enable_execute_command: false,
                role_arn: None,
                tags: Vec::new(),
                target: target(),
                failed_starts: 0,
                last_failed_at: None,
                throttled_until: None,
                is_steady: false,
                ended_at: None,
            },
        }
    }

    #[tokio::test]
    async fn only_the_version_that_was_read_is_replaced() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let mut one = service("s1", "web");
                insert(tx, &one)?;
                assert_eq!(by_id(tx, &one.id)?.as_ref(), Some(&one));
                one.desired_count = 5;
                assert!(update(tx, &one)?);
                assert!(!update(tx, &one)?);
                assert_eq!(version(tx, &one.id)?, Some(2));
                one.version = 2;
                assert_eq!(by_id(tx, &one.id)?.as_ref(), Some(&one));
                assert!(raise_version(tx, &one.id, 2)? && !raise_version(tx, &one.id, 2)?);
                one.version = 3;
                assert_eq!(by_id(tx, &one.id)?.as_ref(), Some(&one));
                delete(tx, &one.id)?;
                assert_eq!(by_id(tx, &one.id)?, None);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }

    #[tokio::test]
    async fn the_newest_of_a_name_is_found_and_active_ones_are_listed() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let mut old = service("s1", "web");
                old.status = ServiceStatus::Inactive;
                insert(tx, &old)?;
                let cluster = old.cluster.clone();
                assert_eq!(by_name(tx, &cluster, "web")?.as_ref(), Some(&old));
                let mut new = service("s0", "web");
                new.created_at = Timestamp::from_ms(2);
                insert(tx, &new)?;
                let mut draining = service("s2", "gone");
                draining.status = ServiceStatus::Draining;
                insert(tx, &draining)?;
                let other = service("s3", "api");
                insert(tx, &other)?;
                assert_eq!(by_name(tx, &cluster, "web")?.as_ref(), Some(&new));
                assert_eq!(page(tx, &cluster, "", 1)?, std::slice::from_ref(&other));
                assert_eq!(page(tx, &cluster, "api", 9)?, [new.clone()]);
                let ids = |ids: &[&str]| -> Vec<_> {
                    ids.iter().map(|id| ServiceId((*id).to_owned())).collect()
                };
                assert_eq!(unfinished(tx, "", 2)?, ids(&["s0", "s2"]));
                assert_eq!(unfinished(tx, "s2", 2)?, ids(&["s3"]));
                assert_eq!(inactive(tx, "", 9)?, [old]);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }
}
