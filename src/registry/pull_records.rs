//! Records of pulls, gathered and written together: a write for each would cost more than the pull,
//! and take every reader's cached pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_db::Db;

use crate::error::Error;
use crate::manifest_cache::ManifestCache;
use crate::model::Image;
use crate::store::images;

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

#[derive(Default)]
struct Waiting {
    pulls: BTreeMap<i64, Timestamp>,
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
    pub(super) fn add(&self, image: &Image, now: Timestamp) {
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
        waiting.pulls.entry(image.id).or_insert(now);
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
        let pulls = Arc::new(pulls);
        let records = Arc::clone(&pulls);
        let written = self.db.write(move |tx| {
            records.iter().try_for_each(|(image, pulled_at)| {
                images::note_pull(tx, *image, *pulled_at).map_err(Error::from)
            })
        });
        if let Err(error) = written.await {
            tracing::debug!(%error, "pulls were not recorded");
        }
        for image in pulls.keys() {
            self.manifests.remove(*image);
        }
    }
}
