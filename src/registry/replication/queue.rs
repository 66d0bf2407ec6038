//! What is to be replicated: recorded by the push or deletion, in its transaction.

use std::sync::Arc;

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;
use wharfinger_oci::{Digest, Tag};
use wharfinger_reconcile::Wake;

use crate::configured::Configured;
use crate::error::Error;
use crate::model::{Image, RepositoryId};
use crate::replication::model::Work;
use crate::replication::progress::ReplicationProgress;
use crate::store::replication::{self as store, NewReplication};
use crate::store::repositories::RepositoryRow;
use crate::store::{images, registry_settings, repositories};

/// Copies that had not been made when their image was deleted, whose tags are removed.
const MAX_WAITING: i64 = 1_000;

/// Records what is to be replicated, and wakes the reconciler that replicates. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct ReplicationQueue {
    configured: Configured,
    pub(super) wake: Wake,
    pub(crate) progress: Arc<ReplicationProgress>,
    /// Deletions that are replications themselves are not replicated on.
    replicates_deletes: bool,
}

impl Default for ReplicationQueue {
    fn default() -> Self {
        Self::new(false)
    }
}

impl ReplicationQueue {
    pub(crate) fn new(several_replicas: bool) -> Self {
        Self {
            configured: Configured::new(registry_settings::REPLICATION, several_replicas),
            wake: Wake::default(),
            progress: Arc::default(),
            replicates_deletes: true,
        }
    }

    /// The same queue for deletions that are not replicated.
    pub(crate) fn without_deletes(&self) -> Self {
        Self {
            replicates_deletes: false,
            ..self.clone()
        }
    }

    /// Notes that a replication configuration is about to be stored.
    pub(super) fn note_configuration(&self) {
        self.configured.note();
    }

    /// Records the replications of an image that was pushed, by the rules of its registry: one for
    /// each tag that did not name it before, or one without a tag.
    pub(crate) fn after_push(
        &self,
        tx: &mut Tx<'_>,
        repository: &RepositoryRow,
        digest: &Digest,
        tags: &[&Tag],
        now: Timestamp,
    ) -> Result<(), Error> {
        if !self.configured.may_be(tx)? {
            return Ok(());
        }
        let rules = registry_settings::replication(tx, &repository.registry)?;
        for target in rules.targets(&repository.name) {
            let mut enqueue = |tag: Option<&Tag>| {
                let new = NewReplication {
                    repository: repository.id,
                    name: &repository.name,
                    backfill: "",
                    digest,
                    destination: &target.destination,
                    tag,
                    work: Work::Copy,
                };
                store::enqueue(tx, &new, now)
            };
            if tags.is_empty() {
                enqueue(None)?;
            }
            tags.iter().try_for_each(|tag| enqueue(Some(tag)))?;
        }
        Ok(())
    }

    /// Records what follows from removing tags of an image, or the image with its last tags: the
    /// removals at destinations whose rules say so, and that nothing of a deleted image is left to
    /// copy.
    pub(crate) fn after_deletion(
        &self,
        tx: &mut Tx<'_>,
        repository: RepositoryId,
        image: &Image,
        tags: &[Tag],
        now: Timestamp,
    ) -> Result<(), Error> {
        if !self.configured.may_be(tx)? {
            return Ok(());
        }
        let is_deleted = images::id_by_digest(tx, repository, &image.digest)?.is_none();
        if is_deleted {
            store::forget(tx, repository, &image.digest, now)?;
        }
        if !self.replicates_deletes {
            return Ok(());
        }
        let Some((registry, name)) = repositories::name_of(tx, repository)? else {
            return Ok(());
        };
        let rules = registry_settings::replication(tx, &registry)?;
        let targets = rules.targets(&name);
        let unfinished = if is_deleted {
            store::unfinished_copies(tx, repository, &image.digest, MAX_WAITING)?
        } else {
            Vec::new()
        };
        for target in targets.iter().filter(|target| target.deletes) {
            let mut enqueue = |tag: Option<&Tag>, work: Work| {
                let new = NewReplication {
                    repository,
                    name: &name,
                    backfill: "",
                    digest: &image.digest,
                    destination: &target.destination,
                    tag,
                    work,
                };
                store::enqueue(tx, &new, now)
            };
            if is_deleted {
                // Its tags go with it, but for those that another image has until this one came.
                enqueue(None, Work::Delete)?;
                for (destination, tag) in &unfinished {
                    if *destination == target.destination {
                        enqueue(Some(tag), Work::Untag)?;
                    }
                }
            } else {
                tags.iter()
                    .try_for_each(|tag| enqueue(Some(tag), Work::Untag))?;
            }
        }
        Ok(())
    }

    /// Starts the work that was recorded: for after the commit.
    pub(crate) fn wake(&self) {
        if self.configured.may_have_work() {
            self.wake.wake();
        }
    }
}
