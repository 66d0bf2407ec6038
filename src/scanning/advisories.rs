//! Advisories in the index: imported by source, looked up by package.

pub(crate) mod documents;
pub(crate) mod matching;
mod mirror;
pub(crate) mod osv;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use wharfinger_base::{Clock, Timestamp};
use wharfinger_db::{self as db, Db, Tx};
use wharfinger_reconcile::{Pass, Reconciler};

use crate::advisories::documents::{ReadError, read_all};
use crate::advisories::matching::{Installed, affects};
pub use crate::advisories::mirror::fetch_advisories;
use crate::advisories::osv::{AdvisoryEntry, KeyedEntry};
use crate::findings::{self, PackageKey, Vulnerability};
use crate::inventory::Inventory;
use crate::store::advisories as store;
pub use crate::store::advisories::AdvisorySource;
use crate::store::advisories::EntryRow;

/// Entries that one transaction of an import writes: some milliseconds, so that requests are not
/// held up.
const BATCH: usize = 200;
/// Batches that wait while one is written.
const QUEUE: usize = 2;
/// Rows that one step of the cleanup removes.
const REMOVED_AT_ONCE: i64 = 500;
/// The most sources: each costs a look-up for every package of a scan.
const MAX_SOURCES: usize = 64;
/// The longest name of a source, in bytes.
const MAX_NAME_BYTES: usize = 1024;
/// An import that has not ended after this time has died.
const IMPORT_TIME: Duration = Duration::from_hours(24);
/// Packages that are looked up in one transaction.
const KEYS_AT_ONCE: usize = 50;
/// Entries that are read at once of one package; Linux has many thousands.
const ENTRIES_AT_ONCE: i64 = 500;
/// The most entries that affect one image. An image of a whole distribution ten years ago has
/// 20,000.
const MAX_HITS: usize = 100_000;
/// The most pairs of a package, in each of its places, and an advisory about it. Each becomes a
/// finding of some kilobytes, or a part of one.
const MAX_MATCHES: usize = 50_000;
/// How often a look-up begins again because an import ended meanwhile.
const LOOKUPS: usize = 5;

/// Why an import, a listing or a comparison failed.
#[derive(Debug, thiserror::Error)]
pub enum AdvisoryError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the documents changed while they were read")]
    Changed,
    #[error("another import of the same source has begun")]
    Superseded,
    #[error("there are {MAX_SOURCES} sources already")]
    TooManySources,
    #[error("the name of a source has 1 to {MAX_NAME_BYTES} bytes")]
    Name,
    #[error("more than {MAX_HITS} advisories are about the packages of the image")]
    TooManyHits,
    #[error("imports end faster than advisories are looked up")]
    Busy,
    #[error("the documents could not be read to the end")]
    Panicked,
    #[error(transparent)]
    Index(#[from] db::Error),
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportResult {
    /// The source has these documents already.
    Unchanged { advisories: u64 },
    /// The source has other documents now.
    Imported { documents: u64, advisories: u64 },
}

/// What the advisories say about an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Which advisories were compared: another text than that of the last scan means that another
    /// comparison may find something else.
    pub state: AdvisoryState,
    /// The ecosystems of the image that have advisories, and those that have none.
    pub covered: BTreeSet<String>,
    pub missing: BTreeSet<String>,
    /// `None` where there are more than a scan records.
    pub vulnerabilities: Option<Vec<Vulnerability>>,
}

/// Which generations of advisories are active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvisoryState {
    pub key: String,
    /// When the newest of them was imported.
    pub updated_at: Option<Timestamp>,
}

/// The advisories of the index.
#[derive(Clone)]
pub struct Advisories {
    db: Db,
    clock: Clock,
}

impl Advisories {
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Replaces the advisories of a source by the documents of a file, a folder or a ZIP archive.
    /// They are read twice: once to check all of them, so that a malformed one changes nothing.
    ///
    /// # Errors
    /// [`AdvisoryError`]. The source has what it had before.
    pub async fn import(&self, source: &str, path: &Path) -> Result<ImportResult, AdvisoryError> {
        if source.is_empty() || source.len() > MAX_NAME_BYTES {
            return Err(AdvisoryError::Name);
        }
        let checked = {
            let path = path.to_owned();
            let read = spawn_blocking(move || read_all(&path, &mut |_| true));
            read.await.map_err(|_| AdvisoryError::Panicked)??
        };
        let sources = self.list().await?;
        let known = sources.iter().find(|one| one.name == source);
        if let Some(known) = known.filter(|known| known.digest == checked.digest()) {
            let advisories = known.advisories;
            return Ok(ImportResult::Unchanged { advisories });
        }
        if known.is_none() && sources.len() >= MAX_SOURCES {
            return Err(AdvisoryError::TooManySources);
        }
        let (name, digest, now) = (source.to_owned(), checked.digest(), self.clock.now());
        let begin = self
            .db
            .write(move |tx| store::begin(tx, &name, &digest, now));
        let generation = begin.await?;
        let written = self.write_generation(generation, path.to_owned()).await;
        let written = match written {
            Ok(written) if written == checked => Ok(written),
            Ok(_) => Err(AdvisoryError::Changed),
            Err(error) => Err(error),
        };
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                self.db
                    .write(move |tx| store::abandon(tx, generation))
                    .await?;
                return Err(error);
            }
        };
        let (name, now) = (source.to_owned(), self.clock.now());
        let advisories = written.advisories;
        let activate = self
            .db
            .write(move |tx| store::activate(tx, generation, &name, advisories, now));
        if !activate.await? {
            return Err(AdvisoryError::Superseded);
        }
        Ok(ImportResult::Imported {
            documents: written.documents,
            advisories,
        })
    }

    /// Writes the entries of all documents in batches, while a thread reads them.
    async fn write_generation(
        &self,
        generation: i64,
        path: PathBuf,
    ) -> Result<documents::DocumentSet, AdvisoryError> {
        let (sender, mut batches) = mpsc::channel::<Vec<EntryRow>>(QUEUE);
        let reading = spawn_blocking(move || {
            let mut batch = Vec::new();
            let read = read_all(&path, &mut |entries| {
                batch.extend(entries.into_iter().map(row_of));
                if batch.len() < BATCH {
                    return true;
                }
                sender.blocking_send(std::mem::take(&mut batch)).is_ok()
            })?;
            // A receiver that is gone has told why.
            let _ = sender.blocking_send(batch);
            Ok::<_, ReadError>(read)
        });
        while let Some(batch) = batches.recv().await {
            let write = self.db.write(move |tx| {
                if !store::is_pending(tx, generation)? {
                    return Ok(false);
                }
                batch
                    .iter()
                    .try_for_each(|row| store::insert(tx, generation, row))?;
                Ok::<_, db::Error>(true)
            });
            if !write.await? {
                return Err(AdvisoryError::Superseded);
            }
        }
        Ok(reading.await.map_err(|_| AdvisoryError::Panicked)??)
    }

    /// The sources, in the order of their imports.
    pub async fn list(&self) -> Result<Vec<AdvisorySource>, AdvisoryError> {
        Ok(self.db.read(store::sources).await?)
    }

    /// Removes the advisories of a source. Returns whether it had any.
    pub async fn remove(&self, source: &str) -> Result<bool, AdvisoryError> {
        let source = source.to_owned();
        Ok(self.db.write(move |tx| store::retire(tx, &source)).await?)
    }

    /// Removes what no source needs any more.
    pub async fn clean(&self) -> Result<(), AdvisoryError> {
        while self.clean_some().await? {}
        Ok(())
    }

    async fn clean_some(&self) -> Result<bool, AdvisoryError> {
        let since = self.clock.now().minus(IMPORT_TIME);
        let step = self.db.write(move |tx| {
            store::abandon_before(tx, since)?;
            let Some(generation) = store::first_old(tx)? else {
                return Ok(false);
            };
            store::remove_some(tx, generation, REMOVED_AT_ONCE)?;
            Ok::<_, db::Error>(true)
        });
        Ok(step.await?)
    }

    /// The reconciler that removes what imports leave.
    pub fn cleanup(&self) -> AdvisoryCleanup {
        AdvisoryCleanup(self.clone())
    }

    /// Which advisories are active.
    pub async fn state(&self) -> Result<AdvisoryState, AdvisoryError> {
        Ok(state_of(&self.list().await?))
    }

    /// Compares the packages of an image with the advisories.
    pub async fn compare(&self, inventory: &Inventory) -> Result<Comparison, AdvisoryError> {
        for _ in 0..LOOKUPS {
            let sources = self.list().await?;
            let state = state_of(&sources);
            let generations: Vec<i64> = sources.iter().map(|one| one.generation).collect();
            let (covered, missing) = self.coverage(&generations, inventory.ecosystems()).await?;
            let vulnerabilities = match self.look_up(&generations, inventory).await {
                Ok(found) => findings::find(inventory, &found, MAX_MATCHES),
                Err(AdvisoryError::TooManyHits) => None,
                Err(error) => return Err(error),
            };
            // What was read of a generation is whole only if nobody has begun to remove it.
            if self.state().await? == state {
                return Ok(Comparison {
                    state,
                    covered,
                    missing,
                    vulnerabilities,
                });
            }
        }
        Err(AdvisoryError::Busy)
    }

    async fn coverage(
        &self,
        generations: &[i64],
        ecosystems: BTreeSet<String>,
    ) -> Result<(BTreeSet<String>, BTreeSet<String>), AdvisoryError> {
        let generations = generations.to_vec();
        let look = self.db.read(move |tx| {
            let (mut covered, mut missing) = (BTreeSet::new(), BTreeSet::new());
            for ecosystem in &ecosystems {
                let mut found = false;
                for generation in &generations {
                    found = found || store::covers(tx, *generation, ecosystem)?;
                }
                let set = if found { &mut covered } else { &mut missing };
                set.insert(ecosystem.clone());
            }
            Ok::<_, db::Error>((covered, missing))
        });
        Ok(look.await?)
    }

    /// The entries that affect a version of the inventory.
    async fn look_up(
        &self,
        generations: &[i64],
        inventory: &Inventory,
    ) -> Result<BTreeMap<PackageKey, Vec<AdvisoryEntry>>, AdvisoryError> {
        let installed: Vec<_> = inventory.installed().into_iter().collect();
        let mut found = BTreeMap::new();
        let mut hits = 0;
        for chunk in installed.chunks(KEYS_AT_ONCE) {
            let (chunk, generations) = (chunk.to_vec(), generations.to_vec());
            let look = self.db.read(move |tx| {
                let mut found = Vec::new();
                for (key, installed) in &chunk {
                    let entries = affecting(tx, &generations, key, installed)?;
                    found.push((key.clone(), entries));
                }
                Ok::<_, AdvisoryError>(found)
            });
            for (key, entries) in look.await? {
                hits += entries.len();
                if hits > MAX_HITS {
                    return Err(AdvisoryError::TooManyHits);
                }
                if !entries.is_empty() {
                    found.insert(key, entries);
                }
            }
        }
        Ok(found)
    }
}

fn row_of(keyed: KeyedEntry) -> EntryRow {
    EntryRow {
        document: serde_json::to_string(&keyed.entry).unwrap_or_default(),
        advisory: keyed.entry.id,
        ecosystem: keyed.ecosystem,
        package: keyed.package,
    }
}

/// The entries of a package that affect one of its installed versions.
fn affecting(
    tx: &mut Tx<'_>,
    generations: &[i64],
    key: &PackageKey,
    installed: &BTreeSet<Installed>,
) -> Result<Vec<AdvisoryEntry>, AdvisoryError> {
    let mut found = Vec::new();
    for generation in generations {
        let mut after = String::new();
        loop {
            let key_parts = (key.ecosystem.as_str(), key.name.as_str());
            let page = store::entries(tx, *generation, key_parts, &after, ENTRIES_AT_ONCE)?;
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            for (_, document) in &page {
                let entry: AdvisoryEntry = serde_json::from_str(document)
                    .map_err(|_| db::Error::other("a stored advisory"))?;
                let mut installed = installed.iter();
                if installed.any(|one| affects(&entry, &key.ecosystem, one).is_some()) {
                    found.push(entry);
                }
            }
            if found.len() > MAX_HITS {
                return Err(AdvisoryError::TooManyHits);
            }
        }
    }
    Ok(found)
}

fn state_of(sources: &[AdvisorySource]) -> AdvisoryState {
    let generations: Vec<String> = sources
        .iter()
        .map(|one| one.generation.to_string())
        .collect();
    AdvisoryState {
        key: generations.join(","),
        updated_at: sources.iter().map(|one| one.imported_at).max(),
    }
}

/// The reconciler that removes the rows of old generations.
pub struct AdvisoryCleanup(Advisories);

impl Reconciler for AdvisoryCleanup {
    const NAME: &'static str = "advisory-cleanup";
    const EVERY: Duration = Duration::from_mins(10);

    async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
        let again = self.0.clean_some().await?;
        Ok(Pass {
            seen: usize::from(again),
            done: usize::from(again),
            again,
        })
    }
}
