//! Removes images that the agent pulled and that no task has used for a while.
//!
//! Source: ECS developer guide, "Automated task and image cleanup".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wharfinger_base::{Clock, Timestamp};

use crate::runtime::ContainerRuntime;

/// How often images are looked at, how long an unused one stays, and how many are removed at once,
/// as Amazon's agent does.
const INTERVAL: Duration = Duration::from_mins(30);
const MIN_AGE: Duration = Duration::from_hours(1);
const REMOVED_AT_ONCE: usize = 5;
/// Images that are remembered. Those beyond are never removed.
const MAX_IMAGES: usize = 10_000;

/// When each image that this agent pulled was pulled the last time.
pub(crate) struct PulledImages {
    runtime: Arc<dyn ContainerRuntime>,
    clock: Clock,
    pulled: Mutex<BTreeMap<String, Timestamp>>,
}

impl PulledImages {
    pub(crate) fn new(runtime: Arc<dyn ContainerRuntime>, clock: Clock) -> Self {
        Self {
            runtime,
            clock,
            pulled: Mutex::new(BTreeMap::new()),
        }
    }

    /// Notes that an image was pulled.
    pub(crate) fn note(&self, reference: &str) {
        let mut pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        if pulled.len() < MAX_IMAGES || pulled.contains_key(reference) {
            pulled.insert(reference.to_owned(), self.clock.now());
        }
    }

    /// Removes unused images, again and again.
    pub(crate) async fn clean_up(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.pass().await;
        }
    }

    async fn pass(&self) {
        for image in self.old() {
            // The engine keeps an image that a container uses, also one that ended.
            if self.runtime.remove_image(&image).await.is_ok() {
                tracing::info!(image, "an unused image was removed");
                let mut pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
                pulled.remove(&image);
            } else {
                self.note(&image);
            }
        }
    }

    /// The images that were pulled the longest ago.
    fn old(&self) -> Vec<String> {
        let oldest = self.clock.now().minus(MIN_AGE);
        let pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
        let mut old: Vec<_> = pulled.iter().filter(|(_, at)| **at <= oldest).collect();
        old.sort_by_key(|(_, at)| **at);
        let old = old.into_iter().take(REMOVED_AT_ONCE);
        old.map(|(image, _)| image.clone()).collect()
    }
}
