//! All identities and managed policies of an account with their policies, page by page.
//!
//! Source: IAM API reference, `GetAccountAuthorizationDetails`.

use wharfinger_aws::AccountId;
use wharfinger_base::Page;
use wharfinger_db::Tx;

use crate::account::Accounts;
use crate::entities::with_tags;
use crate::entity::{Entity, EntityKind};
use crate::error::Error;
use crate::managed::aws_managed_policies;
use crate::managed_policies::{
    ManagedPolicy, ManagedPolicyVersion, aws_counted, counted, versions,
};
use crate::store;

/// Most items on a page, whatever is requested: each can have tens of kilobytes of policies.
const MAX_ITEMS: usize = 100;

/// What a page may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetailKind {
    User,
    Group,
    Role,
    LocalPolicy,
    AwsPolicy,
}

impl DetailKind {
    /// All kinds in the order of the listing.
    pub const ALL: [Self; 5] = [
        Self::User,
        Self::Group,
        Self::Role,
        Self::LocalPolicy,
        Self::AwsPolicy,
    ];

    /// How the keys of the kind's items start.
    const fn key_start(self) -> char {
        match self {
            Self::User => '1',
            Self::Group => '2',
            Self::Role => '3',
            Self::LocalPolicy => '4',
            Self::AwsPolicy => '5',
        }
    }
}

/// An identity or a policy of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountDetail {
    Entity(Box<EntityDetail>),
    /// A managed policy with its versions, the newest first.
    Policy(Box<ManagedPolicy>, Vec<ManagedPolicyVersion>),
}

/// A user, group or role with its policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityDetail {
    pub entity: Entity,
    /// Names and documents of the inline policies.
    pub inline: Vec<(String, String)>,
    /// ARNs of the attached managed policies.
    pub attached: Vec<String>,
    /// Names of the groups of a user.
    pub groups: Vec<String>,
    /// The instance profiles of a role.
    pub instance_profiles: Vec<Entity>,
}

impl AccountDetail {
    /// What a listing continues after.
    fn key(&self) -> String {
        let (kind, name) = match self {
            Self::Entity(detail) => {
                let name = &detail.entity.name;
                (detail_kind(name.kind), name.name.as_str())
            }
            Self::Policy(policy, _) if policy.arn.account_id().is_some() => {
                (DetailKind::LocalPolicy, policy.name.as_str())
            }
            Self::Policy(policy, _) => (DetailKind::AwsPolicy, policy.name.as_str()),
        };
        format!("{}{name}", kind.key_start())
    }
}

/// Instance profiles are shown with their roles.
const fn detail_kind(kind: EntityKind) -> DetailKind {
    match kind {
        EntityKind::User => DetailKind::User,
        EntityKind::Group => DetailKind::Group,
        EntityKind::Role | EntityKind::InstanceProfile => DetailKind::Role,
    }
}

impl Accounts {
    /// At most `limit` items of these kinds, and never more than a hundred, from after `after`. All
    /// of a page is of one moment.
    pub async fn authorization_details(
        &self,
        account: AccountId,
        kinds: Vec<DetailKind>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page<AccountDetail>, Error> {
        let limit = limit.min(MAX_ITEMS);
        let found = self.db.read(move |tx| -> Result<_, Error> {
            let after = after.as_deref().unwrap_or_default();
            let mut found = Vec::new();
            for kind in DetailKind::ALL {
                let start = kind.key_start();
                let after_name = after.strip_prefix(start);
                let is_passed = after_name.is_none() && after > start.to_string().as_str();
                if kinds.contains(&kind) && !is_passed {
                    let most = limit + 1 - found.len();
                    let name = after_name.unwrap_or_default();
                    details(tx, account, kind, name, most, &mut found)?;
                }
            }
            Ok(found)
        });
        Ok(Page::of(found.await?, limit, AccountDetail::key))
    }
}

/// Adds at most `most` items of a kind from after the name `after`.
fn details(
    tx: &mut Tx<'_>,
    account: AccountId,
    kind: DetailKind,
    after: &str,
    most: usize,
    found: &mut Vec<AccountDetail>,
) -> Result<(), Error> {
    let entity_kind = match kind {
        DetailKind::User => EntityKind::User,
        DetailKind::Group => EntityKind::Group,
        DetailKind::Role => EntityKind::Role,
        DetailKind::LocalPolicy => {
            for row in store::managed_policies::policies(tx, account, after, most)? {
                let policy = counted(tx, account, row)?;
                found.push(policy_detail(tx, account, policy)?);
            }
            return Ok(());
        }
        DetailKind::AwsPolicy => {
            let all = aws_managed_policies().iter();
            for policy in all.filter(|policy| *policy.policy.name > *after).take(most) {
                let policy = aws_counted(tx, account, policy)?;
                found.push(policy_detail(tx, account, policy)?);
            }
            return Ok(());
        }
    };
    for row in store::entities::page(tx, account, entity_kind, "/", after, most)? {
        let entity = with_tags(tx, account, row)?;
        found.push(AccountDetail::Entity(Box::new(entity_detail(
            tx, account, entity,
        )?)));
    }
    Ok(())
}

fn policy_detail(
    tx: &mut Tx<'_>,
    account: AccountId,
    policy: ManagedPolicy,
) -> Result<AccountDetail, Error> {
    let versions = versions(tx, account, &policy)?;
    Ok(AccountDetail::Policy(Box::new(policy), versions))
}

fn entity_detail(
    tx: &mut Tx<'_>,
    account: AccountId,
    entity: Entity,
) -> Result<EntityDetail, Error> {
    let (id, kind) = (entity.name.id.clone(), entity.name.kind);
    let mut detail = EntityDetail {
        inline: Vec::new(),
        attached: Vec::new(),
        groups: Vec::new(),
        instance_profiles: Vec::new(),
        entity,
    };
    for policy in store::policies::of_owner(tx, account, &id)? {
        match policy.document {
            Some(document) => detail.inline.push((policy.name, document)),
            None => detail.attached.push(policy.name),
        }
    }
    match kind {
        EntityKind::User => {
            let groups = store::members::of_user(tx, account, &id)?.into_iter();
            detail.groups = groups.map(|group| group.name.name).collect();
        }
        EntityKind::Role => {
            let profiles = store::instance_profiles::of_role(tx, account, &id, "", MAX_ITEMS)?;
            for row in profiles {
                detail.instance_profiles.push(with_tags(tx, account, row)?);
            }
        }
        EntityKind::Group | EntityKind::InstanceProfile => {}
    }
    Ok(detail)
}
