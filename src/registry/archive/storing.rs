//! Moves blobs that only archived images need to the archive, and removes what it need not keep.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use wharfinger_base::Timestamp;
use wharfinger_blobs::{self as blobs, AppendLimits};
use wharfinger_db::Tx;
use wharfinger_oci::{Algorithm, Hasher};

use crate::archive::encoding::{self, Encoding, Pieces, SAMPLE_BYTES};
use crate::archive::mover::{ArchiveMover, MoveError, RETRY_AFTER, Step};
use crate::archive::placement::{Placement, REMOVAL_DELAY, placement};
use crate::collection_hold;
use crate::error::Error;
use crate::model::{ArchivedBlob, Blob};
use crate::store::archive::{self as store, ArchiveWrite};
use crate::store::blob_store;

/// A transaction that decides about blobs goes on until this much time has passed.
const STEP_TIME: Duration = Duration::from_millis(4);
/// A step moves blobs until this much time has passed; the last one may take longer.
const MOVING_TIME: Duration = Duration::from_millis(500);
/// How long the store may be silent while a blob is read.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// What was decided about blobs that were due.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) to_store: Vec<Blob>,
    pub(super) more: bool,
}

impl ArchiveMover {
    /// Moves some of the blobs that are due.
    pub(super) async fn store_some(&mut self) -> Result<Step, Error> {
        let now = self.clock.now();
        let decided = self
            .db
            .write(move |tx| decide_some(tx, now, STEP_TIME))
            .await?;
        let (started, mut step) = (Instant::now(), Step::default());
        step.more = decided.more;
        for blob in decided.to_store {
            if step.done > 0 && started.elapsed() >= MOVING_TIME {
                step.more = true;
                break;
            }
            match self.store_blob(&blob).await {
                Ok(stored) => {
                    step.done += usize::from(stored);
                    step.stored += usize::from(stored);
                    step.more = true;
                }
                Err(MoveError::Superseded) => return Ok(step),
                Err(error) => {
                    self.progress.add_failure();
                    tracing::warn!(
                        digest = %blob.digest,
                        %error,
                        "a blob was not moved to the archive; a later pass tries again"
                    );
                    self.look_again(&blob, Some(self.clock.now().plus(RETRY_AFTER)))
                        .await?;
                }
            }
        }
        Ok(step)
    }

    async fn look_again(&self, blob: &Blob, at: Option<Timestamp>) -> Result<(), Error> {
        let digest = blob.digest;
        let set = self.db.write(move |tx| store::look_again(tx, &digest, at));
        Ok(set.await?)
    }

    /// Moves the blob, unless that saves nothing; says whether it did.
    async fn store_blob(&mut self, blob: &Blob) -> Result<bool, MoveError> {
        let end = blob.size.min(SAMPLE_BYTES);
        let sample = self.blobs().open_blob(&blob.key, blob.size, Some(0..end));
        let sample = sample.await?.read_to_end(SAMPLE_BYTES).await?;
        let compresses = tokio::task::spawn_blocking(move || encoding::compresses(&sample));
        let encoding = match compresses.await.map_err(blobs::Error::from)? {
            true => Encoding::Zstd,
            false if self.archive.takes_all => Encoding::Identity,
            false => {
                self.look_again(blob, None).await?;
                return Ok(false);
            }
        };
        let mut write = ArchiveWrite {
            upload: self.ids.uuid(),
            location: None,
        };
        self.record(&write).await?;
        let moved = self.write_and_replace(blob, encoding, &mut write).await;
        // Also after an error: nothing names what was written then.
        let cleaned = self.clean_up(&write).await;
        let moved = moved?;
        cleaned?;
        if moved {
            self.progress.add_stored();
        }
        Ok(moved)
    }

    /// Records a write, as it begins or with where it ends. From then on the index has this archive
    /// for good, if it has it now.
    async fn record(&self, write: &ArchiveWrite) -> Result<(), MoveError> {
        let (write, identity) = (write.clone(), self.identity().await?);
        let recorded = self.db.write(move |tx| {
            if !blob_store::is_archive(tx, identity)? {
                return Ok(false);
            }
            if write.location.is_some() {
                return Ok(store::locate_write(tx, &write)?);
            }
            store::begin_write(tx, &write)?;
            Ok::<_, Error>(true)
        });
        if recorded.await? {
            Ok(())
        } else {
            Err(MoveError::Superseded)
        }
    }

    async fn write_and_replace(
        &self,
        blob: &Blob,
        encoding: Encoding,
        write: &mut ArchiveWrite,
    ) -> Result<bool, MoveError> {
        let archive = &self.archive.store;
        let mut staged = archive.begin(write.upload, blob.digest.algorithm());
        let source = self.blobs().open_blob(&blob.key, blob.size, None).await?;
        let body = encoding::encode(encoding::pieces(source), encoding)?;
        let limits = AppendLimits {
            max_bytes: u64::MAX,
            idle_timeout: IDLE_TIMEOUT,
            expected: None,
            last: true,
        };
        self.while_held(archive.append(&mut staged, body, limits))
            .await??;
        if !self.archive.takes_all && !encoding::is_worth(blob.size, staged.size()) {
            self.look_again(blob, None).await?;
            return Ok(false);
        }
        let content = match encoding {
            Encoding::Identity => blob.digest,
            Encoding::Zstd => staged.digest_so_far(),
        };
        if let Some(key) = archive.key_of(&content) {
            write.location = Some(key);
            self.record(write).await?;
        }
        let stored = self
            .while_held(archive.finish(staged, &content, false))
            .await??;
        let archived = ArchivedBlob {
            digest: blob.digest,
            size: blob.size,
            key: stored.key,
            encoding,
            stored_size: stored.size,
        };
        let whole = self.while_held(is_whole(archive, &archived)).await??;
        if !whole {
            return Err(MoveError::Damaged);
        }
        self.replace(blob, archived, write).await
    }

    /// Puts the archived blob in the place of the other one, unless that changed or is needed again
    /// meanwhile.
    pub(super) async fn replace(
        &self,
        blob: &Blob,
        archived: ArchivedBlob,
        write: &mut ArchiveWrite,
    ) -> Result<bool, MoveError> {
        let (holder, now) = (self.holder.clone(), self.clock.now());
        write.location = Some(archived.key.clone());
        let (blob, recorded) = (blob.clone(), write.clone());
        let replaced = self.db.write(move |tx| {
            let Some(lease_until) = store::lease_of(tx, &blob)? else {
                return Ok(false);
            };
            let used = store::use_of(tx, &blob.digest)?;
            if !store::is_held(tx, &holder)?
                || placement(blob.size, used, lease_until, now) != Placement::Archive
            {
                return Ok(false);
            }
            // Another server may have ended it while this one was suspended.
            if !store::locate_write(tx, &recorded)? {
                return Ok(false);
            }
            store::replace(tx, &blob, &archived, now, now.plus(REMOVAL_DELAY))?;
            Ok::<_, Error>(true)
        });
        Ok(replaced.await?)
    }

    /// Ends a write, and removes what it left, and its object where nothing names it; then its row.
    /// While a backup may read the object, its removal is recorded instead.
    ///
    /// # Errors
    /// Nothing is removed where the write cannot be ended: a transaction that names the object may
    /// yet be committed.
    pub(super) async fn clean_up(&self, write: &ArchiveWrite) -> Result<(), MoveError> {
        let (archive, location) = (&self.archive.store, write.location.clone());
        let upload = write.upload;
        let ended = self.db.write(move |tx| {
            store::end_write(tx, upload)?;
            let Some(key) = &location else {
                return Ok::<_, Error>((false, false));
            };
            // In a folder an earlier move of the same content may have made the object.
            Ok((store::is_named(tx, key)?, collection_hold::is_held(tx)?))
        });
        let (named, held) = ended.await?;
        let staged = archive.begin(write.upload, Algorithm::Sha256);
        let unnamed = write.location.clone().filter(|_| !named);
        let kept = write.location.as_ref().filter(|_| named || held);
        archive.abort(&staged, kept).await?;
        if let (Some(key), false) = (&unnamed, held) {
            archive.delete(key).await?;
        }
        let now = self.clock.now();
        let removed = self.db.write(move |tx| {
            if let (Some(key), true) = (&unnamed, held) {
                store::remove_later(tx, key, now)?;
            }
            store::remove_write(tx, upload)
        });
        Ok(removed.await?)
    }

    /// Removes objects that nothing needs any more, and what interrupted writes left. Only the
    /// server that moves blobs writes to the archive, so no write is under way. Objects stay while
    /// a backup copies blobs.
    pub(super) async fn remove_objects(&self) -> Result<Step, Error> {
        let now = self.clock.now();
        let found = self.db.read(move |tx| {
            let removals = if collection_hold::is_held(tx)? {
                Vec::new()
            } else {
                store::due_removals(tx, now)?
            };
            Ok::<_, Error>((store::writes(tx)?, removals))
        });
        let (writes, removals) = found.await?;
        let mut step = Step {
            done: 0,
            stored: 0,
            more: writes.len().max(removals.len()) == store::PAGE,
        };
        for write in writes {
            step.done += usize::from(self.note_outcome(&self.clean_up(&write).await));
        }
        for key in removals {
            let removed = self.remove_object(&key).await;
            if removed.is_err() {
                let (key, later) = (key.clone(), now.plus(RETRY_AFTER));
                self.db
                    .write(move |tx| store::remove_later(tx, &key, later))
                    .await?;
            }
            step.done += usize::from(self.note_outcome(&removed));
        }
        // What failed comes again with the next pass.
        step.more &= step.done > 0;
        Ok(step)
    }

    fn note_outcome(&self, outcome: &Result<(), MoveError>) -> bool {
        if let Err(error) = outcome {
            self.progress.add_failure();
            tracing::warn!(%error, "an object was not removed from the archive");
        }
        outcome.is_ok()
    }

    async fn remove_object(&self, key: &wharfinger_blobs::BlobKey) -> Result<(), MoveError> {
        let looked_at = key.clone();
        let look = self.db.write(move |tx| {
            // In a folder the same content has the same key: it may have been archived again.
            let named = !store::is_to_remove(tx, &looked_at)? || store::is_named(tx, &looked_at)?;
            Ok::<_, Error>((named, collection_hold::is_held(tx)?))
        });
        let (named, held) = look.await?;
        // A backup whose hold is not found here begins after the index has ceased to name it.
        if held {
            return Ok(());
        }
        if !named {
            self.archive.store.delete(key).await?;
        }
        let key = key.clone();
        let removed = self.db.write(move |tx| store::removed(tx, &key));
        Ok(removed.await?)
    }
}

/// Notes the blobs of images that were archived, and decides about blobs that are due: at least
/// about one, and no further one once `time` has passed.
pub(super) fn decide_some(
    tx: &mut Tx<'_>,
    now: Timestamp,
    time: Duration,
) -> Result<Decided, Error> {
    let (started, mut decided) = (Instant::now(), Decided::default());
    while store::note_some_blobs(tx)? {
        if started.elapsed() >= time {
            decided.more = true;
            return Ok(decided);
        }
    }
    let due = store::due(tx, now)?;
    for (index, (blob, lease_until)) in due.into_iter().enumerate() {
        // The images of one blob may be thousands of rows.
        if index > 0 && started.elapsed() >= time {
            decided.more = true;
            break;
        }
        let used = store::use_of(tx, &blob.digest)?;
        match placement(blob.size, used, lease_until, now) {
            Placement::Standard => store::look_again(tx, &blob.digest, None)?,
            Placement::Wait(until) => store::look_again(tx, &blob.digest, Some(until))?,
            Placement::Archive => {
                decided.to_store.push(blob);
                continue;
            }
        }
        // What was decided is not due any more.
        decided.more = true;
    }
    Ok(decided)
}

/// Whether the archive gives back the bytes of the blob: reads all of them.
pub(crate) async fn is_whole(
    archive: &blobs::BlobStore,
    archived: &ArchivedBlob,
) -> Result<bool, blobs::Error> {
    let opened = archive.open_blob(&archived.key, archived.stored_size, None);
    let reader = match opened.await {
        Err(blobs::Error::NotFound | blobs::Error::WrongLength { .. }) => return Ok(false),
        reader => reader?,
    };
    let mut pieces: Pieces = encoding::decode(encoding::pieces(reader), archived.encoding)?;
    let (mut hasher, mut size) = (Hasher::new(archived.digest.algorithm()), 0);
    while let Some(piece) = pieces.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) if encoding::is_damage(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        hasher.update(&piece);
        size += piece.len() as u64;
    }
    Ok(size == archived.size && hasher.finish() == archived.digest)
}
