//! Keeps bytes, of the blob store and of the archive, from being removed while a backup copies
//! them.
//!
//! The hold is a lease in `work_leases`, which its holder renews. Collectors, and what removes
//! objects from the archive, look for one after the blobs have left the index and before they
//! remove bytes: where none is found, the blobs left the index before any hold that comes later, so
//! that its backup does not name them.

use std::time::Duration;

use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::{self as db, Db, Tx};

use crate::Registry;
use crate::error::Error;
use crate::store::leases;

/// How long a hold counts without a sign of life: the time that blobs wait for after the crash of a
/// backup. A backup that is stopped for so long has lost its hold.
const HOLD: Duration = Duration::from_mins(10);

/// The names of holds begin with this.
const NAMES: &str = "collection-hold/";
/// The first text after all that begin with it.
const NAMES_END: &str = "collection-hold0";

/// A hold on garbage collection.
#[derive(Clone, Debug)]
pub struct CollectionHold {
    db: Db,
    name: String,
    length: Duration,
}

impl CollectionHold {
    /// Takes the hold: bytes of blobs that the index names after this stay until it is released or
    /// lapses.
    pub async fn take(&self) -> Result<(), Error> {
        let this = self.clone();
        let taken = self.db.write(move |tx| {
            let now = now(tx)?;
            leases::remove_expired(tx, NAMES, NAMES_END, now)?;
            leases::take(tx, &this.name, &this.name, now, now.plus(this.length))
        });
        taken.await?;
        Ok(())
    }

    /// Renews the hold; false where it has lapsed, so that bytes may be gone.
    pub async fn renew(&self) -> Result<bool, Error> {
        let this = self.clone();
        let renewed = self.db.write(move |tx| {
            let now = now(tx)?;
            let held = leases::any_held(tx, &this.name, &format!("{}0", this.name), now)?;
            Ok::<_, db::Error>(
                held && leases::take(tx, &this.name, &this.name, now, now.plus(this.length))?,
            )
        });
        Ok(renewed.await?)
    }

    /// Ends the hold.
    pub async fn release(&self) -> Result<(), Error> {
        let name = self.name.clone();
        let released = self.db.write(move |tx| leases::release(tx, &name, &name));
        Ok(released.await?)
    }
}

/// The time that several servers agree on, whatever a development server's clock says.
fn now(tx: &mut Tx<'_>) -> db::Result<Timestamp> {
    let server_time = tx.server_time()?;
    Ok(server_time.unwrap_or_else(|| Clock::System.now()))
}

/// Whether anybody holds garbage collection.
pub(crate) fn is_held(tx: &mut Tx<'_>) -> db::Result<bool> {
    let now = now(tx)?;
    leases::any_held(tx, NAMES, NAMES_END, now)
}

impl Registry {
    /// A hold on garbage collection, not taken yet.
    pub fn collection_hold(&self, ids: &Ids) -> CollectionHold {
        CollectionHold {
            db: self.content.db.clone(),
            name: format!("{NAMES}{}", ids.uuid()),
            length: HOLD,
        }
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing;

    use super::*;
    use crate::MIGRATIONS;

    #[tokio::test]
    async fn a_hold_counts_until_it_lapses_or_is_released() {
        for db in testing::every_engine(MIGRATIONS) {
            let hold = |name: &str, length| CollectionHold {
                db: db.clone(),
                name: format!("{NAMES}{name}"),
                length,
            };
            let any = || db.read(is_held);
            let (short, long) = (hold("a", Duration::ZERO), hold("b", HOLD));
            assert!(!any().await.expect("read"));
            short.take().await.expect("taken");
            assert!(!any().await.expect("read"), "it has lapsed");
            assert!(!short.renew().await.expect("read"), "a late renewal");
            long.take().await.expect("taken");
            assert!(long.renew().await.expect("renewed"));
            assert!(any().await.expect("read"));
            hold("c", HOLD).release().await.expect("not held");
            assert!(any().await.expect("read"), "only its own");
            long.release().await.expect("released");
            assert!(!any().await.expect("read"));
            assert!(!long.renew().await.expect("read"));
        }
    }
}
