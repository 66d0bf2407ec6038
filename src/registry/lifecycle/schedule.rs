//! When policies are evaluated.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx};

use crate::model::RepositoryId;
use crate::store::lifecycle as store;

/// How often a policy is evaluated: ECR promises once in 24 hours.
pub(super) const PERIOD: Duration = Duration::from_hours(12);
/// When an evaluation that failed is tried again.
pub(super) const RETRY: Duration = Duration::from_hours(1);

/// Sets the policy of a repository, which the caller has parsed.
pub(crate) fn set(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    text: &str,
    now: Timestamp,
) -> db::Result<()> {
    store::put(tx, repository, text, first_due(repository, now))
}

/// The first evaluation of a new policy: policies that were set together come one after another.
fn first_due(repository: RepositoryId, now: Timestamp) -> Timestamp {
    /// A prime near the golden section of [`PERIOD`], so that consecutive numbers spread.
    const STRIDE_MS: i64 = 26_699_069;
    let period = i64::try_from(PERIOD.as_millis()).unwrap_or(i64::MAX);
    let offset = repository.0.wrapping_mul(STRIDE_MS).rem_euclid(period);
    now.plus(Duration::from_millis(offset.unsigned_abs()))
}
