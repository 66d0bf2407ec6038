//! The key sets of providers: those of a file, and those fetched, which are kept for some minutes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use quick_cache::sync::Cache;
use tokio::sync::Mutex;
use wharfinger_base::{Chain, Clock, Timestamp};

use crate::configured::ConfiguredKeySets;
use crate::fetch;
use crate::key_set::KeySet;
use crate::token::UnverifiedToken;

/// Providers whose keys are kept. A key set has some 200 keys of 1 KB at most.
const PROVIDERS: usize = 64;
/// From this age on, a key set is fetched again.
const REFRESH_AGE: Duration = Duration::from_mins(10);
/// Longest time for which a key set is used while its provider cannot be reached.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Shortest time between two fetches from one provider, whatever tokens name.
const FETCH_INTERVAL: Duration = Duration::from_secs(10);

/// What a provider is known by.
#[derive(Clone, Copy, Debug)]
pub struct Provider<'a> {
    /// Its URL, which is the issuer of its tokens.
    pub url: &'a str,
    /// SHA-1 of certificates in hexadecimal.
    pub thumbprints: &'a [String],
}

/// The keys of a provider cannot be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys of the identity provider could not be retrieved")]
pub struct UnreachableKeys;

/// Key sets by their provider.
pub struct KeySets {
    configured: Option<ConfiguredKeySets>,
    fetched: Cache<String, Arc<Slot>>,
    /// Whether providers on loopback addresses may speak plain HTTP.
    loopback: bool,
    clock: Clock,
}

/// The key set of one provider and its thumbprints.
#[derive(Default)]
struct Slot {
    current: ArcSwapOption<Fetched>,
    /// When the last fetch ended, or began where the request for it was given up. It is held
    /// during a fetch, so that there is one at a time.
    last_fetch: Mutex<Option<Timestamp>>,
}

struct Fetched {
    keys: Arc<KeySet>,
    at: Timestamp,
}

impl KeySets {
    /// `dev` allows providers on loopback addresses to speak plain HTTP.
    #[must_use]
    pub fn new(configured: Option<ConfiguredKeySets>, clock: Clock, dev: bool) -> Self {
        Self {
            configured,
            fetched: Cache::new(PROVIDERS),
            loopback: dev,
            clock,
        }
    }

    /// The key set that the token is to be verified with. It is fetched where it is old, and where
    /// it lacks the token's key, but at most once in some seconds; requests at the same time wait
    /// for one fetch.
    ///
    /// # Errors
    /// [`UnreachableKeys`].
    pub async fn of(
        &self,
        provider: Provider<'_>,
        token: &UnverifiedToken<'_>,
    ) -> Result<Arc<KeySet>, UnreachableKeys> {
        let configured = self.configured.as_ref();
        if let Some(keys) = configured.and_then(|configured| configured.of(provider.url)) {
            return Ok(keys);
        }
        let name = format!("{}\n{}", provider.url, provider.thumbprints.join("\n"));
        let slot = self.slot(&name);
        if let Some(keys) = self.usable(&slot, token) {
            return Ok(keys);
        }
        let mut last_fetch = slot.last_fetch.lock().await;
        if let Some(keys) = self.usable(&slot, token) {
            return Ok(keys);
        }
        let now = self.clock.now();
        // After the clock was set back, a time may be from the future.
        let may_fetch =
            last_fetch.is_none_or(|last| now.since(last) >= FETCH_INTERVAL || last > now);
        if may_fetch {
            // Whoever closes the connection meanwhile ends here.
            *last_fetch = Some(now);
            match fetch::key_set(provider.url, provider.thumbprints, self.loopback).await {
                Ok(keys) => {
                    let keys = Arc::new(keys);
                    slot.current
                        .store(Some(Arc::new(Fetched { keys, at: now })));
                }
                Err(error) => tracing::warn!(
                    provider = provider.url,
                    error = %Chain(&error),
                    "the keys of an identity provider were not retrieved"
                ),
            }
        }
        if may_fetch {
            // The end counts: who waited for a provider that does not respond does not fetch again.
            *last_fetch = Some(self.clock.now());
        }
        drop(last_fetch);
        let current = slot.current.load();
        let current = current.as_deref();
        let current = current.filter(|known| self.clock.now().since(known.at) < MAX_AGE);
        let keys = current.map(|known| Arc::clone(&known.keys));
        keys.ok_or(UnreachableKeys)
    }

    fn slot(&self, name: &str) -> Arc<Slot> {
        let made = self
            .fetched
            .get_or_insert_with(name, || Ok::<_, Infallible>(Arc::default()));
        let Ok(slot) = made;
        slot
    }

    /// The key set, where it is young and has the token's key.
    fn usable(&self, slot: &Slot, token: &UnverifiedToken<'_>) -> Option<Arc<KeySet>> {
        let current = slot.current.load();
        let known = current.as_deref()?;
        let now = self.clock.now();
        let young = now.since(known.at) < REFRESH_AGE && known.at <= now;
        (young && token.has_key_in(&known.keys)).then(|| Arc::clone(&known.keys))
    }
}

#[cfg(test)]
#[path = "tests/key_sets.rs"]
mod tests;
