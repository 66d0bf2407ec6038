//! Removes images that the agent pulled and that no task has used for a while.
//!
//! Source: ECS developer guide, "Automated task and image cleanup".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use wharfinger_base::{Clock, Timestamp};

use crate::runtime::{ContainerRuntime, RuntimeError};
use crate::state_folder::StateFolder;

/// How often images are looked at, how long an unused one stays, and how many are removed at once,
/// as Amazon's agent does: an
/// image has a tag and a digest.
const INTERVAL: Duration = Duration::from_mins(30);
const MIN_AGE: Duration = Duration::from_hours(1);
const REMOVED_AT_ONCE: usize = 2 * 5;
/// Images that are remembered. Those beyond are never removed.
const MAX_IMAGES: usize = 10_000;

/// When each image that this instance pulled was pulled the last time. It is kept on the disk:
/// images that an earlier run pulled are removed as well.
pub(crate) struct PulledImages {
    runtime: Arc<dyn ContainerRuntime>,
    clock: Clock,
    state: StateFolder,
    /// Held while it is written, so that the newest text is the last.
    pulled: Mutex<BTreeMap<String, Timestamp>>,
}

impl PulledImages {
    /// Reads what an earlier run noted.
    pub(crate) async fn open(
        runtime: Arc<dyn ContainerRuntime>,
        clock: Clock,
        state: StateFolder,
    ) -> Self {
        let pulled = state.images().await.unwrap_or_else(|error| {
            tracing::error!(%error, "images of earlier runs are never removed: their list is lost");
            None
        });
        Self {
            runtime,
            clock,
            state,
            pulled: Mutex::new(pulled.unwrap_or_default()),
        }
    }

    /// Notes that an image was pulled, by all names that it has now.
    pub(crate) async fn note(&self, references: &[&str]) {
        let now = self.clock.now();
        let mut pulled = self.pulled.lock().await;
        for reference in references {
            if pulled.len() < MAX_IMAGES || pulled.contains_key(*reference) {
                pulled.insert((*reference).to_owned(), now);
            }
        }
        self.store(&pulled).await;
    }

    /// Removes unused images, again and again.
    pub(crate) async fn clean_up(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.pass().await;
        }
    }

    async fn pass(&self) {
        for image in self.old().await {
            // The engine keeps an image that a container uses, also one that ended.
            match self.runtime.remove_image(&image).await {
                Ok(()) => tracing::info!(image, "an unused image was removed"),
                // Somebody else removed it.
                Err(RuntimeError::Missing(_)) => {}
                Err(_) => {
                    self.note(&[&image]).await;
                    continue;
                }
            }
            let mut pulled = self.pulled.lock().await;
            pulled.remove(&image);
            self.store(&pulled).await;
        }
    }

    /// The images that were pulled the longest ago.
    async fn old(&self) -> Vec<String> {
        let oldest = self.clock.now().minus(MIN_AGE);
        let pulled = self.pulled.lock().await;
        let mut old: Vec<_> = pulled.iter().filter(|(_, at)| **at <= oldest).collect();
        old.sort_by_key(|(_, at)| **at);
        let old = old.into_iter().take(REMOVED_AT_ONCE);
        old.map(|(image, _)| image.clone()).collect()
    }

    async fn store(&self, pulled: &BTreeMap<String, Timestamp>) {
        if let Err(error) = self.state.set_images(pulled).await {
            tracing::error!(%error, "the list of pulled images was not stored");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tests::simulated::Simulated;

    #[tokio::test]
    async fn images_of_an_earlier_run_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(Timestamp::from_ms(0));
        let open = async || {
            let runtime = Arc::new(Simulated::new(clock.clone()));
            let state = StateFolder::open(folder.path()).await.expect("opened");
            PulledImages::open(runtime, clock.clone(), state).await
        };
        open().await.note(&["web:1"]).await;
        let again = open().await;
        again.pass().await;
        assert!(again.pulled.lock().await.contains_key("web:1"), "too young");
        clock.advance(MIN_AGE);
        again.pass().await;
        assert!(again.pulled.lock().await.is_empty());
        assert!(open().await.pulled.lock().await.is_empty());
    }

    #[tokio::test]
    async fn an_image_that_is_gone_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(Timestamp::from_ms(0));
        let runtime = Arc::new(Simulated::new(clock.clone()));
        let state = StateFolder::open(folder.path()).await.expect("opened");
        let images = PulledImages::open(runtime, clock.clone(), state).await;
        // The simulated runtime does not have it.
        images.note(&["no/image"]).await;
        clock.advance(MIN_AGE);
        images.pass().await;
        assert!(images.pulled.lock().await.is_empty());
    }
}
