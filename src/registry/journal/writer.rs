//! Writes the journal: one server at a time, segment by segment.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_blobs::{self as blobs, BlobStore, RecordName};
use wharfinger_db::{Db, Tx};
use wharfinger_reconcile::{Pass, Reconciler};

use crate::journal::JournalError;
use crate::journal::merge::{self, Stored};
use crate::journal::record::{Record, State, Subject};
use crate::journal::segment::{self, MAX_SEGMENT_BYTES, NEEDED_AFTER, Segment};
use crate::store::journal::{self as store, JournalRow, NewSegment, Refresh, Waiting};
use crate::store::journal_entries;

/// Entries of one segment, and rows for which entries are made at once while everything is written
/// anew. With manifests of some kilobytes a segment has about a megabyte.
const ENTRIES_PER_SEGMENT: i64 = 512;

/// A segment ends with the record that brings it to this size, since manifests may have 4 MiB.
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// How long a server stays the writer without a sign of life. A pass takes less, or its result does
/// not count.
const HOLD: Duration = Duration::from_mins(1);

/// How long times of pulls wait where nothing else does. The loss of an index costs the last of
/// them, and each write makes what servers keep in memory useless.
const PULLS_WAIT: Duration = Duration::from_mins(1);

/// Largest content of [`NEEDED_AFTER`] that is read, in bytes.
const MAX_NUMBER_BYTES: u64 = 1024;

/// How many segments are written between two looks at all of them.
const SEGMENTS_PER_LOOK: usize = 32;

/// The reconciler that writes the journal. A pass writes one segment.
pub struct JournalWriter {
    db: Db,
    store: BlobStore,
    clock: Clock,
    /// Names this server among those of one index.
    holder: String,
    /// How long it stays the writer without a sign of life.
    pub(super) hold: Duration,
    /// Segments written since all of them were looked at.
    unseen: usize,
    /// New segments have numbers after those in the store.
    is_caught_up: bool,
    /// It writes the journal of an index that is being made anew.
    is_rebuild: bool,
    /// Since when nothing but times of pulls waits.
    pulls_since: Option<Timestamp>,
}

/// What the writing of a segment left.
struct Written {
    entries: usize,
    /// No entry waited that the segment does not hold.
    all: bool,
}

impl JournalWriter {
    pub(crate) fn new(db: Db, store: BlobStore, clock: Clock, ids: &Ids) -> Self {
        Self {
            db,
            store,
            clock,
            holder: ids.uuid().to_string(),
            hold: HOLD,
            unseen: SEGMENTS_PER_LOOK,
            is_caught_up: false,
            is_rebuild: false,
            pulls_since: None,
        }
    }

    /// For an index that is being made anew. Its segments do not count before everything is
    /// written.
    pub(super) fn of_rebuild(self) -> Self {
        Self {
            is_rebuild: true,
            ..self
        }
    }

    async fn hold(&self) -> Result<Option<JournalRow>, JournalError> {
        let (holder, now) = (self.holder.clone(), self.clock.now());
        let until = now.plus(self.hold);
        let held = self
            .db
            .write(move |tx| store::hold(tx, &holder, now, until));
        Ok(held.await?)
    }

    /// Writes entries that wait to a new segment; `None` where another server has become the
    /// writer. `refresh` is set while everything is written anew.
    async fn write_segment(
        &mut self,
        refresh: Option<&Refresh>,
    ) -> Result<Option<Written>, JournalError> {
        let none = self
            .db
            .read(|tx| Ok::<_, JournalError>(journal_entries::entries(tx, 1)?.is_empty()));
        if none.await? {
            return Ok(Some(Written {
                entries: 0,
                all: true,
            }));
        }
        // The number first: what is read afterwards is at least as new as what is in the segments
        // before.
        let holder = self.holder.clone();
        let new = self.db.write(move |tx| store::next_number(tx, &holder));
        let Some(NewSegment { number, previous }) = new.await? else {
            return Ok(None);
        };
        let read = self.db.read(read_some).await?;
        let segment = Segment {
            previous: Some(previous),
            merged_from: None,
            rebuilt_from: refresh
                .filter(|_| self.is_rebuild)
                .map(|refresh| refresh.number),
            caught_up_from: refresh
                .filter(|refresh| refresh.is_catching_up)
                .map(|refresh| refresh.number),
            records: read.records,
        };
        put_segment(&self.store, number, &segment).await?;
        self.unseen += 1;
        let (holder, entries, all) = (self.holder.clone(), read.ids.len(), read.all);
        let removed = self
            .db
            .write(move |tx| store::written(tx, &holder, number, &read.ids))
            .await?;
        Ok(removed.then_some(Written { entries, all }))
    }

    /// Merges segments where there are many small ones, or begins to write everything anew where
    /// much is out of date. True where something was done.
    async fn tidy(&mut self) -> Result<bool, JournalError> {
        if self.unseen < SEGMENTS_PER_LOOK {
            return Ok(false);
        }
        let segments = segments(&self.store).await?;
        let few = merge::to_merge(&segments);
        if let Some(last) = few.last() {
            let (mut records, mut previous) = (Vec::new(), None);
            let mut merged_from = few[0].number;
            for segment in few {
                match read_segment(&self.store, segment.number).await {
                    Ok(read) => {
                        if segment.number == few[0].number {
                            previous = read.previous;
                            merged_from = read.merged_from.unwrap_or(merged_from);
                        }
                        records.extend(read.records);
                    }
                    Err(error @ JournalError::Segment { .. }) => {
                        tracing::error!(%error, "the journal is written anew");
                        return self.begin_refresh().await;
                    }
                    Err(error) => return Err(error),
                }
            }
            if self.hold().await?.is_none() {
                return Ok(false);
            }
            // The last one is replaced first: until the others are gone, their records come before
            // it and count less. They go from the last to the first, since each names the one
            // before it.
            let merged = Segment {
                previous,
                merged_from: Some(merged_from),
                rebuilt_from: None,
                caught_up_from: None,
                records: merge::merged(records),
            };
            let put = put_segment(&self.store, last.number, &merged);
            // A late one would replace what another server has written or removed since.
            let late = |_| JournalError::Late;
            tokio::time::timeout(HOLD / 2, put).await.map_err(late)??;
            self.remove(few[..few.len() - 1].iter().rev()).await?;
            return Ok(true);
        }
        self.unseen = 0;
        let Some(row) = self.hold().await? else {
            return Ok(false);
        };
        if !merge::is_refresh_due(&segments, row.refreshed_bytes) {
            return Ok(false);
        }
        self.begin_refresh().await
    }

    async fn begin_refresh(&self) -> Result<bool, JournalError> {
        let holder = self.holder.clone();
        self.db
            .write(move |tx| store::begin_refresh(tx, &holder))
            .await?;
        Ok(true)
    }

    async fn remove(&self, segments: impl Iterator<Item = &Stored>) -> Result<(), JournalError> {
        for segment in segments {
            remove_segment(&self.store, segment.number).await?;
        }
        Ok(())
    }

    /// Makes entries for some of the rows that are still to be written anew.
    async fn refresh_some(&self, refresh: &Refresh) -> Result<(), JournalError> {
        if let Some(after) = refresh.after.clone() {
            let holder = self.holder.clone();
            self.db
                .write(move |tx| store::refresh_some(tx, &holder, &after, ENTRIES_PER_SEGMENT))
                .await?;
        }
        Ok(())
    }

    /// Everything is in the segments after the beginning: the others go.
    async fn end_refresh(&mut self, refresh: &Refresh) -> Result<(), JournalError> {
        let (old, new): (Vec<_>, Vec<_>) = segments(&self.store)
            .await?
            .into_iter()
            .partition(|segment| segment.number <= refresh.number);
        if self.hold().await?.is_none() {
            return Ok(());
        }
        if refresh.number > 0 {
            put_needed_after(&self.store, refresh.number).await?;
        }
        // From the first to the last: a later one may say that what an earlier one has is gone.
        self.remove(old.iter()).await?;
        let (bytes, holder) = (new.iter().map(|one| one.size).sum(), self.holder.clone());
        self.db
            .write(move |tx| store::end_refresh(tx, &holder, bytes))
            .await?;
        Ok(())
    }

    /// Whether there is nothing to do now. A resting index is not written to: each commit makes
    /// what servers keep in memory useless.
    async fn rests(&mut self) -> Result<bool, JournalError> {
        if self.unseen >= SEGMENTS_PER_LOOK {
            return Ok(false);
        }
        let waiting = self
            .db
            .read(|tx| store::waiting(tx, ENTRIES_PER_SEGMENT))
            .await?;
        if waiting == Waiting::Pulls {
            let now = self.clock.now();
            let since = *self.pulls_since.get_or_insert(now);
            if now.since(since) < PULLS_WAIT {
                return Ok(true);
            }
        }
        self.pulls_since = None;
        Ok(waiting == Waiting::Nothing)
    }

    /// Numbers new segments after all that the store has, and writes everything anew where it has
    /// later ones than the index knows, or had them: the index is an older copy, or another one.
    async fn catch_up(&mut self) -> Result<(), JournalError> {
        let last = segments(&self.store).await?.last().map(|last| last.number);
        let needed_after = match needed_after(&self.store).await {
            Err(error @ JournalError::Segment { .. }) => {
                tracing::error!(%error, "the journal is written anew");
                self.begin_refresh().await?;
                0
            }
            read => read?,
        };
        // A segment after the number that is needed, though there is none, so that those that
        // follow count once all are written.
        let last = match last.unwrap_or_default() {
            last if last < needed_after => needed_after.saturating_add(1),
            last => last,
        };
        let holder = self.holder.clone();
        let caught_up = self.db.write(move |tx| match last {
            0 => store::leave_number_out(tx, &holder),
            last => store::raise_number(tx, &holder, last),
        });
        caught_up.await?;
        self.is_caught_up = true;
        Ok(())
    }

    /// Writes all that waits, and everything anew where that is begun.
    ///
    /// # Errors
    /// Where the index or the blob store fails.
    pub async fn write_all(&mut self) -> Result<(), JournalError> {
        while self.step().await?.again {}
        Ok(())
    }

    pub(crate) async fn step(&mut self) -> Result<Pass, JournalError> {
        if self.rests().await? {
            return Ok(Pass::default());
        }
        let mut held = self.hold().await?;
        if held.is_some() && !self.is_caught_up {
            self.catch_up().await?;
            held = self.hold().await?;
        }
        let Some(row) = held else {
            return Ok(Pass::default());
        };
        let Some(written) = self.write_segment(row.refresh.as_ref()).await? else {
            return Ok(Pass::default());
        };
        let mut again = !written.all;
        if written.all {
            match &row.refresh {
                Some(refresh) if refresh.after.is_some() => {
                    // Only now: what is pushed meanwhile waits for one step at most.
                    self.refresh_some(refresh).await?;
                    again = true;
                }
                Some(refresh) => self.end_refresh(refresh).await?,
                None => again = self.tidy().await?,
            }
        }
        Ok(Pass {
            seen: written.entries,
            done: written.entries,
            again,
        })
    }
}

impl Reconciler for JournalWriter {
    const NAME: &'static str = "journal";
    const EVERY: Duration = Duration::from_secs(5);

    async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
        let started = Instant::now();
        let pass = self.step().await?;
        if pass.again {
            // Half of the time stays for requests while everything is written anew.
            tokio::time::sleep(started.elapsed()).await;
        }
        Ok(pass)
    }
}

/// Entries and what their rows hold.
struct Read {
    ids: Vec<i64>,
    records: Vec<Record>,
    /// These are all entries.
    all: bool,
}

/// Reads as much as one segment takes.
fn read_some(tx: &mut Tx<'_>) -> Result<Read, JournalError> {
    let (mut ids, mut records, mut size) = (Vec::new(), Vec::new(), 0);
    let mut known: BTreeSet<Subject> = BTreeSet::new();
    let entries = journal_entries::entries(tx, ENTRIES_PER_SEGMENT)?;
    let count = entries.len();
    for (id, subject) in entries {
        if size >= SEGMENT_BYTES {
            break;
        }
        ids.push(id);
        if known.insert(subject.clone()) {
            let state = store::state(tx, &subject)?;
            if store::is_damaged(&subject, state.as_ref()) {
                tracing::error!(
                    ?subject,
                    "the manifest of an image is damaged; run `wharfinger fsck`"
                );
                continue;
            }
            if let Some(State::Image(image)) = &state {
                size += image.manifest.len();
            }
            records.push(Record { subject, state });
        }
    }
    Ok(Read {
        all: ids.len() == count && (count as u64) < ENTRIES_PER_SEGMENT.unsigned_abs(),
        ids,
        records,
    })
}

async fn put_segment(
    store: &BlobStore,
    number: u64,
    segment: &Segment,
) -> Result<(), JournalError> {
    let content = segment::encode(number, segment)?;
    let name = segment_name(number)?;
    Ok(store.put_record(&name, Bytes::from(content)).await?)
}

/// Says that segments up to this one are not needed.
async fn put_needed_after(store: &BlobStore, number: u64) -> Result<(), JournalError> {
    let number = Bytes::from(segment::encode_number(number));
    Ok(store.put_record(&needed_after_name()?, number).await?)
}

/// Up to which number segments are not needed; 0 where all are.
pub(crate) async fn needed_after(store: &BlobStore) -> Result<u64, JournalError> {
    let name = needed_after_name()?;
    match store.record(&name, MAX_NUMBER_BYTES).await {
        Ok(content) => segment::decode_number(&content).map_err(|why| JournalError::Segment {
            name: name.to_string(),
            why,
        }),
        Err(blobs::Error::NotFound) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn needed_after_name() -> Result<RecordName, JournalError> {
    NEEDED_AFTER.parse().map_err(|_| JournalError::Number(0))
}

/// Removes a segment; nothing where there is none.
async fn remove_segment(store: &BlobStore, number: u64) -> Result<(), JournalError> {
    Ok(store.delete_record(&segment_name(number)?).await?)
}

fn segment_name(number: u64) -> Result<RecordName, JournalError> {
    let name = segment::name(number).parse();
    name.map_err(|_| JournalError::Number(number))
}

/// The segments in the store, in order.
pub(crate) async fn segments(store: &BlobStore) -> Result<Vec<Stored>, JournalError> {
    let entries = store.records(segment::FOLDER).await?;
    let numbered = entries.into_iter().filter_map(|entry| {
        let number = segment::number(entry.name.as_str())?;
        Some(Stored {
            number,
            size: entry.size,
        })
    });
    Ok(numbered.collect())
}

/// Reads one segment.
pub(crate) async fn read_segment(store: &BlobStore, number: u64) -> Result<Segment, JournalError> {
    let name = segment_name(number)?;
    let content = store.record(&name, MAX_SEGMENT_BYTES).await?;
    segment::decode(number, &content).map_err(|why| JournalError::Segment {
        name: name.to_string(),
        why,
    })
}
