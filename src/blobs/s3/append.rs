//! One append to an upload in a bucket: fills parts, sends them, and stores what is left over.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use object_store::{ObjectStoreExt, PutPayload};
use tokio::task::JoinSet;

use crate::append::Feed;
use crate::error::{AppendError, BodyError, Error, Result};
use crate::key::BlobKey;
use crate::s3::part_slots::{FREE_BYTES, PartSlot};
use crate::s3::{MIB, Objects};
use crate::staging::{BackendState, Parts, Staged};

/// S3's limit is 10,000; the rest is for what an announced size leaves out.
const PARTS_PLANNED: u64 = 9_000;
/// S3's own largest part.
const MAX_PART: u64 = 5 * 1024 * MIB;
/// Parts of one upload on their way at once: one is sent while another one waits for its response.
const PARTS_AT_ONCE: usize = 2;

/// Parts large enough that `announced` bytes fit the number of parts that S3 allows.
pub(crate) fn part_size(least: u64, announced: Option<u64>) -> u64 {
    let needed = announced
        .unwrap_or(0)
        .div_ceil(PARTS_PLANNED)
        .next_multiple_of(MIB);
    needed.clamp(least, MAX_PART)
}

/// A running append: a copy of the upload's state, ahead of the caller's until it settles.
pub(crate) struct Append<'a> {
    objects: &'a Objects,
    staged: Staged,
    parts: Parts,
    /// The object of the caller's state that holds the unfinished part.
    saved_tail: Option<String>,
    /// The object that holds the unfinished part, while it is not in memory.
    parked: Option<String>,
    /// The unfinished part in memory, and its size wherever it is.
    filling: Vec<Bytes>,
    filled: u64,
    slot: Option<PartSlot>,
    /// Parts on their way, each with its index. Dropping the set stops them.
    in_flight: JoinSet<Result<(usize, String)>>,
    touched: bool,
}

impl<'a> Append<'a> {
    pub(crate) fn resume(
        objects: &'a Objects,
        staged: &Staged,
        announced: Option<u64>,
    ) -> Result<Self> {
        let BackendState::Objects(parts) = &staged.state else {
            return Err(Error::Lost);
        };
        if parts.tail > 0 && parts.tail_object.is_none() {
            return Err(Error::Lost);
        }
        let mut parts = parts.clone();
        if parts.part_size == 0 {
            parts.part_size = part_size(objects.part, announced);
        }
        Ok(Self {
            objects,
            staged: staged.clone(),
            saved_tail: parts.tail_object.clone(),
            parked: parts.tail_object.clone(),
            filling: Vec::new(),
            filled: parts.tail,
            slot: None,
            in_flight: JoinSet::new(),
            touched: false,
            parts,
        })
    }

    /// Takes the whole body. The inner result is the sender's: what it sent is kept.
    pub(crate) async fn take_all<S, E>(
        &mut self,
        feed: &mut Feed<S>,
    ) -> Result<Result<(), AppendError>, AppendError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<BodyError>,
    {
        loop {
            if self.slot.as_ref().is_some_and(PartSlot::is_overdue) {
                self.park().await?;
            }
            match self.next_piece(feed).await {
                Ok(Some(piece)) => self.take(piece).await?,
                Ok(None) => return Ok(Ok(())),
                Err(error) if error.keeps() => return Ok(Err(error)),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next piece; while it does not come, lets others have this append's slot.
    async fn next_piece<S, E>(&mut self, feed: &mut Feed<S>) -> Result<Option<Bytes>, AppendError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<BodyError>,
    {
        let mut piece = pin!(feed.piece());
        loop {
            tokio::select! {
                biased;
                piece = &mut piece => return piece,
                () = overdue(self.slot.as_ref()) => self.park().await?,
            }
        }
    }

    async fn take(&mut self, mut piece: Bytes) -> Result<()> {
        self.touched = true;
        self.staged.hasher.update(&piece);
        self.staged.size += piece.len() as u64;
        self.unpark().await?;
        while !piece.is_empty() {
            // A full part is sent only when more follows: an upload of one part stays one object.
            if self.filled == self.parts.part_size {
                self.send_part().await?;
            }
            self.reserve(self.filled + piece.len() as u64).await?;
            let free = usize::try_from(self.parts.part_size - self.filled).unwrap_or(usize::MAX);
            let head = piece.split_to(free.min(piece.len()));
            self.filled += head.len() as u64;
            self.filling.push(head);
        }
        Ok(())
    }

    /// Waits until `bytes` of a part may be in memory.
    async fn reserve(&mut self, bytes: u64) -> Result<()> {
        if self.slot.is_none() && bytes > FREE_BYTES {
            self.slot = Some(self.objects.slots.take().await.ok_or(Error::Lost)?);
        }
        Ok(())
    }

    /// Moves the unfinished part out of memory, into an object.
    async fn park(&mut self) -> Result<()> {
        if !self.filling.is_empty() {
            self.parked = Some(self.put_object().await?);
        }
        self.slot = None;
        Ok(())
    }

    async fn unpark(&mut self) -> Result<()> {
        if let Some(key) = self.parked.take() {
            self.reserve(self.filled).await?;
            let bytes = self.objects.read_back(&key, self.filled).await?;
            self.filling.push(bytes);
            if self.saved_tail.as_ref() != Some(&key) {
                self.objects.remove(&self.objects.path(&key)).await?;
            }
        }
        Ok(())
    }

    /// Stores the unfinished part as an object of a new name.
    async fn put_object(&mut self) -> Result<String> {
        let key = BlobKey::of_object(self.staged.id, self.objects.ids.uuid());
        let path = self.objects.path(key.as_str());
        let payload = self.take_payload();
        self.objects.store.put(&path, payload).await?;
        Ok(key.as_str().to_owned())
    }

    fn take_payload(&mut self) -> PutPayload {
        std::mem::take(&mut self.filling).into_iter().collect()
    }

    async fn send_part(&mut self) -> Result<()> {
        while self.in_flight.len() >= PARTS_AT_ONCE {
            self.join_part().await?;
        }
        let multipart = self.multipart().await?;
        let index = self.parts.ids.len();
        self.parts.ids.push(String::new()); // known when the part is stored
        let payload = self.take_payload();
        let slot = self.slot.take();
        self.filled = 0;
        let path = self.path();
        let store = Arc::clone(&self.objects.multipart);
        self.in_flight.spawn(async move {
            let part = store.put_part(&path, &multipart, index, payload).await?;
            drop(slot);
            Ok((index, part.content_id))
        });
        Ok(())
    }

    async fn join_part(&mut self) -> Result<bool> {
        let Some(part) = self.in_flight.join_next().await else {
            return Ok(false);
        };
        let (index, id) = part??;
        self.parts.ids[index] = id;
        Ok(true)
    }

    async fn multipart(&mut self) -> Result<String> {
        if let Some(multipart) = &self.parts.multipart {
            return Ok(multipart.clone());
        }
        let path = self.path();
        let multipart = self.objects.multipart.create_multipart(&path).await?;
        self.parts.multipart = Some(multipart.clone());
        Ok(multipart)
    }

    /// Stores what is left over, so that nothing of the upload is in this process alone.
    pub(crate) async fn settle(&mut self, last: bool) -> Result<Staged> {
        while self.join_part().await? {}
        if self.touched {
            // Replaced by an earlier append, which the caller recorded since.
            if let Some(old) = self.parts.superseded.take() {
                self.objects.remove(&self.objects.path(&old)).await?;
            }
            self.parts.superseded = self.saved_tail.take();
            self.parts.tail = self.filled;
            self.parts.last_id = None;
            self.parts.tail_object = self.parked.take();
            if !self.filling.is_empty() {
                self.store_tail(last).await?;
            }
        }
        self.staged.state = BackendState::Objects(self.parts.clone());
        Ok(self.staged.clone())
    }

    async fn store_tail(&mut self, last: bool) -> Result<()> {
        let multipart = match &self.parts.multipart {
            Some(multipart) if !self.parts.ids.is_empty() => multipart.clone(),
            _ => {
                self.parts.tail_object = Some(self.put_object().await?);
                return Ok(());
            }
        };
        let store = Arc::clone(&self.objects.multipart);
        let path = self.path();
        let payload: PutPayload = self.filling.iter().cloned().collect();
        let part = store.put_part(&path, &multipart, self.parts.ids.len(), payload);
        if last {
            self.parts.last_id = Some(part.await?.content_id);
        } else {
            let part = async { part.await.map_err(Error::from) };
            let (part, key) = futures_util::future::try_join(part, self.put_object()).await?;
            self.parts.last_id = Some(part.content_id);
            self.parts.tail_object = Some(key);
        }
        Ok(())
    }

    /// Tells the caller's state what a failed append left in the bucket: it keeps none of the
    /// append's bytes, but the multipart upload that it opened is used again.
    pub(crate) fn failed(&self, staged: &mut Staged, error: AppendError) -> AppendError {
        if let BackendState::Objects(parts) = &mut staged.state {
            parts.part_size = self.parts.part_size;
            parts.multipart.clone_from(&self.parts.multipart);
            // The part of this number may have been replaced by one of the failed append.
            if self.touched && parts.tail_object.is_some() {
                parts.last_id = None;
            }
        }
        error
    }

    fn path(&self) -> object_store::path::Path {
        let key = BlobKey::of_upload(self.staged.id);
        self.objects.path(key.as_str())
    }
}

async fn overdue(slot: Option<&PartSlot>) {
    match slot {
        Some(slot) => slot.overdue().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::PART;

    #[test]
    fn parts_grow_with_what_is_announced() {
        assert_eq!(part_size(PART, None), 16 * MIB);
        assert_eq!(part_size(PART, Some(1)), 16 * MIB);
        for size in [100 * 1024 * MIB, 1_000 * 1024 * MIB, 5 * 1024 * 1024 * MIB] {
            let part = part_size(PART, Some(size));
            assert!(
                size.div_ceil(part) <= PARTS_PLANNED && (PART..=MAX_PART).contains(&part),
                "{size}: {part}"
            );
        }
        assert!((100 * 1024 * MIB).div_ceil(PART) < 10_000);
    }
}
