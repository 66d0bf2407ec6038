//! Rules of the pull-through cache: `CreatePullThroughCacheRule` and its siblings.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::PageToken;
use wharfinger_registry::{
    NewPullThroughRule, Prefix, PullThroughRule, RegistryId, UpstreamKind, UpstreamSignIn,
};

use crate::creation_templates::role_of;
use crate::resource::{ResourceId, registry_id};
use crate::{Ecr, Result, error, paging};

/// Checks where credentials come from: a secret of the registry's own account and region. The
/// name was checked against its pattern.
///
/// # Errors
/// `ValidationException`.
fn credential(registry: &RegistryId, arn: Option<&str>) -> Result<Option<Arn>> {
    let Some(text) = arn else { return Ok(None) };
    let invalid = || error::validation(format!("The secret ARN '{text}' is not valid."));
    let arn: Arn = text.parse().map_err(|_| invalid())?;
    if arn.account_id() == Some(registry.account) && arn.region() == registry.region.as_str() {
        Ok(Some(arn))
    } else {
        Err(error::validation(
            "The secret must be in the same account and Region as the registry.",
        ))
    }
}

/// The service that assumes the roles of rules.
const SERVICE: &str = "pullthroughcache.ecr.amazonaws.com";

/// Checks a role, which belongs to the registry's account (ECR API reference,
/// `CreatePullThroughCacheRule`).
///
/// # Errors
/// `ValidationException`.
fn role(registry: &RegistryId, arn: Option<&str>) -> Result<Option<Arn>> {
    arn.map(|arn| role_of(registry, arn)).transpose()
}

/// The permissions for a rule: the action itself, and to hand over its role.
fn demands(action: &str, registry: RegistryId, role_arn: Option<&str>) -> Result<Vec<Demand<Ecr>>> {
    let mut demands = vec![Demand::new(action, ResourceId::Registry(registry.clone()))];
    if let Some(role) = role(&registry, role_arn)? {
        let id = ResourceId::Role(registry, role);
        let demand = Demand::of_other_service("iam:PassRole", id);
        demands.push(demand.with_key("iam:PassedToService", SERVICE));
    }
    Ok(demands)
}

fn both() -> error::Error {
    error::validation("A rule has either a credentialArn or a customRoleArn.")
}

/// A rule in a response; which members it has differs between the operations.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PullThroughCacheRule {
    ecr_repository_prefix: String,
    registry_id: AccountId,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_repository_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_arn: Option<Arn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_role_arn: Option<Arn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_registry_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_registry: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<f64>,
}

/// The members that all responses have, without the URL.
fn bare(rule: &PullThroughRule) -> PullThroughCacheRule {
    PullThroughCacheRule {
        ecr_repository_prefix: rule.prefix.to_string(),
        registry_id: rule.registry.account,
        upstream_repository_prefix: rule.upstream_prefix.given(),
        credential_arn: rule.credential.clone(),
        custom_role_arn: rule.custom_role.clone(),
        upstream_registry_url: None,
        upstream_registry: None,
        created_at: None,
        updated_at: None,
    }
}

/// All members.
fn whole(rule: &PullThroughRule) -> PullThroughCacheRule {
    PullThroughCacheRule {
        upstream_registry_url: Some(rule.upstream_url.clone()),
        upstream_registry: Some(rule.upstream_kind.as_str()),
        created_at: Some(rule.created_at.as_epoch_seconds()),
        updated_at: Some(rule.updated_at.as_epoch_seconds()),
        ..bare(rule)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatePullThroughCacheRule {
    registry_id: Option<AccountId>,
    ecr_repository_prefix: String,
    upstream_registry_url: String,
    upstream_registry: Option<String>,
    credential_arn: Option<String>,
    custom_role_arn: Option<String>,
    upstream_repository_prefix: Option<String>,
}

impl CreatePullThroughCacheRule {
    fn rule(self, registry: &RegistryId) -> Result<NewPullThroughRule> {
        let url = self.upstream_registry_url;
        let kind = match &self.upstream_registry {
            Some(name) => UpstreamKind::of_name(name).filter(|kind| kind.has_host(&url)),
            None => UpstreamKind::of_host(&url),
        };
        let kind = kind.ok_or_else(|| error::unsupported_upstream(&url))?;
        let custom_role = role(registry, self.custom_role_arn.as_deref())?;
        if custom_role.is_some() && kind != UpstreamKind::Ecr {
            return Err(error::validation(
                "A customRoleArn is for an upstream registry of Amazon ECR only.",
            ));
        }
        let credential = credential(registry, self.credential_arn.as_deref())?;
        if credential.is_some() && custom_role.is_some() {
            return Err(both());
        }
        if credential.is_none() && kind.needs_secret() {
            let kind = kind.as_str();
            return Err(error::validation(format!(
                "A credentialArn is required for the upstream registry {kind}."
            )));
        }
        let upstream_prefix = self.upstream_repository_prefix.as_deref();
        Ok(NewPullThroughRule {
            prefix: Prefix::new(&self.ecr_repository_prefix),
            upstream_url: url,
            upstream_kind: kind,
            upstream_prefix: upstream_prefix.map_or_else(Prefix::not_given, Prefix::new),
            credential,
            custom_role,
        })
    }
}

impl Operation for CreatePullThroughCacheRule {
    type Service = Ecr;
    const NAME: &'static str = "CreatePullThroughCacheRule";
    type Output = PullThroughCacheRule;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, self.registry_id)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecr>>> {
        let registry = registry_id(scope, self.registry_id);
        demands(Self::ACTION, registry, self.custom_role_arn.as_deref())
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<PullThroughCacheRule> {
        let registry = cx.resource().registry();
        let rules = &cx.state().pull_through.rules;
        let rule = rules.create(registry, self.rule(registry)?).await?;
        Ok(PullThroughCacheRule {
            updated_at: None,
            ..whole(&rule)
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdatePullThroughCacheRule {
    registry_id: Option<AccountId>,
    ecr_repository_prefix: String,
    credential_arn: Option<String>,
    custom_role_arn: Option<String>,
}

impl Operation for UpdatePullThroughCacheRule {
    type Service = Ecr;
    const NAME: &'static str = "UpdatePullThroughCacheRule";
    type Output = PullThroughCacheRule;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, self.registry_id)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecr>>> {
        let registry = registry_id(scope, self.registry_id);
        demands(Self::ACTION, registry, self.custom_role_arn.as_deref())
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<PullThroughCacheRule> {
        let registry = cx.resource().registry();
        let secret = credential(registry, self.credential_arn.as_deref())?;
        let assumed = role(registry, self.custom_role_arn.as_deref())?;
        let sign_in = match (secret, assumed) {
            (Some(secret), None) => UpstreamSignIn::Secret(secret),
            (None, Some(assumed)) => UpstreamSignIn::Role(assumed),
            (Some(_), Some(_)) => return Err(both()),
            (None, None) => {
                return Err(error::validation(
                    "A credentialArn or a customRoleArn is required to update a pull through \
                     cache rule.",
                ));
            }
        };
        let prefix = Prefix::new(&self.ecr_repository_prefix);
        let rules = &cx.state().pull_through.rules;
        let rule = rules.set_sign_in(registry, &prefix, sign_in).await?;
        Ok(PullThroughCacheRule {
            updated_at: Some(rule.updated_at.as_epoch_seconds()),
            ..bare(&rule)
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeletePullThroughCacheRule {
    registry_id: Option<AccountId>,
    ecr_repository_prefix: String,
}

impl Operation for DeletePullThroughCacheRule {
    type Service = Ecr;
    const NAME: &'static str = "DeletePullThroughCacheRule";
    type Output = PullThroughCacheRule;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, self.registry_id)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<PullThroughCacheRule> {
        let prefix = Prefix::new(&self.ecr_repository_prefix);
        let rules = &cx.state().pull_through.rules;
        let rule = rules.delete(cx.resource().registry(), &prefix).await?;
        Ok(PullThroughCacheRule {
            updated_at: None,
            upstream_registry: None,
            ..whole(&rule)
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribePullThroughCacheRules {
    registry_id: Option<AccountId>,
    ecr_repository_prefixes: Option<Vec<String>>,
    next_token: Option<String>,
    max_results: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribePullThroughCacheRulesOutput {
    pull_through_cache_rules: Vec<PullThroughCacheRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Operation for DescribePullThroughCacheRules {
    type Service = Ecr;
    const NAME: &'static str = "DescribePullThroughCacheRules";
    type Output = DescribePullThroughCacheRulesOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, self.registry_id)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<DescribePullThroughCacheRulesOutput> {
        let registry = cx.resource().registry();
        let rules = &cx.state().pull_through.rules;
        if let Some(prefixes) = self.ecr_repository_prefixes {
            if self.next_token.is_some() || self.max_results.is_some() {
                return Err(error::invalid_request(
                    "nextToken and maxResults cannot be used with ecrRepositoryPrefixes",
                ));
            }
            let mut found = Vec::with_capacity(prefixes.len());
            for prefix in prefixes {
                let rule = rules.get(registry, &Prefix::new(&prefix)).await?;
                found.push(whole(&rule));
            }
            return Ok(DescribePullThroughCacheRulesOutput {
                pull_through_cache_rules: found,
                next_token: None,
            });
        }
        let account = registry.account.to_string();
        let after = match paging::position(Self::NAME, self.next_token.as_deref())? {
            Some([of, prefix]) if of == account => prefix,
            Some(_) => return Err(paging::bad_token()),
            None => String::new(),
        };
        let limit = paging::limit(self.max_results);
        let page = rules.page(registry, &after, limit).await?;
        let token = |prefix: String| PageToken::encode(Self::NAME, &[&account, &prefix]);
        Ok(DescribePullThroughCacheRulesOutput {
            pull_through_cache_rules: page.items.iter().map(whole).collect(),
            next_token: page.next.map(token),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ValidatePullThroughCacheRule {
    registry_id: Option<AccountId>,
    ecr_repository_prefix: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ValidatePullThroughCacheRuleOutput {
    #[serde(flatten)]
    rule: PullThroughCacheRule,
    is_valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

impl Operation for ValidatePullThroughCacheRule {
    type Service = Ecr;
    const NAME: &'static str = "ValidatePullThroughCacheRule";
    type Output = ValidatePullThroughCacheRuleOutput;

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, self.registry_id)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<ValidatePullThroughCacheRuleOutput> {
        let prefix = Prefix::new(&self.ecr_repository_prefix);
        let rules = &cx.state().pull_through.rules;
        let rule = rules.get(cx.resource().registry(), &prefix).await?;
        let failure = rules.validate(&rule).await?;
        Ok(ValidatePullThroughCacheRuleOutput {
            rule: PullThroughCacheRule {
                upstream_registry_url: Some(rule.upstream_url.clone()),
                ..bare(&rule)
            },
            is_valid: failure.is_none(),
            failure,
        })
    }
}
