//! What upstream registries refused a moment ago, so that a client that repeats its request does
//! not reach them each time.

use std::time::Duration;

use quick_cache::sync::Cache;
use wharfinger_base::Timestamp;
use wharfinger_oci::Reference;

use crate::model::{RegistryId, RepositoryId};
use crate::pull_through::import_error::ImportError;

/// Refusals in memory, at some 300 bytes each.
const CAPACITY: usize = 4_096;
/// How long a refusal counts.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);
/// How long at most a registry that limits requests gets none.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What was requested: an image by the names in this registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ImageKey {
    pub(super) registry: RegistryId,
    pub(super) repository: String,
    /// The repository that was there when the request was decided.
    pub(super) repository_id: Option<RepositoryId>,
    pub(super) reference: Reference,
}

pub(super) struct Refusals(Cache<ImageKey, (ImportError, Timestamp)>);

impl Refusals {
    pub(super) fn new() -> Self {
        Self(Cache::new(CAPACITY))
    }

    /// Remembers a refusal that another request would get as well.
    pub(super) fn note(&self, key: ImageKey, error: &ImportError, now: Timestamp) {
        if !error.is_lasting() {
            return;
        }
        let wait = match error {
            ImportError::TooManyRequests {
                retry_after: Some(wait),
            } => (*wait).min(LONGEST_WAIT),
            _ => REMEMBERED_FOR,
        };
        self.0.insert(key, (error.clone(), now.plus(wait)));
    }

    /// A refusal that still counts.
    pub(super) fn get(&self, key: &ImageKey, now: Timestamp) -> Option<ImportError> {
        let (error, until) = self.0.get(key)?;
        // A clock that was set back ends it as well.
        let counts = until > now && until.since(now) <= LONGEST_WAIT;
        counts.then_some(match error {
            ImportError::TooManyRequests { .. } => ImportError::TooManyRequests {
                retry_after: Some(until.since(now)),
            },
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_forgotten() {
        let refusals = Refusals::new();
        let key = |tag: &str| ImageKey {
            registry: RegistryId {
                account: wharfinger_aws::AccountId::DEV,
                region: "us-east-1".parse().expect("a region"),
            },
            repository: "a".to_owned(),
            repository_id: None,
            reference: tag.parse().expect("a tag"),
        };
        let at = |seconds: i64| Timestamp::from_ms(seconds * 1_000);
        let limited = |seconds| ImportError::TooManyRequests {
            retry_after: Some(Duration::from_secs(seconds)),
        };
        refusals.note(key("gone"), &ImportError::NotFound, at(0));
        refusals.note(key("down"), &ImportError::Unavailable(String::new()), at(0));
        refusals.note(key("limited"), &limited(30), at(0));
        refusals.note(key("long"), &limited(3_600), at(0));
        assert_eq!(
            refusals.get(&key("gone"), at(9)),
            Some(ImportError::NotFound)
        );
        assert_eq!(refusals.get(&key("gone"), at(10)), None);
        assert_eq!(refusals.get(&key("down"), at(0)), None);
        assert_eq!(refusals.get(&key("limited"), at(20)), Some(limited(10)));
        assert_eq!(refusals.get(&key("limited"), at(30)), None);
        assert_eq!(refusals.get(&key("long"), at(60)), None);
        assert_eq!(refusals.get(&key("other"), at(0)), None);
    }
}
