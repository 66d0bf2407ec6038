//! Managed policies: `CreatePolicy`, `GetPolicy`, `ListPolicies`, `DeletePolicy`,
//! `ListEntitiesForPolicy`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_aws::Arn;
use wharfinger_iam::{
    EntityFilter, ManagedPolicy, NewManagedPolicy, PolicyEntity, PolicyFilter, PolicyUsage,
    Resource as _,
};

use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::{IamResourceId, POLICY};
use crate::iam::views::{TagView, checked_tags, date};
use crate::iam::{IamService, Result, error};

/// A policy without its documents.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyView {
    policy_name: String,
    policy_id: String,
    arn: String,
    path: String,
    default_version_id: String,
    attachment_count: i64,
    permissions_boundary_usage_count: i64,
    is_attachable: bool,
    description: Option<String>,
    create_date: String,
    update_date: String,
    tags: Option<Vec<TagView>>,
}

impl PolicyView {
    /// The view with the description.
    pub(super) fn detailed(policy: &ManagedPolicy) -> Self {
        Self {
            description: policy.description.clone(),
            ..Self::listed(policy)
        }
    }

    /// The view in listings, which has neither description nor tags.
    fn listed(policy: &ManagedPolicy) -> Self {
        Self {
            policy_name: policy.name.clone(),
            policy_id: policy.id.clone(),
            arn: policy.arn.to_string(),
            path: policy.path.clone(),
            default_version_id: policy.default_version.clone(),
            attachment_count: policy.attachment_count,
            permissions_boundary_usage_count: policy.boundary_count,
            is_attachable: true,
            description: None,
            create_date: date(policy.created_at),
            update_date: date(policy.updated_at),
            tags: None,
        }
    }
}

/// The policy of a request.
///
/// # Errors
/// `InvalidInput` for an ARN that is not one of a policy.
pub(super) fn policy_id(scope: &RequestScope, arn: &str) -> Result<IamResourceId> {
    let parsed = arn.parse::<Arn>().ok();
    let is_policy = |arn: &Arn| arn.service() == "iam" && arn.resource().starts_with("policy/");
    match parsed.filter(is_policy) {
        Some(arn) => Ok(IamResourceId::Policy(scope.account, arn)),
        None => Err(error::invalid_input(format!("ARN {arn} is not valid."))),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyOutput {
    policy: PolicyView,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreatePolicy {
    policy_name: String,
    path: Option<String>,
    policy_document: String,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<TagView>,
}

impl Operation for CreatePolicy {
    type Service = IamService;
    type Output = PolicyOutput;

    const NAME: &'static str = "CreatePolicy";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: POLICY,
            path: self.path.clone().unwrap_or_else(|| "/".to_owned()),
            name: self.policy_name.clone(),
        })
    }

    /// Tags need `iam:TagPolicy` besides (Service Authorization Reference, `CreatePolicy`).
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let mut actions = vec![Self::ACTION];
        if !self.tags.is_empty() {
            actions.push("TagPolicy");
        }
        let tags: Vec<_> = self.tags.iter().map(TagView::pair).collect();
        let demand = |action| {
            let demand = Demand::new(action, self.resource(scope)?);
            Ok(demand.with_tags(tags.clone()))
        };
        actions.into_iter().map(demand).collect()
    }

    async fn run(self, cx: &Context<IamService>) -> Result<PolicyOutput> {
        let new = NewManagedPolicy {
            tags: checked_tags(&self.tags)?,
            name: self.policy_name,
            path: self.path.unwrap_or_else(|| "/".to_owned()),
            document: self.policy_document,
            description: self.description,
        };
        let policies = cx.state().iam.managed_policies();
        let policy = policies.create(cx.scope().account, new).await?;
        let tags = (!self.tags.is_empty()).then_some(self.tags);
        Ok(PolicyOutput {
            policy: PolicyView {
                tags,
                ..PolicyView::listed(&policy)
            },
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetPolicy {
    policy_arn: String,
}

impl Operation for GetPolicy {
    type Service = IamService;
    type Output = PolicyOutput;

    const NAME: &'static str = "GetPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }

    async fn run(self, cx: &Context<IamService>) -> Result<PolicyOutput> {
        let policy = cx.resource().policy()?;
        let tags = cx.resource().tags().iter().cloned();
        Ok(PolicyOutput {
            policy: PolicyView {
                tags: Some(tags.map(TagView::from_pair).collect()),
                ..PolicyView::detailed(policy)
            },
        })
    }
}

/// `PolicyUsageFilter`.
#[derive(Clone, Copy, Debug, Deserialize)]
enum UsageFilter {
    PermissionsPolicy,
    PermissionsBoundary,
}

impl From<UsageFilter> for PolicyUsage {
    fn from(filter: UsageFilter) -> Self {
        match filter {
            UsageFilter::PermissionsPolicy => Self::Permissions,
            UsageFilter::PermissionsBoundary => Self::Boundary,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum Scope {
    #[default]
    All,
    #[serde(rename = "AWS")]
    Aws,
    Local,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListPolicies {
    #[serde(default)]
    scope: Scope,
    #[serde(default)]
    only_attached: bool,
    path_prefix: Option<String>,
    policy_usage_filter: Option<UsageFilter>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListPoliciesOutput {
    policies: Vec<PolicyView>,
    #[serde(flatten)]
    end: PageEnd,
}

impl Operation for ListPolicies {
    type Service = IamService;
    type Output = ListPoliciesOutput;

    const NAME: &'static str = "ListPolicies";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: POLICY,
            path: self.path_prefix.clone().unwrap_or_else(|| "/".to_owned()),
            name: String::new(),
        })
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListPoliciesOutput> {
        let after = self.paging.after(Self::NAME)?;
        let filter = PolicyFilter {
            local: self.scope != Scope::Aws,
            aws: self.scope != Scope::Local,
            path_prefix: self.path_prefix.unwrap_or_default(),
            only_attached: self.only_attached,
            usage: self.policy_usage_filter.map(Into::into),
        };
        let policies = cx.state().iam.managed_policies();
        let page = policies
            .list(cx.scope().account, filter, after, self.paging.limit())
            .await?;
        Ok(ListPoliciesOutput {
            end: PageEnd::of(Self::NAME, page.next.as_deref()),
            policies: page.items.iter().map(PolicyView::listed).collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeletePolicy {
    policy_arn: String,
}

impl Operation for DeletePolicy {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "DeletePolicy";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let policies = cx.state().iam.managed_policies();
        let policy = cx.resource().policy()?;
        Ok(policies.delete(cx.scope().account, policy).await?)
    }
}

/// `EntityFilter`.
#[derive(Clone, Copy, Debug, Deserialize)]
enum EntityType {
    User,
    Role,
    Group,
    LocalManagedPolicy,
    #[serde(rename = "AWSManagedPolicy")]
    AwsManagedPolicy,
}

impl EntityType {
    /// How the ids of its entities start.
    const fn id_prefix(self) -> &'static str {
        match self {
            Self::User => "AIDA",
            Self::Role => "AROA",
            Self::Group => "AGPA",
            Self::LocalManagedPolicy | Self::AwsManagedPolicy => "ANPA",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListEntitiesForPolicy {
    policy_arn: String,
    entity_filter: Option<EntityType>,
    path_prefix: Option<String>,
    policy_usage_filter: Option<UsageFilter>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListEntitiesForPolicyOutput {
    policy_groups: Vec<PolicyGroup>,
    policy_users: Vec<PolicyUser>,
    policy_roles: Vec<PolicyRole>,
    #[serde(flatten)]
    end: PageEnd,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyGroup {
    group_name: String,
    group_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyUser {
    user_name: String,
    user_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyRole {
    role_name: String,
    role_id: String,
}

impl ListEntitiesForPolicyOutput {
    fn add(&mut self, entity: PolicyEntity) {
        let PolicyEntity { id, name } = entity;
        match id.get(..4) {
            Some("AGPA") => self.policy_groups.push(PolicyGroup {
                group_name: name,
                group_id: id,
            }),
            Some("AROA") => self.policy_roles.push(PolicyRole {
                role_name: name,
                role_id: id,
            }),
            _ => self.policy_users.push(PolicyUser {
                user_name: name,
                user_id: id,
            }),
        }
    }
}

impl Operation for ListEntitiesForPolicy {
    type Service = IamService;
    type Output = ListEntitiesForPolicyOutput;

    const NAME: &'static str = "ListEntitiesForPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        policy_id(scope, &self.policy_arn)
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListEntitiesForPolicyOutput> {
        let after = self.paging.after(Self::NAME)?;
        let filter = EntityFilter {
            id_prefix: self.entity_filter.map_or("", EntityType::id_prefix),
            path_prefix: self.path_prefix.unwrap_or_else(|| "/".to_owned()),
            usage: self.policy_usage_filter.map(Into::into),
        };
        cx.resource().policy()?;
        let policies = cx.state().iam.managed_policies();
        let (account, limit) = (cx.scope().account, self.paging.limit());
        let page = policies
            .entities(account, &self.policy_arn, filter, after, limit)
            .await?;
        let mut output = ListEntitiesForPolicyOutput {
            policy_groups: Vec::new(),
            policy_users: Vec::new(),
            policy_roles: Vec::new(),
            end: PageEnd::of(Self::NAME, page.next.as_deref()),
        };
        for entity in page.items {
            output.add(entity);
        }
        Ok(output)
    }
}
