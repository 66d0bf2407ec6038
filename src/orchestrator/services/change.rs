//! What requests say about services, and what becomes of it. PURE.

use wharfinger_base::Timestamp;

use crate::capacity_strategy::is_fargate;
use crate::error::{Error, Result};
use crate::model::{
    AvailabilityZoneRebalancing, CapacityProviderStrategyItem, Cluster, DeploymentCircuitBreaker,
    DeploymentConfiguration, DeploymentController, DeploymentControllerType, DeploymentStrategy,
    LaunchType, NetworkConfiguration, PlacementConstraint, PlacementStrategy, PropagateTags,
    SchedulingStrategy, Service, ServiceDetails, ServiceId, ServiceStatus, ServiceTarget, Tag,
    TaskDefinition,
};
use crate::placement::rename_host_field;
use crate::services::rules;
use crate::tasks::ClientToken;

const LATEST_PLATFORM: &str = "LATEST";

/// A service that is to be made. Members that the request lacks are `None` or empty.
#[derive(Clone, Debug, Default)]
pub struct NewService {
    pub name: String,
    pub desired_count: Option<i64>,
    pub launch_type: Option<LaunchType>,
    pub capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    pub platform_version: Option<String>,
    pub deployment_configuration: DeploymentConfiguration,
    pub placement_constraints: Vec<PlacementConstraint>,
    pub placement_strategy: Vec<PlacementStrategy>,
    pub network_configuration: Option<NetworkConfiguration>,
    pub health_check_grace_period_seconds: Option<i32>,
    pub scheduling_strategy: SchedulingStrategy,
    pub availability_zone_rebalancing: Option<AvailabilityZoneRebalancing>,
    pub enable_ecs_managed_tags: bool,
    pub propagate_tags: PropagateTags,
    pub enable_execute_command: bool,
    pub tags: Vec<Tag>,
    /// The ARN of the principal that makes it.
    pub created_by: String,
    pub token: Option<ClientToken>,
}

/// Changes of a service; `None` leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct ServiceUpdate {
    pub desired_count: Option<i64>,
    pub capacity_provider_strategy: Option<Vec<CapacityProviderStrategyItem>>,
    pub platform_version: Option<String>,
    pub deployment_configuration: Option<DeploymentConfiguration>,
    pub placement_constraints: Option<Vec<PlacementConstraint>>,
    pub placement_strategy: Option<Vec<PlacementStrategy>>,
    pub network_configuration: Option<NetworkConfiguration>,
    pub health_check_grace_period_seconds: Option<i32>,
    pub availability_zone_rebalancing: Option<AvailabilityZoneRebalancing>,
    pub enable_ecs_managed_tags: Option<bool>,
    pub propagate_tags: Option<PropagateTags>,
    pub enable_execute_command: Option<bool>,
    /// A new deployment even if nothing differs.
    pub force_new_deployment: bool,
}

impl NewService {
    /// The service, with defaults filled in and checked.
    pub(super) fn into_service(
        self,
        cluster: &Cluster,
        definition: &TaskDefinition,
        id: ServiceId,
        now: Timestamp,
    ) -> Result<Service> {
        let daemon = self.scheduling_strategy == SchedulingStrategy::Daemon;
        let desired_count = match (self.desired_count, daemon) {
            (Some(_), true) => {
                return invalid(
                    "The daemon scheduling strategy does not support a desired count for \
                     services. Remove the desired count value and try again.",
                );
            }
            (None, false) => return invalid("desiredCount must be specified."),
            (desired, _) => desired.unwrap_or_default(),
        };
        let target = ServiceTarget {
            task_definition: Some(definition.name.clone()),
            launch_type: self.launch_type,
            capacity_provider_strategy: self.capacity_provider_strategy,
            platform_version: self.platform_version,
            platform_family: None,
            network_configuration: self.network_configuration,
            load_balancers: Vec::new(),
            service_registries: Vec::new(),
        };
        let mut details = ServiceDetails {
            created_by: self.created_by,
            scheduling_strategy: self.scheduling_strategy,
            deployment_controller: DeploymentController {
                kind: DeploymentControllerType::Ecs,
            },
            deployment_configuration: self.deployment_configuration,
            placement_constraints: self.placement_constraints,
            placement_strategy: self.placement_strategy,
            health_check_grace_period_seconds: self.health_check_grace_period_seconds,
            availability_zone_rebalancing: AvailabilityZoneRebalancing::Disabled,
            enable_ecs_managed_tags: self.enable_ecs_managed_tags,
            propagate_tags: self.propagate_tags,
            enable_execute_command: self.enable_execute_command,
            role_arn: None,
            tags: self.tags,
            target,
            failed_starts: 0,
            last_failed_at: None,
            throttled_until: None,
            is_steady: false,
            ended_at: None,
        };
        complete(&mut details, cluster);
        details.availability_zone_rebalancing =
            self.availability_zone_rebalancing.unwrap_or_else(|| {
                if rules::can_balance(&details) {
                    AvailabilityZoneRebalancing::Enabled
                } else {
                    AvailabilityZoneRebalancing::Disabled
                }
            });
        rules::check(&details, desired_count, definition, cluster)?;
        Ok(Service {
            id,
            cluster: cluster.id.clone(),
            name: self.name,
            status: ServiceStatus::Active,
            desired_count,
            created_at: now,
            version: 1,
            details,
        })
    }
}

impl ServiceUpdate {
    /// The changed service, and whether that needs a new deployment.
    pub(super) fn apply(
        &self,
        mut service: Service,
        cluster: &Cluster,
        definition: &TaskDefinition,
    ) -> Result<(Service, bool)> {
        if self.desired_count.is_some() && !service.is_replicas() {
            return invalid(
                "The daemon scheduling strategy does not support a desired count for services. \
                 Remove the desired count value and try again.",
            );
        }
        let details = &mut service.details;
        let before = details.target.clone();
        let target = &mut details.target;
        target.task_definition = Some(definition.name.clone());
        set_some(
            &mut target.network_configuration,
            self.network_configuration.as_ref(),
        );
        set_some(&mut target.platform_version, self.platform_version.as_ref());
        if let Some(strategy) = &self.capacity_provider_strategy {
            target.capacity_provider_strategy.clone_from(strategy);
            target.launch_type = None;
            if !is_of_fargate(target) {
                // Only Fargate has platforms. What the request names is refused.
                target.platform_family = None;
                target.platform_version.clone_from(&self.platform_version);
            }
        }
        if let Some(given) = &self.deployment_configuration {
            merge(&mut details.deployment_configuration, given);
        }
        set(
            &mut details.placement_constraints,
            self.placement_constraints.as_ref(),
        );
        set(
            &mut details.placement_strategy,
            self.placement_strategy.as_ref(),
        );
        set_some(
            &mut details.health_check_grace_period_seconds,
            self.health_check_grace_period_seconds.as_ref(),
        );
        set(
            &mut details.availability_zone_rebalancing,
            self.availability_zone_rebalancing.as_ref(),
        );
        set(
            &mut details.enable_ecs_managed_tags,
            self.enable_ecs_managed_tags.as_ref(),
        );
        set(&mut details.propagate_tags, self.propagate_tags.as_ref());
        set(
            &mut details.enable_execute_command,
            self.enable_execute_command.as_ref(),
        );
        set(&mut service.desired_count, self.desired_count.as_ref());
        complete(&mut service.details, cluster);
        rules::check(&service.details, service.desired_count, definition, cluster)?;
        let redeploys = self.force_new_deployment || service.details.target != before;
        Ok((service, redeploys))
    }
}

fn set<T: Clone>(member: &mut T, given: Option<&T>) {
    if let Some(given) = given {
        member.clone_from(given);
    }
}

fn set_some<T: Clone>(member: &mut Option<T>, given: Option<&T>) {
    if let Some(given) = given {
        *member = Some(given.clone());
    }
}

/// Members of the configuration that the request names replace those that the service has.
fn merge(has: &mut DeploymentConfiguration, given: &DeploymentConfiguration) {
    let DeploymentConfiguration {
        deployment_circuit_breaker,
        maximum_percent,
        minimum_healthy_percent,
        alarms,
        strategy,
        bake_time_in_minutes,
        lifecycle_hooks,
        linear_configuration,
        canary_configuration,
        early_success_criteria,
    } = given;
    set_some(
        &mut has.deployment_circuit_breaker,
        deployment_circuit_breaker.as_ref(),
    );
    set_some(&mut has.maximum_percent, maximum_percent.as_ref());
    set_some(
        &mut has.minimum_healthy_percent,
        minimum_healthy_percent.as_ref(),
    );
    set_some(&mut has.alarms, alarms.as_ref());
    set_some(&mut has.strategy, strategy.as_ref());
    set_some(&mut has.bake_time_in_minutes, bake_time_in_minutes.as_ref());
    set_some(&mut has.lifecycle_hooks, lifecycle_hooks.as_ref());
    set_some(&mut has.linear_configuration, linear_configuration.as_ref());
    set_some(&mut has.canary_configuration, canary_configuration.as_ref());
    set_some(
        &mut has.early_success_criteria,
        early_success_criteria.as_ref(),
    );
}

/// Fills in what a service always has: bounds in percent, a launch type or a capacity provider
/// strategy (the cluster's default), and the platform of Fargate. Placement strategies get the
/// names of fields that ECS shows.
fn complete(details: &mut ServiceDetails, cluster: &Cluster) {
    rename_host_field(&mut details.placement_strategy);
    let (least, most) = rules::default_percents(details.scheduling_strategy);
    let configuration = &mut details.deployment_configuration;
    configuration.minimum_healthy_percent.get_or_insert(least);
    configuration.maximum_percent.get_or_insert(most);
    configuration
        .strategy
        .get_or_insert(DeploymentStrategy::Rolling);
    configuration
        .deployment_circuit_breaker
        .get_or_insert_with(DeploymentCircuitBreaker::default);
    let target = &mut details.target;
    if target.launch_type.is_none() && target.capacity_provider_strategy.is_empty() {
        let default = &cluster.details.default_capacity_provider_strategy;
        if default.is_empty() || details.scheduling_strategy == SchedulingStrategy::Daemon {
            target.launch_type = Some(LaunchType::Ec2);
        } else {
            target.capacity_provider_strategy.clone_from(default);
        }
    }
    if is_of_fargate(target) {
        target
            .platform_version
            .get_or_insert_with(|| LATEST_PLATFORM.to_owned());
        target
            .platform_family
            .get_or_insert_with(|| "Linux".to_owned());
    }
}

/// Whether tasks are launched on Fargate, by the launch type or by its capacity providers.
fn is_of_fargate(target: &ServiceTarget) -> bool {
    let mut providers = target.capacity_provider_strategy.iter();
    target.launch_type == Some(LaunchType::Fargate)
        || providers.any(|item| is_fargate(&item.capacity_provider))
}

/// Whether a repeated request would make the same service.
pub(super) fn is_same(has: &Service, new: &Service) -> bool {
    let mut details = has.details.clone();
    details.created_by.clone_from(&new.details.created_by);
    details.failed_starts = 0;
    details.last_failed_at = None;
    details.throttled_until = None;
    details.is_steady = false;
    let desired_is_same = !has.is_replicas() || has.desired_count == new.desired_count;
    details == new.details && desired_is_same
}

fn invalid<T>(message: &str) -> Result<T> {
    Err(Error::InvalidParameter(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::services::tests::service;

    #[test]
    fn a_repeated_request_is_known_whatever_happened_since() {
        let new = service("new", "web");
        let mut has = service("s", "web");
        has.details.created_by = "another".to_owned();
        has.details.failed_starts = 3;
        has.details.is_steady = true;
        assert!(is_same(&has, &new));
        has.desired_count += 1;
        assert!(!is_same(&has, &new));
        has.details.scheduling_strategy = SchedulingStrategy::Daemon;
        let mut daemon = new.clone();
        daemon.details.scheduling_strategy = SchedulingStrategy::Daemon;
        assert!(
            is_same(&has, &daemon),
            "instances make the count of a daemon"
        );
        has.details.enable_execute_command = true;
        assert!(!is_same(&has, &daemon));
    }

    #[test]
    fn members_of_a_configuration_are_replaced_one_by_one() {
        let mut has = DeploymentConfiguration {
            maximum_percent: Some(150),
            minimum_healthy_percent: Some(50),
            ..DeploymentConfiguration::default()
        };
        let given = DeploymentConfiguration {
            maximum_percent: Some(200),
            ..DeploymentConfiguration::default()
        };
        merge(&mut has, &given);
        assert_eq!(
            (has.maximum_percent, has.minimum_healthy_percent),
            (Some(200), Some(50))
        );
    }
}
