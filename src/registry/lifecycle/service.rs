//! Lifecycle policies of repositories: set, evaluated and removed.

use std::sync::Arc;

use tokio::sync::Semaphore;
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::{Db, Tx};
use wharfinger_oci::RepositoryName;
use wharfinger_reconcile::Wake;

use crate::error::Error;
use crate::lifecycle::apply::{Claimed, EvaluationReport, apply};
use crate::lifecycle::plan::{Purpose, plan};
use crate::lifecycle::policy::LifecyclePolicy;
use crate::lifecycle::schedule::{self, PERIOD, RETRY};
use crate::model::{RegistryId, Repository, RepositoryId};
use crate::push_effects::PushEffects;
use crate::store::lifecycle::{self as store, PolicyRow};
use crate::store::repositories;

/// Previews that one server makes at a time. Each may hold 16 MB.
const PREVIEWS_AT_A_TIME: usize = 2;
/// Repositories that a listing reads at a time.
const REPOSITORIES: i64 = 100;

/// Operations on lifecycle policies.
#[derive(Clone)]
pub struct Lifecycle {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
    pub(super) previews: Arc<Semaphore>,
    effects: PushEffects,
    wake: Wake,
}

/// A policy as it was set, and when it was last evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLifecyclePolicy {
    pub text: String,
    pub evaluated_at: Option<Timestamp>,
}

/// A repository that has a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryWithPolicy {
    pub id: RepositoryId,
    pub registry: RegistryId,
    pub name: RepositoryName,
}

impl Lifecycle {
    pub(crate) fn new(db: Db, clock: Clock, ids: Ids, effects: PushEffects) -> Self {
        Self {
            db,
            effects,
            clock,
            ids,
            previews: Arc::new(Semaphore::new(PREVIEWS_AT_A_TIME)),
            wake: Wake::default(),
        }
    }

    /// Sets the repository's policy. Its first evaluation comes within 12 hours.
    ///
    /// # Errors
    /// [`Error::LifecyclePolicy`]; [`Error::NoSuchRepository`] where it was deleted meanwhile.
    pub async fn put(&self, repository: &Repository, text: String) -> Result<(), Error> {
        LifecyclePolicy::parse(&text)?;
        let (repository, now) = (repository.clone(), self.clock.now());
        self.db
            .write(move |tx| {
                check_exists(tx, &repository)?;
                Ok(schedule::set(tx, repository.id, &text, now)?)
            })
            .await
    }

    /// The repository's policy.
    ///
    /// # Errors
    /// [`Error::NoLifecyclePolicy`].
    pub async fn get(&self, repository: &Repository) -> Result<StoredLifecyclePolicy, Error> {
        let repository = repository.clone();
        self.db
            .get(move |tx| stored(tx, &repository).map(shown))
            .await
    }

    /// Removes the repository's policy, and returns it.
    ///
    /// # Errors
    /// [`Error::NoLifecyclePolicy`].
    pub async fn delete(&self, repository: &Repository) -> Result<StoredLifecyclePolicy, Error> {
        let repository = repository.clone();
        self.db
            .write(move |tx| {
                let removed = stored(tx, &repository)?;
                store::delete(tx, repository.id)?;
                Ok(shown(removed))
            })
            .await
    }

    /// Evaluates the repository's policy and does what it says. Returns `None` where it has none,
    /// where another evaluation of it is under way, and where it was changed meanwhile.
    ///
    /// # Errors
    /// Those of the index, and a stored policy that does not compile; then it is tried again later.
    pub async fn evaluate(
        &self,
        repository: RepositoryId,
    ) -> Result<Option<EvaluationReport>, Error> {
        let now = self.clock.now();
        let claim = move |tx: &mut Tx<'_>| store::claim(tx, repository, now);
        let Some(row) = self.db.write(claim).await? else {
            return Ok(None);
        };
        let version = row.version;
        let done = self.evaluate_claimed(repository, row, now).await;
        let (evaluated_at, due_at) = match &done {
            Ok(None) => return Ok(None),
            Ok(Some(report)) if report.is_cut => (Some(now), now),
            Ok(Some(_)) => (Some(now), now.plus(PERIOD)),
            Err(_) => (None, now.plus(RETRY)),
        };
        self.db
            .write(move |tx| store::release(tx, repository, version, evaluated_at, due_at))
            .await?;
        done
    }

    async fn evaluate_claimed(
        &self,
        repository: RepositoryId,
        row: PolicyRow,
        now: Timestamp,
    ) -> Result<Option<EvaluationReport>, Error> {
        let policy = Arc::new(LifecyclePolicy::parse(&row.text)?);
        let version = row.version;
        let purpose = Purpose::Evaluation {
            version,
            clock: self.clock.clone(),
        };
        let Some(plan) = plan(&self.db, repository, &policy, now, &purpose).await? else {
            return Ok(None);
        };
        let claimed = Claimed {
            repository,
            policy,
            version,
            now,
        };
        apply(&self.db, &self.clock, &self.effects, &claimed, plan).await
    }

    /// A repository whose policy is to be evaluated now.
    pub(super) async fn due(&self, now: Timestamp) -> Result<Option<RepositoryId>, Error> {
        Ok(self.db.read(move |tx| store::due(tx, now)).await?)
    }

    /// Has the policy evaluated soon by a server. Returns false where the repository has none.
    pub async fn request_evaluation(&self, repository: RepositoryId) -> Result<bool, Error> {
        let requested = self.db.write(move |tx| store::make_due(tx, repository));
        let requested = requested.await?;
        self.wake.wake();
        Ok(requested)
    }

    /// Has what is due by now evaluated at once: the clock was moved.
    pub fn wake(&self) {
        self.wake.wake();
    }

    pub(super) fn waker(&self) -> Wake {
        self.wake.clone()
    }

    /// Whether a requested evaluation has not come to its end.
    pub async fn is_pending(&self, repository: RepositoryId) -> Result<bool, Error> {
        let read = move |tx: &mut Tx<'_>| store::is_pending(tx, repository);
        Ok(self.db.get(read).await?)
    }

    /// All repositories that have a policy.
    pub async fn repositories(&self) -> Result<Vec<RepositoryWithPolicy>, Error> {
        let mut all = Vec::new();
        let mut after = RepositoryId(0);
        loop {
            let read = move |tx: &mut Tx<'_>| {
                let ids = store::repositories(tx, after, REPOSITORIES)?;
                let mut found = Vec::with_capacity(ids.len());
                for id in &ids {
                    if let Some((registry, name)) = repositories::name_of(tx, *id)? {
                        found.push(RepositoryWithPolicy {
                            id: *id,
                            registry,
                            name,
                        });
                    }
                }
                Ok::<_, Error>((ids.last().copied(), found))
            };
            let (last, found) = self.db.read(read).await?;
            all.extend(found);
            match last {
                Some(last) => after = last,
                None => return Ok(all),
            }
        }
    }
}

/// Checks that the repository still exists, in the transaction that changes something of it.
pub(super) fn check_exists(tx: &mut Tx<'_>, repository: &Repository) -> Result<(), Error> {
    if repositories::exists(tx, repository.id)? {
        return Ok(());
    }
    Err(Error::NoSuchRepository {
        name: repository.name.clone(),
        registry: repository.registry.clone(),
    })
}

pub(super) fn stored(tx: &mut Tx<'_>, repository: &Repository) -> Result<PolicyRow, Error> {
    store::find(tx, repository.id)?.ok_or_else(|| Error::NoLifecyclePolicy {
        name: repository.name.clone(),
        registry: repository.registry.clone(),
    })
}

fn shown(row: PolicyRow) -> StoredLifecyclePolicy {
    StoredLifecyclePolicy {
        text: row.text,
        evaluated_at: row.evaluated_at,
    }
}
