//! Locks by key, within this server: one holder at a time for each key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

/// The keys that are locked or waited for: no more entries than there are requests.
pub(super) struct KeyedLocks<K>(Arc<Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>>);

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K> Clone for KeyedLocks<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Holds one key until it is dropped.
pub(super) struct KeyLock<K: Copy + Eq + Hash> {
    locks: KeyedLocks<K>,
    key: K,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<K: Copy + Eq + Hash> KeyedLocks<K> {
    /// Waits for the key, in the order of the calls.
    pub(super) async fn lock(&self, key: K) -> KeyLock<K> {
        let guard = self.entry(key).lock_owned().await;
        self.held(key, guard)
    }

    /// The key, if it is free within `wait`.
    pub(super) async fn lock_within(&self, key: K, wait: Duration) -> Option<KeyLock<K>> {
        tokio::time::timeout(wait, self.lock(key)).await.ok()
    }

    /// The key, if it is free now.
    pub(super) fn try_lock(&self, key: K) -> Option<KeyLock<K>> {
        let guard = self.entry(key).try_lock_owned().ok()?;
        Some(self.held(key, guard))
    }

    fn held(&self, key: K, guard: OwnedMutexGuard<()>) -> KeyLock<K> {
        KeyLock {
            locks: self.clone(),
            key,
            guard: Some(guard),
        }
    }

    fn entry(&self, key: K) -> Arc<tokio::sync::Mutex<()>> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.entry(key).or_default().clone()
    }
}

impl<K: Copy + Eq + Hash> Drop for KeyLock<K> {
    fn drop(&mut self) {
        let mut map = self.locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard.take();
        // The map's own reference is the only one left: nobody waits, and nobody can come in
        // between while the map is held.
        if map
            .get(&self.key)
            .is_some_and(|entry| Arc::strong_count(entry) == 1)
        {
            map.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_has_one_holder_and_no_entry_afterwards() {
        let locks = KeyedLocks::default();
        let first = locks.lock(1).await;
        assert!(locks.try_lock(1).is_none());
        assert!(locks.try_lock(2).is_some());
        drop(first);
        drop(locks.lock(1).await);
        assert!(locks.0.lock().expect("not poisoned").is_empty());
    }
}
