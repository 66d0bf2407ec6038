//! `RunTask`, `StartTask`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_orchestrator::identifiers::{capacity_provider_name, instance_id};
use wharfinger_orchestrator::model::{
    CapacityProviderStrategyItem, Cluster, InstanceId, LaunchType, NetworkConfiguration,
    PlacementConstraint, PlacementStrategy, PropagateTags, Tag, TaskDefinition, TaskOverride,
};
use wharfinger_orchestrator::placement::Unplaced;
use wharfinger_orchestrator::{
    ClientToken, Launch, Placement, StartTasks, StartedTasks, check_launch, check_overrides,
    check_placement, check_platform, check_tags,
};

use crate::client_token::client_token;
use crate::demands::{TASKS_SERVICE, in_cluster, pass_role, with_tags};
use crate::resource::{EcsResourceId, cluster_id, cluster_of, home};
use crate::task_view::TaskView;
use crate::views::Failure;
use crate::{Ecs, Result, error};

/// Most tasks of `RunTask`, and most instances of `StartTask` (ECS API reference).
const MAX_COUNT: usize = 10;
/// Most characters of a client token, of `startedBy` and of a group (ECS API reference).
const MAX_TOKEN: usize = 64;
const MAX_STARTED_BY: usize = 128;
const MAX_GROUP: usize = 255;
/// The same of `referenceId`.
const MAX_REFERENCE: usize = 1024;
/// Most refusals that a response lists: people read the first ones.
const MAX_FAILURES: usize = 1000;

/// Why Fargate tasks are not started, whose instances are not shown.
const NO_CAPACITY: &str = "Capacity is unavailable at this time. Please try again later or in a \
    different availability zone";

/// The members that both requests have.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Common {
    cluster: Option<String>,
    task_definition: String,
    #[serde(rename = "enableECSManagedTags", default)]
    enable_ecs_managed_tags: bool,
    #[serde(default)]
    enable_execute_command: bool,
    group: Option<String>,
    network_configuration: Option<NetworkConfiguration>,
    overrides: Option<TaskOverride>,
    propagate_tags: Option<PropagateTags>,
    started_by: Option<String>,
    tags: Option<Vec<Tag>>,
    volume_configurations: Option<serde_json::Value>,
    /// A name that nothing shows.
    reference_id: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunTask {
    #[serde(flatten)]
    common: Common,
    capacity_provider_strategy: Option<Vec<CapacityProviderStrategyItem>>,
    count: Option<i64>,
    launch_type: Option<LaunchType>,
    placement_constraints: Option<Vec<PlacementConstraint>>,
    placement_strategy: Option<Vec<PlacementStrategy>>,
    platform_version: Option<String>,
    #[serde(skip_serializing)]
    client_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartTask {
    #[serde(flatten)]
    common: Common,
    container_instances: Vec<String>,
}

/// The response of both operations.
#[derive(Debug, Serialize)]
pub(super) struct RunTaskOutput {
    tasks: Vec<TaskView>,
    failures: Vec<Failure>,
}

impl Common {
    fn demands<O: Operation<Service = Ecs>>(
        &self,
        scope: &RequestScope,
    ) -> Result<Vec<Demand<Ecs>>> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        let definition = EcsResourceId::Definition(home(scope), self.task_definition.clone());
        let own = in_cluster(O::ACTION, definition, &cluster);
        let created = format!("task/{}/*", cluster.name);
        let created = EcsResourceId::Named(cluster.home, created);
        Ok(with_tags::<O>(own, created, self.tags.as_deref()))
    }

    /// The definition, as it was loaded for the decision.
    async fn definition(&self, cx: &Context<Ecs>) -> Result<TaskDefinition> {
        let found = cx.resources().find_map(|resource| resource.definition());
        if let Some(definition) = found {
            return Ok(definition.clone());
        }
        let definitions = &cx.state().orchestrator.task_definitions;
        let home = home(cx.scope());
        Ok(definitions.resolve(&home, &self.task_definition).await?)
    }

    fn check(&self) -> Result<()> {
        check_tags(self.tags.as_deref().unwrap_or_default())?;
        let lengths = [
            ("startedBy", &self.started_by, MAX_STARTED_BY),
            ("group", &self.group, MAX_GROUP),
            ("referenceId", &self.reference_id, MAX_REFERENCE),
        ];
        for (member, value, most) in lengths {
            let length = value.as_ref().map_or(0, |value| value.chars().count());
            if length > most {
                let message = format!("{member} length must be at most {most}.");
                return Err(error::invalid_parameter(message));
            }
        }
        if self.propagate_tags == Some(PropagateTags::Service) {
            return Err(error::invalid_parameter(
                "Tags can be propagated from a service only to the tasks of a service.",
            ));
        }
        let volumes = self.volume_configurations.as_ref();
        if volumes.is_some_and(|volumes| volumes != &serde_json::json!([])) {
            return Err(error::invalid_parameter(
                "This server does not support volumes that are configured at launch.",
            ));
        }
        Ok(())
    }

    /// The permission to pass the roles that the tasks get.
    async fn require_roles(&self, cx: &Context<Ecs>, definition: &TaskDefinition) -> Result<()> {
        let overrides = self.overrides.as_ref();
        let task_role = overrides.and_then(|one| one.task_role_arn.as_ref());
        let execution_role = overrides.and_then(|one| one.execution_role_arn.as_ref());
        let roles = [
            task_role.or(definition.document.task_role_arn.as_ref()),
            execution_role.or(definition.document.execution_role_arn.as_ref()),
        ];
        for role in roles.into_iter().flatten() {
            cx.require(pass_role(role, TASKS_SERVICE)?).await?;
        }
        Ok(())
    }

    /// The tags of the request, of the definition where they are propagated, and those that ECS
    /// manages.
    fn all_tags(&self, cluster: &Cluster, definition: &TaskDefinition) -> Vec<Tag> {
        let mut tags = self.tags.clone().unwrap_or_default();
        let mut add = |tag: Tag| {
            if !tags.iter().any(|one| one.key == tag.key) {
                tags.push(tag);
            }
        };
        if self.propagate_tags == Some(PropagateTags::TaskDefinition) {
            definition.tags.iter().cloned().for_each(&mut add);
        }
        if self.enable_ecs_managed_tags {
            add(Tag {
                key: Some("aws:ecs:clusterName".to_owned()),
                value: Some(cluster.name.name.clone()),
            });
        }
        tags
    }

    fn request(
        self,
        cluster: &Cluster,
        definition: TaskDefinition,
        placement: Placement,
        launch: Launch,
    ) -> StartTasks {
        StartTasks {
            placement,
            launch,
            service: None,
            deployment: None,
            constraints: Vec::new(),
            strategy: Vec::new(),
            platform_version: None,
            image_digests: BTreeMap::new(),
            token: None,
            guard: None,
            tags: self.all_tags(cluster, &definition),
            cluster: cluster.clone(),
            definition,
            group: self.group,
            started_by: self.started_by,
            overrides: self.overrides.unwrap_or_default(),
            network_configuration: self.network_configuration,
            enable_execute_command: self.enable_execute_command,
        }
    }
}

impl RunTask {
    fn count(&self) -> Result<usize> {
        let count = usize::try_from(self.count.unwrap_or(1)).ok();
        let count = count.filter(|count| (1..=MAX_COUNT).contains(count));
        count.ok_or_else(|| {
            error::invalid_parameter(format!("count should be between 1 and {MAX_COUNT}"))
        })
    }

    fn token(&self) -> Result<Option<ClientToken>> {
        let token = self.client_token.as_ref();
        token
            .map(|token| client_token(Self::NAME, self, token, MAX_TOKEN))
            .transpose()
    }

    fn launch(&self, scope: &RequestScope, cluster: &Cluster) -> Result<Launch> {
        let home = home(scope);
        let given = self.capacity_provider_strategy.iter().flatten();
        let items = given.map(|item| {
            let name = capacity_provider_name(&home, &item.capacity_provider)?;
            Ok(CapacityProviderStrategyItem {
                capacity_provider: name,
                ..item.clone()
            })
        });
        let items = items.collect::<Result<Vec<_>>>()?;
        Ok(Launch::of(&cluster.details, self.launch_type, &items)?)
    }
}

impl Operation for RunTask {
    type Service = Ecs;
    type Output = RunTaskOutput;

    const NAME: &'static str = "RunTask";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.common.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        self.common.demands::<Self>(scope)
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<RunTaskOutput> {
        let cluster = cx.resource().active_cluster()?;
        self.common.check()?;
        let (count, token) = (self.count()?, self.token()?);
        let launch = self.launch(cx.scope(), cluster)?;
        let definition = self.common.definition(cx).await?;
        let launch_type = launch.launch_type();
        let network = self.common.network_configuration.as_ref();
        check_launch(&definition, launch_type, network)?;
        check_platform(launch_type, self.platform_version.as_deref())?;
        let constraints = self.placement_constraints.unwrap_or_default();
        let strategy = self.placement_strategy.unwrap_or_default();
        check_placement(launch_type, &constraints, &strategy)?;
        let overrides = self.common.overrides.clone().unwrap_or_default();
        check_overrides(&definition, &overrides)?;
        self.common.require_roles(cx, &definition).await?;
        let placement = Placement::Chosen(count);
        let request = self.common.request(cluster, definition, placement, launch);
        let tasks = &cx.state().orchestrator.tasks;
        let started = tasks.start(StartTasks {
            constraints,
            strategy,
            platform_version: self.platform_version,
            token,
            ..request
        });
        output(cluster, launch_type, started.await?)
    }
}

impl StartTask {
    fn instances(&self, scope: &RequestScope) -> Result<Vec<InstanceId>> {
        let cluster = cluster_of(scope, self.common.cluster.as_deref())?;
        let given = &self.container_instances;
        if given.is_empty() {
            return Err(error::invalid_parameter(
                "Container instances cannot be empty.",
            ));
        }
        if given.len() > MAX_COUNT {
            return Err(error::invalid_parameter(format!(
                "Container instances can not have more than {MAX_COUNT} items."
            )));
        }
        let ids = given.iter().map(|text| Ok(instance_id(&cluster, text)?));
        ids.collect()
    }
}

impl Operation for StartTask {
    type Service = Ecs;
    type Output = RunTaskOutput;

    const NAME: &'static str = "StartTask";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.common.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        self.common.demands::<Self>(scope)
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<RunTaskOutput> {
        let cluster = cx.resource().active_cluster()?;
        self.common.check()?;
        let instances = self.instances(cx.scope())?;
        let definition = self.common.definition(cx).await?;
        let launch_type = LaunchType::Ec2;
        let network = self.common.network_configuration.as_ref();
        check_launch(&definition, launch_type, network)?;
        let overrides = self.common.overrides.clone().unwrap_or_default();
        check_overrides(&definition, &overrides)?;
        self.common.require_roles(cx, &definition).await?;
        let (placement, launch) = (Placement::On(instances), Launch::Type(launch_type));
        let request = self.common.request(cluster, definition, placement, launch);
        let started = cx.state().orchestrator.tasks.start(request).await?;
        output(cluster, launch_type, started)
    }
}

fn output(
    cluster: &Cluster,
    launch_type: LaunchType,
    started: StartedTasks,
) -> Result<RunTaskOutput> {
    let failures = match started.unplaced {
        Some(_) if launch_type == LaunchType::Fargate => vec![Failure {
            arn: None,
            reason: NO_CAPACITY.to_owned(),
            detail: None,
        }],
        Some(Unplaced::NoInstances) if started.tasks.is_empty() => {
            return Err(error::invalid_parameter(
                "No Container Instances were found in your cluster.",
            ));
        }
        None | Some(Unplaced::NoInstances) => Vec::new(),
        Some(Unplaced::Refused(refused)) => refused
            .iter()
            .take(MAX_FAILURES)
            .map(|(instance, refusal)| {
                Failure::of(&cluster.name.instance_arn(instance), refusal.reason())
            })
            .collect(),
    };
    let tasks = started.tasks.iter();
    Ok(RunTaskOutput {
        tasks: tasks
            .map(|task| TaskView::of(&cluster.name, task, true))
            .collect(),
        failures,
    })
}
