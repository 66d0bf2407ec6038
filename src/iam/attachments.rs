//! Inline policies of users, groups and roles, and the managed policies that are attached to them.
//!
//! Source: IAM user guide, "IAM and AWS STS quotas".

use wharfinger_aws::AccountId;

use crate::aws_policies;
use crate::entities::{Entities, check_changeable};
use crate::entity::{EntityName, SERVICE_LINKED_PATH};
use crate::error::Error;
use crate::policy::{Grammar, Policy};
use crate::policy_lookup::check_policy;
use crate::store;
use crate::store::policies::{INLINE, MANAGED, PolicyRow};

/// Most managed policies of one identity (the IAM quota).
pub(super) const MAX_ATTACHED: usize = 10;

impl Entities {
    /// Sets an inline policy, or replaces the one of the same name.
    ///
    /// # Errors
    /// [`Error::Policy`], [`Error::InlineSize`], [`Error::ServiceLinkedRole`].
    pub async fn put_inline_policy(
        &self,
        account: AccountId,
        owner: &EntityName,
        name: String,
        document: String,
    ) -> Result<(), Error> {
        let (now, limit) = (self.clock.now(), owner.kind.max_inline_chars());
        // A document that is too long gets the error of the quota, whatever it says.
        let too_long = chars_without_blanks(&document) > limit;
        if !too_long {
            Policy::parse(&document, Grammar::Inline)?;
        }
        let new = PolicyRow {
            name,
            document: Some(document),
        };
        self.change(account, owner, move |tx, owner| {
            check_changeable(&owner.name)?;
            let held = store::policies::of_owner(tx, account, &owner.name.id)?;
            let others = held.iter().filter(|held| held.name != new.name);
            let chars = others
                .chain([&new])
                .filter_map(|held| held.document.as_deref());
            if chars.map(chars_without_blanks).sum::<usize>() > limit {
                return Err(Error::InlineSize {
                    kind: owner.name.kind.as_str(),
                    name: owner.name.name,
                    limit,
                });
            }
            Ok(store::policies::put(
                tx,
                account,
                &owner.name.id,
                &new,
                now,
            )?)
        })
        .await
    }

    /// Deletes an inline policy.
    ///
    /// # Errors
    /// [`Error::NoSuchInlinePolicy`], [`Error::ServiceLinkedRole`].
    pub async fn delete_inline_policy(
        &self,
        account: AccountId,
        owner: &EntityName,
        name: String,
    ) -> Result<(), Error> {
        self.change(account, owner, move |tx, owner| {
            check_changeable(&owner.name)?;
            if store::policies::delete(tx, account, &owner.name.id, INLINE, &name)? {
                return Ok(());
            }
            let kind = owner.name.kind.as_str();
            let name = name.clone();
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
        owner: &EntityName,
        name: String,
    ) -> Result<String, Error> {
        let held = self.policies_of(account, owner).await?;
        let mut inline = held.into_iter().filter(|held| held.name == name);
        let missing = Error::NoSuchInlinePolicy {
            kind: owner.kind.as_str(),
            name: name.clone(),
        };
        inline.find_map(|held| held.document).ok_or(missing)
    }

    /// The names of the inline policies, in order.
    pub async fn inline_policy_names(
        &self,
        account: AccountId,
        owner: &EntityName,
    ) -> Result<Vec<String>, Error> {
        let held = self.policies_of(account, owner).await?;
        let inline = held.into_iter().filter(|held| held.document.is_some());
        Ok(inline.map(|held| held.name).collect())
    }

    /// Attaches a managed policy by its ARN; one that is attached stays.
    ///
    /// # Errors
    /// [`Error::NotAttachable`], [`Error::ServicePolicy`], [`Error::Quota`],
    /// [`Error::ServiceLinkedRole`].
    pub async fn attach_policy(
        &self,
        account: AccountId,
        owner: &EntityName,
        arn: String,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        self.change(account, owner, move |tx, owner| {
            check_changeable(&owner.name)?;
            let for_service = aws_policies::find(&arn)
                .is_some_and(|policy| policy.path.starts_with(SERVICE_LINKED_PATH));
            if for_service {
                return Err(Error::ServicePolicy);
            }
            check_policy(tx, account, &arn)?;
            let held = store::policies::of_owner(tx, account, &owner.name.id)?;
            let attached = held.iter().filter(|held| held.document.is_none());
            if attached.clone().any(|held| held.name == arn) {
                return Ok(());
            }
            if attached.count() >= MAX_ATTACHED {
                return Err(Error::Quota {
                    quota: owner.name.kind.attached_quota(),
                    limit: MAX_ATTACHED,
                });
            }
            let new = PolicyRow {
                name: arn.clone(),
                document: None,
            };
            Ok(store::policies::put(
                tx,
                account,
                &owner.name.id,
                &new,
                now,
            )?)
        })
        .await
    }

    /// Detaches a managed policy.
    ///
    /// # Errors
    /// [`Error::NotAttached`], [`Error::ServiceLinkedRole`].
    pub async fn detach_policy(
        &self,
        account: AccountId,
        owner: &EntityName,
        arn: String,
    ) -> Result<(), Error> {
        self.change(account, owner, move |tx, owner| {
            check_changeable(&owner.name)?;
            if store::policies::delete(tx, account, &owner.name.id, MANAGED, &arn)? {
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
        owner: &EntityName,
    ) -> Result<Vec<String>, Error> {
        let held = self.policies_of(account, owner).await?;
        let attached = held.into_iter().filter(|held| held.document.is_none());
        Ok(attached.map(|held| held.name).collect())
    }

    async fn policies_of(
        &self,
        account: AccountId,
        owner: &EntityName,
    ) -> Result<Vec<PolicyRow>, Error> {
        let id = owner.id.clone();
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
