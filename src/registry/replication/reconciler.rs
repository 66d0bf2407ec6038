//! Carries out replications: those within this server in its passes, those to other servers in a
//! task for each destination, so that none waits for a slow one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::task::{AbortHandle, JoinSet};
use wharfinger_base::{Chain, Timestamp};
use wharfinger_db::Tx;
use wharfinger_reconcile::{Pass, Reconciler, Wake};

use crate::Registry;
use crate::error::Error;
use crate::model::RegistryId;
use crate::replication::backfill;
use crate::replication::local::LocalReplication;
use crate::replication::model::Replication;
use crate::replication::remote::{RemoteDestinations, RemoteRegistry};
use crate::replication::sending::{BlobLocks, RemoteReplication, settle};
use crate::store::{images, replication as store};

/// Destinations that a pass looks at; the next one goes on after them.
const DESTINATIONS_AT_ONCE: usize = 64;
/// Replications within this server that a pass claims for a destination.
const BATCH: i64 = 16;
/// Replications within this server at the same time: they wait for the same writer.
const COPIES_AT_ONCE: usize = 4;
/// Images that are sent to a remote destination at the same time.
const TRANSFERS_AT_ONCE: i64 = 3;
/// How long a claim on copies within this server lasts. They take milliseconds; a server that died
/// holds them up for so long, and one that is overtaken has done no harm.
const COPY_CLAIM: Duration = Duration::from_secs(20);
/// How long a claim on a transfer lasts. It is renewed until the transfer ends, so that it holds up
/// only what a server that died was sending.
const TRANSFER_CLAIM: Duration = Duration::from_secs(40);
/// How often what waits is counted.
const COUNTED_EVERY: Duration = Duration::from_secs(4);
/// More that wait are not counted, which takes some milliseconds.
const MOST_COUNTED: u32 = 100_000;
/// Pause between renewals.
const RENEWAL: Duration = Duration::from_secs(10);
/// Most remote destinations that are sent to at the same time.
const MAX_SENDERS: usize = 32;

/// The reconciler of replications. A pass carries out some for each destination, and a step of a
/// backfill.
pub struct ImageReplication {
    registry: Registry,
    remotes: RemoteDestinations,
    /// Tasks that send to remote destinations; they end with this.
    senders: JoinSet<()>,
    sending: HashMap<RegistryId, AbortHandle>,
    /// The destination after which the next pass begins; `None` for the first.
    after: Option<RegistryId>,
    /// When what waits was counted.
    counted: Option<Instant>,
}

impl ImageReplication {
    pub fn new(registry: Registry, remotes: RemoteDestinations) -> Self {
        Self {
            registry,
            remotes,
            senders: JoinSet::new(),
            sending: HashMap::new(),
            after: None,
            counted: None,
        }
    }

    /// Removes some rows of a deleted image. Returns false where there are none.
    async fn forget_some(&self) -> Result<bool, Error> {
        let forget = |tx: &mut Tx<'_>| {
            let Some((repository, image)) = store::next_forgotten(tx)? else {
                return Ok::<_, Error>(false);
            };
            // Rows of an image that was pushed again are those of the push.
            let is_back = images::id_by_digest(tx, repository, &image)?.is_some();
            if is_back || !store::remove_some_copies(tx, repository, &image)? {
                store::forgotten(tx, repository, &image)?;
            }
            Ok(true)
        };
        let db = &self.registry.content.db;
        // Most of the time there is nothing, which costs no write.
        let any = db
            .read(|tx| Ok::<_, Error>(store::next_forgotten(tx)?))
            .await?;
        match any {
            Some(_) => db.write(forget).await,
            None => Ok(false),
        }
    }

    /// Counts what waits, from time to time.
    async fn count(&mut self) -> Result<(), Error> {
        if self.counted.is_some_and(|at| at.elapsed() < COUNTED_EVERY) {
            return Ok(());
        }
        self.counted = Some(Instant::now());
        let db = &self.registry.content.db;
        let waiting = db.read(|tx| Ok::<_, Error>(store::waiting(tx, MOST_COUNTED)?));
        let progress = &self.registry.replication.progress;
        progress.set_waiting(waiting.await?);
        Ok(())
    }

    /// Replicates some images to a registry of this server. Returns how many.
    async fn copy_some(&self, destination: RegistryId) -> Result<usize, Error> {
        let claimed = claim(&self.registry, &destination, (BATCH, COPY_CLAIM)).await?;
        let count = claimed.len();
        let copies = stream::iter(claimed).map(|replication| async move {
            let copy = LocalReplication {
                registry: &self.registry,
                replication: &replication,
            };
            match copy.run().await {
                Some(attempt) => settle(&self.registry, &replication, attempt).await,
                None => {
                    self.registry.replication.progress.add_ended();
                    Ok(())
                }
            }
        });
        let ended: Vec<_> = copies.buffer_unordered(COPIES_AT_ONCE).collect().await;
        ended.into_iter().collect::<Result<(), Error>>()?;
        Ok(count)
    }

    /// Starts sending to a remote destination, unless that is under way.
    fn send(&mut self, destination: &RegistryId, remote: Arc<dyn RemoteRegistry>) {
        let under_way = self.sending.get(destination);
        if under_way.is_some_and(|task| !task.is_finished()) || self.sending.len() >= MAX_SENDERS {
            return;
        }
        let (registry, to) = (self.registry.clone(), destination.clone());
        let task = self.senders.spawn(async move {
            if let Err(error) = send_all(&registry, &to, remote).await {
                let error = Chain(&error).to_string();
                tracing::warn!(region = %to.region, account = %to.account, error, "sending ended");
            }
        });
        self.sending.insert(destination.clone(), task);
    }

    /// Whether anything is being sent to a remote destination.
    #[cfg(test)]
    pub(super) fn is_sending(&self) -> bool {
        self.sending.values().any(|task| !task.is_finished())
    }

    /// The destinations that this pass looks at.
    async fn destinations(&mut self) -> Result<Vec<RegistryId>, Error> {
        let after = self.after.take();
        let read = self.registry.content.db.read(move |tx| {
            let mut found: Vec<RegistryId> = Vec::new();
            while found.len() < DESTINATIONS_AT_ONCE {
                let last = found.last().or(after.as_ref());
                let last = last.map_or(("", ""), |one| (one.account.as_str(), one.region.as_str()));
                match store::next_destination(tx, last)? {
                    Some(next) => found.push(next),
                    None => return Ok::<_, Error>((found, false)),
                }
            }
            Ok((found, true))
        });
        let (found, more) = read.await?;
        if more {
            self.after = found.last().cloned();
        }
        Ok(found)
    }
}

async fn claim(
    registry: &Registry,
    destination: &RegistryId,
    (limit, duration): (i64, Duration),
) -> Result<Vec<Replication>, Error> {
    let (to, now) = (destination.clone(), registry.content.clock.now());
    let db = &registry.content.db;
    let due = {
        let to = to.clone();
        db.read(move |tx| Ok::<_, Error>(store::is_due(tx, &to, now)?))
    };
    if !due.await? {
        return Ok(Vec::new());
    }
    db.write(move |tx| Ok(store::claim(tx, &to, now, now.plus(duration), limit)?))
        .await
}

/// Sends what is due to a remote destination, until nothing is or the destination does not take it.
async fn send_all(
    registry: &Registry,
    destination: &RegistryId,
    remote: Arc<dyn RemoteRegistry>,
) -> Result<(), Error> {
    let blobs = BlobLocks::default();
    loop {
        let claimed = claim(registry, destination, (TRANSFERS_AT_ONCE, TRANSFER_CLAIM)).await?;
        if claimed.is_empty() {
            return Ok(());
        }
        let transfers = claimed.into_iter().map(|replication| {
            let (remote, blobs) = (Arc::clone(&remote), blobs.clone());
            async move { transfer(registry, &replication, remote, blobs).await }
        });
        let ended: Vec<_> = futures_util::future::join_all(transfers).await;
        let went_on = ended.into_iter().collect::<Result<Vec<bool>, Error>>()?;
        if !went_on.contains(&true) {
            return Ok(());
        }
    }
}

/// Sends one image, and keeps its claim until then. Returns false where it is to be tried again.
async fn transfer(
    registry: &Registry,
    replication: &Replication,
    remote: Arc<dyn RemoteRegistry>,
    blobs: BlobLocks,
) -> Result<bool, Error> {
    let sending = RemoteReplication {
        registry,
        replication,
        remote,
        blobs,
    };
    let sending = sending.run();
    tokio::pin!(sending);
    let attempt = loop {
        tokio::select! {
            attempt = &mut sending => break attempt,
            () = tokio::time::sleep(RENEWAL) => renew(registry, replication).await,
        }
    };
    let ended = attempt.has_ended();
    settle(registry, replication, attempt).await?;
    Ok(ended)
}

/// Extends the claim of a transfer. Where that fails, somebody else may send the same image as
/// well, which does no harm.
async fn renew(registry: &Registry, replication: &Replication) {
    let (of, until) = (
        replication.clone(),
        registry.content.clock.now().plus(TRANSFER_CLAIM),
    );
    let db = &registry.content.db;
    let renewed = db.write(move |tx| Ok::<_, Error>(store::renew(tx, &of, until)?));
    if let Err(error) = renewed.await {
        tracing::warn!(error = %Chain(&error), "the claim of a replication was not renewed");
    }
}

impl Reconciler for ImageReplication {
    const NAME: &'static str = "image-replication";
    const EVERY: Duration = Duration::from_secs(5);

    fn wake(&self) -> Wake {
        self.registry.replication.wake.clone()
    }

    async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
        // Rows are due by the clock of the registry, which a development server sets ahead.
        let clock = self.registry.content.clock.clone();
        while self.senders.try_join_next().is_some() {}
        self.sending.retain(|_, task| !task.is_finished());
        let db = self.registry.content.db.clone();
        let now = clock.now();
        self.count().await?;
        let mut done = usize::from(self.forget_some().await?);
        if db.read(move |tx| backfill::is_due(tx, now)).await? {
            let stepped = db.write(move |tx| backfill::step(tx, now)).await?;
            done += usize::from(stepped);
        }
        let destinations = self.destinations().await?;
        let seen = destinations.len();
        for destination in destinations {
            match self.remotes.get(&destination) {
                Some(remote) => self.send(&destination, remote),
                None => done += self.copy_some(destination).await?,
            }
        }
        Ok(Pass {
            seen,
            done,
            again: done > 0 || self.after.is_some(),
        })
    }
}
