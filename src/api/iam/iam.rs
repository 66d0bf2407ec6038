//! AWS IAM: users, groups, access keys and their policies.

mod access_keys;
mod boundaries;
mod error;
mod groups;
mod managed_policies;
mod members;
mod paging;
mod policies;
mod policy_tags;
mod policy_versions;
mod resource;
mod user_tags;
mod users;
mod views;

use std::sync::{Arc, LazyLock};

pub use error::Error;
pub use resource::{EntityKind, IamResource, IamResourceId};
use wharfinger_api_core::{OperationEntry, Service, ServiceModel, operations};
use wharfinger_aws::Family;
use wharfinger_aws::constraints::Limits;
use wharfinger_iam::{Caller, Iam};

type Result<T, E = Error> = std::result::Result<T, E>;

/// AWS IAM, API version 2010-05-08.
pub static MODEL: ServiceModel = ServiceModel {
    name: "iam",
    family: Family::Query,
    target: "",
    version: "2010-05-08",
    namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
    limits: &LIMITS,
};

static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits::read(include_str!("iam_limits.toml")));

/// The service.
pub struct IamService;

/// The handles that IAM's operations use.
pub struct State {
    pub iam: Arc<Iam>,
}

impl Service for IamService {
    type State = State;
    type ResourceId = IamResourceId;
    type Resource = IamResource;
    type Error = Error;

    fn model() -> &'static ServiceModel {
        &MODEL
    }

    fn operations() -> &'static [OperationEntry<Self>] {
        OPERATIONS
    }

    async fn load(state: &State, id: &IamResourceId, caller: &Caller) -> Result<IamResource> {
        IamResource::load(&state.iam, id, caller).await
    }
}

static OPERATIONS: &[OperationEntry<IamService>] = operations![
    managed_policies::CreatePolicy,
    managed_policies::GetPolicy,
    managed_policies::ListPolicies,
    managed_policies::DeletePolicy,
    managed_policies::ListEntitiesForPolicy,
    policy_versions::CreatePolicyVersion,
    policy_versions::GetPolicyVersion,
    policy_versions::ListPolicyVersions,
    policy_versions::DeletePolicyVersion,
    policy_versions::SetDefaultPolicyVersion,
    policy_tags::TagPolicy,
    policy_tags::UntagPolicy,
    policy_tags::ListPolicyTags,
    boundaries::PutUserPermissionsBoundary,
    boundaries::DeleteUserPermissionsBoundary,
    users::CreateUser,
    users::GetUser,
    users::ListUsers,
    users::UpdateUser,
    users::DeleteUser,
    user_tags::TagUser,
    user_tags::UntagUser,
    user_tags::ListUserTags,
    groups::CreateGroup,
    groups::GetGroup,
    groups::ListGroups,
    groups::UpdateGroup,
    groups::DeleteGroup,
    members::AddUserToGroup,
    members::RemoveUserFromGroup,
    members::ListGroupsForUser,
    policies::PutUserPolicy,
    policies::GetUserPolicy,
    policies::ListUserPolicies,
    policies::DeleteUserPolicy,
    policies::AttachUserPolicy,
    policies::DetachUserPolicy,
    policies::ListAttachedUserPolicies,
    policies::PutGroupPolicy,
    policies::GetGroupPolicy,
    policies::ListGroupPolicies,
    policies::DeleteGroupPolicy,
    policies::AttachGroupPolicy,
    policies::DetachGroupPolicy,
    policies::ListAttachedGroupPolicies,
    access_keys::CreateAccessKey,
    access_keys::ListAccessKeys,
    access_keys::UpdateAccessKey,
    access_keys::DeleteAccessKey,
    access_keys::GetAccessKeyLastUsed,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_limits_and_no_other_has() {
        let mut served: Vec<&str> = OPERATIONS.iter().map(OperationEntry::name).collect();
        served.sort_unstable();
        let known: Vec<&str> = MODEL.limits.operations().map(|(name, _)| name).collect();
        assert_eq!(served, known);
    }
}
