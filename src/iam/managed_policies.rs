//! Customer managed policies: documents with versions that users, groups and roles share. AWS's own
//! managed policies are shown beside them and cannot be changed.
//!
//! Source: IAM user guide, "Versioning IAM policies" and "IAM and AWS STS quotas".

use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_db::Tx;

use crate::aws_policies;
use crate::error::Error;
use crate::identity_db::IdentityDb;
use crate::managed::AwsManagedPolicy;
use crate::policy::{Grammar, Policy};
use crate::policy_lookup::own_policy;
use crate::store::managed_policies::{self as rows, ManagedPolicyRow, PolicyVersionRow};
use crate::store::tags as tag_rows;
use crate::tags::{remove_tags, set_tags};
use crate::unique_ids::unique_id;

/// Most customer managed policies of an account (the IAM quota).
pub(super) const MAX_POLICIES: usize = 1_500;
/// Most versions of a policy that are kept (the IAM quota).
pub(super) const MAX_VERSIONS: usize = 5;
/// The name of the quota for tags.
const TAGS_QUOTA: &str = "TagsPerPolicy";

/// Why a policy or a version is not deleted. The words are IAM's own.
const ATTACHED: &str = "Cannot delete a policy attached to entities.";
const HAS_VERSIONS: &str = "This policy has more than one version. Before you delete a policy, you \
     must delete the policy's versions. The default version is deleted with the policy.";
const DEFAULT_VERSION: &str = "Cannot delete the default version of a policy.";

/// A managed policy, without its documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedPolicy {
    pub arn: Arn,
    pub name: String,
    /// `/` or `/division/team/`.
    pub path: String,
    /// `ANPA` and 17 more characters; never used again after the policy is deleted.
    pub id: String,
    pub description: Option<String>,
    /// `v1`, `v2` and so on.
    pub default_version: String,
    pub created_at: Timestamp,
    /// When the newest version was made.
    pub updated_at: Timestamp,
    /// Users, groups and roles of the account that the policy is attached to.
    pub attachment_count: i64,
    /// Users and roles of the account that the policy is the permissions boundary of.
    pub boundary_count: i64,
}

/// A version of a managed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedPolicyVersion {
    pub id: String,
    pub is_default: bool,
    pub document: String,
    pub created_at: Timestamp,
}

/// A policy to create.
#[derive(Clone, Debug)]
pub struct NewManagedPolicy {
    pub name: String,
    pub path: String,
    pub document: String,
    pub description: Option<String>,
    pub tags: Vec<(String, String)>,
}

/// The managed policies of all accounts in the index.
#[derive(Clone)]
pub struct ManagedPolicies {
    pub(super) db: IdentityDb,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
}

impl ManagedPolicies {
    /// Creates a policy with its first version.
    pub async fn create(
        &self,
        account: AccountId,
        policy: NewManagedPolicy,
    ) -> Result<ManagedPolicy, Error> {
        Policy::parse(&policy.document, Grammar::Identity)?;
        let now = self.clock.now();
        let row = ManagedPolicyRow {
            name: policy.name,
            path: policy.path,
            id: unique_id(&self.ids, "ANPA"),
            description: policy.description,
            created_at: now,
            updated_at: now,
            default_version: 1,
            newest_version: 1,
        };
        let first = PolicyVersionRow {
            version: 1,
            document: policy.document,
            created_at: now,
        };
        let tags = policy.tags;
        self.db
            .write(move |tx| {
                if usize::try_from(rows::count(tx, account)?).unwrap_or(0) >= MAX_POLICIES {
                    return Err(Error::Quota {
                        quota: "PoliciesPerAccount",
                        limit: MAX_POLICIES,
                    });
                }
                if !rows::insert(tx, account, &row)? {
                    return Err(Error::PolicyExists(row.name.clone()));
                }
                rows::insert_version(tx, &row.id, &first)?;
                set_tags(tx, account, &row.id, &tags, TAGS_QUOTA)?;
                counted(tx, account, row.clone())
            })
            .await
    }

    /// The policy of this ARN and its tags, with its uses in `account`.
    pub async fn find(
        &self,
        account: AccountId,
        arn: &str,
    ) -> Result<Option<(ManagedPolicy, Vec<(String, String)>)>, Error> {
        let arn = arn.to_owned();
        self.db
            .read(move |tx| {
                if let Some(policy) = aws_policies::find(&arn) {
                    return Ok(Some((aws_counted(tx, account, policy)?, Vec::new())));
                }
                let row = match own_policy(tx, account, &arn) {
                    Err(Error::NoSuchPolicy(_)) => return Ok(None),
                    row => row?,
                };
                let tags = tag_rows::of_owner(tx, account, &row.id)?;
                Ok(Some((counted(tx, account, row)?, tags)))
            })
            .await
    }

    /// Deletes a policy that no entity uses, with its only version.
    pub async fn delete(&self, account: AccountId, policy: &ManagedPolicy) -> Result<(), Error> {
        self.change(account, policy, move |tx, row| {
            let policy = counted(tx, account, row.clone())?;
            if policy.attachment_count > 0 || policy.boundary_count > 0 {
                return Err(Error::PolicyInUse(ATTACHED));
            }
            if rows::versions(tx, &row.id)?.len() > 1 {
                return Err(Error::PolicyInUse(HAS_VERSIONS));
            }
            Ok(rows::delete(tx, account, &row)?)
        })
        .await
    }

    /// Adds a version, and makes it the one in effect if wanted.
    pub async fn create_version(
        &self,
        account: AccountId,
        policy: &ManagedPolicy,
        document: String,
        set_as_default: bool,
    ) -> Result<ManagedPolicyVersion, Error> {
        Policy::parse(&document, Grammar::Identity)?;
        let now = self.clock.now();
        self.change(account, policy, move |tx, mut row| {
            if rows::versions(tx, &row.id)?.len() >= MAX_VERSIONS {
                return Err(Error::TooManyPolicyVersions);
            }
            row.newest_version += 1;
            row.updated_at = now;
            if set_as_default {
                row.default_version = row.newest_version;
            }
            rows::set_versions(tx, account, &row)?;
            let version = PolicyVersionRow {
                version: row.newest_version,
                document: document.clone(),
                created_at: now,
            };
            rows::insert_version(tx, &row.id, &version)?;
            Ok(shown(version, row.default_version))
        })
        .await
    }

    /// All versions of a policy, the newest first.
    pub async fn versions(
        &self,
        account: AccountId,
        policy: &ManagedPolicy,
    ) -> Result<Vec<ManagedPolicyVersion>, Error> {
        let policy = policy.clone();
        self.db.read(move |tx| versions(tx, account, &policy)).await
    }

    /// The version of a policy with this id.
    pub async fn version(
        &self,
        account: AccountId,
        policy: &ManagedPolicy,
        version: &str,
    ) -> Result<ManagedPolicyVersion, Error> {
        let versions = self.versions(account, policy).await?;
        versions
            .into_iter()
            .find(|known| known.id == version)
            .ok_or_else(|| no_version(policy.arn.as_str(), version))
    }

    /// Deletes a version that is not the default.
    pub async fn delete_version(
        &self,
        account: AccountId,
        policy: &ManagedPolicy,
        version: &str,
    ) -> Result<(), Error> {
        let (whole, version) = (policy.arn.to_string(), version.to_owned());
        self.change(account, policy, move |tx, row| {
            let number = version_number(&version);
            if number == Some(row.default_version) {
                return Err(Error::PolicyInUse(DEFAULT_VERSION));
            }
            match number {
                Some(number) if rows::delete_version(tx, &row.id, number)? => Ok(()),
                _ => Err(no_version(&whole, &version)),
            }
        })
        .await
    }

    /// Puts another version into effect, wherever the policy is attached.
    pub async fn set_default_version(
        &self,
        account: AccountId,
        policy: &ManagedPolicy,
        version: &str,
    ) -> Result<(), Error> {
        let (whole, version) = (policy.arn.to_string(), version.to_owned());
        self.change(account, policy, move |tx, mut row| {
            let known = rows::versions(tx, &row.id)?;
            let number = version_number(&version)
                .filter(|number| known.iter().any(|known| known.version == *number))
                .ok_or_else(|| no_version(&whole, &version))?;
            row.default_version = number;
            Ok(rows::set_versions(tx, account, &row)?)
        })
        .await
    }

    /// Sets tags of the policy.
    pub async fn tag(
        &self,
        account: AccountId,
        policy: &ManagedPolicy,
        tags: Vec<(String, String)>,
    ) -> Result<(), Error> {
        self.change(account, policy, move |tx, row| {
            set_tags(tx, account, &row.id, &tags, TAGS_QUOTA)
        })
        .await
    }

    /// Removes the tags of the policy that have these keys.
    pub async fn untag(
        &self,
        account: AccountId,
        policy: &ManagedPolicy,
        keys: Vec<String>,
    ) -> Result<(), Error> {
        self.change(account, policy, move |tx, row| {
            let keys = keys.iter().map(String::as_str);
            remove_tags(tx, account, &row.id, keys)
        })
        .await
    }

    /// Finds the policy that the caller was authorised for and changes something of it, in one
    /// transaction.
    async fn change<T: Send + 'static>(
        &self,
        account: AccountId,
        policy: &ManagedPolicy,
        work: impl Fn(&mut Tx<'_>, ManagedPolicyRow) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if aws_policies::find(policy.arn.as_str()).is_some() {
            return Err(Error::AwsManagedPolicy(policy.arn.to_string()));
        }
        let policy = policy.clone();
        self.db
            .write(move |tx| {
                let row = current(tx, account, &policy)?;
                work(tx, row)
            })
            .await
    }
}

/// The row of a policy that the caller was authorised for: not that of a successor of the same
/// name.
fn current(
    tx: &mut Tx<'_>,
    account: AccountId,
    policy: &ManagedPolicy,
) -> Result<ManagedPolicyRow, Error> {
    let row = own_policy(tx, account, policy.arn.as_str())?;
    if row.id == policy.id {
        Ok(row)
    } else {
        Err(Error::NoSuchPolicy(policy.arn.to_string()))
    }
}

/// All versions of a policy, the newest first.
pub(super) fn versions(
    tx: &mut Tx<'_>,
    account: AccountId,
    policy: &ManagedPolicy,
) -> Result<Vec<ManagedPolicyVersion>, Error> {
    if let Some(policy) = aws_policies::find(policy.arn.as_str()) {
        return Ok(vec![ManagedPolicyVersion {
            id: policy.version.to_owned(),
            is_default: true,
            document: policy.policy.policy.text().to_owned(),
            created_at: policy.updated_at,
        }]);
    }
    let row = current(tx, account, policy)?;
    let versions = rows::versions(tx, &row.id)?.into_iter();
    Ok(versions
        .map(|version| shown(version, row.default_version))
        .collect())
}

/// A policy of the account, with its uses.
pub(super) fn counted(
    tx: &mut Tx<'_>,
    account: AccountId,
    row: ManagedPolicyRow,
) -> Result<ManagedPolicy, Error> {
    let resource = format!("policy{}{}", row.path, row.name);
    let arn = Arn::new("aws", "iam", "", account.as_str(), &resource);
    Ok(ManagedPolicy {
        attachment_count: rows::attachments(tx, account, arn.as_str())?,
        boundary_count: rows::boundaries(tx, account, arn.as_str())?,
        arn,
        name: row.name,
        path: row.path,
        id: row.id,
        description: row.description,
        default_version: version_id(row.default_version),
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// A policy of AWS, with its uses in the account.
pub(super) fn aws_counted(
    tx: &mut Tx<'_>,
    account: AccountId,
    policy: &AwsManagedPolicy,
) -> Result<ManagedPolicy, Error> {
    Ok(ManagedPolicy {
        attachment_count: rows::attachments(tx, account, policy.arn.as_str())?,
        boundary_count: rows::boundaries(tx, account, policy.arn.as_str())?,
        arn: policy.arn.clone(),
        name: policy.policy.name.as_ref().to_owned(),
        path: policy.path.to_owned(),
        id: policy.id.to_owned(),
        description: None,
        default_version: policy.version.to_owned(),
        created_at: policy.created_at,
        updated_at: policy.updated_at,
    })
}

fn shown(row: PolicyVersionRow, default_version: i64) -> ManagedPolicyVersion {
    ManagedPolicyVersion {
        id: version_id(row.version),
        is_default: row.version == default_version,
        document: row.document,
        created_at: row.created_at,
    }
}

fn version_id(number: i64) -> String {
    format!("v{number}")
}

fn version_number(id: &str) -> Option<i64> {
    id.strip_prefix('v')?.parse().ok()
}

fn no_version(arn: &str, version: &str) -> Error {
    Error::NoSuchPolicyVersion {
        arn: arn.to_owned(),
        version: version.to_owned(),
    }
}
