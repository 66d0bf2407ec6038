//! Clusters.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_orchestrator::account_settings::CONTAINER_INSIGHTS;
use wharfinger_orchestrator::identifiers::{DEFAULT_CLUSTER, capacity_provider_name};
use wharfinger_orchestrator::model::{
    CapacityProviderStrategyItem, ClusterConfiguration, ClusterDetails, ClusterName,
    ClusterServiceConnectDefaults, ClusterSetting, ClusterStatus, Tag,
};

use crate::cluster_view::{ClusterField, ClusterView};
use crate::demands::with_tags;
use crate::paging::{self, MAX_ITEMS};
use crate::resource::{EcsResourceId, cluster_id, cluster_of, cluster_to_decide, home};
use crate::views::Failure;
use crate::{Ecs, Result, error};

/// The response of the operations that work on one cluster.
#[derive(Debug, Serialize)]
pub(super) struct ClusterOutput {
    cluster: ClusterView,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateCluster {
    cluster_name: Option<String>,
    tags: Option<Vec<Tag>>,
    settings: Option<Vec<ClusterSetting>>,
    configuration: Option<ClusterConfiguration>,
    capacity_providers: Option<Vec<String>>,
    default_capacity_provider_strategy: Option<Vec<CapacityProviderStrategyItem>>,
    service_connect_defaults: Option<ClusterServiceConnectDefaults>,
}

impl CreateCluster {
    fn name(&self, scope: &RequestScope) -> Result<ClusterName> {
        let name = self.cluster_name.as_deref().unwrap_or(DEFAULT_CLUSTER);
        if name.starts_with("arn:") {
            return Err(error::invalid_parameter("Invalid cluster name."));
        }
        cluster_of(scope, Some(name))
    }
}

impl Operation for CreateCluster {
    type Service = Ecs;
    type Output = ClusterOutput;

    const NAME: &'static str = "CreateCluster";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let own = Demand::new(Self::ACTION, self.resource(scope)?);
        let created = EcsResourceId::Cluster(self.name(scope)?);
        Ok(with_tags::<Self>(own, created, self.tags.as_deref()))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ClusterOutput> {
        let name = self.name(cx.scope())?;
        let tags = self.tags.unwrap_or_default();
        wharfinger_orchestrator::check_tags(&tags)?;
        refuse_service_connect(self.service_connect_defaults.as_ref())?;
        let mut settings = self.settings.unwrap_or_default();
        check_settings(&settings)?;
        check_configuration(self.configuration.as_ref())?;
        let orchestrator = &cx.state().orchestrator;
        // A cluster that was deleted is made anew.
        let old = orchestrator.clusters.get(&name).await?;
        let is_new = old.is_none_or(|old| old.status == ClusterStatus::Inactive);
        if settings.is_empty() && is_new {
            settings.push(default_setting(cx).await?);
        }
        let details = ClusterDetails {
            settings,
            configuration: self.configuration,
            capacity_providers: names(cx.scope(), self.capacity_providers.unwrap_or_default())?,
            default_capacity_provider_strategy: items(
                cx.scope(),
                self.default_capacity_provider_strategy.unwrap_or_default(),
            )?,
            service_connect_defaults: None,
            tags,
            ended_at: None,
        };
        let cluster = orchestrator.clusters.create(&name, details).await?;
        let counts = orchestrator.clusters.counts(&cluster.id).await?;
        let cluster = ClusterView::of(&cluster, &counts, &ClusterField::ALL_BUT_STATISTICS);
        Ok(ClusterOutput { cluster })
    }
}

/// What a new cluster has where the request says nothing: the caller's account setting.
async fn default_setting(cx: &Context<Ecs>) -> Result<ClusterSetting> {
    let settings = &cx.state().orchestrator.settings;
    let (home, principal) = (home(cx.scope()), cx.caller().principal_arn());
    let value = settings.effective(&home, principal, CONTAINER_INSIGHTS);
    Ok(ClusterSetting {
        name: Some(CONTAINER_INSIGHTS.to_owned()),
        value: Some(value.await?),
    })
}

fn check_settings(settings: &[ClusterSetting]) -> Result<()> {
    for setting in settings {
        if setting.name.as_deref() != Some(CONTAINER_INSIGHTS) {
            return Err(error::invalid_parameter("Setting name can not be blank."));
        }
        let values = ["enabled", "disabled", "enhanced"];
        if !setting
            .value
            .as_deref()
            .is_some_and(|value| values.contains(&value))
        {
            let values = values.join(",");
            let message = format!("{CONTAINER_INSIGHTS} should be one of [{values}]");
            return Err(error::invalid_parameter(message));
        }
    }
    if settings.len() > 1 {
        return Err(error::invalid_parameter(
            "A setting is given more than once.",
        ));
    }
    Ok(())
}

fn check_configuration(configuration: Option<&ClusterConfiguration>) -> Result<()> {
    let of_commands = configuration.and_then(|one| one.execute_command_configuration.as_ref());
    let Some(configuration) = of_commands else {
        return Ok(());
    };
    let overrides = configuration.logging.as_deref() == Some("OVERRIDE");
    if overrides == configuration.log_configuration.is_some() {
        return Ok(());
    }
    Err(error::invalid_parameter(if overrides {
        "A logConfiguration must be specified when the logging of commands is OVERRIDE."
    } else {
        "A logConfiguration can be specified only when the logging of commands is OVERRIDE."
    }))
}

/// Namespaces of Service Connect need Cloud Map, which this server does not have.
fn refuse_service_connect(defaults: Option<&ClusterServiceConnectDefaults>) -> Result<()> {
    let namespace = defaults.and_then(|defaults| defaults.namespace.as_deref());
    match namespace {
        // An empty name removes the default.
        None | Some("") => Ok(()),
        Some(_) => Err(error::invalid_parameter(
            "This server does not support Service Connect.",
        )),
    }
}

/// Capacity providers by their names, as requests have names or ARNs.
fn names(scope: &RequestScope, given: Vec<String>) -> Result<Vec<String>> {
    let home = home(scope);
    let name = |text: String| Ok(capacity_provider_name(&home, &text)?);
    given.into_iter().map(name).collect()
}

fn items(
    scope: &RequestScope,
    given: Vec<CapacityProviderStrategyItem>,
) -> Result<Vec<CapacityProviderStrategyItem>> {
    let home = home(scope);
    let item = |item: CapacityProviderStrategyItem| {
        Ok(CapacityProviderStrategyItem {
            capacity_provider: capacity_provider_name(&home, &item.capacity_provider)?,
            weight: Some(item.weight.unwrap_or(0)),
            base: Some(item.base.unwrap_or(0)),
        })
    };
    given.into_iter().map(item).collect()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeClusters {
    clusters: Option<Vec<String>>,
    include: Option<Vec<ClusterField>>,
}

impl DescribeClusters {
    /// The clusters, each once, in the order of the request.
    fn names(&self, scope: &RequestScope) -> Result<Vec<ClusterName>> {
        let given = self.clusters.as_deref().unwrap_or_default();
        if given.len() > MAX_ITEMS {
            let message = format!("Clusters can not have more than {MAX_ITEMS} items.");
            return Err(error::invalid_parameter(message));
        }
        if given.is_empty() {
            return Ok(vec![cluster_of(scope, None)?]);
        }
        let mut names = Vec::new();
        for text in given {
            let name = cluster_to_decide(scope, Some(text))?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

#[derive(Debug, Serialize)]
pub(super) struct DescribeClustersOutput {
    clusters: Vec<ClusterView>,
    failures: Vec<Failure>,
}

impl Operation for DescribeClusters {
    type Service = Ecs;
    type Output = DescribeClustersOutput;

    const NAME: &'static str = "DescribeClusters";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        let first = self.names(scope)?.into_iter().next();
        first.map_or_else(
            || cluster_id(scope, None),
            |name| Ok(EcsResourceId::Cluster(name)),
        )
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let demand = |name| Demand::new(Self::ACTION, EcsResourceId::Cluster(name));
        Ok(self.names(scope)?.into_iter().map(demand).collect())
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<DescribeClustersOutput> {
        let fields = self.include.as_deref().unwrap_or_default();
        let (mut clusters, mut failures) = (Vec::new(), Vec::new());
        for (name, resource) in self.names(cx.scope())?.iter().zip(cx.resources()) {
            match resource.cluster() {
                Ok(cluster) => {
                    let counts = cx.state().orchestrator.clusters.counts(&cluster.id).await?;
                    clusters.push(ClusterView::of(cluster, &counts, fields));
                }
                Err(_) => failures.push(Failure::missing(&name.arn())),
            }
        }
        Ok(DescribeClustersOutput { clusters, failures })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListClusters {
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListClustersOutput {
    cluster_arns: Vec<String>,
    next_token: Option<String>,
}

impl Operation for ListClusters {
    type Service = Ecs;
    type Output = ListClustersOutput;

    const NAME: &'static str = "ListClusters";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ListClustersOutput> {
        let limit = paging::limit(self.max_results, MAX_ITEMS)?;
        let after = paging::position(Self::NAME, "", self.next_token.as_deref())?;
        let clusters = &cx.state().orchestrator.clusters;
        let page = clusters.page(&home(cx.scope()), &after, limit).await?;
        let arns = page
            .items
            .iter()
            .map(|cluster| cluster.name.arn().to_string());
        let next = page.next.as_deref();
        Ok(ListClustersOutput {
            cluster_arns: arns.collect(),
            next_token: next.map(|after| paging::token(Self::NAME, "", after)),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteCluster {
    cluster: String,
}

impl Operation for DeleteCluster {
    type Service = Ecs;
    type Output = ClusterOutput;

    const NAME: &'static str = "DeleteCluster";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, Some(&self.cluster))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ClusterOutput> {
        let name = &cx.resource().cluster()?.name;
        let clusters = &cx.state().orchestrator.clusters;
        let cluster = clusters.delete(name).await?;
        let counts = clusters.counts(&cluster.id).await?;
        let cluster = ClusterView::of(&cluster, &counts, &ClusterField::ALL_BUT_STATISTICS);
        Ok(ClusterOutput { cluster })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateCluster {
    cluster: String,
    settings: Option<Vec<ClusterSetting>>,
    configuration: Option<ClusterConfiguration>,
    service_connect_defaults: Option<ClusterServiceConnectDefaults>,
}

impl Operation for UpdateCluster {
    type Service = Ecs;
    type Output = ClusterOutput;

    const NAME: &'static str = "UpdateCluster";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, Some(&self.cluster))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ClusterOutput> {
        check_settings(self.settings.as_deref().unwrap_or_default())?;
        check_configuration(self.configuration.as_ref())?;
        refuse_service_connect(self.service_connect_defaults.as_ref())?;
        let (settings, configuration) = (self.settings, self.configuration);
        updated(cx, move |details| {
            if let Some(settings) = &settings {
                set(&mut details.settings, settings);
            }
            if configuration.is_some() {
                details.configuration.clone_from(&configuration);
            }
        })
        .await
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct UpdateClusterSettings {
    cluster: String,
    settings: Vec<ClusterSetting>,
}

impl Operation for UpdateClusterSettings {
    type Service = Ecs;
    type Output = ClusterOutput;

    const NAME: &'static str = "UpdateClusterSettings";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, Some(&self.cluster))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ClusterOutput> {
        if self.settings.is_empty() {
            return Err(error::invalid_parameter("Settings can not be empty."));
        }
        check_settings(&self.settings)?;
        updated(cx, move |details| {
            set(&mut details.settings, &self.settings);
        })
        .await
    }
}

/// Sets the values of settings; others stay.
fn set(all: &mut Vec<ClusterSetting>, changed: &[ClusterSetting]) {
    for setting in changed {
        match all.iter_mut().find(|one| one.name == setting.name) {
            Some(one) => one.value.clone_from(&setting.value),
            None => all.push(setting.clone()),
        }
    }
}

async fn updated(
    cx: &Context<Ecs>,
    change: impl Fn(&mut ClusterDetails) + Send + 'static,
) -> Result<ClusterOutput> {
    let name = &cx.resource().cluster()?.name;
    let clusters = &cx.state().orchestrator.clusters;
    let cluster = clusters.update(name, change).await?;
    let counts = clusters.counts(&cluster.id).await?;
    let cluster = ClusterView::of(&cluster, &counts, &ClusterField::ALL_BUT_STATISTICS);
    Ok(ClusterOutput { cluster })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutClusterCapacityProviders {
    cluster: String,
    capacity_providers: Vec<String>,
    default_capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
}

impl Operation for PutClusterCapacityProviders {
    type Service = Ecs;
    type Output = ClusterOutput;

    const NAME: &'static str = "PutClusterCapacityProviders";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, Some(&self.cluster))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ClusterOutput> {
        let providers = names(cx.scope(), self.capacity_providers)?;
        let strategy = items(cx.scope(), self.default_capacity_provider_strategy)?;
        let name = &cx.resource().cluster()?.name;
        let clusters = &cx.state().orchestrator.clusters;
        let cluster = clusters
            .put_capacity_providers(name, providers, strategy)
            .await?;
        let counts = clusters.counts(&cluster.id).await?;
        let cluster = ClusterView::of(&cluster, &counts, &ClusterField::ALL_BUT_STATISTICS);
        Ok(ClusterOutput { cluster })
    }
}
