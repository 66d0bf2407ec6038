//! Looks what a collection would remove now, and changes nothing.

use wharfinger_base::Timestamp;

use crate::error::Error;
use crate::gc::collector::Collector;
use crate::gc::verdict::{Verdict, verdict};
use crate::store::survey::{self as store, BlobPosition, LinkPosition};

/// What the collector would do at a moment, and what it may not do yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Links and blobs that were looked at.
    pub seen: u64,
    /// Links that no image needs, of which the lease is over.
    pub links: u64,
    /// Blobs that nothing needs, with their bytes: those that no repository links, and those that
    /// none links once the links above are removed.
    pub blobs: u64,
    pub bytes: u64,
    /// Blobs that no repository links while their lease runs.
    pub leased_blobs: u64,
    pub leased_bytes: u64,
    /// Blobs that are out of the index, and whose bytes are being removed.
    pub condemned_blobs: u64,
    pub condemned_bytes: u64,
    /// Deleted images of which references are left.
    pub deleted_images: u64,
}

impl Survey {
    /// Whether nothing remains to be done now.
    pub fn is_clean(&self) -> bool {
        self.links == 0 && self.blobs == 0 && self.condemned_blobs == 0 && self.deleted_images == 0
    }

    fn add_unlinked(&mut self, size: u64, lease_until: Timestamp, now: Timestamp) {
        match verdict(false, lease_until, now) {
            Verdict::Remove => {
                self.blobs += 1;
                self.bytes += size;
            }
            Verdict::Wait(_) => {
                self.leased_blobs += 1;
                self.leased_bytes += size;
            }
            Verdict::Keep => {}
        }
    }
}

impl Collector {
    /// Looks through everything that may be due, page by page; `progress` is called after each.
    pub async fn survey(&self, mut progress: impl FnMut(&Survey)) -> Result<Survey, Error> {
        let (mut survey, now) = (Survey::default(), self.clock.now());
        let mut after = LinkPosition::default();
        loop {
            let start = after.clone();
            let links = self
                .db
                .read(move |tx| store::links(tx, &start, now))
                .await?;
            for link in &links {
                survey.seen += 1;
                if verdict(link.referenced, link.lease_until, now) == Verdict::Remove {
                    survey.links += 1;
                    if link.is_last {
                        survey.add_unlinked(link.size, link.lease_until, now);
                    }
                }
            }
            progress(&survey);
            match links.into_iter().next_back() {
                Some(last) => after = last.position,
                None => break,
            }
        }
        let mut after = BlobPosition::default();
        loop {
            let start = after.clone();
            let blobs = self.db.read(move |tx| store::blobs(tx, &start)).await?;
            for blob in &blobs {
                survey.seen += 1;
                if !blob.linked {
                    survey.add_unlinked(blob.size, blob.lease_until, now);
                }
            }
            progress(&survey);
            match blobs.into_iter().next_back() {
                Some(last) => after = last.position,
                None => break,
            }
        }
        let (condemned, deleted_images) = self.db.read(store::being_removed).await?;
        (survey.condemned_blobs, survey.condemned_bytes) = condemned;
        survey.deleted_images = deleted_images;
        Ok(survey)
    }
}
