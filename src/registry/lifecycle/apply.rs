//! Carries out a plan, in short transactions. Each looks again at the images that it changes: an
//! image that is no longer as it was evaluated is left to the next evaluation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wharfinger_base::{Clock, Timestamp};
use wharfinger_db::{Db, Tx};

use crate::error::Error;
use crate::image_deletion;
use crate::lifecycle::evaluation::still_stands;
use crate::lifecycle::plan::{Plan, Planned};
use crate::lifecycle::policy::{Action, LifecyclePolicy};
use crate::model::RepositoryId;
use crate::push_effects::PushEffects;
use crate::store::{image_status, lifecycle as store};

/// A step acts on images until this much time has passed. With the last image and the commit it
/// stays well below 50 ms, which is the longest that other writes may have to wait.
const STEP_TIME: Duration = Duration::from_millis(10);

/// An evaluation that a policy's claim permits.
#[derive(Clone)]
pub(super) struct Claimed {
    pub(super) repository: RepositoryId,
    pub(super) policy: Arc<LifecyclePolicy>,
    /// The version of the policy's row that the claim made.
    pub(super) version: u64,
    /// When the plan was made.
    pub(super) now: Timestamp,
}

/// What an evaluation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluationReport {
    pub expired: u64,
    pub archived: u64,
    /// There were more images to act on than one evaluation does.
    pub is_cut: bool,
}

/// Carries out the whole plan; `None` where the claim was lost before its end.
pub(super) async fn apply(
    db: &Db,
    clock: &Clock,
    effects: &PushEffects,
    claimed: &Claimed,
    plan: Plan,
) -> Result<Option<EvaluationReport>, Error> {
    let mut report = EvaluationReport {
        is_cut: plan.is_cut,
        ..EvaluationReport::default()
    };
    let plan = Arc::new(plan);
    let mut next = 0;
    while next < plan.actions.len() {
        let started = Instant::now();
        let (claimed, plan, clock) = (claimed.clone(), Arc::clone(&plan), clock.now());
        let recording = effects.clone();
        let done = db
            .write(move |tx| {
                let is_ours = store::renew(tx, claimed.repository, claimed.version, clock)?;
                let step = || step(tx, &recording, &claimed, &plan.actions[next..]);
                is_ours.then(step).transpose()
            })
            .await?;
        effects.wake();
        let Some(step) = done else { return Ok(None) };
        next += step.looked_at;
        report.expired += step.expired;
        report.archived += step.archived;
        // As long a pause as the step took: half of the writer's time stays for requests.
        tokio::time::sleep(started.elapsed()).await;
    }
    Ok(Some(report))
}

#[derive(Default)]
struct Step {
    looked_at: usize,
    expired: u64,
    archived: u64,
}

/// Acts on images from the first on, until the step is long enough.
fn step(
    tx: &mut Tx<'_>,
    effects: &PushEffects,
    claimed: &Claimed,
    actions: &[Planned],
) -> Result<Step, Error> {
    let started = Instant::now();
    let (repository, now) = (claimed.repository, claimed.now);
    let mut step = Step::default();
    while let Some(planned) = actions.get(step.looked_at)
        && started.elapsed() < STEP_TIME
    {
        let of = step.looked_at + planned.ahead as usize;
        step.looked_at += 1;
        let Some(root) = actions.get(of) else { break };
        let verdict = root.verdict();
        let stands = store::candidate(tx, repository, root.image)?
            .is_some_and(|image| still_stands(&claimed.policy, verdict, &image.candidate, now));
        if !stands || !may_follow(tx, repository, *planned)? {
            continue;
        }
        match verdict.action {
            Action::Expire => {
                image_deletion::delete(tx, repository, planned.image, effects, now)?;
                step.expired += 1;
            }
            Action::Archive => {
                if image_status::archive(tx, planned.image, now)? {
                    effects.after_storage_class(tx, repository, planned.image, now)?;
                    step.archived += 1;
                }
            }
        }
    }
    Ok(step)
}

/// Whether a referrer may go with its subject: it is there, and not a member of an index. True for
/// an image that is no referrer in the plan.
fn may_follow(tx: &mut Tx<'_>, repository: RepositoryId, planned: Planned) -> Result<bool, Error> {
    if planned.ahead == 0 {
        return Ok(true);
    }
    let image = store::candidate(tx, repository, planned.image)?;
    Ok(image.is_some_and(|image| !image.candidate.is_member))
}
