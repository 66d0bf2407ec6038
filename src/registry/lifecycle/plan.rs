//! What a policy does with the images of a repository: one function for previews and evaluations.
//!
//! The images are read newest first, a page at a time, and only those that are acted on are
//! remembered, at 16 bytes each.

use wharfinger_base::{Clock, Timestamp};
use wharfinger_db::{Db, Tx};
use wharfinger_oci::Digest;

use crate::error::Error;
use crate::lifecycle::evaluation::{Evaluation, Verdict};
use crate::lifecycle::policy::{Action, LifecyclePolicy};
use crate::model::{ImageStatus, RepositoryId};
use crate::store::lifecycle::{self as store, Age};
use crate::store::{images, previews};

/// Images on a page. Each may have 1,000 tags, which are in memory together.
const PAGE: i64 = 250;
/// Pages between two questions whether to go on: some hundred milliseconds.
const PAGES_UNASKED: usize = 100;
/// Most actions of a plan, 16 MB in memory. Where a policy acts on more images, the next evaluation
/// goes on.
pub(super) const MAX_ACTIONS: usize = 1_000_000;
/// Referrers that one query reads.
const REFERRERS: i64 = 100;

/// An action on one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// The image's row number.
    pub(super) image: i64,
    /// How many places further on the image is on which the policy acts. It is not 0 for referrers,
    /// on which the same is done because their subject is that image or a referrer of it. They come
    /// before it, so that where an evaluation is interrupted no referrer is left without its
    /// subject.
    pub(super) ahead: u32,
    rule: u8,
    action: Action,
}

impl Planned {
    pub(super) fn verdict(self) -> Verdict {
        Verdict {
            rule: usize::from(self.rule),
            action: self.action,
        }
    }
}

/// All actions of an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) actions: Vec<Planned>,
    /// The policy acts on more images than a plan holds.
    pub(super) is_cut: bool,
}

/// What a plan is made for. It is not finished once that is gone.
pub(super) enum Purpose {
    /// An evaluation under a claim on the policy's row, which has this version.
    Evaluation {
        version: u64,
        clock: Clock,
    },
    /// The preview with this id.
    Preview(String),
    DryRun,
}

impl Purpose {
    /// Whether the plan is still of use. Makes a claim last longer.
    async fn remains(&self, db: &Db, repository: RepositoryId) -> Result<bool, Error> {
        match self {
            Self::Evaluation { version, clock } => {
                let (version, now) = (*version, clock.now());
                let renew = move |tx: &mut Tx<'_>| store::renew(tx, repository, version, now);
                Ok(db.write(renew).await?)
            }
            Self::Preview(id) => {
                let id = id.clone();
                Ok(db.get(move |tx| previews::is_in_progress(tx, &id)).await?)
            }
            Self::DryRun => Ok(true),
        }
    }
}

/// Evaluates the policy over the images that the repository has. Returns `None` where the purpose
/// is found to be gone.
pub(super) async fn plan(
    db: &Db,
    repository: RepositoryId,
    policy: &LifecyclePolicy,
    now: Timestamp,
    purpose: &Purpose,
) -> Result<Option<Plan>, Error> {
    let mut evaluation = Evaluation::new(policy, now);
    let mut plan = Plan::default();
    let mut before = Age::NEWEST;
    for page in 1_usize.. {
        let rows = db
            .read(move |tx| store::candidates(tx, repository, before, PAGE))
            .await?;
        let Some(oldest) = rows.last() else { break };
        before = store::age(oldest);
        let mut acted_on = Vec::new();
        for row in rows {
            if let Some(verdict) = evaluation.next(&row.candidate) {
                acted_on.push((row.id, row.digest, verdict));
            }
        }
        if !acted_on.is_empty() {
            let limit = MAX_ACTIONS.saturating_sub(plan.actions.len());
            let read = move |tx: &mut Tx<'_>| with_referrers(tx, repository, &acted_on, limit);
            let more = db.read(read).await?;
            plan.actions.extend(more.actions);
            if more.is_cut {
                plan.is_cut = true;
                break;
            }
        }
        if page.is_multiple_of(PAGES_UNASKED) && !purpose.remains(db, repository).await? {
            return Ok(None);
        }
    }
    Ok(Some(plan))
}

/// The actions on these images and on their referrers, up to `limit`.
fn with_referrers(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    acted_on: &[(i64, Digest, Verdict)],
    limit: usize,
) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    for (image, digest, verdict) in acted_on {
        let left = limit - plan.actions.len();
        let Some(followers) = followers(tx, repository, digest, verdict.action, left)? else {
            plan.is_cut = true;
            break;
        };
        let count = followers.len();
        let planned = |(place, image): (usize, i64)| Planned {
            image,
            // At most `MAX_ACTIONS`.
            ahead: u32::try_from(count - place).unwrap_or(u32::MAX),
            // At most 50.
            rule: u8::try_from(verdict.rule).unwrap_or(u8::MAX),
            action: verdict.action,
        };
        let all = followers.into_iter().chain([*image]).enumerate();
        plan.actions.extend(all.map(planned));
    }
    Ok(plan)
}

/// The referrers of an image and theirs, on which to act with it: those further from it first.
/// Members of an index stay, and so do their referrers. `None` where there are as many as `limit`.
pub(super) fn followers(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    subject: &Digest,
    action: Action,
    limit: usize,
) -> Result<Option<Vec<i64>>, Error> {
    if limit == 0 {
        return Ok(None);
    }
    let (mut subjects, mut next, mut followers) = (vec![*subject], 0, Vec::new());
    while let Some(subject) = subjects.get(next).copied() {
        next += 1;
        let mut after = (String::new(), Vec::new());
        loop {
            let position = (after.0.as_str(), after.1.as_slice());
            let page = images::referrers(tx, repository, &subject, position, REFERRERS)?;
            let Some(last) = page.last() else { break };
            after = (
                last.artifact_type.clone().unwrap_or_default(),
                last.digest.to_stored(),
            );
            for referrer in page {
                if images::index_naming(tx, repository, &referrer.digest)?.is_some() {
                    continue;
                }
                subjects.push(referrer.digest);
                let is_done = action == Action::Archive && referrer.status == ImageStatus::Archived;
                if !is_done {
                    followers.push(referrer.id);
                }
                if subjects.len() > limit {
                    return Ok(None);
                }
            }
        }
    }
    followers.reverse();
    Ok(Some(followers))
}
