//! Bounds the work of policy decisions, so that neither a policy nor a request can occupy a worker
//! thread. PURE.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest value of the request that a condition compares, in bytes: the longest ARN. Real
/// `User-Agent` headers stay under 500 bytes.
pub(super) const MAX_CONDITION_VALUE_BYTES: usize = 2_048;

/// Steps that all decisions of one request may take together. A step reads about one byte and
/// takes about a nanosecond, so the worst request occupies a thread for some 20 ms. A decision on
/// ten statements takes about a thousand steps.
pub(super) const STEPS_PER_REQUEST: u64 = 20_000_000;

/// Steps that one decision may take, about a millisecond.
const STEPS_PER_DECISION: u64 = 1_000_000;

/// The work that the decisions of one request may still do. Make one for each request and pass it
/// to every decision.
#[derive(Debug)]
pub struct EvaluationBudget {
    steps_left: AtomicU64,
}

/// Why a decision was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvaluationLimit {
    /// A decision took [`STEPS_PER_DECISION`], or all decisions of the request
    /// [`STEPS_PER_REQUEST`].
    Steps,
    /// A condition compared a value longer than [`MAX_CONDITION_VALUE_BYTES`].
    ValueBytes,
}

impl Default for EvaluationBudget {
    fn default() -> Self {
        Self {
            steps_left: AtomicU64::new(STEPS_PER_REQUEST),
        }
    }
}

impl EvaluationBudget {
    /// A budget of so many steps, at about a nanosecond each.
    #[must_use]
    pub const fn of_steps(steps: u64) -> Self {
        Self {
            steps_left: AtomicU64::new(steps),
        }
    }

    /// Whether no steps are left, so that decisions were given up.
    pub fn is_spent(&self) -> bool {
        self.steps_left.load(Ordering::Relaxed) == 0
    }
}

/// Counts the steps of one decision against the budget of its request.
pub(super) struct Meter<'a> {
    budget: &'a EvaluationBudget,
    /// What the budget holds beyond what this decision may take.
    withheld: u64,
    steps_left: Cell<u64>,
    exceeded: Cell<Option<EvaluationLimit>>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(budget: &'a EvaluationBudget) -> Self {
        let in_budget = budget.steps_left.load(Ordering::Relaxed);
        let steps_left = in_budget.min(STEPS_PER_DECISION);
        Self {
            budget,
            withheld: in_budget - steps_left,
            steps_left: Cell::new(steps_left),
            exceeded: Cell::new(None),
        }
    }

    /// Counts `steps`; false where the budget does not hold them, after which the result of the
    /// decision no longer matters.
    pub(super) fn spend(&self, steps: usize) -> bool {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        match self.steps_left.get().checked_sub(steps) {
            Some(left) => self.steps_left.set(left),
            None => self.exceed(EvaluationLimit::Steps),
        }
        self.exceeded.get().is_none()
    }

    pub(super) fn exceed(&self, limit: EvaluationLimit) {
        if limit == EvaluationLimit::Steps {
            self.steps_left.set(0);
        }
        self.exceeded.set(Some(limit));
    }

    pub(super) fn exceeded(&self) -> Option<EvaluationLimit> {
        self.exceeded.get()
    }

    /// Takes what was spent off the budget of the request: all of it after a decision that was
    /// given up, so that the request is refused as a whole.
    pub(super) fn settle(&self) {
        let left = match self.exceeded.get() {
            Some(EvaluationLimit::Steps) => 0,
            Some(EvaluationLimit::ValueBytes) | None => self.withheld + self.steps_left.get(),
        };
        self.budget.steps_left.store(left, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Meter<'_> {
    /// Steps counted so far.
    pub(super) fn spent(&self) -> u64 {
        STEPS_PER_REQUEST - self.withheld - self.steps_left.get()
    }
}
