//! Carries out scans, one at a time: reads layers, keeps the packages, and compares them with
//! advisories, again whenever those change.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use wharfinger_base::{Chain, Timestamp};
use wharfinger_oci::Manifest;
use wharfinger_reconcile::{Pass, Reconciler, Wake};
use wharfinger_scanning::{Comparison, Inventory, Vulnerability};

use crate::error::Error;
use crate::events::RegistryEvent;
use crate::model::{ImageStatus, Repository, StoredManifest};
use crate::scans::decide::{self, Outcome};
use crate::scans::layers::{ReadLayersError, SCAN_TIME, read_inventory};
use crate::scans::model::ScanStatus;
use crate::scans::{Scans, documents};
use crate::store::scans::{self as store, ScanClaim, ScanResult, ScanWork};
use crate::store::{images, repositories, tags};

/// How long a claim holds: the layers are read for [`SCAN_TIME`] at most, and the rest is short.
const CLAIM: Duration = SCAN_TIME.saturating_add(Duration::from_mins(5));
/// Pause before it is seen whether an archived image is restored, and its layers can be read.
const ARCHIVED_PAUSE: Duration = Duration::from_hours(1);
/// The same of an image that is being restored, which takes minutes.
const ACTIVATING_PAUSE: Duration = Duration::from_mins(1);
/// Findings that one transaction writes.
const FINDINGS_AT_ONCE: usize = 50;
/// Tags of an image that its event names.
const TAGS_NAMED: i64 = 100;

/// The reconciler of scans. A pass does one piece of work.
pub struct ScanReconciler(pub(super) Scans);

impl Reconciler for ScanReconciler {
    const NAME: &'static str = "image-scan";
    const EVERY: Duration = Duration::from_secs(10);

    fn wake(&self) -> Wake {
        self.0.wake.clone()
    }

    async fn pass(&mut self, now: Timestamp) -> anyhow::Result<Pass> {
        let again = self.0.work(now).await?;
        Ok(Pass {
            seen: usize::from(again),
            done: usize::from(again),
            again,
        })
    }
}

/// What the work on a scan needs.
struct Subject {
    repository: Repository,
    image: StoredManifest,
    manifest: Manifest,
}

/// Why a scan came to nothing this time.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error(transparent)]
    Registry(#[from] Error),
    #[error(transparent)]
    Layers(#[from] ReadLayersError),
    #[error(transparent)]
    Advisories(#[from] wharfinger_scanning::AdvisoryError),
}

impl From<wharfinger_db::Error> for WorkError {
    fn from(error: wharfinger_db::Error) -> Self {
        Self::Registry(Error::Index(error))
    }
}

impl Scans {
    /// Does one piece of work. Returns false where there was none.
    pub(super) async fn work(&self, now: Timestamp) -> Result<bool, Error> {
        let state = self.advisories.state().await;
        let key = match state {
            Ok(state) => state.key,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "advisories cannot be read");
                return Ok(false);
            }
        };
        // Work that ends the whole server is tried less often, too.
        let until = move |attempt| now.plus(CLAIM.max(decide::stopped(attempt).pause));
        let claim = self.db.write(move |tx| store::claim(tx, &key, now, until));
        let Some(claim) = claim.await? else {
            return Ok(false);
        };
        if claim.work == ScanWork::Remove {
            self.remove(&claim).await?;
            return Ok(true);
        }
        let Some(subject) = self.subject(&claim).await? else {
            // The image or its repository was deleted since.
            let image = claim.image;
            self.db.write(move |tx| store::abandon(tx, image)).await?;
            return Ok(true);
        };
        if let Err(error) = self.scan(&claim, &subject).await {
            self.stopped(&claim, &subject, &error).await?;
        }
        Ok(true)
    }

    /// Puts off work that an error of ours stopped. After some attempts the scan has failed, and
    /// is tried less often.
    async fn stopped(
        &self,
        claim: &ScanClaim,
        subject: &Subject,
        error: &WorkError,
    ) -> Result<(), Error> {
        let stopped = decide::stopped(claim.attempts);
        let (image, why) = (subject.image.image.digest, Chain(error).to_string());
        if stopped.fails {
            tracing::error!(%image, error = why, "a scan failed");
            let outcome = Outcome::stopped(stopped.pause);
            return self.finish(claim, subject, outcome, None, &[]).await;
        }
        tracing::warn!(%image, error = why, "a scan is tried again");
        let (claim, due) = (claim.clone(), self.clock.now().plus(stopped.pause));
        self.db
            .write(move |tx| store::put_off(tx, &claim, due))
            .await?;
        Ok(())
    }

    /// Loads what a claim is about.
    async fn subject(&self, claim: &ScanClaim) -> Result<Option<Subject>, Error> {
        let claim = claim.clone();
        let read = self.db.read(move |tx| {
            let Some((registry, name)) = repositories::name_of(tx, claim.repository)? else {
                return Ok(None);
            };
            let row = repositories::by_name(tx, &registry, &name)?;
            let image = images::stored_by_id(tx, claim.image)?;
            Ok::<_, Error>(row.zip(image))
        });
        let Some((row, image)) = read.await? else {
            return Ok(None);
        };
        let media_type = image.image.media_type.as_str();
        let manifest = Manifest::parse(&image.bytes, Some(media_type))?;
        Ok(Some(Subject {
            repository: row.with_policies(None, None),
            image,
            manifest,
        }))
    }

    async fn scan(&self, claim: &ScanClaim, subject: &Subject) -> Result<(), WorkError> {
        let stored = match claim.work {
            ScanWork::Compare => self.stored_inventory(claim).await?,
            ScanWork::Scan | ScanWork::Remove => None,
        };
        let pause = match subject.image.image.status {
            ImageStatus::Active => None,
            ImageStatus::Activating => Some(ACTIVATING_PAUSE),
            ImageStatus::Archived => Some(ARCHIVED_PAUSE),
        };
        let inventory = match (stored, pause) {
            (Some(inventory), _) => inventory,
            (None, Some(pause)) => {
                let (kept, due) = (claim.clone(), self.clock.now().plus(pause));
                let wait = self.db.write(move |tx| store::wait(tx, &kept, due));
                wait.await?;
                return Ok(());
            }
            (None, None) => match self.read(claim, subject).await? {
                Ok(inventory) => inventory,
                Err(outcome) => {
                    self.finish(claim, subject, outcome, None, &[]).await?;
                    return Ok(());
                }
            },
        };
        let comparison = self.advisories.compare(&inventory).await?;
        let missing: Vec<String> = comparison.missing.iter().cloned().collect();
        let outcome = match comparison.vulnerabilities {
            Some(_) => decide::outcome(&inventory, &missing, comparison.covered.len()),
            None => Outcome::too_many_findings(),
        };
        let found = match (outcome.status, &comparison.vulnerabilities) {
            (ScanStatus::Complete, Some(found)) => found.as_slice(),
            _ => &[],
        };
        let known = self.finish(claim, subject, outcome, Some(&comparison), found);
        Ok(known.await?)
    }

    /// Reads the layers, or tells why they are not read. Keeps the packages and attaches the
    /// documents about them.
    async fn read(
        &self,
        claim: &ScanClaim,
        subject: &Subject,
    ) -> Result<Result<Inventory, Outcome>, WorkError> {
        let manifest = &subject.manifest;
        if let Some(outcome) = decide::refusal(manifest) {
            return Ok(Err(outcome));
        }
        let read = read_inventory(&self.content, claim.repository, manifest).await;
        let inventory = match read {
            Ok(inventory) => inventory,
            Err(ReadLayersError::Layer(error)) => match decide::unreadable(&error) {
                Some(outcome) => return Ok(Err(outcome)),
                None => return Err(ReadLayersError::Layer(error).into()),
            },
            Err(error) => return Err(error.into()),
        };
        let text = serde_json::to_string(&inventory)
            .map_err(|_| wharfinger_db::Error::other("an inventory"))?;
        let kept = claim.clone();
        let keep = self.db.write(move |tx| {
            if store::holds(tx, &kept)? {
                store::put_inventory(tx, kept.image, &text)?;
            }
            Ok::<_, Error>(())
        });
        keep.await?;
        if self.config.attach_documents && !inventory.packages.is_empty() {
            let (images, uploads) = (&self.images, &self.uploads);
            let repository = &subject.repository;
            documents::attach(
                images,
                uploads,
                repository,
                &subject.image,
                manifest,
                &inventory,
            )
            .await?;
        }
        Ok(Ok(inventory))
    }

    async fn stored_inventory(&self, claim: &ScanClaim) -> Result<Option<Inventory>, Error> {
        let image = claim.image;
        let text = self.db.read(move |tx| store::inventory(tx, image)).await?;
        // A text that an older version wrote is no reason to fail: the layers are read again.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Writes the findings, makes them the ones that count, and removes the former ones.
    async fn finish(
        &self,
        claim: &ScanClaim,
        subject: &Subject,
        outcome: Outcome,
        comparison: Option<&Comparison>,
        found: &[Vulnerability],
    ) -> Result<(), Error> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut position = 0_i64;
        for batch in found.chunks(FINDINGS_AT_ONCE) {
            let mut rows = Vec::with_capacity(batch.len());
            for vulnerability in batch {
                let severity = vulnerability.severity.as_str().to_owned();
                *counts.entry(severity).or_default() += 1;
                let text = serde_json::to_string(vulnerability)
                    .map_err(|_| wharfinger_db::Error::other("a finding"))?;
                rows.push((position, text));
                position += 1;
            }
            let claim = claim.clone();
            let write = self.db.write(move |tx| {
                let mut rows = rows.iter();
                rows.try_for_each(|(position, text)| {
                    store::put_finding(tx, &claim, *position, text)
                })
            });
            write.await?;
        }
        let (status, now) = (outcome.status, self.clock.now());
        let state = comparison.map(|comparison| comparison.state.clone());
        let (kept, event, events) = (
            claim.clone(),
            event(subject, status, &counts),
            self.images.effects.events.clone(),
        );
        let (registry, repository) = (subject.repository.registry.clone(), subject.repository.id);
        let image = subject.image.image.id;
        let ended = self.db.write(move |tx| {
            let result = ScanResult {
                status,
                description: &outcome.description,
                advisories: state.as_ref().map(|state| state.key.as_str()),
                advisories_at: state.as_ref().and_then(|state| state.updated_at),
                counts: &counts,
                again_at: outcome.again_after.map(|pause| now.plus(pause)),
            };
            if !store::finish(tx, &kept, &result, now)? {
                return Ok(false);
            }
            if events.is_open() && repositories::exists(tx, repository)? {
                let mut event = event.clone();
                if let RegistryEvent::ImageScan { tags: named, .. } = &mut event {
                    *named = tags::of_image(tx, image, "", TAGS_NAMED)?;
                }
                events.record(tx, &registry, &event, now)?;
            }
            Ok::<_, Error>(true)
        });
        if ended.await? {
            self.images.effects.events.wake();
            let count = match status {
                ScanStatus::Failed => &self.counts.failed,
                _ => &self.counts.complete,
            };
            count.fetch_add(1, Relaxed);
        }
        self.remove_findings(claim).await
    }

    /// Removes findings of earlier results, in steps.
    async fn remove_findings(&self, claim: &ScanClaim) -> Result<(), Error> {
        let (image, result) = (claim.image, claim.version);
        while self
            .db
            .write(move |tx| store::remove_findings(tx, image, result))
            .await?
        {}
        Ok(())
    }

    /// Removes everything of an image that is gone.
    async fn remove(&self, claim: &ScanClaim) -> Result<(), Error> {
        self.remove_findings(claim).await?;
        let claim = claim.clone();
        Ok(self.db.write(move |tx| store::remove(tx, &claim)).await?)
    }
}

/// The event of an ended scan, without the tags, which its transaction reads.
fn event(subject: &Subject, status: ScanStatus, counts: &BTreeMap<String, u64>) -> RegistryEvent {
    RegistryEvent::ImageScan {
        repository: subject.repository.name.clone(),
        digest: subject.image.image.digest,
        tags: Vec::new(),
        status: match status {
            ScanStatus::Complete => "COMPLETE",
            _ => "FAILED",
        },
        severity_counts: counts.clone(),
    }
}
