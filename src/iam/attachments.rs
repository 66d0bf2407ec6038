//! Inline policies of users and groups, and the managed policies that are attached to them.
//!
//! Source: IAM user guide, "IAM and AWS STS quotas".

use wharfinger_aws::AccountId;
use wharfinger_db::Tx;

use crate::error::Error;
use crate::groups::same_group;
use crate::policy::{Grammar, Policy};
use crate::policy_lookup::check_policy;
use crate::principal::{GroupName, UserName};
use crate::store;
use crate::store::policies::{INLINE, MANAGED, PolicyRow};
use crate::user_records::same_user;
use crate::users::Users;

/// Most managed policies of one identity (the IAM quota).
const MAX_ATTACHED: usize = 10;

/// An identity that policies are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyOwner {
    User(UserName),
    Group(GroupName),
}

impl PolicyOwner {
    fn id(&self) -> &str {
        match self {
            Self::User(user) => &user.id,
            Self::Group(group) => &group.id,
        }
    }

    /// The name of the user or group.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::User(user) => &user.name,
            Self::Group(group) => &group.name,
        }
    }

    /// What messages call the identity.
    const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
        }
    }

    /// Most characters of all inline policies together, without blanks.
    const fn max_inline_chars(&self) -> usize {
        match self {
            Self::User(_) => 2_048,
            Self::Group(_) => 5_120,
        }
    }

    const fn attached_quota(&self) -> &'static str {
        match self {
            Self::User(_) => "PoliciesPerUser",
            Self::Group(_) => "PoliciesPerGroup",
        }
    }

    /// Checks that the identity still exists.
    fn check(&self, tx: &mut Tx<'_>, account: AccountId) -> Result<(), Error> {
        match self {
            Self::User(user) => same_user(tx, account, user).map(drop),
            Self::Group(group) => same_group(tx, account, group).map(drop),
        }
    }
}

impl Users {
    /// Sets an inline policy, or replaces the one of the same name.
    ///
    /// # Errors
    /// [`Error::Policy`], [`Error::InlineSize`].
    pub async fn put_inline_policy(
        &self,
        account: AccountId,
        owner: PolicyOwner,
        name: String,
        document: String,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        // A document that is too long gets the error of the quota, whatever it says.
        let too_long = chars_without_blanks(&document) > owner.max_inline_chars();
        if !too_long {
            Policy::parse(&document, Grammar::Identity)?;
        }
        let row = PolicyRow {
            name,
            document: Some(document),
        };
        self.db
            .write(move |tx| {
                owner.check(tx, account)?;
                let held = store::policies::of_owner(tx, account, owner.id())?;
                let others = held.iter().filter(|held| held.name != row.name);
                let chars = others
                    .chain([&row])
                    .filter_map(|held| held.document.as_deref());
                if chars.map(chars_without_blanks).sum::<usize>() > owner.max_inline_chars() {
                    return Err(Error::InlineSize {
                        kind: owner.kind(),
                        limit: owner.max_inline_chars(),
                    });
                }
                Ok(store::policies::put(tx, account, owner.id(), &row, now)?)
            })
            .await
    }

    /// Deletes an inline policy.
    ///
    /// # Errors
    /// [`Error::NoSuchInlinePolicy`].
    pub async fn delete_inline_policy(
        &self,
        account: AccountId,
        owner: PolicyOwner,
        name: String,
    ) -> Result<(), Error> {
        self.db
            .write(move |tx| {
                owner.check(tx, account)?;
                if store::policies::delete(tx, account, owner.id(), INLINE, &name)? {
                    return Ok(());
                }
                let (kind, name) = (owner.kind(), name.clone());
                Err(Error::NoSuchInlinePolicy { kind, name })
            })
            .await
    }

    /// The document of an inline policy.
    ///
    /// # Errors
    /// [`Error::NoSuchInlinePolicy`].
    pub async fn inline_policy(
        &self,
        account: AccountId,
        owner: PolicyOwner,
        name: String,
    ) -> Result<String, Error> {
        let held = self.policies_of(account, &owner).await?;
        let mut inline = held.into_iter().filter(|held| held.name == name);
        let missing = Error::NoSuchInlinePolicy {
            kind: owner.kind(),
            name: name.clone(),
        };
        inline.find_map(|held| held.document).ok_or(missing)
    }

    /// The names of the inline policies, in order.
    pub async fn inline_policy_names(
        &self,
        account: AccountId,
        owner: PolicyOwner,
    ) -> Result<Vec<String>, Error> {
        let held = self.policies_of(account, &owner).await?;
        let inline = held.into_iter().filter(|held| held.document.is_some());
        Ok(inline.map(|held| held.name).collect())
    }

    /// Attaches a managed policy by its ARN; one that is attached stays.
    ///
    /// # Errors
    /// [`Error::NotAttachable`], [`Error::Quota`].
    pub async fn attach_policy(
        &self,
        account: AccountId,
        owner: PolicyOwner,
        arn: String,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        self.db
            .write(move |tx| {
                owner.check(tx, account)?;
                check_policy(tx, account, &arn)?;
                let held = store::policies::of_owner(tx, account, owner.id())?;
                let attached = held.iter().filter(|held| held.document.is_none());
                if attached.clone().any(|held| held.name == arn) {
                    return Ok(());
                }
                if attached.count() >= MAX_ATTACHED {
                    return Err(Error::Quota {
                        quota: owner.attached_quota(),
                        limit: MAX_ATTACHED,
                    });
                }
                let row = PolicyRow {
                    name: arn.clone(),
                    document: None,
                };
                Ok(store::policies::put(tx, account, owner.id(), &row, now)?)
            })
            .await
    }

    /// Detaches a managed policy.
    ///
    /// # Errors
    /// [`Error::NotAttached`].
    pub async fn detach_policy(
        &self,
        account: AccountId,
        owner: PolicyOwner,
        arn: String,
    ) -> Result<(), Error> {
        self.db
            .write(move |tx| {
                owner.check(tx, account)?;
                if store::policies::delete(tx, account, owner.id(), MANAGED, &arn)? {
                    Ok(())
                } else {
                    Err(Error::NotAttached(arn.clone()))
                }
            })
            .await
    }

    /// The ARNs of the attached managed policies, in order.
    pub async fn attached_policies(
        &self,
        account: AccountId,
        owner: PolicyOwner,
    ) -> Result<Vec<String>, Error> {
        let held = self.policies_of(account, &owner).await?;
        let attached = held.into_iter().filter(|held| held.document.is_none());
        Ok(attached.map(|held| held.name).collect())
    }

    async fn policies_of(
        &self,
        account: AccountId,
        owner: &PolicyOwner,
    ) -> Result<Vec<PolicyRow>, Error> {
        let id = owner.id().to_owned();
        let rows = self
            .db
            .read(move |tx| store::policies::of_owner(tx, account, &id));
        Ok(rows.await?)
    }
}

fn chars_without_blanks(document: &str) -> usize {
    document
        .chars()
        .filter(|character| !character.is_whitespace())
        .count()
}
