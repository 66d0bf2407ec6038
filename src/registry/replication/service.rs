//! The replication configuration of registries, what has become of replications, and backfills.

use wharfinger_base::{Clock, Ids, Page, Timestamp};
use wharfinger_db::{Db, Tx};
use wharfinger_oci::Digest;

use crate::error::Error;
use crate::model::{RegistryId, RepositoryId};
use crate::replication::backfill;
use crate::replication::model::{
    Backfill, BackfillPosition, BackfillResult, BackfillStatus, ReplicationStatus, ResultPosition,
};
use crate::replication::queue::ReplicationQueue;
use crate::replication::rules::ReplicationConfiguration;
use crate::repositories::rows;
use crate::store::backfills::{self, BackfillRow};
use crate::store::{json, registry_settings, replication_results as store};

/// Most backfills of a registry that are under way (ECR API reference, `StartReplicationBackfill`).
const MAX_BACKFILLS: usize = 10;
/// Ended backfills of a registry that are kept, with their results, when another one begins. A
/// result is a row for each tag, and anybody who may begin a backfill may begin many.
const KEPT_BACKFILLS: i64 = 10;

/// Operations on replications.
#[derive(Clone)]
pub struct Replications {
    db: Db,
    clock: Clock,
    ids: Ids,
    queue: ReplicationQueue,
}

/// Which results of a backfill are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultFilter {
    Any,
    Complete,
    Failed,
}

impl Replications {
    pub(crate) const fn new(db: Db, clock: Clock, ids: Ids, queue: ReplicationQueue) -> Self {
        Self {
            db,
            clock,
            ids,
            queue,
        }
    }

    /// The replication configuration: no rules where none was set.
    pub async fn configuration(
        &self,
        registry: &RegistryId,
    ) -> Result<ReplicationConfiguration, Error> {
        let registry = registry.clone();
        self.db
            .get(move |tx| Ok(registry_settings::replication(tx, &registry)?))
            .await
    }

    /// Stores the replication configuration. Pushes from now on follow it.
    ///
    /// # Errors
    /// [`Error::ReplicationRules`].
    pub async fn put_configuration(
        &self,
        registry: &RegistryId,
        configuration: &ReplicationConfiguration,
    ) -> Result<(), Error> {
        configuration.check(registry)?;
        self.queue.note_configuration();
        let (registry, now, value) = (registry.clone(), self.clock.now(), json(configuration));
        let setting = registry_settings::REPLICATION;
        self.db
            .write(move |tx| Ok(registry_settings::put(tx, &registry, setting, &value, now)?))
            .await
    }

    /// What has become of the replications of an image, by destination.
    pub async fn of_image(
        &self,
        repository: RepositoryId,
        digest: &Digest,
    ) -> Result<Vec<ReplicationStatus>, Error> {
        let digest = *digest;
        self.db
            .read(move |tx| Ok(store::statuses(tx, repository, &digest)?))
            .await
    }

    /// Begins to replicate what the registry has already to one of its destinations. Of the
    /// backfills that have ended, the last [`KEPT_BACKFILLS`] are kept.
    ///
    /// # Errors
    /// [`Error::NoReplicationDestination`], [`Error::BackfillInProgress`], [`Error::QuotaReached`].
    pub async fn start_backfill(
        &self,
        registry: &RegistryId,
        destination: &RegistryId,
    ) -> Result<Backfill, Error> {
        let new = Backfill {
            id: self.ids.uuid(),
            registry: registry.clone(),
            destination: destination.clone(),
            status: BackfillStatus::Preparing,
            failure_code: None,
            started_at: self.clock.now(),
            ended_at: None,
            progress: None,
        };
        self.queue.note_configuration();
        let begun = self.db.write(move |tx| {
            let rules = registry_settings::replication(tx, &new.registry)?;
            if !rules.has_destination(&new.destination) {
                return Err(Error::NoReplicationDestination {
                    destination: new.destination.clone(),
                });
            }
            let limit = rows(MAX_BACKFILLS);
            let under_way = backfills::under_way(tx, &new.registry, limit)?;
            let region = &new.destination.region;
            if under_way.iter().any(|one| one == region.as_str()) {
                return Err(Error::BackfillInProgress {
                    region: region.clone(),
                });
            }
            if under_way.len() >= MAX_BACKFILLS {
                return Err(Error::QuotaReached {
                    what: "replication backfills in progress",
                    limit: MAX_BACKFILLS as u64,
                });
            }
            backfills::insert(tx, &new)?;
            backfills::end_keeping(tx, &new.registry, KEPT_BACKFILLS, new.started_at)?;
            Ok(new.clone())
        });
        let begun = begun.await?;
        self.queue.wake();
        Ok(begun)
    }

    /// Stops a backfill. Replications that somebody works on come to their end.
    ///
    /// # Errors
    /// [`Error::NoSuchBackfill`]; [`Error::BackfillNotRunning`] for one that has ended or is being
    /// stopped.
    pub async fn stop_backfill(&self, registry: &RegistryId, id: &str) -> Result<Backfill, Error> {
        let (registry, id, now) = (registry.clone(), id.to_owned(), self.clock.now());
        let stop = move |tx: &mut Tx<'_>| {
            let mut row = found(tx, &registry, &id)?;
            let status = row.backfill.status;
            if !matches!(
                status,
                BackfillStatus::Preparing | BackfillStatus::InProgress
            ) {
                return Err(Error::BackfillNotRunning {
                    id: id.clone(),
                    status: status.as_str(),
                });
            }
            backfill::stop(tx, &mut row, now)?;
            Ok(row.backfill)
        };
        let stopped = self.db.write(stop).await?;
        self.queue.wake();
        Ok(stopped)
    }

    /// The registry's backfill of this id.
    ///
    /// # Errors
    /// [`Error::NoSuchBackfill`].
    pub async fn backfill(&self, registry: &RegistryId, id: &str) -> Result<Backfill, Error> {
        let (registry, id) = (registry.clone(), id.to_owned());
        self.db
            .get(move |tx| Ok(found(tx, &registry, &id)?.backfill))
            .await
    }

    /// Up to `limit` backfills that were started before the position, the latest first.
    pub async fn backfills(
        &self,
        registry: &RegistryId,
        before: Option<BackfillPosition>,
        limit: usize,
    ) -> Result<Page<Backfill, BackfillPosition>, Error> {
        let registry = registry.clone();
        let before = before.unwrap_or((Timestamp::from_ms(i64::MAX), String::new()));
        let read = self
            .db
            .read(move |tx| backfills::page(tx, &registry, &before, rows(limit)));
        let last = |one: &Backfill| (one.started_at, one.id.to_string());
        Ok(Page::of(read.await?, limit, last))
    }

    /// Up to `limit` results of a backfill after the position, those that are complete first. None
    /// until it has ended.
    pub async fn backfill_results(
        &self,
        backfill: &Backfill,
        filter: ResultFilter,
        after: ResultPosition,
        limit: usize,
    ) -> Result<Page<BackfillResult, ResultPosition>, Error> {
        if !backfill.status.is_terminal() {
            return Ok(Page {
                items: Vec::new(),
                next: None,
            });
        }
        // States sort as complete, failed, waiting.
        let (first, before) = match filter {
            ResultFilter::Any => ("", "waiting"),
            ResultFilter::Complete => ("", "failed"),
            ResultFilter::Failed => ("failed", "waiting"),
        };
        let mut after = after;
        if after.state.as_str() < first {
            first.clone_into(&mut after.state);
        }
        let id = backfill.id.to_string();
        let read = self
            .db
            .read(move |tx| store::results(tx, &id, &after, before, rows(limit)));
        let page = Page::of(read.await?, limit, |(_, position)| position.clone());
        Ok(page.map(|(result, _)| result))
    }
}

fn found(tx: &mut Tx<'_>, registry: &RegistryId, id: &str) -> Result<BackfillRow, Error> {
    let id = id.to_ascii_lowercase();
    let row = backfills::find(tx, registry, &id)?;
    row.ok_or_else(|| Error::NoSuchBackfill {
        id: id.clone(),
        registry: registry.clone(),
    })
}
