//! The four operations on repository creation templates.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{Grammar, Policy};
use wharfinger_registry::{
    self as registry, AppliedFor, CreationTemplate, Encryption, LifecyclePolicy, MutabilityMode,
    ROOT, RegistryId, TemplateSettings,
};

use crate::repositories::encryption;
use crate::resource::{ResourceId, registry_id};
use crate::tags::{self, TagView};
use crate::views::{self, EncryptionView, ExclusionFilter};
use crate::{Ecr, Result, error, paging, settings};

/// The service that assumes the role of a template, and whom policies name in
/// `iam:PassedToService`.
const ECR_SERVICE: &str = "ecr.amazonaws.com";

/// The members that create and update have in common, as they are given.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    prefix: String,
    description: Option<String>,
    encryption_configuration: Option<EncryptionView>,
    resource_tags: Option<Vec<TagView>>,
    image_tag_mutability: Option<MutabilityMode>,
    image_tag_mutability_exclusion_filters: Option<Vec<ExclusionFilter>>,
    repository_policy: Option<String>,
    lifecycle_policy: Option<String>,
    applied_for: Option<Vec<AppliedFor>>,
    custom_role_arn: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TemplateView {
    prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    encryption_configuration: EncryptionView,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource_tags: Vec<TagView>,
    image_tag_mutability: MutabilityMode,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_tag_mutability_exclusion_filters: Vec<ExclusionFilter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle_policy: Option<String>,
    applied_for: Vec<AppliedFor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_role_arn: Option<String>,
    created_at: f64,
    updated_at: f64,
}

/// The output of all operations that work on one template.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TemplateOutput {
    registry_id: AccountId,
    repository_creation_template: TemplateView,
}

/// The template with the principals that its policy names as ARNs.
async fn view(cx: &Context<Ecr>, template: CreationTemplate) -> Result<TemplateView> {
    let settings = template.settings;
    let repository_policy = match settings.repository_policy {
        Some(stored) => Some(cx.state().iam.show_principals(&stored).await?),
        None => None,
    };
    Ok(TemplateView {
        prefix: settings.prefix,
        description: settings.description,
        encryption_configuration: views::encryption(&settings.encryption),
        resource_tags: settings.tags.iter().map(TagView::from_pair).collect(),
        image_tag_mutability: settings.mutability.mode,
        image_tag_mutability_exclusion_filters: views::exclusion_filters(&settings.mutability),
        repository_policy,
        lifecycle_policy: settings.lifecycle_policy,
        applied_for: settings.applied_for,
        custom_role_arn: settings.custom_role_arn,
        created_at: template.created_at.as_epoch_seconds(),
        updated_at: template.updated_at.as_epoch_seconds(),
    })
}

async fn output(cx: &Context<Ecr>, template: CreationTemplate) -> Result<TemplateOutput> {
    Ok(TemplateOutput {
        registry_id: cx.resource().registry().account,
        repository_creation_template: view(cx, template).await?,
    })
}

/// The permissions that a template needs beside the operation's own: those to set what it sets on
/// repositories, and to hand over its role.
fn demands(action: &str, members: &Members, scope: &RequestScope) -> Result<Vec<Demand<Ecr>>> {
    let registry = registry_id(scope, None);
    let mut demands = vec![Demand::new(action, ResourceId::Registry(registry.clone()))];
    let all = || match members.prefix.as_str() {
        ROOT => ResourceId::Repositories(registry.clone()),
        prefix => {
            let prefix = prefix.trim_end_matches('/').to_owned();
            ResourceId::RepositoriesUnder(registry.clone(), prefix)
        }
    };
    if is_given(members.repository_policy.as_deref()) {
        demands.push(Demand::new("SetRepositoryPolicy", all()));
    }
    if is_given(members.lifecycle_policy.as_deref()) {
        demands.push(Demand::new("PutLifecyclePolicy", all()));
    }
    if let Some(role) = members
        .custom_role_arn
        .as_deref()
        .filter(|role| !role.is_empty())
    {
        let role = role_of(&registry, role)?;
        let id = ResourceId::Role(registry.clone(), role);
        let demand = Demand::of_other_service("iam:PassRole", id);
        demands.push(demand.with_key("iam:PassedToService", ECR_SERVICE));
    }
    Ok(demands)
}

fn is_given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

/// The role of this ARN, which must be one of the registry's account.
pub(super) fn role_of(registry: &RegistryId, arn: &str) -> Result<Arn> {
    let parsed = arn.parse::<Arn>().ok().filter(|arn| {
        let is_role = arn.service() == "iam" && arn.resource().starts_with("role/");
        is_role && arn.account_id() == Some(registry.account)
    });
    parsed.ok_or_else(|| {
        error::validation(format!(
            "The customRoleArn '{arn}' is not a role in the account of the registry"
        ))
    })
}

/// What a request changes in a template, validated and in the form in which it is stored.
struct Change {
    members: Members,
    encryption: Option<Encryption>,
    /// The policy with the unique ids of the principals that it names; empty to remove it.
    repository_policy: Option<String>,
}

impl Change {
    async fn checked(cx: &Context<Ecr>, members: Members) -> Result<Self> {
        let registry = cx.resource().registry();
        if let Some(text) = members
            .lifecycle_policy
            .as_deref()
            .filter(|text| !text.is_empty())
        {
            LifecyclePolicy::parse(text).map_err(registry::Error::from)?;
        }
        let encryption = match members.encryption_configuration.clone() {
            Some(given) => Some(encryption(Some(given.without_empty_key()), registry)?),
            None => None,
        };
        let repository_policy = match members.repository_policy.as_deref() {
            Some(text) if !text.is_empty() => {
                let check = |text: &str| {
                    let parsed = Policy::parse(text, Grammar::Repository);
                    parsed.map_err(|why| error::invalid_policy(&why))
                };
                check(text)?;
                let bound = cx.state().iam.bind_principals(text).await?;
                check(&bound)?;
                Some(bound)
            }
            other => other.map(ToOwned::to_owned),
        };
        Ok(Self {
            members,
            encryption,
            repository_policy,
        })
    }

    /// Applies the members that the request has, and checks the whole.
    fn apply(&self, settings: &mut TemplateSettings) -> Result<()> {
        let given = self.members.clone();
        if let Some(description) = given.description {
            settings.description = (!description.is_empty()).then_some(description);
        }
        if let Some(encryption) = &self.encryption {
            settings.encryption = encryption.clone();
        }
        if let Some(tags) = given.resource_tags {
            settings.tags = tags::checked(tags)?;
        }
        let filters = given.image_tag_mutability_exclusion_filters;
        if given.image_tag_mutability.is_some() || filters.is_some() {
            let mode = given
                .image_tag_mutability
                .unwrap_or(settings.mutability.mode);
            settings.mutability = settings::mutability(mode, filters)?;
        }
        if let Some(policy) = &self.repository_policy {
            settings.repository_policy = (!policy.is_empty()).then(|| policy.clone());
        }
        if let Some(policy) = given.lifecycle_policy {
            settings.lifecycle_policy = (!policy.is_empty()).then_some(policy);
        }
        if let Some(mut applied_for) = given.applied_for {
            if applied_for.is_empty() {
                return Err(error::validation(
                    "A repository creation template must have at least one value in appliedFor",
                ));
            }
            applied_for.sort_unstable();
            applied_for.dedup();
            settings.applied_for = applied_for;
        }
        if let Some(role) = given.custom_role_arn {
            settings.custom_role_arn = (!role.is_empty()).then_some(role);
        }
        check_role(settings)
    }
}

/// Tags and keys of KMS are set with the permissions of a role.
fn check_role(settings: &TemplateSettings) -> Result<()> {
    let needs_role = !settings.tags.is_empty() || settings.encryption.kms_key.is_some();
    if needs_role && settings.custom_role_arn.is_none() {
        return Err(error::validation(
            "A repository creation template with resourceTags or KMS encryption requires a \
             customRoleArn",
        ));
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct CreateRepositoryCreationTemplate(Members);

impl Operation for CreateRepositoryCreationTemplate {
    type Service = Ecr;
    type Output = TemplateOutput;

    const NAME: &'static str = "CreateRepositoryCreationTemplate";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecr>>> {
        demands(Self::ACTION, &self.0, scope)
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<TemplateOutput> {
        let mut settings = TemplateSettings::new(self.0.prefix.clone());
        let change = Change::checked(cx, self.0).await?;
        change.apply(&mut settings)?;
        let templates = &cx.state().registry.templates;
        let created = templates.create(cx.resource().registry(), settings).await?;
        output(cx, created).await
    }
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct UpdateRepositoryCreationTemplate(Members);

impl Operation for UpdateRepositoryCreationTemplate {
    type Service = Ecr;
    type Output = TemplateOutput;

    const NAME: &'static str = "UpdateRepositoryCreationTemplate";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecr>>> {
        demands(Self::ACTION, &self.0, scope)
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<TemplateOutput> {
        let prefix = self.0.prefix.clone();
        let change = Change::checked(cx, self.0).await?;
        let templates = &cx.state().registry.templates;
        let apply = move |settings: &mut TemplateSettings| change.apply(settings);
        let updated = templates.update(cx.resource().registry(), &prefix, apply);
        output(cx, updated.await??).await
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteRepositoryCreationTemplate {
    prefix: String,
}

impl Operation for DeleteRepositoryCreationTemplate {
    type Service = Ecr;
    type Output = TemplateOutput;

    const NAME: &'static str = "DeleteRepositoryCreationTemplate";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<TemplateOutput> {
        let templates = &cx.state().registry.templates;
        let deleted = templates.delete(cx.resource().registry(), &self.prefix);
        output(cx, deleted.await?).await
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeRepositoryCreationTemplates {
    prefixes: Option<Vec<String>>,
    next_token: Option<String>,
    max_results: Option<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeRepositoryCreationTemplatesOutput {
    registry_id: AccountId,
    repository_creation_templates: Vec<TemplateView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// Most prefixes in one request, as many as a registry may have templates, and some.
const MAX_PREFIXES: usize = 100;

impl Operation for DescribeRepositoryCreationTemplates {
    type Service = Ecr;
    type Output = DescribeRepositoryCreationTemplatesOutput;

    const NAME: &'static str = "DescribeRepositoryCreationTemplates";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<DescribeRepositoryCreationTemplatesOutput> {
        let registry = cx.resource().registry();
        let templates = &cx.state().registry.templates;
        let mut found = Vec::new();
        let mut next_token = None;
        if let Some(prefixes) = self.prefixes.filter(|prefixes| !prefixes.is_empty()) {
            if self.next_token.is_some() || self.max_results.is_some() {
                return Err(error::invalid_request(
                    "nextToken and maxResults cannot be used with prefixes",
                ));
            }
            if prefixes.len() > MAX_PREFIXES {
                return Err(error::invalid(
                    "prefixes",
                    "must have length less than or equal to 100",
                ));
            }
            for prefix in &prefixes {
                found.extend(templates.find(registry, prefix).await?);
            }
        } else {
            let token = self.next_token.as_deref();
            let after = paging::registry_position(Self::NAME, registry, token)?;
            let limit = paging::limit(self.max_results);
            let page = templates.page(registry, &after, limit).await?;
            found = page.items;
            let token = |last: String| paging::registry_token(Self::NAME, registry, &last);
            next_token = page.next.map(token);
        }
        let mut shown = Vec::with_capacity(found.len());
        for template in found {
            shown.push(view(cx, template).await?);
        }
        Ok(DescribeRepositoryCreationTemplatesOutput {
            registry_id: registry.account,
            repository_creation_templates: shown,
            next_token,
        })
    }
}
