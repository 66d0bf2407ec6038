//! How many upload sessions are open, so that not every new one has the index count all others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wharfinger_base::Timestamp;
use wharfinger_db::{Db, Tx};

use crate::error::Error;
use crate::store::uploads as store;

/// Fewer sessions than this are counted anew for each new one: it takes microseconds.
const FEW: u64 = 256;
/// How long a larger count is used. Sessions that end meanwhile, or that other servers start, are
/// counted that much later.
const COUNT_AGE_MS: i64 = 1_000;

/// Counts of open sessions, of single callers and of all (`None`).
#[derive(Clone, Default)]
pub(super) struct OpenUploads {
    /// Only counts of [`FEW`] and more, so that there are no more of them than the limit of all
    /// sessions allows.
    known: Arc<Mutex<HashMap<Option<String>, Known>>>,
}

#[derive(Clone, Copy)]
struct Known {
    /// What the index had, and what this server has started since.
    count: u64,
    counted_at: Timestamp,
}

impl OpenUploads {
    /// Counts a session that `owner` is about to start. `of_one` and `of_all` are the limits.
    ///
    /// # Errors
    /// [`Error::TooManyUploads`] where as many are open as may be, of the owner or of all.
    pub(super) async fn admit(
        &self,
        db: &Db,
        owner: &str,
        (of_one, of_all): (u64, u64),
        now: Timestamp,
    ) -> Result<(), Error> {
        let caller = Some(owner.to_owned());
        let known = (self.recent(Some(owner), now), self.recent(None, now));
        let (one, all) = match known {
            (Some(one), Some(all)) => (one, all),
            (known_one, known_all) => {
                let name = caller.clone();
                let counted = db.read(move |tx| {
                    let count =
                        |tx: &mut Tx<'_>, known: Option<u64>, whose: Option<&str>, limit| {
                            known.map_or_else(|| store::open(tx, whose, limit), Ok)
                        };
                    let one = count(tx, known_one, name.as_deref(), of_one)?;
                    Ok::<_, Error>((one, count(tx, known_all, None, of_all)?))
                });
                counted.await?
            }
        };
        for (count, limit) in [(one, of_one), (all, of_all)] {
            if count >= limit {
                self.note([(caller, one, known.0), (None, all, known.1)], 0, now);
                return Err(Error::TooManyUploads { limit });
            }
        }
        self.note([(caller, one, known.0), (None, all, known.1)], 1, now);
        Ok(())
    }

    /// A large count that is not old.
    fn recent(&self, whose: Option<&str>, now: Timestamp) -> Option<u64> {
        let known = *self.lock().get(&whose.map(str::to_owned))?;
        known.is_recent(now).then_some(known.count)
    }

    /// Keeps new counts, and adds the sessions that are started to all.
    fn note(&self, counts: [(Option<String>, u64, Option<u64>); 2], started: u64, now: Timestamp) {
        let mut all = self.lock();
        for (whose, count, known) in counts {
            if known.is_none() {
                all.retain(|_, known| known.is_recent(now));
                if count >= FEW {
                    all.insert(
                        whose.clone(),
                        Known {
                            count,
                            counted_at: now,
                        },
                    );
                }
            }
            if let Some(known) = all.get_mut(&whose) {
                known.count += started;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<String>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// A clock that was set back ends it as well.
    fn is_recent(&self, now: Timestamp) -> bool {
        (0..COUNT_AGE_MS).contains(&(now.as_ms() - self.counted_at.as_ms()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wharfinger_base::Clock;

    use super::*;
    use crate::MIGRATIONS;

    const LIMITS: (u64, u64) = (300, 1_000);

    /// Counts as open sessions of `owner` in the index.
    async fn add(db: &Db, owner: &'static str, count: u64) {
        let ids = wharfinger_base::Ids::default();
        let write = db.write(move |tx| {
            for _ in 0..count {
                let session = store::UploadSession {
                    id: ids.uuid(),
                    repository: crate::RepositoryId(1),
                    staged: Vec::new(),
                    size: 0,
                    last_part_size: 0,
                    short_parts: 0,
                    version: 0,
                    unclean: false,
                    digest: None,
                    claimed_until: Timestamp::default(),
                };
                store::insert(tx, &session, owner, false, Timestamp::default())?;
            }
            Ok::<_, Error>(())
        });
        write.await.expect("inserted");
    }

    #[tokio::test]
    async fn a_large_count_is_kept_for_a_second_and_the_limit_holds() {
        let db = Db::memory(MIGRATIONS).expect("an index");
        let (open, now) = (OpenUploads::default(), Clock::System.now());
        add(&db, "a", FEW).await;
        let admit = async |owner, now| open.admit(&db, owner, LIMITS, now).await.is_ok();
        for started in FEW..LIMITS.0 {
            assert!(admit("a", now).await, "{started} are open");
        }
        assert!(!admit("a", now).await, "none of them is in the index yet");
        assert!(admit("b", now).await, "another caller");
        let later = now.plus(Duration::from_secs(1));
        assert!(admit("a", later).await, "they never came to the index");
    }

    #[tokio::test]
    async fn small_counts_follow_the_index_at_once() {
        let db = Db::memory(MIGRATIONS).expect("an index");
        let (open, now) = (OpenUploads::default(), Clock::System.now());
        add(&db, "a", 2).await;
        let admit = async |limits| open.admit(&db, "a", limits, now).await.is_ok();
        assert!(!admit((2, 10)).await && !admit((10, 2)).await);
        assert!(admit((3, 10)).await && admit((3, 10)).await);
        add(&db, "a", 1).await;
        assert!(!admit((3, 10)).await);
        assert!(open.lock().is_empty());
    }
}
