//! Rows of `service_events`.

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx, params};

use crate::model::{ServiceEvent, ServiceId};
use crate::store::row_count;

/// How many events of a service are kept and described (ECS API reference, `Service`).
pub(crate) const MAX_EVENTS: usize = 100;

/// Adds events, and removes those that are too many.
pub(crate) fn insert(
    tx: &mut Tx<'_>,
    service: &ServiceId,
    events: &[ServiceEvent],
) -> db::Result<()> {
    for event in events {
        tx.execute(
            "INSERT INTO service_events (service_id, created_at, event_id, message) \
             VALUES (?1, ?2, ?3, ?4)",
            params![&service.0, event.created_at, &event.id, &event.message],
        )?;
    }
    tx.execute(
        "DELETE FROM service_events WHERE service_id = ?1 AND (created_at, event_id) IN
         (SELECT created_at, event_id FROM service_events WHERE service_id = ?1
          ORDER BY created_at DESC, event_id DESC LIMIT 1000 OFFSET ?2)",
        params![&service.0, row_count(MAX_EVENTS)],
    )?;
    Ok(())
}

/// The kept events, the newest first.
pub(crate) fn newest(tx: &mut Tx<'_>, service: &ServiceId) -> db::Result<Vec<ServiceEvent>> {
    tx.query(
        "SELECT event_id, created_at, message FROM service_events WHERE service_id = ?1
         ORDER BY created_at DESC, event_id DESC LIMIT ?2",
        params![&service.0, row_count(MAX_EVENTS)],
        |row| {
            Ok(ServiceEvent {
                id: row.text(0).to_owned(),
                created_at: Timestamp::from_ms(row.integer(1)),
                message: row.text(2).to_owned(),
            })
        },
    )
}

/// Whether the service had this event at `since` or later.
pub(crate) fn had(
    tx: &mut Tx<'_>,
    service: &ServiceId,
    message: &str,
    since: Timestamp,
) -> db::Result<bool> {
    let found = tx.query_optional(
        "SELECT 1 FROM service_events
         WHERE service_id = ?1 AND created_at >= ?2 AND message = ?3 LIMIT 1",
        params![&service.0, since, message],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

/// Removes all events of a service.
pub(crate) fn delete_of_service(tx: &mut Tx<'_>, service: &ServiceId) -> db::Result<()> {
    let sql = "DELETE FROM service_events WHERE service_id = ?1";
    tx.execute(sql, params![&service.0]).map(drop)
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;

    #[tokio::test]
    async fn the_newest_events_are_kept() {
        for db in every_engine(crate::MIGRATIONS) {
            let check = db.write(|tx| -> db::Result<()> {
                let service = ServiceId("s".to_owned());
                let event = |number: i64| ServiceEvent {
                    id: format!("e{number}"),
                    created_at: Timestamp::from_ms(number),
                    message: format!("m{number}"),
                };
                let first: Vec<_> = (0..60).map(event).collect();
                let more: Vec<_> = (60..130).map(event).collect();
                insert(tx, &service, &first)?;
                insert(tx, &service, &more)?;
                let kept = newest(tx, &service)?;
                assert_eq!(kept.len(), MAX_EVENTS);
                assert_eq!((&kept[0], &kept[99]), (&event(129), &event(30)));
                assert!(had(tx, &service, "m100", Timestamp::from_ms(100))?);
                assert!(!had(tx, &service, "m100", Timestamp::from_ms(101))?);
                delete_of_service(tx, &service)?;
                assert_eq!(newest(tx, &service)?, []);
                Ok(())
            });
            check.await.expect("the statements run");
        }
    }
}
