//! Capacity providers.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_orchestrator::capacity_strategy::{FARGATE, FARGATE_SPOT, is_fargate};
use wharfinger_orchestrator::identifiers::capacity_provider_name;
use wharfinger_orchestrator::model::{
    AccountRegion, AutoScalingGroupProvider, CapacityProvider, CapacityProviderUpdateStatus,
    ManagedScaling, Switch, Tag,
};

use crate::demands::with_tags;
use crate::resource::{EcsResourceId, cluster_of, home};
use crate::views::Failure;
use crate::{Ecs, Error, Result, error, paging};

/// Most capacity providers that a request names, and that a page has.
const MAX_NAMED: usize = 100;
const MAX_ITEMS: usize = 10;

/// `CapacityProvider` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CapacityProviderView {
    capacity_provider_arn: String,
    name: String,
    status: &'static str,
    auto_scaling_group_provider: Option<AutoScalingGroupProvider>,
    update_status: Option<&'static str>,
    update_status_reason: Option<String>,
    tags: Vec<Tag>,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl CapacityProviderView {
    fn of(provider: CapacityProvider, with_tags: bool) -> Self {
        let details = provider.details;
        Self {
            capacity_provider_arn: arn(&provider.home, &provider.name),
            name: provider.name,
            status: provider.status.as_str(),
            auto_scaling_group_provider: details.auto_scaling_group,
            update_status: details
                .update_status
                .map(CapacityProviderUpdateStatus::as_str),
            update_status_reason: details.update_status_reason,
            tags: if with_tags { details.tags } else { Vec::new() },
            kind: "EC2_AUTOSCALING",
        }
    }

    /// One of Fargate's, which every account has.
    fn fargate(home: &AccountRegion, name: &'static str) -> Self {
        Self {
            capacity_provider_arn: arn(home, name),
            name: name.to_owned(),
            status: "ACTIVE",
            auto_scaling_group_provider: None,
            update_status: None,
            update_status_reason: None,
            tags: Vec::new(),
            kind: name,
        }
    }
}

fn arn(home: &AccountRegion, name: &str) -> String {
    home.arn(&format!("capacity-provider/{name}")).to_string()
}

fn named(scope: &RequestScope, text: &str) -> Result<EcsResourceId> {
    let home = home(scope);
    let name = capacity_provider_name(&home, text)?;
    Ok(EcsResourceId::CapacityProvider(home, name))
}

/// Only providers of managed instances belong to a cluster, and there are none here.
fn refuse_managed_instances(is_given: bool) -> Result<()> {
    if is_given {
        let message = "This server does not support Amazon ECS Managed Instances.".to_owned();
        return Err(wharfinger_orchestrator::Error::UnsupportedFeature(message).into());
    }
    Ok(())
}

/// The response of the operations that work on one capacity provider.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CapacityProviderOutput {
    capacity_provider: CapacityProviderView,
}

impl From<CapacityProvider> for CapacityProviderOutput {
    fn from(provider: CapacityProvider) -> Self {
        Self {
            capacity_provider: CapacityProviderView::of(provider, true),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateCapacityProvider {
    name: String,
    cluster: Option<String>,
    auto_scaling_group_provider: Option<AutoScalingGroupProvider>,
    managed_instances_provider: Option<serde::de::IgnoredAny>,
    tags: Option<Vec<Tag>>,
}

impl Operation for CreateCapacityProvider {
    type Service = Ecs;
    type Output = CapacityProviderOutput;

    const NAME: &'static str = "CreateCapacityProvider";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let own = Demand::new(Self::ACTION, self.resource(scope)?);
        let created = EcsResourceId::CapacityProvider(home(scope), self.name.clone());
        Ok(with_tags::<Self>(own, created, self.tags.as_deref()))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<CapacityProviderOutput> {
        refuse_managed_instances(
            self.managed_instances_provider.is_some() || self.cluster.is_some(),
        )?;
        let group = self.auto_scaling_group_provider.ok_or_else(|| {
            error::invalid_parameter("An Auto Scaling group provider must be specified.")
        })?;
        let providers = &cx.state().orchestrator.capacity_providers;
        let (home, tags) = (home(cx.scope()), self.tags.unwrap_or_default());
        Ok(providers
            .create(&home, &self.name, group, tags)
            .await?
            .into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum CapacityProviderField {
    #[serde(rename = "TAGS")]
    Tags,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeCapacityProviders {
    capacity_providers: Option<Vec<String>>,
    cluster: Option<String>,
    include: Option<Vec<CapacityProviderField>>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

impl DescribeCapacityProviders {
    /// The providers that the request names, each once.
    fn names(&self, scope: &RequestScope) -> Result<Vec<String>> {
        let given = self.capacity_providers.as_deref().unwrap_or_default();
        if given.len() > MAX_NAMED {
            let message = format!("Capacity providers can not have more than {MAX_NAMED} items.");
            return Err(error::invalid_parameter(message));
        }
        let home = home(scope);
        let mut names: Vec<String> = Vec::new();
        for text in given {
            let name = capacity_provider_name(&home, text)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeCapacityProvidersOutput {
    capacity_providers: Vec<CapacityProviderView>,
    failures: Vec<Failure>,
    next_token: Option<String>,
}

impl Operation for DescribeCapacityProviders {
    type Service = Ecs;
    type Output = DescribeCapacityProvidersOutput;

    const NAME: &'static str = "DescribeCapacityProviders";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        let home = home(scope);
        Ok(match self.names(scope)?.into_iter().next() {
            Some(name) => EcsResourceId::CapacityProvider(home, name),
            None => EcsResourceId::Named(home, "capacity-provider/*".to_owned()),
        })
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let home = home(scope);
        let mut demands: Vec<_> = self
            .names(scope)?
            .into_iter()
            .map(|name| EcsResourceId::CapacityProvider(home.clone(), name))
            .map(|id| Demand::new(Self::ACTION, id))
            .collect();
        if demands.is_empty() {
            demands.push(Demand::new(Self::ACTION, self.resource(scope)?));
        }
        Ok(demands)
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<DescribeCapacityProvidersOutput> {
        let limit = paging::limit(self.max_results, MAX_ITEMS)?;
        let orchestrator = &cx.state().orchestrator;
        let home = home(cx.scope());
        let mut names = self.names(cx.scope())?;
        let with_tags = self
            .include
            .unwrap_or_default()
            .contains(&CapacityProviderField::Tags);
        let mut listing = names.join(",");
        if let Some(cluster) = &self.cluster {
            let name = cluster_of(cx.scope(), Some(cluster))?;
            let cluster = orchestrator.clusters.get(&name).await?;
            let cluster = cluster.ok_or(wharfinger_orchestrator::Error::ClusterNotFound)?;
            let of_cluster = cluster.details.capacity_providers;
            listing = format!("{};{listing}", name.name);
            if names.is_empty() {
                names = of_cluster;
                if names.is_empty() {
                    return Ok(DescribeCapacityProvidersOutput {
                        capacity_providers: Vec::new(),
                        failures: Vec::new(),
                        next_token: None,
                    });
                }
            } else {
                names.retain(|name| of_cluster.contains(name));
            }
        }
        let after = paging::position(Self::NAME, &listing, self.next_token.as_deref())?;
        let names = if names.is_empty() {
            all_after(cx, &home, &after, limit + 1).await?
        } else {
            let at = names.iter().position(|name| *name == after);
            names.split_off(at.map_or(0, |at| at + 1))
        };
        let page = wharfinger_base::Page::of(names, limit, String::clone);
        let (mut capacity_providers, mut failures) = (Vec::new(), Vec::new());
        for name in page.items {
            let fargate = [FARGATE, FARGATE_SPOT].into_iter().find(|one| *one == name);
            if let Some(fargate) = fargate {
                capacity_providers.push(CapacityProviderView::fargate(&home, fargate));
                continue;
            }
            match orchestrator.capacity_providers.get(&home, &name).await? {
                Some(found) => capacity_providers.push(CapacityProviderView::of(found, with_tags)),
                None => {
                    let arn = home.arn(&format!("capacity-provider/{name}"));
                    failures.push(Failure::missing(&arn));
                }
            }
        }
        let next = page.next.as_deref();
        Ok(DescribeCapacityProvidersOutput {
            capacity_providers,
            failures,
            next_token: next.map(|after| paging::token(Self::NAME, &listing, after)),
        })
    }
}

/// The names of all providers after `after`: first Fargate's, then the account's own.
async fn all_after(
    cx: &Context<Ecs>,
    home: &AccountRegion,
    after: &str,
    limit: usize,
) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut own_after = after;
    if after.is_empty() || is_fargate(after) {
        let built_in = [FARGATE, FARGATE_SPOT];
        let at = built_in.iter().position(|name| *name == after);
        let rest = &built_in[at.map_or(0, |at| at + 1)..];
        names.extend(rest.iter().map(|name| (*name).to_owned()));
        own_after = "";
    }
    let providers = &cx.state().orchestrator.capacity_providers;
    let own = providers.page(home, own_after, limit).await?;
    names.extend(own.items.into_iter().map(|provider| provider.name));
    names.truncate(limit);
    Ok(names)
}

/// `AutoScalingGroupProviderUpdate` of the service model.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names of the service model")]
struct AutoScalingGroupProviderUpdate {
    managed_scaling: Option<ManagedScaling>,
    managed_termination_protection: Option<Switch>,
    managed_draining: Option<Switch>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateCapacityProvider {
    name: String,
    cluster: Option<String>,
    auto_scaling_group_provider: Option<AutoScalingGroupProviderUpdate>,
    managed_instances_provider: Option<serde::de::IgnoredAny>,
}

impl Operation for UpdateCapacityProvider {
    type Service = Ecs;
    type Output = CapacityProviderOutput;

    const NAME: &'static str = "UpdateCapacityProvider";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        named(scope, &self.name)
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<CapacityProviderOutput> {
        refuse_managed_instances(
            self.managed_instances_provider.is_some() || self.cluster.is_some(),
        )?;
        let update = self.auto_scaling_group_provider.ok_or_else(|| {
            error::invalid_parameter("An Auto Scaling group provider must be specified.")
        })?;
        let change = AutoScalingGroupProvider {
            auto_scaling_group_arn: String::new(),
            managed_scaling: update.managed_scaling,
            managed_termination_protection: update.managed_termination_protection,
            managed_draining: update.managed_draining,
        };
        let home = home(cx.scope());
        let name = capacity_provider_name(&home, &self.name)?;
        let providers = &cx.state().orchestrator.capacity_providers;
        Ok(providers.update(&home, &name, change).await?.into())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeleteCapacityProvider {
    capacity_provider: String,
    cluster: Option<String>,
}

impl Operation for DeleteCapacityProvider {
    type Service = Ecs;
    type Output = CapacityProviderOutput;

    const NAME: &'static str = "DeleteCapacityProvider";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        named(scope, &self.capacity_provider)
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<CapacityProviderOutput> {
        refuse_managed_instances(self.cluster.is_some())?;
        let home = home(cx.scope());
        let name = capacity_provider_name(&home, &self.capacity_provider)?;
        let providers = &cx.state().orchestrator.capacity_providers;
        Ok::<_, Error>(providers.delete(&home, &name).await?.into())
    }
}
