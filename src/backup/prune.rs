//! Removes old backups, and the blobs that no other backup names.
//!
//! Blobs and the rows of each table that name them come in the order of digests, so that they are
//! compared page by page, however many there are.

use std::cmp::Ordering;

use wharfinger_blobs::{BlobKey, StoredObject};

use crate::backup_store::BackupStore;
use crate::error::BackupError;
use crate::manifest::{ARCHIVED, BLOBS, BackupId, BackupManifest};
use crate::rows::{BlobRows, read_part};

/// Objects of one page of the listing.
const PAGE: usize = 1_000;

/// A removal of old backups.
pub struct Prune {
    pub target: BackupStore,
    /// How many of the newest backups stay; at least one.
    pub keep: usize,
}

/// What was removed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub backups: u64,
    pub blobs: u64,
    pub bytes: u64,
}

/// The blobs of one table of a backup that stays, and the next of them.
struct Names<'a> {
    rows: BlobRows<'a>,
    next: Option<BlobKey>,
}

impl Names<'_> {
    /// Whether the backup names the key. Keys come in order.
    async fn has(&mut self, key: &BlobKey) -> Result<bool, BackupError> {
        loop {
            match self.next.as_ref().map(|next| next.cmp(key)) {
                None | Some(Ordering::Greater) => return Ok(false),
                Some(Ordering::Equal) => return Ok(true),
                Some(Ordering::Less) => self.advance().await?,
            }
        }
    }

    async fn advance(&mut self) -> Result<(), BackupError> {
        let row = self.rows.next().await?;
        self.next = row.map(|row| BlobKey::of_blob(&row.digest));
        Ok(())
    }
}

impl Prune {
    /// Removes. The caller has locked the target. `progress` is called after each page.
    ///
    /// # Errors
    /// Where a backup that stays cannot be read: nothing is removed then, since the older ones may
    /// be all that there is.
    pub async fn run(&self, mut progress: impl FnMut(Pruned)) -> Result<Pruned, BackupError> {
        let target = &self.target;
        target.remove_unfinished().await?;
        let mut all = target.backups().await?;
        if all.is_empty() {
            // A wrong folder must not lose its blobs.
            return Err(BackupError::NoBackup);
        }
        let mut pruned = Pruned::default();
        let stay = all.split_off(all.len().saturating_sub(self.keep.max(1)));
        let mut kept: Vec<(BackupId, BackupManifest)> = Vec::new();
        for id in stay {
            let manifest = target.manifest(&id).await?;
            for part in 1..=manifest.parts.len() as u64 {
                read_part(&target.store, &id, &manifest, part).await?;
            }
            kept.push((id, manifest));
        }
        for id in &all {
            target.remove(id).await?;
            pruned.backups += 1;
            progress(pruned);
        }
        let mut names = Vec::new();
        for (id, manifest) in &kept {
            for table in [BLOBS, ARCHIVED] {
                let rows = BlobRows::of_table(&target.store, id, manifest, table);
                let mut one = Names { rows, next: None };
                one.advance().await?;
                names.push(one);
            }
        }
        let mut after: Option<BlobKey> = None;
        loop {
            let page = target.store.objects(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(pruned);
            };
            after = Some(last.key.clone());
            // All of a page first: an unreadable backup is found before anything of it is removed.
            for object in unnamed(&mut names, page).await? {
                target.store.delete(&object.key).await?;
                pruned.blobs += 1;
                pruned.bytes += object.size;
            }
            progress(pruned);
        }
    }
}

/// The objects that none of the backups names.
async fn unnamed(
    names: &mut [Names<'_>],
    page: Vec<StoredObject>,
) -> Result<Vec<StoredObject>, BackupError> {
    let mut found = Vec::new();
    for object in page {
        let mut is_named = false;
        for one in &mut *names {
            is_named |= one.has(&object.key).await?;
        }
        if !is_named {
            found.push(object);
        }
    }
    Ok(found)
}
