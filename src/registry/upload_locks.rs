//! One writer at a time for each upload session, within this server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::error::Error;

/// How long a request waits for another one on the same session: clients that send parts in
/// parallel are rare and mistaken.
const WAIT: Duration = Duration::from_secs(20);

/// The sessions that are being written to. It holds no more entries than there are requests.
#[derive(Clone, Default)]
pub(super) struct UploadLocks(Arc<Mutex<HashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>>);

/// The right to write to one session.
pub(super) struct UploadLock {
    locks: UploadLocks,
    id: Uuid,
    guard: Option<OwnedMutexGuard<()>>,
}

impl UploadLocks {
    pub(super) async fn lock(&self, id: Uuid) -> Result<UploadLock, Error> {
        self.lock_within(id, WAIT).await.ok_or(Error::UploadBusy)
    }

    /// The lock, if it is free within `wait`.
    pub(super) async fn lock_within(&self, id: Uuid, wait: Duration) -> Option<UploadLock> {
        let guard = tokio::time::timeout(wait, self.entry(id).lock_owned())
            .await
            .ok()?;
        Some(UploadLock {
            locks: self.clone(),
            id,
            guard: Some(guard),
        })
    }

    pub(super) fn try_lock(&self, id: Uuid) -> Option<UploadLock> {
        let guard = self.entry(id).try_lock_owned().ok()?;
        Some(UploadLock {
            locks: self.clone(),
            id,
            guard: Some(guard),
        })
    }

    fn entry(&self, id: Uuid) -> Arc<tokio::sync::Mutex<()>> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.entry(id).or_default().clone()
    }
}

impl Drop for UploadLock {
    fn drop(&mut self) {
        let mut map = self.locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard.take();
        // The map's own reference is the only one left: nobody waits, and nobody can come in
        // between while the map is held.
        if map
            .get(&self.id)
            .is_some_and(|entry| Arc::strong_count(entry) == 1)
        {
            map.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_has_one_writer_and_leaves_nothing_behind() {
        let locks = UploadLocks::default();
        let first = locks.lock(Uuid::from_u128(1)).await.expect("free");
        assert!(locks.try_lock(Uuid::from_u128(1)).is_none());
        assert!(locks.try_lock(Uuid::from_u128(2)).is_some());
        drop(first);
        assert!(locks.lock(Uuid::from_u128(1)).await.is_ok());
        assert!(locks.0.lock().expect("not poisoned").is_empty());
    }
}
