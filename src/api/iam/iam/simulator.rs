//! `SimulateCustomPolicy` and `SimulatePrincipalPolicy`: what policies decide about actions that
//! nobody performs.

pub(super) mod documents;
mod exclusions;
mod run;
mod scenario;
mod views;

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{
    AttachedPolicies, Caller, EntityKind, Iam, IdentityPolicies, Principal, UserName,
};

use crate::iam::resource::IamResourceId;
use crate::iam::simulator::documents::{Documents, boundary};
use crate::iam::simulator::exclusions::{PolicyIdentifier, without};
use crate::iam::simulator::run::{Simulation, simulate};
use crate::iam::simulator::scenario::Scenario;
use crate::iam::simulator::views::SimulatePolicyOutput;
use crate::iam::{IamService, Result, error};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SimulateCustomPolicy {
    ordered_organization_policy_input_list: Option<Vec<IgnoredAny>>,
    #[serde(flatten)]
    scenario: Scenario,
}

impl Operation for SimulateCustomPolicy {
    type Service = IamService;
    type Output = SimulatePolicyOutput;

    const NAME: &'static str = "SimulateCustomPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(IamResourceId::Account(scope.account))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<SimulatePolicyOutput> {
        let organization = self.ordered_organization_policy_input_list;
        if organization.is_some_and(|policies| !policies.is_empty()) {
            let message = "OrderedOrganizationPolicyInputList must be empty: this server has no \
                 organizations.";
            return Err(error::invalid_input(message));
        }
        let mut documents = Documents::default();
        let own = documents.identity("PolicyInputList", &self.scenario.policy_input_list)?;
        let limits = &self.scenario.permissions_boundary_policy_input_list;
        let boundary = boundary(documents.identity("PermissionsBoundaryPolicyInputList", limits)?)?;
        let caller = match self.scenario.caller_arn()? {
            Some(arn) => Some(named_caller(&cx.state().iam, cx.scope().account, &arn).await?),
            None => None,
        };
        let simulation = Simulation {
            account: cx.scope().account,
            policies: Arc::new(IdentityPolicies { policies: own }),
            boundary,
            caller,
            resource_policy: documents.resource(self.scenario.resource_policy.as_deref())?,
        };
        simulate(cx, &self.scenario, &simulation).await
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SimulatePrincipalPolicy {
    policy_source_arn: String,
    #[serde(default)]
    policy_exclusion_list: Vec<PolicyIdentifier>,
    #[serde(flatten)]
    scenario: Scenario,
}

impl Operation for SimulatePrincipalPolicy {
    type Service = IamService;
    type Output = SimulatePolicyOutput;

    const NAME: &'static str = "SimulatePrincipalPolicy";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        let (kind, name) = source(scope, &self.policy_source_arn)?;
        Ok(IamResourceId::Entity(scope.account, kind, name))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<SimulatePolicyOutput> {
        let (iam, account) = (&cx.state().iam, cx.scope().account);
        let attached = attached(cx, &self.policy_source_arn).await?;
        let mut documents = Documents::default();
        let more = documents.identity("PolicyInputList", &self.scenario.policy_input_list)?;
        let limits = &self.scenario.permissions_boundary_policy_input_list;
        let given = boundary(documents.identity("PermissionsBoundaryPolicyInputList", limits)?)?;
        let excluded = without(attached, &self.policy_exclusion_list)?;
        let mut policies = excluded.policies.policies.clone();
        policies.extend(more);
        let caller = match self.scenario.caller_arn()? {
            Some(arn) => Some(named_caller(iam, account, &arn).await?),
            None => excluded.caller,
        };
        if caller.is_none() && self.scenario.resource_policy.is_some() {
            let message = "CallerArn is required where PolicySourceArn is not a user or a role and \
                 ResourcePolicy is given.";
            return Err(error::invalid_input(message));
        }
        let simulation = Simulation {
            account,
            policies: Arc::new(IdentityPolicies { policies }),
            boundary: given.or(excluded.boundary),
            caller,
            resource_policy: documents.resource(self.scenario.resource_policy.as_deref())?,
        };
        simulate(cx, &self.scenario, &simulation).await
    }
}

/// The kind and the name in the ARN of a user, a group or a role of the account.
///
/// # Errors
/// `InvalidInput`; `NoSuchEntity` for one of another account.
pub(super) fn source(scope: &RequestScope, text: &str) -> Result<(EntityKind, String)> {
    let invalid = || {
        error::invalid_input(format!(
            "PolicySourceArn {text} is not the ARN of a user, group or role."
        ))
    };
    let arn: Arn = text.parse().map_err(|_| invalid())?;
    let (kind, path) = arn.resource().split_once('/').ok_or_else(invalid)?;
    let kinds = [EntityKind::User, EntityKind::Group, EntityKind::Role];
    let kind = kinds.into_iter().find(|known| known.as_str() == kind);
    let kind = kind
        .filter(|_| arn.service() == "iam")
        .ok_or_else(invalid)?;
    let name = path.rsplit('/').next().unwrap_or(path);
    if arn.account_id() != Some(scope.account) {
        return Err(error::no_such_entity(kind, name));
    }
    Ok((kind, name.to_owned()))
}

/// What is attached to the entity of this ARN.
pub(super) async fn attached(cx: &Context<IamService>, arn: &str) -> Result<AttachedPolicies> {
    let (kind, name) = source(cx.scope(), arn)?;
    let missing = || error::no_such_entity(kind, &name);
    let found = cx.resource().entity(kind)?;
    // The path must be right, too.
    if found.arn.as_str() != arn {
        return Err(missing());
    }
    let attached = cx
        .state()
        .iam
        .attached_policies(cx.scope().account, kind, &found.name.name);
    attached.await?.ok_or_else(missing)
}

/// The user of this ARN, with its unique id and tags where it exists here, and without policies.
///
/// # Errors
/// `InvalidInput` for anything else than the ARN of a user.
async fn named_caller(iam: &Iam, own_account: AccountId, arn: &Arn) -> Result<Caller> {
    let invalid =
        || error::invalid_input(format!("CallerArn {arn} is not the ARN of an IAM user."));
    let account = arn.account_id().ok_or_else(invalid)?;
    let path = arn
        .resource()
        .strip_prefix("user")
        .filter(|_| arn.service() == "iam");
    let (path, name) = path
        .filter(|path| path.starts_with('/'))
        .and_then(|path| path.rfind('/').map(|slash| path.split_at(slash + 1)))
        .filter(|(_, name)| !name.is_empty())
        .ok_or_else(invalid)?;
    if account == own_account {
        let known = iam
            .caller_of_entity(account, EntityKind::User, name)
            .await?;
        if let Some(mut caller) = known.filter(|caller| caller.arn() == arn) {
            caller.policies = Arc::default();
            caller.boundary = None;
            return Ok(caller);
        }
    }
    let user = UserName {
        path: path.to_owned(),
        name: name.to_owned(),
        id: String::new(),
    };
    Ok(Caller::new(account, Principal::User(user), Arc::default()))
}
