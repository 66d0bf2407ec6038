//! Removes secrets whose recovery window has passed, with all of their versions.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_db::{Db, Tx};
use wharfinger_reconcile::{Pass, Reconciler};

use crate::Result;
use crate::store::secrets as store;

/// Secrets that one transaction removes, so that other writes do not wait long.
const SECRETS_PER_WRITE: usize = 20;

/// The reconciler.
pub struct SecretCleanup(pub(crate) Db);

impl Reconciler for SecretCleanup {
    const NAME: &'static str = "secret-cleanup";
    const EVERY: Duration = Duration::from_mins(10);

    async fn pass(&mut self, now: Timestamp) -> anyhow::Result<Pass> {
        let removed = self.0.write(move |tx| remove_some(tx, now)).await?;
        Ok(Pass {
            seen: removed,
            done: removed,
            again: removed == SECRETS_PER_WRITE,
        })
    }
}

fn remove_some(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize> {
    let expired = store::expired(tx, now, SECRETS_PER_WRITE)?;
    for (home, name) in &expired {
        store::delete(tx, home, name)?;
    }
    Ok(expired.len())
}
