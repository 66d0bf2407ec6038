//! Scans of images: requested, carried out by a reconciler, and read.

pub(crate) mod decide;
mod documents;
pub(crate) mod frequency_events;
mod layers;
pub(crate) mod model;
mod reconciler;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use model::{AppliedScan, Scan, ScanStatus};
pub use reconciler::ScanReconciler;
use wharfinger_base::{Clock, Page};
use wharfinger_db::Db;
use wharfinger_oci::{Manifest, Reference};
use wharfinger_reconcile::Wake;
use wharfinger_scanning::{Advisories, Vulnerability};

use crate::content::Content;
use crate::error::Error;
use crate::images::Images;
use crate::model::{Image, ImageStatus, Repository, RepositoryId};
use crate::scanning_rules::scan_frequency;
use crate::scans::decide::{is_scannable, may_scan};
use crate::store::{images, registry_settings, scans as store};
use crate::uploads::Uploads;

/// Settings of scans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanConfig {
    /// How long after a scan of an image the next one may be requested. ECR has a day.
    pub interval: Duration,
    /// Whether bills of materials are attached to scanned images.
    pub attach_documents: bool,
}

impl Default for ScanConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_hours(24),
            attach_documents: true,
        }
    }
}

/// Operations on scans.
#[derive(Clone)]
pub struct Scans {
    db: Db,
    clock: Clock,
    images: Images,
    uploads: Uploads,
    content: Content,
    advisories: Advisories,
    config: Arc<ScanConfig>,
    wake: Wake,
    counts: Arc<ScanCounts>,
}

/// What this server's scans came to.
#[derive(Debug, Default)]
pub struct ScanCounts {
    complete: AtomicU64,
    failed: AtomicU64,
}

impl ScanCounts {
    /// Scans that found out what they could, and those that failed.
    pub fn ended(&self) -> (u64, u64) {
        (self.complete.load(Relaxed), self.failed.load(Relaxed))
    }
}

impl Scans {
    pub(super) fn new(
        (db, clock): (Db, Clock),
        (images, uploads, content): (Images, Uploads, Content),
        advisories: Advisories,
        config: ScanConfig,
        wake: Wake,
    ) -> Self {
        Self {
            db,
            clock,
            images,
            uploads,
            content,
            advisories,
            config: Arc::new(config),
            wake,
            counts: Arc::default(),
        }
    }

    /// Requests a scan of an image. Returns the image and its scan, which waits.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::ImageArchived`], [`Error::UnsupportedImage`],
    /// [`Error::ScanQuota`].
    pub async fn start(
        &self,
        repository: RepositoryId,
        reference: &Reference,
    ) -> Result<Image, Error> {
        let (reference, now) = (reference.clone(), self.clock.now());
        let interval = self.config.interval;
        let request = self.db.write(move |tx| {
            let found = images::stored(tx, repository, &reference)?;
            let stored = found.ok_or_else(|| Error::NoSuchImage(reference.clone()))?;
            let image = stored.image;
            if image.status != ImageStatus::Active {
                return Err(Error::ImageArchived(image.digest));
            }
            let manifest = Manifest::parse(&stored.bytes, Some(image.media_type.as_str()))?;
            if !is_scannable(&manifest) {
                return Err(Error::UnsupportedImage);
            }
            if !may_scan(store::of_image(tx, image.id)?.as_ref(), interval, now) {
                return Err(Error::ScanQuota);
            }
            store::request(tx, repository, image.id, now)?;
            Ok(image)
        });
        let image = request.await?;
        self.wake.wake();
        Ok(image)
    }

    /// The last scan of an image, if it was ever scanned.
    pub async fn of_image(&self, image: &Image) -> Result<Option<Scan>, Error> {
        let id = image.id;
        let read = self.db.get(move |tx| store::of_image(tx, id));
        Ok(read.await?)
    }

    /// How the images of a repository are scanned, by the configuration of its registry.
    pub async fn applied(&self, repository: &Repository) -> Result<AppliedScan, Error> {
        let registry = repository.registry.clone();
        let read = self
            .db
            .get(move |tx| registry_settings::scanning(tx, &registry));
        let configuration = read.await?;
        let on_push = repository.settings.scan_on_push;
        let applied = scan_frequency(&configuration, &repository.name, on_push);
        Ok(AppliedScan {
            scan_type: configuration.scan_type,
            frequency: applied.frequency,
        })
    }

    /// The last scans of some images, by the image's row number.
    pub async fn of_images(&self, images: Vec<i64>) -> Result<BTreeMap<i64, Scan>, Error> {
        let read = self.db.read(move |tx| store::of_images(tx, &images));
        Ok(read.await?)
    }

    /// Up to `limit` findings of a scan from a position on; the page's key is the position of the
    /// next one.
    pub async fn findings(
        &self,
        image: &Image,
        scan: &Scan,
        from: i64,
        limit: usize,
    ) -> Result<Page<Vulnerability, i64>, Error> {
        let (id, result) = (image.id, scan.result);
        let rows = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let read = self
            .db
            .read(move |tx| store::findings(tx, id, result, from, rows));
        let mut found = read.await?;
        let next = (found.len() > limit).then(|| found.pop()).flatten();
        let parse = |(_, document): &(i64, String)| {
            serde_json::from_str(document)
                .map_err(|_| Error::Index(wharfinger_db::Error::other("a stored finding")))
        };
        Ok(Page {
            items: found.iter().map(parse).collect::<Result<_, Error>>()?,
            next: next.map(|(position, _)| position),
        })
    }

    /// What this server's scans came to, for metrics.
    pub fn counts(&self) -> Arc<ScanCounts> {
        Arc::clone(&self.counts)
    }

    /// The reconciler that carries scans out, one at a time.
    pub fn reconciler(&self) -> ScanReconciler {
        ScanReconciler(self.clone())
    }
}
