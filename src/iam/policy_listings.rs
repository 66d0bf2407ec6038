//! Listings of managed policies, and of the entities that use one.

use wharfinger_aws::AccountId;
use wharfinger_base::Page;
use wharfinger_db::Tx;

use crate::aws_policies;
use crate::error::Error;
use crate::managed::aws_managed_policies;
use crate::managed_policies::{ManagedPolicies, ManagedPolicy, aws_counted, counted};
use crate::policy_lookup::check_policy;
use crate::store::managed_policies as rows;
use crate::store::policy_entities::{self, EntityRange, PolicyEntity};

/// Policies that a listing reads at a time.
const CHUNK: usize = 100;
/// How the keys of AWS's policies start in a listing. No name has a slash.
const AWS_KEY: &str = "aws/";

/// How an entity uses a managed policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyUsage {
    Permissions,
    Boundary,
}

/// Which policies a listing shows.
#[derive(Clone, Debug)]
pub struct PolicyFilter {
    /// Customer managed policies.
    pub local: bool,
    /// AWS's own.
    pub aws: bool,
    pub path_prefix: String,
    /// Only those that are attached to an entity.
    pub only_attached: bool,
    /// Only those that some entity uses in this way.
    pub usage: Option<PolicyUsage>,
}

impl PolicyFilter {
    fn takes(&self, policy: &ManagedPolicy) -> bool {
        policy.path.starts_with(&self.path_prefix)
            && (!self.only_attached || policy.attachment_count > 0)
            && match self.usage {
                None => true,
                Some(PolicyUsage::Permissions) => policy.attachment_count > 0,
                Some(PolicyUsage::Boundary) => policy.boundary_count > 0,
            }
    }
}

/// Which entities [`ManagedPolicies::entities`] returns.
#[derive(Clone, Debug)]
pub struct EntityFilter {
    /// The start of their ids: `AIDA`, `AGPA`, `AROA`, or nothing for all.
    pub id_prefix: &'static str,
    pub path_prefix: String,
    pub usage: Option<PolicyUsage>,
}

impl ManagedPolicies {
    /// At most `limit` policies from after `after`: customer managed ones by name, then AWS's own,
    /// whose keys start with [`AWS_KEY`].
    pub async fn list(
        &self,
        account: AccountId,
        filter: PolicyFilter,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<ManagedPolicy>, Error> {
        let found = self.db.read(move |tx| -> Result<_, Error> {
            let after = after.as_deref().unwrap_or_default();
            let in_aws = after.starts_with(AWS_KEY);
            let name = after.trim_start_matches(AWS_KEY);
            let mut found = Vec::new();
            if filter.local && !in_aws {
                own_policies(tx, account, &filter, name, limit, &mut found)?;
            }
            if filter.aws {
                let all = aws_managed_policies().iter();
                for policy in all.filter(|all| !in_aws || *all.policy.name > *name) {
                    let policy = aws_counted(tx, account, policy)?;
                    if found.len() <= limit && filter.takes(&policy) {
                        found.push(policy);
                    }
                }
            }
            Ok(found)
        });
        Ok(Page::of(found.await?, limit, |policy| {
            if aws_policies::is_one(policy.arn.as_str()) {
                format!("{AWS_KEY}{}", policy.name)
            } else {
                policy.name.clone()
            }
        }))
    }

    /// Entities that use the policy, in the order of their ids, from after the id `after`.
    pub async fn entities(
        &self,
        account: AccountId,
        arn: &str,
        filter: EntityFilter,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<PolicyEntity>, Error> {
        let arn = arn.to_owned();
        let found = self.db.read(move |tx| -> Result<_, Error> {
            check_policy(tx, account, &arn)?;
            let after = after.as_deref().unwrap_or_default().max(filter.id_prefix);
            let before = format!("{}\u{7f}", filter.id_prefix);
            let range = EntityRange {
                after,
                before: &before,
                path_prefix: &filter.path_prefix,
                limit: limit + 1,
            };
            let mut found = Vec::new();
            if filter.usage != Some(PolicyUsage::Boundary) {
                found = policy_entities::attached(tx, account, &arn, range)?;
            }
            if filter.usage != Some(PolicyUsage::Permissions) {
                found.extend(policy_entities::bounded(tx, account, &arn, range)?);
            }
            found.sort_unstable();
            found.dedup();
            Ok(found)
        });
        Ok(Page::of(found.await?, limit, |entity| entity.id.clone()))
    }
}

/// Adds to `found` up to one more than `limit` policies of the account.
fn own_policies(
    tx: &mut Tx<'_>,
    account: AccountId,
    filter: &PolicyFilter,
    after: &str,
    limit: usize,
    found: &mut Vec<ManagedPolicy>,
) -> Result<(), Error> {
    let mut after = after.to_owned();
    while found.len() <= limit {
        let chunk = rows::policies(tx, account, &after, CHUNK)?;
        let Some(last) = chunk.last() else { break };
        after.clone_from(&last.name);
        for row in chunk {
            let policy = counted(tx, account, row)?;
            if found.len() <= limit && filter.takes(&policy) {
                found.push(policy);
            }
        }
    }
    Ok(())
}
