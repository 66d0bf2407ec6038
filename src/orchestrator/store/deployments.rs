//! Rows of `deployments`, which are the service deployments and service revisions of the API as
//! well.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{Deployment, DeploymentId, ServiceId};
use crate::store::{document, from_document, parsed, row_count};

/// A statement that selects deployments, with conditions as given. [`read`] reads its columns.
macro_rules! select_deployments {
    ($rest:literal) => {
        concat!(
            "SELECT deployment_id, service_id, status, created_at, version, details ",
            "FROM deployments ",
            $rest
        )
    };
}

fn read(row: &Row<'_>) -> db::Result<Deployment> {
    Ok(Deployment {
        id: DeploymentId(row.text(0).to_owned()),
        service: ServiceId(row.text(1).to_owned()),
        status: parsed(row.text(2))?,
        created_at: Timestamp::from_ms(row.integer(3)),
        version: row.integer(4),
        details: from_document(row.text(5))?,
    })
}

pub(crate) fn insert(tx: &mut Tx<'_>, deployment: &Deployment) -> db::Result<()> {
    tx.execute(
        "INSERT INTO deployments (deployment_id, service_id, service_deployment_id, revision_id, \
         status, created_at, version, details) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            &deployment.id.0,
            &deployment.service.0,
            &deployment.details.service_deployment_id,
            &deployment.details.revision_id,
            deployment.status.as_str(),
            deployment.created_at,
            deployment.version,
            document(&deployment.details)?
        ],
    )?;
    Ok(())
}

/// Writes what can change of a deployment. Whoever changes one has compared the version of its
/// service in the same transaction.
pub(crate) fn update(tx: &mut Tx<'_>, deployment: &Deployment) -> db::Result<()> {
    tx.execute(
        "UPDATE deployments SET status = ?2, details = ?3, version = version + 1 \
         WHERE deployment_id = ?1",
        params![
            &deployment.id.0,
            deployment.status.as_str(),
            document(&deployment.details)?
        ],
    )?;
    Ok(())
}

/// The primary deployment of a service, and then those that it replaces, the newest first.
pub(crate) fn current(tx: &mut Tx<'_>, service: &ServiceId) -> db::Result<Vec<Deployment>> {
    let sql = select_deployments!(
        "WHERE service_id = ?1 AND status IN ('PRIMARY', 'ACTIVE')
         ORDER BY CASE WHEN status = 'PRIMARY' THEN 0 ELSE 1 END, created_at DESC,
         deployment_id DESC"
    );
    tx.query(sql, params![&service.0], read)
}

pub(crate) fn by_id(tx: &mut Tx<'_>, id: &DeploymentId) -> db::Result<Option<Deployment>> {
    let sql = select_deployments!("WHERE deployment_id = ?1");
    tx.query_optional(sql, params![&id.0], read)
}

/// The service deployment with this id in its ARN.
pub(crate) fn by_service_deployment(
    tx: &mut Tx<'_>,
    service_deployment_id: &str,
) -> db::Result<Option<Deployment>> {
    let sql = select_deployments!("WHERE service_deployment_id = ?1");
    tx.query_optional(sql, params![service_deployment_id], read)
}

/// The first deployment of a service with this revision. Later ones may bring it back.
pub(crate) fn by_revision(
    tx: &mut Tx<'_>,
    service: &ServiceId,
    revision_id: &str,
) -> db::Result<Option<Deployment>> {
    let sql = select_deployments!(
        "WHERE service_id = ?1 AND revision_id = ?2 ORDER BY created_at, deployment_id LIMIT 1"
    );
    tx.query_optional(sql, params![&service.0, revision_id], read)
}

/// Up to `limit` deployments of a service that were made before `before`, the newest first. Those
/// made at the same time are ordered by identifier, and follow after that of `before`.
pub(crate) fn page(
    tx: &mut Tx<'_>,
    service: &ServiceId,
    before: Option<(Timestamp, &str)>,
    limit: usize,
) -> db::Result<Vec<Deployment>> {
    let (time, id) = before.unwrap_or((Timestamp::from_ms(i64::MAX), ""));
    let sql = select_deployments!(
        "WHERE service_id = ?1 AND status IN ('PRIMARY', 'ACTIVE', 'INACTIVE')
         AND (created_at < ?2 OR (created_at = ?2 AND deployment_id < ?3))
         ORDER BY created_at DESC, deployment_id DESC LIMIT ?4"
    );
    tx.query(sql, params![&service.0, time, id, row_count(limit)], read)
}

/// Removes up to `limit` deployments that were replaced before `before`; returns how many. Their
/// age alone says nothing: a rollback may need one that was the last for years.
pub(crate) fn delete_old(tx: &mut Tx<'_>, before: Timestamp, limit: usize) -> db::Result<u64> {
    tx.execute(
        "DELETE FROM deployments WHERE deployment_id IN
         (SELECT o.deployment_id FROM deployments o
          WHERE o.status = 'INACTIVE' AND o.created_at < ?1
          AND EXISTS (SELECT 1 FROM deployments n WHERE n.service_id = o.service_id
           AND n.created_at > o.created_at AND n.created_at < ?1)
          ORDER BY o.created_at LIMIT ?2)",
        params![before, row_count(limit)],
    )
}

/// Removes up to `limit` deployments of a service; returns how many.
pub(crate) fn delete_of_service(
    tx: &mut Tx<'_>,
    service: &ServiceId,
    limit: usize,
) -> db::Result<u64> {
    tx.execute(
        "DELETE FROM deployments WHERE deployment_id IN
         (SELECT deployment_id FROM deployments WHERE service_id = ?1
          ORDER BY deployment_id LIMIT ?2)",
        params![&service.0, row_count(limit)],
    )
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::model::{
        DeploymentDetails, DeploymentRolloutState, DeploymentStatus,
        ServiceDeploymentRollbackMonitorsStatus, ServiceDeploymentStatus,
    };
    use crate::store::services::tests::target;

    fn deployment(id: &str, status: DeploymentStatus, ms: i64) -> Deployment {
        Deployment {
            id: DeploymentId(id.to_owned()),
            service: ServiceId("s".to_owned()),
            status,
            created_at: Timestamp::from_ms(ms),
            version: 1,
            details: DeploymentDetails {
                target: target(),
                service_deployment_id: format!("sd-{id}"),
                revision_id: format!("r-{id}"),
                image_digests: [("web".to_owned(), "sha256:00".to_owned())].into(),
                source_revision_ids: Vec::new(),
                desired_count: 1,
                failed_tasks: 0,
                healthy_tasks: 0,
                rollout_state: DeploymentRolloutState::InProgress,
                rollout_state_reason: "r".to_owned(),
                deployment_status: ServiceDeploymentStatus::InProgress,
                status_reason: None,
                circuit_breaker: ServiceDeploymentRollbackMonitorsStatus::Disabled,
                started_at: None,
                finished_at: None,
                stopped_at: None,
                updated_at: Timestamp::from_ms(ms),
                rollback: None,
                undoes: None,
            },
        }
    }

    #[tokio::test]
    async fn deployments_of_a_service() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let mut gone = deployment("a", DeploymentStatus::Inactive, 1);
                let old = deployment("b", DeploymentStatus::Active, 3);
                let primary = deployment("c", DeploymentStatus::Primary, 2);
                for one in [&gone, &old, &primary] {
                    insert(tx, one)?;
                }
                let service = gone.service.clone();
                assert_eq!(current(tx, &service)?, [primary.clone(), old.clone()]);
                assert_eq!(by_service_deployment(tx, "sd-b")?.as_ref(), Some(&old));
                assert_eq!(by_revision(tx, &service, "r-a")?.as_ref(), Some(&gone));
                assert_eq!(page(tx, &service, None, 2)?, [old.clone(), primary.clone()]);
                let last = Some((primary.created_at, primary.id.0.as_str()));
                assert_eq!(page(tx, &service, last, 9)?, [gone.clone()]);
                gone.details.failed_tasks = 3;
                update(tx, &gone)?;
                gone.version = 2;
                assert_eq!(by_revision(tx, &service, "r-a")?.as_ref(), Some(&gone));
                let before = primary.created_at;
                assert_eq!(delete_old(tx, before, 9)?, 0, "replaced at this time");
                assert_eq!(delete_old(tx, Timestamp::from_ms(9), 9)?, 1);
                assert_eq!(delete_of_service(tx, &service, 1)?, 1);
                assert_eq!(page(tx, &service, None, 9)?.len(), 1);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }
}
