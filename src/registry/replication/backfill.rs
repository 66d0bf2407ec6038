//! Backfills: queues the images that a registry has already, in short steps, and counts how their
//! replications end.

use std::time::{Duration, Instant};

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;
use wharfinger_oci::{RepositoryName, Tag};

use crate::error::Error;
use crate::model::{Image, ImageStatus, MAX_TAGS_PER_IMAGE, RegistryId, RepositoryId};
use crate::replication::model::{BackfillStatus, Work};
use crate::replication::rules::ReplicationConfiguration;
use crate::store::backfills::{self as store, BackfillRow};
use crate::store::replication::{self as queue, NewReplication};
use crate::store::{images, registry_settings, replication_results as results, repositories, tags};

/// A step queues images until this much time has passed, and looks at the clock after each. With
/// the last image, which may have a thousand tags, and the commit it stays well below 50 ms.
const STEP_TIME: Duration = Duration::from_millis(10);
/// Pause between looks at replications of a stopped backfill that somebody works on.
const STOPPING_PAUSE: Duration = Duration::from_secs(1);
/// How long a backfill is shown after its end (ECR API reference, `ListReplicationBackfills`),
/// unless many others follow it.
const KEPT: Duration = Duration::from_hours(24 * 90);
/// Why a backfill fails as a whole.
const NOT_CONFIGURED: &str = "DestinationNotConfigured";
/// Images, and repositories, that are read at once.
const PAGE: i64 = 16;

/// Whether a step of any backfill is due.
pub(super) fn is_due(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, Error> {
    Ok(store::due(tx, now)?.is_some())
}

/// Does the next step of the backfill that waits longest. Returns false where none is due.
pub(super) fn step(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, Error> {
    step_of(tx, now, STEP_TIME)
}

/// The same; looks at one image or some repositories even where `time` is nothing.
pub(super) fn step_of(tx: &mut Tx<'_>, now: Timestamp, time: Duration) -> Result<bool, Error> {
    let Some(mut row) = store::due(tx, now)? else {
        return Ok(false);
    };
    let id = row.backfill.id.to_string();
    match row.backfill.status {
        BackfillStatus::Preparing => prepare(tx, &mut row, now, time)?,
        BackfillStatus::Stopping => {
            if results::remove_some_waiting(tx, &id, now)? {
                store::set_due(tx, &id, now)?;
            } else if results::any_waiting(tx, &id)? {
                store::set_due(tx, &id, now.plus(STOPPING_PAUSE))?;
            } else {
                end(tx, &mut row, BackfillStatus::Stopped, now)?;
            }
        }
        BackfillStatus::InProgress => store::update(tx, &row, None)?,
        BackfillStatus::Complete | BackfillStatus::Failed | BackfillStatus::Stopped => {
            if results::remove_some_of(tx, &id)? {
                // In turn with the steps of others.
                store::set_due(tx, &id, now)?;
            } else {
                store::delete(tx, &id)?;
            }
        }
    }
    Ok(true)
}

/// Ends a backfill; it is removed after a while.
fn end(
    tx: &mut Tx<'_>,
    row: &mut BackfillRow,
    status: BackfillStatus,
    now: Timestamp,
) -> Result<(), Error> {
    row.backfill.status = status;
    row.backfill.ended_at = Some(now);
    Ok(store::update(tx, row, Some(now.plus(KEPT)))?)
}

/// Ends the backfill if every replication of it has ended.
fn end_if_done(tx: &mut Tx<'_>, row: &mut BackfillRow, now: Timestamp) -> Result<(), Error> {
    let ended = row.counts.completed + row.counts.failed;
    if row.backfill.status == BackfillStatus::InProgress && ended >= row.counts.total {
        return end(tx, row, BackfillStatus::Complete, now);
    }
    let due_at = match row.backfill.status {
        BackfillStatus::Preparing | BackfillStatus::Stopping => Some(now),
        _ => None,
    };
    Ok(store::update(tx, row, due_at)?)
}

/// Counts a replication of a backfill that has ended, with its failure code if it has failed.
pub(super) fn count(
    tx: &mut Tx<'_>,
    backfill: &str,
    failure: Option<&str>,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(mut row) = store::by_id(tx, backfill)? else {
        return Ok(());
    };
    if row.backfill.status.is_terminal() {
        return Ok(());
    }
    match failure {
        None => row.counts.completed += 1,
        Some(code) => {
            row.counts.failed += 1;
            let codes = &mut row.counts.failure_codes;
            if !codes.iter().any(|known| known == code) {
                codes.push(code.to_owned());
            }
        }
    }
    end_if_done(tx, &mut row, now)
}

/// Stops a backfill that is under way: at once where nothing is left to do.
pub(super) fn stop(tx: &mut Tx<'_>, row: &mut BackfillRow, now: Timestamp) -> Result<(), Error> {
    if results::any_waiting(tx, &row.backfill.id.to_string())? {
        row.backfill.status = BackfillStatus::Stopping;
        return Ok(store::update(tx, row, Some(now))?);
    }
    end(tx, row, BackfillStatus::Stopped, now)
}

/// Queues some of the images.
fn prepare(
    tx: &mut Tx<'_>,
    row: &mut BackfillRow,
    now: Timestamp,
    time: Duration,
) -> Result<(), Error> {
    let started = Instant::now();
    let is_over = || started.elapsed() >= time;
    let registry = row.backfill.registry.clone();
    let rules = registry_settings::replication(tx, &registry)?;
    if !rules.has_destination(&row.backfill.destination) {
        row.backfill.failure_code = Some(NOT_CONFIGURED.to_owned());
        while results::remove_some_waiting(tx, &row.backfill.id.to_string(), now)? {
            if is_over() {
                return Ok(store::update(tx, row, Some(now))?);
            }
        }
        return end(tx, row, BackfillStatus::Failed, now);
    }
    loop {
        if !queue_some(tx, row, (&registry, &rules), now, is_over)? {
            row.prepared = true;
            row.backfill.status = BackfillStatus::InProgress;
            return end_if_done(tx, row, now);
        }
        if is_over() {
            break;
        }
    }
    Ok(store::update(tx, row, Some(now))?)
}

/// Queues images of the repository at the position until the time is over, or moves on to the next
/// repository. False once there is none.
fn queue_some(
    tx: &mut Tx<'_>,
    row: &mut BackfillRow,
    (registry, rules): (&RegistryId, &ReplicationConfiguration),
    now: Timestamp,
    is_over: impl Fn() -> bool,
) -> Result<bool, Error> {
    if !row.next_digest.is_empty() {
        let name: Option<RepositoryName> = row.next_name.parse().ok();
        let found = match &name {
            Some(name) => repositories::by_name(tx, registry, name)?,
            None => None,
        };
        let page = match &found {
            Some(repository) => images::page(tx, repository.id, &row.next_digest, PAGE)?,
            None => Vec::new(),
        };
        let Some(repository) = found.filter(|_| !page.is_empty()) else {
            row.next_digest.clear();
            return Ok(true);
        };
        for image in &page {
            queue_image(tx, row, (repository.id, &repository.name), image, now)?;
            row.next_digest = image.digest.to_stored();
            if is_over() {
                break;
            }
        }
        return Ok(true);
    }
    let some = repositories::page(tx, registry, &row.next_name, PAGE)?;
    let Some(last) = some.last() else {
        return Ok(false);
    };
    let destination = &row.backfill.destination;
    let mut matching = some.iter();
    match matching.find(|one| rules.replicates(&one.name, destination)) {
        Some(repository) => {
            row.next_name = repository.name.to_string();
            // Before every digest.
            row.next_digest = vec![0];
        }
        None => row.next_name = last.name.to_string(),
    }
    Ok(true)
}

fn queue_image(
    tx: &mut Tx<'_>,
    row: &mut BackfillRow,
    (repository, name): (RepositoryId, &RepositoryName),
    image: &Image,
    now: Timestamp,
) -> Result<(), Error> {
    // What is in the archive is not replicated before it is restored.
    if image.status == ImageStatus::Archived {
        return Ok(());
    }
    let limit = i64::try_from(MAX_TAGS_PER_IMAGE).unwrap_or(i64::MAX);
    let tags = tags::of_image(tx, image.id, "", limit)?;
    let id = row.backfill.id.to_string();
    let mut enqueue = |tag: Option<&Tag>| {
        let new = NewReplication {
            repository,
            name,
            backfill: &id,
            digest: &image.digest,
            destination: &row.backfill.destination,
            tag,
            work: Work::Copy,
        };
        row.counts.total += 1;
        queue::enqueue(tx, &new, now)
    };
    if tags.is_empty() {
        enqueue(None)?;
    }
    Ok(tags.iter().try_for_each(|tag| enqueue(Some(tag)))?)
}
