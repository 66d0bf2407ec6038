//! `GetAccountAuthorizationDetails`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_iam::{AccountDetail, DetailKind, EntityDetail, EntityKind, ManagedPolicyVersion};

use crate::iam::entity_view::EntityView;
use crate::iam::kinds::{Group, InstanceProfile, Role, User};
use crate::iam::managed_policies::PolicyView;
use crate::iam::paging::{PageEnd, Paging};
use crate::iam::policies::AttachedPolicy;
use crate::iam::resource::IamResourceId;
use crate::iam::views::{date, encoded};
use crate::iam::{IamService, Result};

/// A member of `Filter`.
#[derive(Clone, Copy, Debug, Deserialize)]
enum EntityType {
    User,
    Role,
    Group,
    LocalManagedPolicy,
    #[serde(rename = "AWSManagedPolicy")]
    AwsManagedPolicy,
}

impl From<EntityType> for DetailKind {
    fn from(kind: EntityType) -> Self {
        match kind {
            EntityType::User => Self::User,
            EntityType::Role => Self::Role,
            EntityType::Group => Self::Group,
            EntityType::LocalManagedPolicy => Self::LocalPolicy,
            EntityType::AwsManagedPolicy => Self::AwsPolicy,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAccountAuthorizationDetails {
    #[serde(default)]
    filter: Vec<EntityType>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Details {
    user_detail_list: Vec<UserDetail>,
    group_detail_list: Vec<GroupDetail>,
    role_detail_list: Vec<RoleDetail>,
    policies: Vec<ManagedPolicyDetail>,
}

#[derive(Debug, Serialize)]
pub(super) struct DetailsOutput {
    #[serde(flatten)]
    details: Details,
    #[serde(flatten)]
    end: PageEnd,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UserDetail {
    #[serde(flatten)]
    user: EntityView<User>,
    user_policy_list: Vec<InlinePolicy>,
    group_list: Vec<String>,
    attached_managed_policies: Vec<AttachedPolicy>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GroupDetail {
    #[serde(flatten)]
    group: EntityView<Group>,
    group_policy_list: Vec<InlinePolicy>,
    attached_managed_policies: Vec<AttachedPolicy>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RoleDetail {
    #[serde(flatten)]
    role: EntityView<Role>,
    instance_profile_list: Vec<EntityView<InstanceProfile>>,
    role_policy_list: Vec<InlinePolicy>,
    attached_managed_policies: Vec<AttachedPolicy>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct InlinePolicy {
    policy_name: String,
    policy_document: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ManagedPolicyDetail {
    #[serde(flatten)]
    policy: PolicyView,
    policy_version_list: Vec<PolicyVersion>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyVersion {
    document: String,
    version_id: String,
    is_default_version: bool,
    create_date: String,
}

impl PolicyVersion {
    fn of(version: ManagedPolicyVersion) -> Self {
        Self {
            document: encoded(&version.document),
            version_id: version.id,
            is_default_version: version.is_default,
            create_date: date(version.created_at),
        }
    }
}

impl Operation for GetAccountAuthorizationDetails {
    type Service = IamService;
    type Output = DetailsOutput;

    const NAME: &'static str = "GetAccountAuthorizationDetails";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Account(scope.account))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<DetailsOutput> {
        let kinds = if self.filter.is_empty() {
            DetailKind::ALL.to_vec()
        } else {
            self.filter.into_iter().map(DetailKind::from).collect()
        };
        let (after, limit) = (self.paging.after(Self::NAME)?, self.paging.limit());
        let accounts = cx.state().iam.accounts();
        let page = accounts
            .authorization_details(cx.scope().account, kinds, after, limit)
            .await?;
        let mut details = Details::default();
        for item in page.items {
            details.add(item);
        }
        Ok(DetailsOutput {
            details,
            end: PageEnd::of(Self::NAME, page.next.as_deref()),
        })
    }
}

impl Details {
    fn add(&mut self, item: AccountDetail) {
        match item {
            AccountDetail::Policy(policy, versions) => self.policies.push(ManagedPolicyDetail {
                policy: PolicyView::detailed(&policy),
                policy_version_list: versions.into_iter().map(PolicyVersion::of).collect(),
            }),
            AccountDetail::Entity(detail) => self.add_entity(*detail),
        }
    }

    fn add_entity(&mut self, detail: EntityDetail) {
        let inline = detail.inline.into_iter();
        let inline = inline.map(|(policy_name, document)| InlinePolicy {
            policy_name,
            policy_document: encoded(&document),
        });
        let inline = inline.collect();
        let attached = detail.attached.into_iter().map(AttachedPolicy::of);
        let attached_managed_policies = attached.collect();
        match detail.entity.name.kind {
            EntityKind::User => self.user_detail_list.push(UserDetail {
                user: EntityView::of(detail.entity),
                user_policy_list: inline,
                group_list: detail.groups,
                attached_managed_policies,
            }),
            EntityKind::Group => self.group_detail_list.push(GroupDetail {
                group: EntityView::of(detail.entity),
                group_policy_list: inline,
                attached_managed_policies,
            }),
            EntityKind::Role | EntityKind::InstanceProfile => {
                let role = detail.entity;
                let profiles = detail.instance_profiles.into_iter();
                let profiles =
                    profiles.map(|profile| EntityView::with_role(profile, Some(role.clone())));
                self.role_detail_list.push(RoleDetail {
                    instance_profile_list: profiles.collect(),
                    role: EntityView::of(role),
                    role_policy_list: inline,
                    attached_managed_policies,
                });
            }
        }
    }
}
