//! Task definitions that shall be deleted, and what still has them.

use serde::Deserialize;
use wharfinger_db::{self as db, Tx, params};

use crate::model::{AccountRegion, DeploymentRolloutState, FamilyRevision, ServiceId};
use crate::store::{from_document, parsed, row_count};

/// A task definition that shall be deleted, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deleting {
    pub(crate) home: AccountRegion,
    pub(crate) name: FamilyRevision,
    /// Milliseconds since the epoch.
    pub(crate) since: i64,
}

/// Up to `limit` task definitions of all accounts that shall be deleted, after `after`, by the time
/// of the request.
pub(crate) fn deleting(
    tx: &mut Tx<'_>,
    after: Option<&Deleting>,
    limit: usize,
) -> db::Result<Vec<Deleting>> {
    let since = after.map_or(i64::MIN, |after| after.since);
    let account = after.map_or("", |after| after.home.account.as_str());
    let region = after.map_or("", |after| after.home.region.as_str());
    let family = after.map_or("", |after| after.name.family.as_str());
    let revision = after.map_or(0, |after| after.name.revision);
    tx.query(
        "SELECT account, region, family, revision, delete_requested_at FROM task_definitions
         WHERE delete_requested_at >= ?1
         AND (delete_requested_at, account, region, family, revision) > (?1, ?2, ?3, ?4, ?5)
         ORDER BY delete_requested_at, account, region, family, revision LIMIT ?6",
        params![since, account, region, family, revision, row_count(limit)],
        |row| {
            Ok(Deleting {
                home: AccountRegion {
                    account: parsed(row.text(0))?,
                    region: parsed(row.text(1))?,
                },
                name: FamilyRevision {
                    family: row.text(2).to_owned(),
                    revision: row.integer(3),
                },
                since: row.integer(4),
            })
        },
    )
}

/// What is read of the details of a service or deployment.
#[derive(Deserialize)]
struct Details {
    target: Target,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    task_definition: Option<FamilyRevision>,
}

/// Whether a task that has not stopped, a service or one of its deployments has the revision.
pub(crate) fn is_used(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    name: &FamilyRevision,
) -> db::Result<bool> {
    let (account, region) = (home.account.as_str(), home.region.as_str());
    let task = tx.query_optional(
        "SELECT t.revision FROM clusters c JOIN tasks t ON t.cluster_id = c.cluster_id
         WHERE c.account = ?1 AND c.region = ?2 AND t.family = ?3 AND t.revision = ?4
         AND t.last_status <> 'STOPPED' LIMIT 1",
        params![account, region, &name.family, name.revision],
        |row| Ok(row.integer(0)),
    )?;
    if task.is_some() {
        return Ok(true);
    }
    let services = tx.query(
        "SELECT s.details FROM clusters c JOIN services s ON s.cluster_id = c.cluster_id
         WHERE c.account = ?1 AND c.region = ?2 AND s.status <> 'INACTIVE'",
        params![account, region],
        |row| from_document::<Details>(row.text(0)),
    )?;
    let deployments = tx.query(
        "SELECT d.details FROM clusters c JOIN services s ON s.cluster_id = c.cluster_id
         JOIN deployments d ON d.service_id = s.service_id
         WHERE c.account = ?1 AND c.region = ?2 AND s.status <> 'INACTIVE'
         AND d.status <> 'INACTIVE'",
        params![account, region],
        |row| from_document::<Details>(row.text(0)),
    )?;
    let mut all = services.iter().chain(&deployments);
    Ok(all.any(|details| details.target.task_definition.as_ref() == Some(name)))
}

/// What is read of the details of a deployment.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rollout {
    rollout_state: DeploymentRolloutState,
}

/// The services of the account and region whose primary deployment is under way.
pub(crate) fn deploying(tx: &mut Tx<'_>, home: &AccountRegion) -> db::Result<Vec<ServiceId>> {
    let primaries = tx.query(
        "SELECT s.service_id, d.details FROM clusters c
         JOIN services s ON s.cluster_id = c.cluster_id
         JOIN deployments d ON d.service_id = s.service_id
         WHERE c.account = ?1 AND c.region = ?2 AND s.status <> 'INACTIVE'
         AND d.status = 'PRIMARY'",
        params![home.account.as_str(), home.region.as_str()],
        |row| {
            let Rollout { rollout_state } = from_document(row.text(1))?;
            Ok((ServiceId(row.text(0).to_owned()), rollout_state))
        },
    )?;
    let under_way = primaries.into_iter();
    let under_way = under_way.filter(|(_, state)| *state == DeploymentRolloutState::InProgress);
    Ok(under_way.map(|(id, _)| id).collect())
}
