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
/// How old the time of an image on the disk may be.
const STORE_INTERVAL: Duration = Duration::from_mins(10);
/// Images that are remembered. Those beyond are never removed.
const MAX_IMAGES: usize = 10_000;

/// When the instances of this process last pulled each image of the engine that they share: none
/// removes what another one is about to use. Cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct RecentPulls(Arc<Mutex<BTreeMap<String, Timestamp>>>);

/// When each image that this instance pulled was pulled the last time. It is kept on the disk:
/// images that an earlier run pulled are removed as well.
pub(crate) struct PulledImages {
    runtime: Arc<dyn ContainerRuntime>,
    clock: Clock,
    state: StateFolder,
    recent: RecentPulls,
    /// Held while it is written, so that the newest text is the last.
    pulled: Mutex<Pulled>,
}

#[derive(Default)]
struct Pulled {
    at: BTreeMap<String, Timestamp>,
    /// The same as it lies on the disk.
    stored: BTreeMap<String, Timestamp>,
}

impl PulledImages {
    /// Reads what an earlier run noted.
    pub(crate) async fn open(
        runtime: Arc<dyn ContainerRuntime>,
        clock: Clock,
        state: StateFolder,
        recent: RecentPulls,
    ) -> Self {
        let stored = state.images().await.unwrap_or_else(|error| {
            tracing::error!(%error, "images of earlier runs are never removed: their list is lost");
            None
        });
        let stored = stored.unwrap_or_default();
        Self {
            runtime,
            clock,
            state,
            recent,
            pulled: Mutex::new(Pulled {
                at: stored.clone(),
                stored,
            }),
        }
    }

    /// Keeps the other instances from removing an image that is being pulled.
    pub(crate) async fn begin(&self, reference: &str) {
        let now = self.clock.now();
        let mut recent = self.recent.0.lock().await;
        recent.retain(|_, at| *at > now.minus(MIN_AGE));
        if recent.len() < MAX_IMAGES {
            recent.insert(reference.to_owned(), now);
        }
    }

    /// Notes that an image was pulled, by all names that it has now.
    pub(crate) async fn note(&self, references: &[&str]) {
        for reference in references {
            self.begin(reference).await;
        }
        self.keep(references).await;
    }

    async fn keep(&self, references: &[&str]) {
        let now = self.clock.now();
        let mut pulled = self.pulled.lock().await;
        let mut is_old = false;
        for reference in references {
            if pulled.at.len() < MAX_IMAGES || pulled.at.contains_key(*reference) {
                pulled.at.insert((*reference).to_owned(), now);
                let stored = pulled.stored.get(*reference);
                is_old |= stored.is_none_or(|stored| stored.plus(STORE_INTERVAL) <= now);
            }
        }
        if is_old {
            self.store(&mut pulled).await;
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
        for image in self.old().await {
            match self.remove(&image).await {
                Ok(()) => tracing::info!(image, "an unused image was removed"),
                // Somebody else removed it.
                Err(RuntimeError::Missing(_)) => {}
                Err(_) => {
                    self.keep(&[&image]).await;
                    continue;
                }
            }
            let mut pulled = self.pulled.lock().await;
            pulled.at.remove(&image);
            self.store(&mut pulled).await;
        }
    }

    /// Removes an image. The engine keeps one that a container uses, also one that ended.
    async fn remove(&self, image: &str) -> Result<(), RuntimeError> {
        // Held to the end: an instance that begins to pull meanwhile finds out that it is gone.
        let recent = self.recent.0.lock().await;
        let oldest = self.clock.now().minus(MIN_AGE);
        if recent.get(image).is_some_and(|at| *at > oldest) {
            let why = "another instance pulled it";
            return Err(RuntimeError::Refused(why.to_owned()));
        }
        self.runtime.remove_image(image).await
    }

    /// The images that were pulled the longest ago.
    async fn old(&self) -> Vec<String> {
        let oldest = self.clock.now().minus(MIN_AGE);
        let pulled = self.pulled.lock().await;
        let mut old: Vec<_> = pulled.at.iter().filter(|(_, at)| **at <= oldest).collect();
        old.sort_by_key(|(_, at)| **at);
        let old = old.into_iter().take(REMOVED_AT_ONCE);
        old.map(|(image, _)| image.clone()).collect()
    }

    async fn store(&self, pulled: &mut Pulled) {
        if let Err(error) = self.state.set_images(&pulled.at).await {
            tracing::error!(%error, "the list of pulled images was not stored");
            return;
        }
        pulled.stored = pulled.at.clone();
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
            PulledImages::open(runtime, clock.clone(), state, RecentPulls::default()).await
        };
        open().await.note(&["web:1"]).await;
        let again = open().await;
        again.pass().await;
        assert!(
            again.pulled.lock().await.at.contains_key("web:1"),
            "too young"
        );
        clock.advance(MIN_AGE);
        again.pass().await;
        assert!(again.pulled.lock().await.at.is_empty());
        assert!(open().await.pulled.lock().await.at.is_empty());
    }

    #[tokio::test]
    async fn an_image_that_is_gone_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(Timestamp::from_ms(0));
        let runtime = Arc::new(Simulated::new(clock.clone()));
        let state = StateFolder::open(folder.path()).await.expect("opened");
        let images =
            PulledImages::open(runtime, clock.clone(), state, RecentPulls::default()).await;
        // The simulated runtime does not have it.
        images.note(&["no/image"]).await;
        clock.advance(MIN_AGE);
        images.pass().await;
        assert!(images.pulled.lock().await.at.is_empty());
    }

    #[tokio::test]
    async fn an_image_that_a_neighbour_pulls_stays() {
        let clock = Clock::manual(Timestamp::from_ms(0));
        let runtime = Arc::new(Simulated::new(clock.clone()));
        let recent = RecentPulls::default();
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let open = async |folder: &tempfile::TempDir| {
            let state = StateFolder::open(folder.path()).await.expect("opened");
            PulledImages::open(runtime.clone(), clock.clone(), state, recent.clone()).await
        };
        let (own, neighbour) = (open(&folders[0]).await, open(&folders[1]).await);
        own.note(&["web:1", "db:1"]).await;
        clock.advance(MIN_AGE);
        neighbour.begin("web:1").await;
        own.pass().await;
        let left: Vec<_> = own.pulled.lock().await.at.keys().cloned().collect();
        assert_eq!(left, ["web:1"]);
        clock.advance(MIN_AGE);
        own.pass().await;
        assert!(own.pulled.lock().await.at.is_empty());
    }

    #[tokio::test]
    async fn the_list_is_stored_when_it_has_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Clock::manual(Timestamp::from_ms(0));
        let runtime = Arc::new(Simulated::new(clock.clone()));
        let state = StateFolder::open(folder.path()).await.expect("opened");
        let images = PulledImages::open(runtime, clock.clone(), state, RecentPulls::default());
        let images = images.await;
        images.note(&["web:1"]).await;
        let path = folder.path().join("images.json");
        std::fs::remove_file(&path).expect("it was stored");
        clock.advance(Duration::from_secs(1));
        images.note(&["web:1"]).await;
        assert!(!path.exists());
        images.note(&["web:2"]).await;
        std::fs::remove_file(&path).expect("it was stored");
        clock.advance(STORE_INTERVAL);
        images.note(&["web:1"]).await;
        assert!(path.exists());
    }
}
