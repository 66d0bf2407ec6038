//! PURE: which images a lifecycle policy acts on.
//!
//! Source: ECR user guide, "How lifecycle policies work", evaluation rules. All rules look at all
//! images of their storage class at once. Then each image is left to the rule with the lowest
//! priority number that looks at it, whether that rule acts on it or keeps it; later rules leave
//! the image alone but count it.
//!
//! Images come one after another, the newest first, so that the memory of an evaluation is a
//! counter for each rule, however many images there are.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_oci::Tag;

use crate::lifecycle::policy::{Action, Criterion, LifecyclePolicy, StorageClass};

const DAY: Duration = Duration::from_hours(24);

/// What the rules look at of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) class: StorageClass,
    /// When it was pushed, or came back from the archive if that was later.
    pub(crate) aged_from: Timestamp,
    pub(crate) pulled_at: Option<Timestamp>,
    pub(crate) archived_at: Option<Timestamp>,
    pub(crate) tags: Vec<Tag>,
    /// An index of the repository has it as a member: it stays as it is for as long as the index is
    /// there.
    pub(crate) is_member: bool,
    /// Its subject is in the repository. It goes where its subject goes, and no rule looks at it.
    pub(crate) follows_subject: bool,
}

/// What is to be done with an image, and by which rule: an index into the policy's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) rule: usize,
    pub(crate) action: Action,
}

/// An evaluation in progress.
pub(crate) struct Evaluation<'a> {
    policy: &'a LifecyclePolicy,
    now: Timestamp,
    /// For each rule, the images that it has looked at.
    counted: Vec<u64>,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(policy: &'a LifecyclePolicy, now: Timestamp) -> Self {
        Self {
            policy,
            now,
            counted: vec![0; policy.rules().len()],
        }
    }

    /// Looks at the next image. The images of a storage class must come in the order of
    /// [`Candidate::aged_from`], the newest first.
    pub(crate) fn next(&mut self, image: &Candidate) -> Option<Verdict> {
        if image.follows_subject {
            return None;
        }
        let mut deciding = None;
        for (index, rule) in self.policy.rules().iter().enumerate() {
            if rule.looks_at(image.class, &image.tags) {
                self.counted[index] += 1;
                deciding = deciding.or(Some(index));
            }
        }
        let rule = deciding?;
        let criterion = self.policy.rules()[rule].criterion;
        let is_beyond = match criterion {
            Criterion::CountMoreThan { images, .. } => self.counted[rule] > u64::from(images),
            _ => is_old(criterion, image, self.now),
        };
        (is_beyond && !image.is_member).then(|| Verdict {
            rule,
            action: criterion.action(),
        })
    }
}

/// Whether a verdict on an image still stands for what the image is now. How many newer images
/// there are is not counted again: the number at the time of the evaluation decides.
pub(crate) fn still_stands(
    policy: &LifecyclePolicy,
    verdict: Verdict,
    image: &Candidate,
    now: Timestamp,
) -> bool {
    !image.is_member
        && !image.follows_subject
        && policy.deciding_rule(image.class, &image.tags) == Some(verdict.rule)
        && policy.rules().get(verdict.rule).is_some_and(|rule| {
            matches!(rule.criterion, Criterion::CountMoreThan { .. })
                || is_old(rule.criterion, image, now)
        })
}

/// Whether the image is older than a criterion by age allows.
fn is_old(criterion: Criterion, image: &Candidate, now: Timestamp) -> bool {
    let (since, days) = match criterion {
        Criterion::CountMoreThan { .. } => return false,
        Criterion::SincePushed { days, .. } => (Some(image.aged_from), days),
        // A pull before the image was archived does not count once it is back.
        Criterion::SincePulled { days } => (
            Some(
                image
                    .pulled_at
                    .map_or(image.aged_from, |pulled_at| pulled_at.max(image.aged_from)),
            ),
            days,
        ),
        Criterion::SinceArchived { days } => (image.archived_at, days),
    };
    since.is_some_and(|since| now.since(since) > DAY.saturating_mul(days))
}

#[cfg(test)]
mod tests;
