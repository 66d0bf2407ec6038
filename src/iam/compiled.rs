//! A cache of compiled policies by the hash of their text, so that a policy that is read from the
//! index many times is compiled once.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::error::PolicyError;
use crate::policy::{Grammar, Policy};

/// Distinct policies expected.
const EXPECTED_POLICIES: usize = 1_024;
/// Size of the texts of all policies kept, in bytes. A compiled policy takes about ten times as
/// much as its text.
const MAX_TEXT_BYTES: u64 = 4 * 1024 * 1024;

type Key = ([u8; 32], Grammar);

pub(super) struct CompiledPolicies {
    cache: Cache<Key, Arc<Policy>, TextBytes>,
}

/// Weighs a policy by the length of its text.
#[derive(Clone)]
struct TextBytes;

impl Weighter<Key, Arc<Policy>> for TextBytes {
    fn weight(&self, _: &Key, policy: &Arc<Policy>) -> u64 {
        policy.text().len() as u64
    }
}

impl CompiledPolicies {
    pub(super) fn new() -> Self {
        Self {
            cache: Cache::with_weighter(EXPECTED_POLICIES, MAX_TEXT_BYTES, TextBytes),
        }
    }

    /// The compiled policy of this text. Errors are not remembered.
    pub(super) fn get(&self, text: &str, grammar: Grammar) -> Result<Arc<Policy>, PolicyError> {
        let key = (Sha256::digest(text).into(), grammar);
        if let Some(policy) = self.cache.get(&key) {
            return Ok(policy);
        }
        let policy = Arc::new(Policy::parse(text, grammar)?);
        self.cache.insert(key, Arc::clone(&policy));
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiled_policy_is_kept() {
        let policies = CompiledPolicies::new();
        let text = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"ecr:*"}}"#;
        let get = || policies.get(text, Grammar::Repository).expect("a policy");
        assert!(Arc::ptr_eq(&get(), &get()));
        assert!(policies.get(text, Grammar::Identity).is_err());
    }

    #[test]
    fn the_cache_is_bounded_in_bytes() {
        let policies = CompiledPolicies::new();
        for at in 0..1_000 {
            let sid = format!("{at}{}", "x".repeat(8_000));
            let text = format!(
                r#"{{"Statement":{{"Sid":"{sid}","Effect":"Allow","Principal":"*","Action":"*"}}}}"#
            );
            policies.get(&text, Grammar::Repository).expect("a policy");
        }
        assert!(policies.cache.weight() <= MAX_TEXT_BYTES);
    }
}
