//! Rows of `container_instances`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Row, Tx, params};

use crate::model::{ClusterId, ContainerInstance, InstanceId, InstanceStatus, Reservation};
use crate::store::{document, from_document, parsed, row_count};

/// A statement that selects instances, with conditions as given. [`read`] reads its columns.
macro_rules! select_instances {
    ($rest:literal) => {
        concat!(
            "SELECT instance_id, cluster_id, status, registered_at, agent_connected, seen_at, ",
            "version, reserved, details FROM container_instances ",
            $rest
        )
    };
}

pub(crate) fn insert(tx: &mut Tx<'_>, instance: &ContainerInstance) -> db::Result<()> {
    tx.execute(
        "INSERT INTO container_instances (instance_id, cluster_id, status, registered_at, \
         agent_connected, seen_at, version, reserved, details, registered_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            &instance.id.0,
            &instance.cluster.0,
            instance.status.as_str(),
            instance.registered_at,
            i64::from(instance.agent_connected),
            instance.seen_at,
            instance.version,
            document(&instance.reserved)?,
            document(&instance.details)?,
            &instance.details.registered_by
        ],
    )?;
    Ok(())
}

/// The instance, also an inactive one.
pub(crate) fn by_id(tx: &mut Tx<'_>, id: &InstanceId) -> db::Result<Option<ContainerInstance>> {
    tx.query_optional(
        select_instances!("WHERE instance_id = ?1"),
        params![&id.0],
        read,
    )
}

/// The principal that registered the instance, also an inactive one.
pub(crate) fn registered_by(tx: &mut Tx<'_>, id: &InstanceId) -> db::Result<Option<String>> {
    tx.query_optional(
        "SELECT registered_by FROM container_instances WHERE instance_id = ?1",
        params![&id.0],
        |row| Ok(row.text(0).to_owned()),
    )
}

/// Up to `limit` instances of the cluster with identifiers after `after`, without inactive ones.
pub(crate) fn in_cluster(
    tx: &mut Tx<'_>,
    cluster: &ClusterId,
    after: &str,
    limit: usize,
) -> db::Result<Vec<ContainerInstance>> {
    tx.query(
        select_instances!(
            "WHERE cluster_id = ?1 AND instance_id > ?2 AND status <> 'INACTIVE'
             ORDER BY instance_id LIMIT ?3"
        ),
        params![&cluster.0, after, row_count(limit)],
        read,
    )
}

/// Up to `limit` instances of all clusters, without inactive ones, whose agents have an open
/// connection according to the index but gave no sign of life since `before`.
pub(crate) fn silent_since(
    tx: &mut Tx<'_>,
    before: Timestamp,
    limit: usize,
) -> db::Result<Vec<ContainerInstance>> {
    tx.query(
        select_instances!(
            "WHERE agent_connected = 1 AND seen_at < ?1 AND status <> 'INACTIVE'
             ORDER BY instance_id LIMIT ?2"
        ),
        params![before, row_count(limit)],
        read,
    )
}

/// Writes an instance whose row still has the version `expected`, and returns true; else changes
/// nothing and returns false. The new row gets the next version, whatever `instance` has.
pub(crate) fn update(
    tx: &mut Tx<'_>,
    instance: &ContainerInstance,
    expected: i64,
) -> db::Result<bool> {
    let updated = tx.execute(
        "UPDATE container_instances SET status = ?1, agent_connected = ?2, seen_at = ?3, \
         reserved = ?4, details = ?5, registered_by = ?8, version = ?6 + 1 \
         WHERE instance_id = ?7 AND version = ?6",
        params![
            instance.status.as_str(),
            i64::from(instance.agent_connected),
            instance.seen_at,
            document(&instance.reserved)?,
            document(&instance.details)?,
            expected,
            &instance.id.0,
            &instance.details.registered_by
        ],
    )?;
    Ok(updated == 1)
}

/// Takes resources of an active instance whose row still has the version `expected`, and returns
/// true; else changes nothing and returns false. The row gets the next version.
pub(crate) fn take(
    tx: &mut Tx<'_>,
    id: &InstanceId,
    expected: i64,
    taken: &Reservation,
) -> db::Result<bool> {
    let reserved = tx.query_optional(
        "SELECT reserved FROM container_instances
         WHERE instance_id = ?1 AND version = ?2 AND status = 'ACTIVE'",
        params![&id.0, expected],
        |row| from_document::<Reservation>(row.text(0)),
    )?;
    let Some(mut reserved) = reserved else {
        return Ok(false);
    };
    reserved.take(taken);
    set_reserved(tx, id, &reserved)?;
    Ok(true)
}

/// Gives resources of the instance back. An instance that is gone has none.
pub(crate) fn release(tx: &mut Tx<'_>, id: &InstanceId, released: &Reservation) -> db::Result<()> {
    let reserved = tx.query_optional(
        "SELECT reserved FROM container_instances WHERE instance_id = ?1",
        params![&id.0],
        |row| from_document::<Reservation>(row.text(0)),
    )?;
    let Some(mut reserved) = reserved else {
        return Ok(());
    };
    reserved.release(released);
    set_reserved(tx, id, &reserved)
}

fn set_reserved(tx: &mut Tx<'_>, id: &InstanceId, reserved: &Reservation) -> db::Result<()> {
    tx.execute(
        "UPDATE container_instances SET reserved = ?1, version = version + 1 \
         WHERE instance_id = ?2",
        params![document(reserved)?, &id.0],
    )?;
    Ok(())
}

/// Records whether an agent holds a connection; returns whether that is a change. Inactive
/// instances stay as they are.
pub(crate) fn set_connected(
    tx: &mut Tx<'_>,
    id: &InstanceId,
    connected: bool,
    now: Timestamp,
) -> db::Result<bool> {
    let connected = i64::from(connected);
    let changed = tx.execute(
        "UPDATE container_instances SET agent_connected = ?1, seen_at = ?2, version = version + 1 \
         WHERE instance_id = ?3 AND agent_connected <> ?1 AND status <> 'INACTIVE'",
        params![connected, now, &id.0],
    )?;
    if changed == 0 {
        set_seen(tx, id, now)?;
    }
    Ok(changed == 1)
}

/// Records a sign of life of the agent. That is no change of the instance.
pub(crate) fn set_seen(tx: &mut Tx<'_>, id: &InstanceId, now: Timestamp) -> db::Result<()> {
    tx.execute(
        "UPDATE container_instances SET seen_at = ?1 WHERE instance_id = ?2 AND seen_at < ?1 \
         AND status <> 'INACTIVE'",
        params![now, &id.0],
    )?;
    Ok(())
}

/// Sets signs of life after `latest` to `now`.
pub(crate) fn correct_seen(tx: &mut Tx<'_>, now: Timestamp, latest: Timestamp) -> db::Result<()> {
    tx.execute(
        "UPDATE container_instances SET seen_at = ?1 WHERE seen_at > ?2 AND status <> 'INACTIVE'",
        params![now, latest],
    )?;
    Ok(())
}

/// Deletes up to `limit` instances that became inactive before `before`; returns how many.
pub(crate) fn delete_inactive(tx: &mut Tx<'_>, before: Timestamp, limit: usize) -> db::Result<u64> {
    tx.execute(
        "DELETE FROM container_instances WHERE instance_id IN
         (SELECT instance_id FROM container_instances WHERE status = 'INACTIVE' AND seen_at < ?1
          ORDER BY instance_id LIMIT ?2)",
        params![before, row_count(limit)],
    )
}

fn read(row: &Row<'_>) -> db::Result<ContainerInstance> {
    Ok(ContainerInstance {
        id: InstanceId(row.text(0).to_owned()),
        cluster: ClusterId(row.text(1).to_owned()),
        status: parsed::<InstanceStatus>(row.text(2))?,
        registered_at: Timestamp::from_ms(row.integer(3)),
        agent_connected: row.integer(4) != 0,
        seen_at: Timestamp::from_ms(row.integer(5)),
        version: row.integer(6),
        reserved: from_document(row.text(7))?,
        details: from_document(row.text(8))?,
    })
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;
    use crate::model::InstanceDetails;

    fn instance(id: &str) -> ContainerInstance {
        ContainerInstance {
            id: InstanceId(id.to_owned()),
            cluster: ClusterId("c".to_owned()),
            status: InstanceStatus::Active,
            registered_at: Timestamp::from_ms(1),
            agent_connected: false,
            seen_at: Timestamp::from_ms(1),
            version: 1,
            reserved: Reservation::default(),
            details: InstanceDetails::default(),
        }
    }

    fn reservation(cpu: i64, port: u16) -> Reservation {
        Reservation {
            cpu,
            memory_mib: 128,
            tcp_ports: [port].into(),
            ..Reservation::default()
        }
    }

    #[tokio::test]
    async fn resources_are_taken_at_the_version_that_was_read() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let mut one = instance("a");
                insert(tx, &one)?;
                insert(tx, &instance("b"))?;
                assert_eq!(by_id(tx, &one.id)?.as_ref(), Some(&one));
                let (web, api) = (reservation(100, 80), reservation(50, 81));
                assert!(take(tx, &one.id, 1, &web)?);
                assert!(!take(tx, &one.id, 1, &api)?);
                assert!(take(tx, &one.id, 2, &api)?);
                release(tx, &one.id, &web)?;
                one.reserved = api.clone();
                one.version = 4;
                assert_eq!(by_id(tx, &one.id)?.as_ref(), Some(&one));
                assert_eq!(in_cluster(tx, &one.cluster, "", 1)?, [one.clone()]);
                assert_eq!(in_cluster(tx, &one.cluster, "a", 9)?, [instance("b")]);
                one.status = InstanceStatus::Draining;
                assert!(!update(tx, &one, 3)?);
                assert!(update(tx, &one, 4)?);
                assert!(!take(tx, &one.id, 5, &web)?);
                release(tx, &InstanceId("none".to_owned()), &web)
            });
            check.await.expect("the statements run");
        }
    }

    #[tokio::test]
    async fn connections_and_ends() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let mut one = instance("a");
                insert(tx, &one)?;
                let at = Timestamp::from_ms;
                assert!(set_connected(tx, &one.id, true, at(5))?);
                assert!(!set_connected(tx, &one.id, true, at(6))?);
                set_seen(tx, &one.id, at(3))?;
                one.agent_connected = true;
                one.seen_at = at(6);
                one.version = 2;
                assert_eq!(by_id(tx, &one.id)?.as_ref(), Some(&one));
                assert_eq!(silent_since(tx, at(6), 9)?, []);
                assert_eq!(silent_since(tx, at(7), 9)?, [one.clone()]);
                one.status = InstanceStatus::Inactive;
                assert!(update(tx, &one, 2)?);
                assert!(!set_connected(tx, &one.id, false, at(9))?);
                assert_eq!(in_cluster(tx, &one.cluster, "", 9)?, []);
                assert_eq!(delete_inactive(tx, at(6), 9)?, 0);
                assert_eq!(delete_inactive(tx, at(7), 9)?, 1);
                assert_eq!(by_id(tx, &one.id)?, None);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }
}
