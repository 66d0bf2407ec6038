//! Policies compiled once: a bounded cache by the hash of the text, so that a policy read from the
//! index at each request costs one hash.

use std::sync::Arc;

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::error::PolicyError;
use crate::policy::{Grammar, Policy};

/// Distinct policies kept: a compiled one takes a few kilobytes, and deployments write few
/// different ones.
const CAPACITY: usize = 1_024;

pub(super) struct CompiledPolicies {
    cache: Cache<([u8; 32], Grammar), Arc<Policy>>,
}

impl CompiledPolicies {
    pub(super) fn new() -> Self {
        Self {
            cache: Cache::new(CAPACITY),
        }
    }

    /// The policy that the text is; texts that are none are not remembered.
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
