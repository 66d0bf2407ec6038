//! AWS IAM: users, groups, roles, instance profiles, access keys and policies.

mod access_keys;
mod account;
mod authorization_details;
mod boundaries;
mod context_keys;
mod credential_report;
mod entities;
mod entity_view;
mod error;
mod groups;
mod instance_profiles;
mod kinds;
mod managed_policies;
mod oidc_providers;
mod paging;
mod policies;
mod policy_versions;
mod resource;
mod roles;
mod service_roles;
mod simulator;
mod tags;
mod unsupported;
mod user_credentials;
mod users;
mod views;

use std::sync::{Arc, LazyLock};

pub use error::Error;
use kinds::{Group, InstanceProfile, Named, Role, User};
use oidc_providers::ProviderByArn;
pub use resource::{IamResource, IamResourceId};
use tags::PolicyByArn;
use user_credentials::{MfaDevices, SigningCertificates, SshPublicKeys};
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
    unsupported: unsupported::OPERATIONS,
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
    entities::Create<User>,
    entities::List<User>,
    entities::Update<User>,
    entities::Delete<User>,
    users::GetUser,
    entities::Create<Group>,
    entities::List<Group>,
    entities::Update<Group>,
    entities::Delete<Group>,
    groups::GetGroup,
    groups::AddUserToGroup,
    groups::RemoveUserFromGroup,
    groups::ListGroupsForUser,
    entities::Create<Role>,
    entities::Get<Role>,
    entities::List<Role>,
    entities::Delete<Role>,
    roles::UpdateRole,
    roles::UpdateRoleDescription,
    roles::UpdateAssumeRolePolicy,
    service_roles::CreateServiceLinkedRole,
    service_roles::DeleteServiceLinkedRole,
    service_roles::GetServiceLinkedRoleDeletionStatus,
    entities::Create<InstanceProfile>,
    entities::Get<InstanceProfile>,
    entities::List<InstanceProfile>,
    entities::Delete<InstanceProfile>,
    instance_profiles::AddRoleToInstanceProfile,
    instance_profiles::RemoveRoleFromInstanceProfile,
    instance_profiles::ListInstanceProfilesForRole,
    boundaries::PutBoundary<User>,
    boundaries::DeleteBoundary<User>,
    boundaries::PutBoundary<Role>,
    boundaries::DeleteBoundary<Role>,
    tags::Tag<Named<User>>,
    tags::Untag<Named<User>>,
    tags::ListTags<Named<User>>,
    tags::Tag<Named<Role>>,
    tags::Untag<Named<Role>>,
    tags::ListTags<Named<Role>>,
    tags::Tag<Named<InstanceProfile>>,
    tags::Untag<Named<InstanceProfile>>,
    tags::ListTags<Named<InstanceProfile>>,
    tags::Tag<PolicyByArn>,
    tags::Untag<PolicyByArn>,
    tags::ListTags<PolicyByArn>,
    oidc_providers::CreateOpenIDConnectProvider,
    oidc_providers::GetOpenIDConnectProvider,
    oidc_providers::ListOpenIDConnectProviders,
    oidc_providers::DeleteOpenIDConnectProvider,
    oidc_providers::AddClientIDToOpenIDConnectProvider,
    oidc_providers::RemoveClientIDFromOpenIDConnectProvider,
    oidc_providers::UpdateOpenIDConnectProviderThumbprint,
    tags::Tag<ProviderByArn>,
    tags::Untag<ProviderByArn>,
    tags::ListTags<ProviderByArn>,
    policies::PutInline<User>,
    policies::GetInline<User>,
    policies::ListInline<User>,
    policies::DeleteInline<User>,
    policies::Attach<User>,
    policies::Detach<User>,
    policies::ListAttached<User>,
    policies::PutInline<Group>,
    policies::GetInline<Group>,
    policies::ListInline<Group>,
    policies::DeleteInline<Group>,
    policies::Attach<Group>,
    policies::Detach<Group>,
    policies::ListAttached<Group>,
    policies::PutInline<Role>,
    policies::GetInline<Role>,
    policies::ListInline<Role>,
    policies::DeleteInline<Role>,
    policies::Attach<Role>,
    policies::Detach<Role>,
    policies::ListAttached<Role>,
    access_keys::CreateAccessKey,
    access_keys::ListAccessKeys,
    access_keys::UpdateAccessKey,
    access_keys::DeleteAccessKey,
    access_keys::GetAccessKeyLastUsed,
    user_credentials::ListOfUser<MfaDevices>,
    user_credentials::ListOfUser<SigningCertificates>,
    user_credentials::ListOfUser<SshPublicKeys>,
    user_credentials::ListServiceSpecificCredentials,
    user_credentials::ListVirtualMFADevices,
    user_credentials::GetLoginProfile,
    user_credentials::DeleteLoginProfile,
    account::CreateAccountAlias,
    account::DeleteAccountAlias,
    account::ListAccountAliases,
    account::GetAccountSummary,
    authorization_details::GetAccountAuthorizationDetails,
    credential_report::GenerateCredentialReport,
    credential_report::GetCredentialReport,
    context_keys::GetContextKeysForCustomPolicy,
    context_keys::GetContextKeysForPrincipalPolicy,
    simulator::SimulateCustomPolicy,
    simulator::SimulatePrincipalPolicy,
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
