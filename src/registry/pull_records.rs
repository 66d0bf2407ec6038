//! Records of pulls, gathered and written together: a write for each would cost more than the pull,
//! and take every reader's cached pages.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wharfinger_aws::Arn;
use wharfinger_base::Timestamp;
use wharfinger_db::Db;

use crate::error::Error;
use crate::manifest_cache::ManifestCache;
use crate::model::{Image, RegistryId};
use crate::store::{images, registry_settings};

/// How often a pull is recorded at most for one image: ECR refreshes `lastRecordedPullTime` once in
/// 24 hours.
const PERIOD: Duration = Duration::from_hours(24);

/// How long a record waits for others.
const DELAY: Duration = Duration::from_secs(1);

/// Most records in one write, some five milliseconds of the writer; beyond that they are dropped,
/// since the next pull makes another.
const WAITING: usize = 512;

#[derive(Clone)]
pub(super) struct PullRecords {
    db: Db,
    manifests: ManifestCache,
    waiting: Arc<Mutex<Waiting>>,
}

/// An image that was pulled from a registry, and by whom.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Pull {
    image: i64,
    puller: Puller,
}

/// Who pulls from a registry. The registry may be set not to record its pulls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Puller {
    pub registry: RegistryId,
    /// The user or role.
    pub principal: Arn,
}

#[derive(Default)]
struct Waiting {
    pulls: HashMap<Pull, Timestamp>,
    /// A task will write them.
    awaited: bool,
}

impl PullRecords {
    pub(super) fn new(db: Db, manifests: ManifestCache) -> Self {
        Self {
            db,
            manifests,
            waiting: Arc::default(),
        }
    }

    /// Records that the image was pulled, at most once a day each; does not wait, and may be
    /// forgotten in a crash.
    pub(super) fn add(&self, image: &Image, puller: impl FnOnce() -> Puller, now: Timestamp) {
        if image
            .pulled_at
            .is_some_and(|pulled_at| now.since(pulled_at) < PERIOD)
        {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.pulls.len() >= WAITING {
            return;
        }
        let (image, puller) = (image.id, puller());
        waiting.pulls.entry(Pull { image, puller }).or_insert(now);
        if !std::mem::replace(&mut waiting.awaited, true) {
            tokio::spawn(self.clone().write());
        }
    }

    async fn write(self) {
        tokio::time::sleep(DELAY).await;
        let pulls = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.awaited = false;
            std::mem::take(&mut waiting.pulls)
        };
        let pulled = match self.recorded(pulls).await {
            Ok(pulled) => Arc::new(pulled),
            Err(error) => return tracing::debug!(%error, "pulls were not recorded"),
        };
        if pulled.is_empty() {
            return;
        }
        let records = Arc::clone(&pulled);
        let written = self.db.write(move |tx| {
            records.iter().try_for_each(|(image, pulled_at)| {
                images::note_pull(tx, *image, *pulled_at).map_err(Error::from)
            })
        });
        if let Err(error) = written.await {
            tracing::debug!(%error, "pulls were not recorded");
        }
        for image in pulled.keys() {
            self.manifests.remove(*image);
        }
    }

    /// The images with the pulls that are recorded: not those by principals that the registry
    /// excludes. They are read first, so that pulls that are not recorded write nothing.
    async fn recorded(
        &self,
        pulls: HashMap<Pull, Timestamp>,
    ) -> Result<BTreeMap<i64, Timestamp>, Error> {
        let pullers: HashSet<Puller> = pulls.keys().map(|pull| pull.puller.clone()).collect();
        let pullers: Vec<Puller> = pullers.into_iter().collect();
        let excluded = self
            .db
            .read(move |tx| {
                let mut excluded = HashSet::new();
                for puller in &pullers {
                    let principal = puller.principal.as_str();
                    if registry_settings::is_excluded(tx, &puller.registry, principal)? {
                        excluded.insert(puller.clone());
                    }
                }
                Ok::<_, Error>(excluded)
            })
            .await?;
        let recorded = pulls
            .into_iter()
            .filter(|(pull, _)| !excluded.contains(&pull.puller));
        Ok(recorded
            .map(|(pull, pulled_at)| (pull.image, pulled_at))
            .collect())
    }
}
