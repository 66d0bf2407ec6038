//! The operations on the policies of users, groups and roles: `Put…Policy`, `Get…Policy`,
//! `List…Policies`, `Delete…Policy`, `Attach…Policy`, `Detach…Policy`, `ListAttached…Policies`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};

use crate::iam::kinds::{Group, Kind, Named, Role, User};
use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::{IamResource, IamResourceId, PERMISSIONS_BOUNDARY};
use crate::iam::views::encoded;
use crate::iam::{IamService, Result, error};

/// The condition key with the ARN of a policy that is attached or detached.
const POLICY_ARN: &str = "iam:PolicyARN";

/// Checks the form of a policy's ARN.
fn checked_arn(arn: String) -> Result<String> {
    let valid = arn.starts_with("arn:") && arn.contains(":policy/");
    if valid {
        Ok(arn)
    } else {
        Err(error::invalid_input(format!("ARN {arn} is not valid.")))
    }
}

/// A kind whose entities have policies.
pub(super) trait PolicyOwner: Kind {
    const PUT: &'static str;
    const GET: &'static str;
    const LIST_INLINE: &'static str;
    const DELETE_INLINE: &'static str;
    const ATTACH: &'static str;
    const DETACH: &'static str;
    const LIST_ATTACHED: &'static str;
}

impl PolicyOwner for User {
    const PUT: &'static str = "PutUserPolicy";
    const GET: &'static str = "GetUserPolicy";
    const LIST_INLINE: &'static str = "ListUserPolicies";
    const DELETE_INLINE: &'static str = "DeleteUserPolicy";
    const ATTACH: &'static str = "AttachUserPolicy";
    const DETACH: &'static str = "DetachUserPolicy";
    const LIST_ATTACHED: &'static str = "ListAttachedUserPolicies";
}

impl PolicyOwner for Group {
    const PUT: &'static str = "PutGroupPolicy";
    const GET: &'static str = "GetGroupPolicy";
    const LIST_INLINE: &'static str = "ListGroupPolicies";
    const DELETE_INLINE: &'static str = "DeleteGroupPolicy";
    const ATTACH: &'static str = "AttachGroupPolicy";
    const DETACH: &'static str = "DetachGroupPolicy";
    const LIST_ATTACHED: &'static str = "ListAttachedGroupPolicies";
}

impl PolicyOwner for Role {
    const PUT: &'static str = "PutRolePolicy";
    const GET: &'static str = "GetRolePolicy";
    const LIST_INLINE: &'static str = "ListRolePolicies";
    const DELETE_INLINE: &'static str = "DeleteRolePolicy";
    const ATTACH: &'static str = "AttachRolePolicy";
    const DETACH: &'static str = "DetachRolePolicy";
    const LIST_ATTACHED: &'static str = "ListAttachedRolePolicies";
}

/// A change of the policies of an entity: the boundary of the entity is a condition key (Service
/// Authorization Reference, `PutUserPolicy` and others).
fn change<K: Kind>(action: &str, named: &Named<K>, scope: &RequestScope) -> Demand<IamService> {
    Demand::new(action, named.id(scope))
        .with_key_of_resource(PERMISSIONS_BOUNDARY, IamResource::boundary)
}

/// An inline policy in a response.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct InlinePolicyOutput<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
    policy_name: String,
    policy_document: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyNamesOutput {
    policy_names: Vec<String>,
    #[serde(flatten)]
    end: PageEnd,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AttachedPoliciesOutput {
    attached_policies: Vec<AttachedPolicy>,
    #[serde(flatten)]
    end: PageEnd,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AttachedPolicy {
    policy_name: String,
    policy_arn: String,
}

impl AttachedPolicy {
    /// The policy's name is the last part of its ARN, the path what precedes it.
    pub(super) fn of(policy_arn: String) -> Self {
        let name = policy_arn.rsplit('/').next().unwrap_or_default();
        Self {
            policy_name: name.to_owned(),
            policy_arn,
        }
    }

    fn is_under(&self, path_prefix: &str) -> bool {
        let path = self.policy_arn.split_once(":policy");
        path.is_some_and(|(_, path)| path.starts_with(path_prefix))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct PutInline<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
    policy_name: String,
    policy_document: String,
}

impl<K: PolicyOwner> Operation for PutInline<K> {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = K::PUT;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        Ok(vec![change(Self::ACTION, &self.named, scope)])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let owner = &K::of(cx)?.name;
        let (entities, account) = (cx.state().iam.entities(), cx.scope().account);
        entities
            .put_inline_policy(account, owner, self.policy_name, self.policy_document)
            .await?;
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct GetInline<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
    policy_name: String,
}

impl<K: PolicyOwner> Operation for GetInline<K> {
    type Service = IamService;
    type Output = InlinePolicyOutput<K>;

    const NAME: &'static str = K::GET;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<InlinePolicyOutput<K>> {
        let owner = &K::of(cx)?.name;
        let (entities, account) = (cx.state().iam.entities(), cx.scope().account);
        let document = entities
            .inline_policy(account, owner, self.policy_name.clone())
            .await?;
        Ok(InlinePolicyOutput {
            named: Named::new(owner.name.clone()),
            policy_name: self.policy_name,
            policy_document: encoded(&document),
        })
    }
}

#[derive(Deserialize)]
#[serde(bound = "")]
pub(super) struct ListInline<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
    #[serde(flatten)]
    paging: Paging,
}

impl<K: PolicyOwner> Operation for ListInline<K> {
    type Service = IamService;
    type Output = PolicyNamesOutput;

    const NAME: &'static str = K::LIST_INLINE;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<PolicyNamesOutput> {
        let owner = &K::of(cx)?.name;
        let (entities, account) = (cx.state().iam.entities(), cx.scope().account);
        let names = entities.inline_policy_names(account, owner).await?;
        let (policy_names, end) = self.paging.page(Self::NAME, names, |name| name)?;
        Ok(PolicyNamesOutput { policy_names, end })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct DeleteInline<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
    policy_name: String,
}

impl<K: PolicyOwner> Operation for DeleteInline<K> {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = K::DELETE_INLINE;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        Ok(vec![change(Self::ACTION, &self.named, scope)])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let owner = &K::of(cx)?.name;
        let (entities, account) = (cx.state().iam.entities(), cx.scope().account);
        Ok(entities
            .delete_inline_policy(account, owner, self.policy_name)
            .await?)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct Attach<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
    policy_arn: String,
}

impl<K: PolicyOwner> Operation for Attach<K> {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = K::ATTACH;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let demand = change(Self::ACTION, &self.named, scope);
        Ok(vec![demand.with_key(POLICY_ARN, &self.policy_arn)])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let owner = &K::of(cx)?.name;
        let (entities, account) = (cx.state().iam.entities(), cx.scope().account);
        let arn = checked_arn(self.policy_arn)?;
        Ok(entities.attach_policy(account, owner, arn).await?)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct Detach<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
    policy_arn: String,
}

impl<K: PolicyOwner> Operation for Detach<K> {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = K::DETACH;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let demand = change(Self::ACTION, &self.named, scope);
        Ok(vec![demand.with_key(POLICY_ARN, &self.policy_arn)])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let owner = &K::of(cx)?.name;
        let (entities, account) = (cx.state().iam.entities(), cx.scope().account);
        let arn = checked_arn(self.policy_arn)?;
        Ok(entities.detach_policy(account, owner, arn).await?)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct ListAttached<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
    path_prefix: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

impl<K: PolicyOwner> Operation for ListAttached<K> {
    type Service = IamService;
    type Output = AttachedPoliciesOutput;

    const NAME: &'static str = K::LIST_ATTACHED;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<AttachedPoliciesOutput> {
        let owner = &K::of(cx)?.name;
        let (entities, account) = (cx.state().iam.entities(), cx.scope().account);
        let arns = entities.attached_policies(account, owner).await?;
        let prefix = self.path_prefix.as_deref().unwrap_or("/");
        let policies = arns.into_iter().map(AttachedPolicy::of);
        let policies = policies.filter(|policy| policy.is_under(prefix));
        let policies: Vec<_> = policies.collect();
        let (attached_policies, end) = self.paging.counted(Self::NAME, &policies)?;
        Ok(AttachedPoliciesOutput {
            attached_policies,
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_its_name_and_path_from_its_arn() {
        let policy = AttachedPolicy::of("arn:aws:iam::aws:policy/service-role/ECS".to_owned());
        assert_eq!(policy.policy_name, "ECS");
        let under = ["/", "/service-role/", "/job/"].map(|prefix| policy.is_under(prefix));
        assert_eq!(under, [true, true, false]);
        assert!(checked_arn(policy.policy_arn).is_ok());
        assert!(checked_arn("AdministratorAccess-is-no-arn".to_owned()).is_err());
    }
}
