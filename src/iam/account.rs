//! What IAM knows about an account as a whole: its alias, and how much of its quotas is used.
//!
//! Source: IAM API reference, `GetAccountSummary`; IAM user guide, "IAM and AWS STS quotas".

use wharfinger_aws::AccountId;
use wharfinger_base::Clock;

use crate::access_keys::MAX_KEYS;
use crate::attachments::MAX_ATTACHED;
use crate::entity::EntityKind;
use crate::error::Error;
use crate::identity_db::IdentityDb;
use crate::managed_policies::{MAX_POLICIES, MAX_VERSIONS};
use crate::members::MAX_GROUPS_OF_USER;
use crate::policy::Grammar;
use crate::store;
use crate::store::{account as rows, managed_policies};

/// Quotas of what exists in no account here, as AWS has them.
const SERVER_CERTIFICATES: i64 = 20;
const SIGNING_CERTIFICATES_PER_USER: i64 = 2;
const POLICY_VERSIONS_IN_USE: i64 = 10_000;
/// Session tokens of the global endpoint are valid in all regions.
const TOKEN_VERSION: i64 = 2;

/// The accounts of the index.
#[derive(Clone)]
pub struct Accounts {
    pub(super) db: IdentityDb,
    pub(super) clock: Clock,
}

impl Accounts {
    /// The alias of the account.
    pub async fn alias(&self, account: AccountId) -> Result<Option<String>, Error> {
        let found = self.db.read(move |tx| rows::alias(tx, account));
        Ok(found.await?)
    }

    /// Gives the account this alias, in place of the one that it has.
    ///
    /// # Errors
    /// [`Error::AliasExists`] for the alias of another account.
    pub async fn set_alias(&self, account: AccountId, alias: String) -> Result<(), Error> {
        let now = self.clock.now();
        self.db
            .write(move |tx| {
                if rows::put_alias(tx, account, &alias, now)? {
                    Ok(())
                } else {
                    Err(Error::AliasExists(alias.clone()))
                }
            })
            .await
    }

    /// Removes this alias from the account.
    ///
    /// # Errors
    /// [`Error::NoSuchAlias`] where the account has another one or none.
    pub async fn remove_alias(&self, account: AccountId, alias: String) -> Result<(), Error> {
        self.db
            .write(move |tx| {
                if rows::alias(tx, account)?.as_ref() != Some(&alias) {
                    return Err(Error::NoSuchAlias(alias.clone()));
                }
                Ok(rows::delete_alias(tx, account)?)
            })
            .await
    }

    /// Counts and quotas by the names that the IAM API gives them.
    pub async fn summary(&self, account: AccountId) -> Result<Vec<(&'static str, i64)>, Error> {
        self.db
            .read(move |tx| {
                let mut counts = Vec::new();
                for kind in EntityKind::ALL {
                    counts.push(store::entities::count(tx, account, kind)?);
                }
                let root_keys = store::access_keys::of_owner(tx, account, store::ROOT)?;
                let mut summary = quotas();
                summary.extend([
                    ("Users", counts[0]),
                    ("Groups", counts[1]),
                    ("Roles", counts[2]),
                    ("InstanceProfiles", counts[3]),
                    ("Policies", managed_policies::count(tx, account)?),
                    ("PolicyVersionsInUse", rows::attached_policies(tx, account)?),
                    ("AccountAccessKeysPresent", i64::from(!root_keys.is_empty())),
                    ("Providers", store::oidc_providers::count(tx, account)?),
                ]);
                Ok(summary)
            })
            .await
    }
}

fn quotas() -> Vec<(&'static str, i64)> {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let entities = |kind: EntityKind| number(kind.quota().1);
    let inline = |kind: EntityKind| number(kind.max_inline_chars());
    vec![
        ("UsersQuota", entities(EntityKind::User)),
        ("GroupsQuota", entities(EntityKind::Group)),
        ("RolesQuota", entities(EntityKind::Role)),
        (
            "InstanceProfilesQuota",
            entities(EntityKind::InstanceProfile),
        ),
        ("UserPolicySizeQuota", inline(EntityKind::User)),
        ("GroupPolicySizeQuota", inline(EntityKind::Group)),
        ("RolePolicySizeQuota", inline(EntityKind::Role)),
        (
            "AssumeRolePolicySizeQuota",
            number(Grammar::Trust.max_chars()),
        ),
        ("AttachedPoliciesPerUserQuota", number(MAX_ATTACHED)),
        ("AttachedPoliciesPerGroupQuota", number(MAX_ATTACHED)),
        ("AttachedPoliciesPerRoleQuota", number(MAX_ATTACHED)),
        ("GroupsPerUserQuota", number(MAX_GROUPS_OF_USER)),
        ("AccessKeysPerUserQuota", number(MAX_KEYS)),
        ("PoliciesQuota", number(MAX_POLICIES)),
        ("PolicySizeQuota", number(Grammar::Identity.max_chars())),
        ("VersionsPerPolicyQuota", number(MAX_VERSIONS)),
        ("PolicyVersionsInUseQuota", POLICY_VERSIONS_IN_USE),
        (
            "SigningCertificatesPerUserQuota",
            SIGNING_CERTIFICATES_PER_USER,
        ),
        ("ServerCertificatesQuota", SERVER_CERTIFICATES),
        ("GlobalEndpointTokenVersion", TOKEN_VERSION),
        ("ServerCertificates", 0),
        ("MFADevices", 0),
        ("MFADevicesInUse", 0),
        ("AccountMFAEnabled", 0),
        ("AccountPasswordPresent", 0),
        ("AccountSigningCertificatesPresent", 0),
    ]
}
