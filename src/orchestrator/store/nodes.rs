//! What placement reads and writes of container instances.

use std::collections::BTreeMap;

use wharfinger_db::{self as db, Tx, params};

use crate::model::{ClusterId, InstanceId};
use crate::placement::Node;
use crate::store::{instances, tasks};

/// The versions of all instances of a cluster that are not inactive.
pub(crate) fn versions(tx: &mut Tx<'_>, cluster: &ClusterId) -> db::Result<Vec<(InstanceId, i64)>> {
    tx.query(
        "SELECT instance_id, version FROM container_instances
         WHERE cluster_id = ?1 AND status <> 'INACTIVE' ORDER BY instance_id",
        params![&cluster.0],
        |row| Ok((InstanceId(row.text(0).to_owned()), row.integer(1))),
    )
}

/// Whether the row of an active instance still has this version.
pub(crate) fn is_current(tx: &mut Tx<'_>, id: &InstanceId, version: i64) -> db::Result<bool> {
    let found = tx.query_optional(
        "SELECT 1 FROM container_instances
         WHERE instance_id = ?1 AND version = ?2 AND status = 'ACTIVE'",
        params![&id.0, version],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// A snapshot of an instance that is in the cluster and not inactive.
pub(crate) fn node(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
    id: &InstanceId,
) -> db::Result<Option<Node>> {
    let found = instances::by_id(tx, id)?.filter(|found| found.cluster == *cluster);
    let Some(instance) = found else {
        return Ok(None);
    };
    if instance.status == crate::model::InstanceStatus::Inactive {
        return Ok(None);
    }
    let mut groups = BTreeMap::new();
    let mut pending = 0;
    for count in tasks::groups_of_instance(tx, id)? {
        groups.insert(count.group, count.tasks);
        pending += count.pending;
    }
    Ok(Some(Node::new(&instance, groups, pending)))
}
