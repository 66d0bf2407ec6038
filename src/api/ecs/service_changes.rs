//! `CreateService`, `UpdateService`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_orchestrator::identifiers::{capacity_provider_name, service_name};
use wharfinger_orchestrator::model::{
    AvailabilityZoneRebalancing, CapacityProviderStrategyItem, Cluster, ClusterName,
    DeploymentConfiguration, DeploymentController, DeploymentControllerType, LaunchType,
    NetworkConfiguration, PlacementConstraint, PlacementStrategy, PropagateTags,
    SchedulingStrategy, Tag, TaskDefinition, TaskDefinitionStatus,
};
use wharfinger_orchestrator::{ClientToken, NewService, ServiceUpdate, check_tags};

use crate::client_token::client_token;
use crate::demands::{TASKS_SERVICE, pass_role, with_tags};
use crate::resource::{EcsResourceId, cluster_id, cluster_of, home};
use crate::service_view::ServiceView;
use crate::services::{ServiceOutput, named, on_service};
use crate::{Ecs, Result, error};

/// Most characters of a client token (ECS API reference, `CreateService`).
const MAX_TOKEN: usize = 36;

/// Members of both requests that this server refuses, since it does not do what they request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    load_balancers: Option<Value>,
    service_registries: Option<Value>,
    service_connect_configuration: Option<Value>,
    volume_configurations: Option<Value>,
    vpc_lattice_configurations: Option<Value>,
    gateway_connectors: Option<Value>,
    monitoring: Option<Value>,
    deployment_controller: Option<DeploymentController>,
}

/// Whether a member says nothing: it is missing, empty, or switched off.
fn says_nothing(member: Option<&Value>) -> bool {
    match member {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => {
            members.is_empty() || members.get("enabled") == Some(&Value::Bool(false))
        }
        Some(_) => false,
    }
}

impl Refused {
    /// # Errors
    /// `InvalidParameterException` for what this server does not do.
    fn check(&self) -> Result<()> {
        let members = [
            ("loadBalancers", &self.load_balancers),
            ("serviceRegistries", &self.service_registries),
            (
                "serviceConnectConfiguration",
                &self.service_connect_configuration,
            ),
            ("volumeConfigurations", &self.volume_configurations),
            ("vpcLatticeConfigurations", &self.vpc_lattice_configurations),
            ("gatewayConnectors", &self.gateway_connectors),
            ("monitoring", &self.monitoring),
        ];
        let refused = members
            .iter()
            .find(|(_, value)| !says_nothing(value.as_ref()));
        if let Some((member, _)) = refused {
            return Err(unsupported(member));
        }
        let controller = self
            .deployment_controller
            .as_ref()
            .map(|controller| controller.kind);
        match controller {
            None | Some(DeploymentControllerType::Ecs) => Ok(()),
            Some(other) => Err(error::invalid_parameter(format!(
                "This server does not support the deployment controller {other}."
            ))),
        }
    }
}

fn unsupported(member: &str) -> crate::Error {
    error::invalid_parameter(format!(
        "This server does not support '{member}' of services."
    ))
}

/// The permission to pass the roles that the tasks get.
async fn require_roles(cx: &Context<Ecs>, definition: &TaskDefinition) -> Result<()> {
    let document = &definition.document;
    let roles = [&document.task_role_arn, &document.execution_role_arn];
    for role in roles.into_iter().flatten() {
        cx.require(pass_role(role, TASKS_SERVICE)?).await?;
    }
    Ok(())
}

/// Capacity providers by their names, as requests have names or ARNs.
fn providers(
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

/// The definition of this name, which must be active.
async fn definition(cx: &Context<Ecs>, name: &str) -> Result<TaskDefinition> {
    let definitions = &cx.state().orchestrator.task_definitions;
    let found = definitions.resolve(&home(cx.scope()), name).await?;
    if found.status == TaskDefinitionStatus::Active {
        Ok(found)
    } else {
        Err(error::client("TaskDefinition is inactive"))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateService {
    cluster: Option<String>,
    service_name: String,
    task_definition: Option<String>,
    availability_zone_rebalancing: Option<AvailabilityZoneRebalancing>,
    desired_count: Option<i64>,
    #[serde(skip_serializing)]
    client_token: Option<String>,
    launch_type: Option<LaunchType>,
    capacity_provider_strategy: Option<Vec<CapacityProviderStrategyItem>>,
    platform_version: Option<String>,
    role: Option<String>,
    deployment_configuration: Option<DeploymentConfiguration>,
    placement_constraints: Option<Vec<PlacementConstraint>>,
    placement_strategy: Option<Vec<PlacementStrategy>>,
    network_configuration: Option<NetworkConfiguration>,
    health_check_grace_period_seconds: Option<i32>,
    scheduling_strategy: Option<SchedulingStrategy>,
    tags: Option<Vec<Tag>>,
    #[serde(rename = "enableECSManagedTags", default)]
    enable_ecs_managed_tags: bool,
    propagate_tags: Option<PropagateTags>,
    #[serde(default)]
    enable_execute_command: bool,
    #[serde(flatten)]
    refused: Refused,
}

impl CreateService {
    fn names(&self, scope: &RequestScope) -> Result<(ClusterName, String)> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        if self.service_name.starts_with("arn:") {
            return Err(error::invalid_parameter("Invalid service name."));
        }
        let name = service_name(&cluster, &self.service_name)?;
        Ok((cluster, name))
    }

    fn check(&self) -> Result<()> {
        check_tags(self.tags.as_deref().unwrap_or_default())?;
        if self.role.as_ref().is_some_and(|role| !role.is_empty()) {
            return Err(unsupported("role"));
        }
        self.refused.check()
    }

    fn token(&self) -> Result<Option<ClientToken>> {
        let token = self.client_token.as_ref().filter(|token| !token.is_empty());
        token
            .map(|token| client_token(Self::NAME, self, token, MAX_TOKEN))
            .transpose()
    }
}

impl Operation for CreateService {
    type Service = Ecs;
    type Output = ServiceOutput;

    const NAME: &'static str = "CreateService";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let (cluster, name) = self.names(scope)?;
        let own = on_service(Self::ACTION, &cluster, &name);
        let created = EcsResourceId::Service(cluster, name);
        Ok(with_tags::<Self>(own, created, self.tags.as_deref()))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ServiceOutput> {
        let (_, name) = self.names(cx.scope())?;
        let cluster = cx.resource().active_cluster()?;
        self.check()?;
        let token = self.token()?;
        let Some(task_definition) = self.task_definition else {
            return Err(error::invalid_parameter("TaskDefinition can not be blank."));
        };
        let definition = definition(cx, &task_definition).await?;
        require_roles(cx, &definition).await?;
        let strategy = self.capacity_provider_strategy.unwrap_or_default();
        let new = NewService {
            name,
            desired_count: self.desired_count,
            launch_type: self.launch_type,
            capacity_provider_strategy: providers(cx.scope(), strategy)?,
            platform_version: self.platform_version,
            deployment_configuration: self.deployment_configuration.unwrap_or_default(),
            placement_constraints: self.placement_constraints.unwrap_or_default(),
            placement_strategy: self.placement_strategy.unwrap_or_default(),
            network_configuration: self.network_configuration,
            health_check_grace_period_seconds: self.health_check_grace_period_seconds,
            scheduling_strategy: self
                .scheduling_strategy
                .unwrap_or(SchedulingStrategy::Replica),
            availability_zone_rebalancing: self.availability_zone_rebalancing,
            enable_ecs_managed_tags: self.enable_ecs_managed_tags,
            propagate_tags: self.propagate_tags.unwrap_or(PropagateTags::None),
            enable_execute_command: self.enable_execute_command,
            tags: self.tags.unwrap_or_default(),
            created_by: cx.caller().principal_arn().to_string(),
            token,
        };
        let services = &cx.state().orchestrator.services;
        let made = services.create(cluster, &definition, new).await?;
        Ok(output(cluster, &made))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateService {
    cluster: Option<String>,
    service: String,
    desired_count: Option<i64>,
    task_definition: Option<String>,
    capacity_provider_strategy: Option<Vec<CapacityProviderStrategyItem>>,
    deployment_configuration: Option<DeploymentConfiguration>,
    availability_zone_rebalancing: Option<AvailabilityZoneRebalancing>,
    network_configuration: Option<NetworkConfiguration>,
    placement_constraints: Option<Vec<PlacementConstraint>>,
    placement_strategy: Option<Vec<PlacementStrategy>>,
    platform_version: Option<String>,
    #[serde(default)]
    force_new_deployment: bool,
    health_check_grace_period_seconds: Option<i32>,
    enable_execute_command: Option<bool>,
    #[serde(rename = "enableECSManagedTags")]
    enable_ecs_managed_tags: Option<bool>,
    propagate_tags: Option<PropagateTags>,
    #[serde(flatten)]
    refused: Refused,
}

impl Operation for UpdateService {
    type Service = Ecs;
    type Output = ServiceOutput;

    const NAME: &'static str = "UpdateService";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let (cluster, name) = named(scope, self.cluster.as_deref(), &self.service)?;
        Ok(vec![on_service(Self::ACTION, &cluster, &name)])
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ServiceOutput> {
        let (_, name) = named(cx.scope(), self.cluster.as_deref(), &self.service)?;
        let cluster = cx.resource().active_cluster()?;
        self.refused.check()?;
        let definition = match &self.task_definition {
            Some(named) => Some(definition(cx, named).await?),
            None => None,
        };
        if let Some(definition) = &definition {
            require_roles(cx, definition).await?;
        }
        let strategy = self.capacity_provider_strategy;
        let strategy = strategy
            .map(|given| providers(cx.scope(), given))
            .transpose()?;
        let update = ServiceUpdate {
            desired_count: self.desired_count,
            capacity_provider_strategy: strategy,
            platform_version: self.platform_version,
            deployment_configuration: self.deployment_configuration,
            placement_constraints: self.placement_constraints,
            placement_strategy: self.placement_strategy,
            network_configuration: self.network_configuration,
            health_check_grace_period_seconds: self.health_check_grace_period_seconds,
            availability_zone_rebalancing: self.availability_zone_rebalancing,
            enable_ecs_managed_tags: self.enable_ecs_managed_tags,
            propagate_tags: self.propagate_tags,
            enable_execute_command: self.enable_execute_command,
            force_new_deployment: self.force_new_deployment,
        };
        let services = &cx.state().orchestrator.services;
        let updated = services.update(cluster, &name, definition.as_ref(), update);
        Ok(output(cluster, &updated.await?))
    }
}

fn output(
    cluster: &Cluster,
    described: &wharfinger_orchestrator::ServiceDescription,
) -> ServiceOutput {
    ServiceOutput {
        service: ServiceView::of(&cluster.name, described, true),
    }
}
