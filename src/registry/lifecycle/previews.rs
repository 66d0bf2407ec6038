//! Previews of lifecycle policies: made in the background, stored for a while, read in pages.

use std::time::Duration;

use wharfinger_base::Page;
use wharfinger_db::Tx;
use wharfinger_oci::Reference;

use crate::error::Error;
use crate::lifecycle::plan::{Plan, Purpose, plan};
use crate::lifecycle::policy::{Action, LifecyclePolicy};
use crate::lifecycle::results::{Preview, PreviewResult, PreviewStatus};
use crate::lifecycle::service::{Lifecycle, check_exists, stored};
use crate::model::{Repository, RepositoryId, TagStatus};
use crate::repositories::rows;
use crate::store::previews::{self as store, PreviewRow};
use crate::store::{images, lifecycle};

/// How long a preview may take. After that its server has died or been overtaken.
const DEADLINE: Duration = Duration::from_mins(30);
/// How long its results are kept.
const KEPT: Duration = Duration::from_hours(24);
/// Most results that are kept: ECR's quota of images of a repository. The counts are of all.
const MAX_RESULTS: u64 = 100_000;
/// Results stored in one transaction: some ten milliseconds.
const BATCH: usize = 100;

type Results = Page<PreviewResult, i64>;

/// What a page of a preview shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewPage {
    pub preview: Preview,
    /// Names this preview among all; positions belong to it.
    pub id: String,
    /// None until it is complete, and once it is expired.
    pub results: Page<PreviewResult, i64>,
}

impl Lifecycle {
    /// Begins a preview of the text, or of the repository's policy without one, and returns the
    /// text.
    ///
    /// # Errors
    /// [`Error::LifecyclePolicy`], [`Error::NoLifecyclePolicy`],
    /// [`Error::LifecyclePreviewInProgress`].
    pub async fn start_preview(
        &self,
        repository: &Repository,
        text: Option<String>,
    ) -> Result<String, Error> {
        if let Some(text) = &text {
            LifecyclePolicy::parse(text)?;
        }
        let (of, id, now) = (
            repository.clone(),
            self.ids.uuid().to_string(),
            self.clock.now(),
        );
        let new_id = id.clone();
        let begin = move |tx: &mut Tx<'_>| {
            check_exists(tx, &of)?;
            let text = match &text {
                Some(text) => text.clone(),
                None => stored(tx, &of)?.text,
            };
            let last = store::find(tx, of.id)?;
            let is_under_way = |last: PreviewRow| {
                last.preview.status == PreviewStatus::InProgress && last.ends_at > now
            };
            if last.is_some_and(is_under_way) {
                return Err(Error::LifecyclePreviewInProgress {
                    name: of.name.clone(),
                    registry: of.registry.clone(),
                });
            }
            store::begin(tx, of.id, &new_id, &text, now.plus(DEADLINE))?;
            Ok(text)
        };
        let text = self.db.write(begin).await?;
        let making = self.clone().make_preview(repository.id, id, text.clone());
        tokio::spawn(making);
        Ok(text)
    }

    async fn make_preview(self, repository: RepositoryId, id: String, text: String) {
        let made = self.store_results(repository, &id, &text).await;
        let (status, counts) = match made {
            // Another one has taken its place, or the repository is gone.
            Ok(None) => return,
            Ok(Some(counts)) => (PreviewStatus::Complete, counts),
            Err(error) => {
                tracing::warn!(%error, repository = repository.0, "a lifecycle preview failed");
                (PreviewStatus::Failed, (0, 0))
            }
        };
        let ends_at = self.clock.now().plus(KEPT);
        let end = move |tx: &mut Tx<'_>| store::end(tx, &id, status, counts, ends_at);
        if let Err(error) = self.db.write(end).await {
            tracing::warn!(%error, repository = repository.0, "a lifecycle preview was not ended");
        }
    }

    /// Makes and stores the results. Returns how many images expire and how many go to the archive;
    /// `None` once the preview is no longer the repository's last one.
    async fn store_results(
        &self,
        repository: RepositoryId,
        id: &str,
        text: &str,
    ) -> Result<Option<(u64, u64)>, Error> {
        // The semaphore is never closed.
        let _permit = self.previews.acquire().await.ok();
        let policy = LifecyclePolicy::parse(text)?;
        let (purpose, now) = (Purpose::Preview(id.to_owned()), self.clock.now());
        let Some(plan) = plan(&self.db, repository, &policy, now, &purpose).await? else {
            return Ok(None);
        };
        let mut position = 0;
        for batch in plan.actions.chunks(BATCH) {
            if position >= MAX_RESULTS {
                break;
            }
            let (batch, policy, id) = (batch.to_vec(), policy.clone(), id.to_owned());
            let write = move |tx: &mut Tx<'_>| {
                if !store::is_in_progress(tx, &id)? {
                    return Ok::<_, Error>(None);
                }
                let mut next = position;
                for planned in &batch {
                    let Some(row) = lifecycle::candidate(tx, repository, planned.image)? else {
                        continue;
                    };
                    let verdict = planned.verdict();
                    let result = PreviewResult {
                        digest: row.digest,
                        tags: row.candidate.tags,
                        pushed_at: row.pushed_at,
                        class: row.candidate.class,
                        action: verdict.action,
                        priority: policy.rules()[verdict.rule].priority,
                    };
                    store::add_result(tx, &id, next, &result)?;
                    next += 1;
                }
                Ok(Some(next))
            };
            match self.db.write(write).await? {
                Some(next) => position = next,
                None => return Ok(None),
            }
        }
        Ok(Some(counts(&plan)))
    }

    /// Evaluates the repository's policy and changes nothing. Returns how many images would expire
    /// and how many would go to the archive; `None` where it has no policy.
    pub async fn dry_run(&self, repository: RepositoryId) -> Result<Option<(u64, u64)>, Error> {
        let Some(row) = self
            .db
            .get(move |tx| lifecycle::find(tx, repository))
            .await?
        else {
            return Ok(None);
        };
        let policy = LifecyclePolicy::parse(&row.text)?;
        let (purpose, now) = (Purpose::DryRun, self.clock.now());
        let plan = plan(&self.db, repository, &policy, now, &purpose).await?;
        Ok(plan.as_ref().map(counts))
    }

    /// A page of the repository's last preview: up to `limit` results at positions after `after`.
    ///
    /// # Errors
    /// [`Error::NoLifecyclePreview`].
    pub async fn preview(
        &self,
        repository: &Repository,
        status: TagStatus,
        after: i64,
        limit: usize,
    ) -> Result<PreviewPage, Error> {
        self.read_preview(repository, move |tx, id| {
            let found = store::results(tx, id, status, after, rows(limit))?;
            let page = Page::of(found, limit, |(position, _)| *position);
            Ok(page.map(|(_, result)| result))
        })
        .await
    }

    /// The repository's last preview, with its results for the named images.
    ///
    /// # Errors
    /// [`Error::NoLifecyclePreview`].
    pub async fn preview_of(
        &self,
        repository: &Repository,
        named: Vec<Reference>,
    ) -> Result<PreviewPage, Error> {
        let id = repository.id;
        self.read_preview(repository, move |tx, preview| {
            let mut items: Vec<PreviewResult> = Vec::new();
            for reference in &named {
                let Some(image) = images::locate(tx, id, reference)? else {
                    continue;
                };
                if items.iter().any(|item| item.digest == image.digest) {
                    continue;
                }
                items.extend(store::result_of(tx, preview, &image.digest)?);
            }
            Ok(Page { items, next: None })
        })
        .await
    }

    async fn read_preview(
        &self,
        repository: &Repository,
        results: impl Fn(&mut Tx<'_>, &str) -> Result<Results, Error> + Send + 'static,
    ) -> Result<PreviewPage, Error> {
        let (repository, now) = (repository.clone(), self.clock.now());
        self.db
            .read(move |tx| {
                let found = store::find(tx, repository.id)?;
                let row = found.ok_or_else(|| Error::NoLifecyclePreview {
                    name: repository.name.clone(),
                    registry: repository.registry.clone(),
                })?;
                let mut preview = row.preview;
                if row.ends_at <= now {
                    preview.status = match preview.status {
                        PreviewStatus::InProgress => PreviewStatus::Failed,
                        PreviewStatus::Complete => PreviewStatus::Expired,
                        ended => ended,
                    };
                }
                let results = if preview.status == PreviewStatus::Complete {
                    results(tx, &row.id)?
                } else {
                    Page {
                        items: Vec::new(),
                        next: None,
                    }
                };
                Ok(PreviewPage {
                    preview,
                    id: row.id,
                    results,
                })
            })
            .await
    }

    /// Lets previews expire, and removes some results of those that are no longer shown. Returns
    /// how many rows it removed.
    pub(super) async fn remove_old_results(&self) -> Result<u64, Error> {
        let now = self.clock.now();
        // Writes only where something is to be done: each commit costs other readers what they have
        // in memory.
        if self.db.get(move |tx| store::any_to_expire(tx, now)).await? {
            self.db.write(move |tx| store::expire(tx, now)).await?;
        }
        let old = self.db.read(|tx| {
            let mut after = String::new();
            while let Some(id) = store::next_with_results(tx, &after)? {
                if !store::keeps_results(tx, &id)? {
                    return Ok::<_, Error>(Some(id));
                }
                after = id;
            }
            Ok(None)
        });
        let Some(old) = old.await? else { return Ok(0) };
        let remove = move |tx: &mut Tx<'_>| store::remove_some_results(tx, &old);
        Ok(self.db.write(remove).await?)
    }
}

fn counts(plan: &Plan) -> (u64, u64) {
    let expiring = plan
        .actions
        .iter()
        .filter(|planned| planned.verdict().action == Action::Expire)
        .count();
    (expiring as u64, (plan.actions.len() - expiring) as u64)
}
