//! A cache of what transactions read from one state of the index.

use std::hash::Hash;
use std::sync::Arc;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use wharfinger_db::Tx;

/// Values with the state that they were read from. A value is used only in read transactions on
/// that state, so it is never stale, and what such a transaction reads besides is of the same
/// snapshot. Under writes, it is a cache of what is requested several times between two commits.
pub(super) struct StateCache<K, V>(Arc<Cache<K, Entry<V>>>);

#[derive(Clone)]
struct Entry<V> {
    /// [`Tx::version`] of the transaction that read the value.
    version: u64,
    value: V,
}

impl<K, V> Clone for StateCache<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash, V: Clone> StateCache<K, V> {
    /// A cache of at most so many values.
    pub(super) fn new(capacity: usize) -> Self {
        Self(Arc::new(Cache::new(capacity)))
    }

    /// The value, if it was read from the state that `tx` reads.
    pub(super) fn get<Q>(&self, tx: &Tx<'_>, key: &Q) -> Option<V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let version = tx.version()?;
        let entry = self.0.get(key)?;
        (entry.version == version).then_some(entry.value)
    }

    /// Adds what `tx` has read.
    pub(super) fn insert(&self, tx: &Tx<'_>, key: K, value: V) {
        if let Some(version) = tx.version() {
            self.0.insert(key, Entry { version, value });
        }
    }
}
