//! What a service may be configured to be. PURE.
//!
//! Source: the ECS API reference, `CreateService`; messages as users quote them.

use crate::error::{Error, Result};
use crate::model::{
    AvailabilityZoneRebalancing, Cluster, DeploymentConfiguration, DeploymentStrategy, LaunchType,
    PlacementConstraintType, PlacementStrategy, PlacementStrategyType, SchedulingStrategy,
    ServiceDetails, TaskDefinition, ThresholdType,
};
use crate::tasks::{Launch, check_launch_type, check_network, check_placement, check_platform};

/// Most tasks of a service (Amazon ECS endpoints and quotas: 5,000; more fit here).
const MAX_TASKS: i64 = 100_000;

/// The greatest `maximumPercent`. ECS names no limit; this one keeps products within bounds.
const MAX_PERCENT: i32 = 10_000;

const ZONE_FIELD: &str = "attribute:ecs.availability-zone";

fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::InvalidParameter(message.into()))
}

/// Checks a service of the cluster with this configuration and desired count, which would run
/// `definition`.
///
/// # Errors
/// [`Error::InvalidParameter`]; [`Error::PlatformUnknown`].
pub(crate) fn check(
    details: &ServiceDetails,
    desired: i64,
    definition: &TaskDefinition,
    cluster: &Cluster,
) -> Result<()> {
    if !(0..=MAX_TASKS).contains(&desired) {
        return invalid(format!("desiredCount must be between 0 and {MAX_TASKS}."));
    }
    check_deployment(
        &details.deployment_configuration,
        details.scheduling_strategy,
    )?;
    let target = &details.target;
    let launch = Launch::of(
        &cluster.details,
        target.launch_type,
        &target.capacity_provider_strategy,
    )?;
    if details.scheduling_strategy == SchedulingStrategy::Daemon {
        check_daemon(details, &launch)?;
    }
    check_placement(
        launch.launch_type(),
        &details.placement_constraints,
        &details.placement_strategy,
    )?;
    check_target(details, launch.launch_type(), definition)?;
    check_balance(details)
}

/// The bounds in percent where a service has none (ECS API reference, `DeploymentConfiguration`).
pub(crate) fn default_percents(strategy: SchedulingStrategy) -> (i32, i32) {
    match strategy {
        SchedulingStrategy::Replica => (100, 200),
        SchedulingStrategy::Daemon => (0, 100),
    }
}

fn check_deployment(
    configuration: &DeploymentConfiguration,
    strategy: SchedulingStrategy,
) -> Result<()> {
    let (least, most) = default_percents(strategy);
    let least = configuration.minimum_healthy_percent.unwrap_or(least);
    let most = configuration.maximum_percent.unwrap_or(most);
    if !(0..=100).contains(&least) {
        return invalid("minimumHealthyPercent must be between 0 and 100.");
    }
    if !(1..=MAX_PERCENT).contains(&most) || most < least {
        return invalid(format!(
            "maximumPercent must be between minimumHealthyPercent and {MAX_PERCENT}, and at \
             least 1."
        ));
    }
    if most == 100 && least == 100 {
        return invalid(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block \
             deployments.",
        );
    }
    if strategy == SchedulingStrategy::Daemon && most > 100 {
        return invalid(
            "The daemon scheduling strategy does not support values above 100 for maximumPercent.",
        );
    }
    if let Some(breaker) = &configuration.deployment_circuit_breaker
        && let Some(threshold) = &breaker.threshold_configuration
    {
        let most = match threshold.kind {
            ThresholdType::Count => i32::MAX,
            ThresholdType::BoundedPercent | ThresholdType::UnboundedPercent => 100,
        };
        if !(1..=most).contains(&threshold.value) {
            return invalid("The value of thresholdConfiguration is out of range.");
        }
    }
    check_unsupported(configuration)
}

/// What this server does not do is refused, so that nobody relies on it.
fn check_unsupported(configuration: &DeploymentConfiguration) -> Result<()> {
    let strategy = configuration
        .strategy
        .unwrap_or(DeploymentStrategy::Rolling);
    if strategy != DeploymentStrategy::Rolling {
        return invalid(format!(
            "The deployment strategy {strategy} is not supported."
        ));
    }
    let unsupported = [
        (
            "alarms",
            configuration
                .alarms
                .as_ref()
                .is_some_and(|alarms| alarms.enable),
        ),
        (
            "bakeTimeInMinutes",
            configuration
                .bake_time_in_minutes
                .is_some_and(|minutes| minutes > 0),
        ),
        (
            "lifecycleHooks",
            configuration
                .lifecycle_hooks
                .as_ref()
                .is_some_and(|hooks| !hooks.is_empty()),
        ),
        (
            "linearConfiguration",
            configuration.linear_configuration.is_some(),
        ),
        (
            "canaryConfiguration",
            configuration.canary_configuration.is_some(),
        ),
        (
            "earlySuccessCriteria",
            configuration
                .early_success_criteria
                .as_ref()
                .is_some_and(|one| one.enable),
        ),
    ];
    match unsupported.iter().find(|(_, given)| *given) {
        Some((member, _)) => invalid(format!(
            "{member} of deploymentConfiguration is not supported."
        )),
        None => Ok(()),
    }
}

fn check_daemon(details: &ServiceDetails, launch: &Launch) -> Result<()> {
    let mut constraints = details.placement_constraints.iter();
    let distinct = Some(PlacementConstraintType::DistinctInstance);
    if !details.placement_strategy.is_empty() {
        invalid("The daemon scheduling strategy does not support placement strategies.")
    } else if constraints.any(|constraint| constraint.kind == distinct) {
        invalid(
            "The daemon scheduling strategy does not support the distinctInstance placement \
             constraint.",
        )
    } else if matches!(launch, Launch::Providers(..)) {
        invalid("The daemon scheduling strategy does not support capacity provider strategies.")
    } else if launch.launch_type() == LaunchType::Fargate {
        invalid("The daemon scheduling strategy does not support FARGATE launch type.")
    } else {
        Ok(())
    }
}

/// Checks what the service's tasks are launched with. A strategy of Fargate's capacity providers
/// launches as the launch type does.
fn check_target(
    details: &ServiceDetails,
    launch_type: LaunchType,
    definition: &TaskDefinition,
) -> Result<()> {
    let target = &details.target;
    check_platform(launch_type, target.platform_version.as_deref())?;
    if launch_type == LaunchType::ManagedInstances {
        return invalid("The launch type MANAGED_INSTANCES is not supported.");
    }
    check_launch_type(definition, launch_type)?;
    check_network(definition, target.network_configuration.as_ref())
}

/// Whether tasks can be kept in balance among availability zones: the service spreads them there
/// first, and may have one more for a while.
pub(crate) fn can_balance(details: &ServiceDetails) -> bool {
    let (_, most) = default_percents(details.scheduling_strategy);
    let most = details
        .deployment_configuration
        .maximum_percent
        .unwrap_or(most);
    details.scheduling_strategy == SchedulingStrategy::Replica
        && most > 100
        && details
            .placement_strategy
            .first()
            .is_none_or(spreads_by_zone)
}

fn spreads_by_zone(strategy: &PlacementStrategy) -> bool {
    strategy.kind == Some(PlacementStrategyType::Spread)
        && strategy.field.as_deref() == Some(ZONE_FIELD)
}

fn check_balance(details: &ServiceDetails) -> Result<()> {
    let wanted = details.availability_zone_rebalancing == AvailabilityZoneRebalancing::Enabled;
    if wanted && !can_balance(details) {
        return invalid(
            "Availability Zone rebalancing requires the REPLICA scheduling strategy, a \
             maximumPercent above 100, and no placement strategy before spread by Availability \
             Zone.",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wharfinger_base::Timestamp;

    use super::*;
    use crate::model::home;
    use crate::model::{
        AwsVpcConfiguration, CapacityProviderStrategyItem, ClusterDetails, ClusterId, ClusterName,
        ClusterStatus, Compatibility, FamilyRevision, NetworkConfiguration, NetworkMode,
        PlacementConstraint, TaskDefinitionDocument, TaskDefinitionStatus,
    };
    use crate::store::services::tests::service;

    fn cluster() -> Cluster {
        Cluster {
            id: ClusterId("c".to_owned()),
            name: ClusterName {
                home: home(),
                name: "c".to_owned(),
            },
            status: ClusterStatus::Active,
            created_at: Timestamp::from_ms(1),
            details: ClusterDetails {
                capacity_providers: ["a", "b", "FARGATE"].map(str::to_owned).to_vec(),
                ..ClusterDetails::default()
            },
        }
    }

    fn definition(mode: NetworkMode) -> TaskDefinition {
        TaskDefinition {
            home: home(),
            name: FamilyRevision {
                family: "web".to_owned(),
                revision: 1,
            },
            status: TaskDefinitionStatus::Active,
            registered_at: Timestamp::from_ms(1),
            deregistered_at: None,
            delete_requested_at: None,
            registered_by: String::new(),
            document: TaskDefinitionDocument {
                network_mode: Some(mode),
                compatibilities: vec![Compatibility::Ec2],
                ..TaskDefinitionDocument::default()
            },
            tags: Vec::new(),
        }
    }

    /// The message that a service gets which differs from a legal one.
    fn refusal(change: impl Fn(&mut ServiceDetails)) -> String {
        let mut details = service("s", "web").details;
        change(&mut details);
        match check(&details, 1, &definition(NetworkMode::Bridge), &cluster()) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_plain_service_is_legal() {
        assert_eq!(refusal(|_| ()), "");
    }

    #[test]
    fn bounds_in_percent() {
        let with = |least: i32, most: i32| {
            refusal(|details| {
                let configuration = &mut details.deployment_configuration;
                configuration.minimum_healthy_percent = Some(least);
                configuration.maximum_percent = Some(most);
            })
        };
        assert_eq!(with(0, 100), "");
        assert_eq!(with(100, 101), "");
        assert_eq!(
            with(100, 100),
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block \
             deployments."
        );
        assert!(with(-1, 100).starts_with("minimumHealthyPercent"));
        assert!(with(90, 50).starts_with("maximumPercent"));
    }

    #[test]
    fn daemons_have_no_strategies_and_at_most_one_task_an_instance() {
        let daemon = |change: fn(&mut ServiceDetails)| {
            refusal(|details| {
                details.scheduling_strategy = SchedulingStrategy::Daemon;
                change(details);
            })
        };
        assert_eq!(daemon(|_| ()), "");
        let spread = PlacementStrategy {
            kind: Some(PlacementStrategyType::Random),
            field: None,
        };
        assert!(
            refusal(|details| {
                details.scheduling_strategy = SchedulingStrategy::Daemon;
                details.placement_strategy = vec![spread.clone()];
            })
            .contains("does not support placement strategies")
        );
        let most = daemon(|details| details.deployment_configuration.maximum_percent = Some(200));
        assert!(most.contains("above 100"));
        let fargate = daemon(|details| details.target.launch_type = Some(LaunchType::Fargate));
        assert!(fargate.contains("FARGATE"));
    }

    #[test]
    fn a_network_configuration_goes_with_awsvpc() {
        let network = NetworkConfiguration {
            awsvpc_configuration: Some(AwsVpcConfiguration {
                subnets: vec!["subnet-1".to_owned()],
                ..AwsVpcConfiguration::default()
            }),
        };
        let message =
            refusal(|details| details.target.network_configuration = Some(network.clone()));
        assert!(message.contains("not valid for the given networkMode"));
        let details = service("s", "web").details;
        let checked = check(&details, 1, &definition(NetworkMode::Awsvpc), &cluster());
        let error = checked.expect_err("refused");
        assert!(error.to_string().contains("must be provided"));
    }

    #[test]
    fn launch_types_and_capacity_providers_exclude_each_other() {
        let item = |name: &str, base: i32, weight: i32| CapacityProviderStrategyItem {
            capacity_provider: name.to_owned(),
            base: Some(base),
            weight: Some(weight),
        };
        let message = refusal(|details| {
            details.target.launch_type = Some(LaunchType::Ec2);
            details.target.capacity_provider_strategy = vec![item("a", 0, 1)];
        });
        assert!(message.starts_with("Specifying both a launch type"));
        let providers = |items: &[CapacityProviderStrategyItem]| {
            refusal(|details| details.target.capacity_provider_strategy = items.to_vec())
        };
        assert_eq!(providers(&[item("a", 1, 1)]), "");
        assert!(providers(&[item("a", 1, 1), item("b", 1, 1)]).contains("a base"));
        assert!(providers(&[item("a", 0, 0), item("b", 0, 0)]).contains("weight"));
        assert!(providers(&[item("a", 0, 1), item("a", 0, 1)]).contains("duplicates"));
    }

    #[test]
    fn a_strategy_of_fargate_is_checked_as_the_launch_type_is() {
        let mut details = service("s", "web").details;
        details.target.capacity_provider_strategy = vec![CapacityProviderStrategyItem {
            capacity_provider: "FARGATE".to_owned(),
            base: Some(0),
            weight: Some(1),
        }];
        details.target.platform_version = Some("LATEST".to_owned());
        details.target.network_configuration = Some(NetworkConfiguration {
            awsvpc_configuration: Some(AwsVpcConfiguration {
                subnets: vec!["subnet-1".to_owned()],
                ..AwsVpcConfiguration::default()
            }),
        });
        let mut definition = definition(NetworkMode::Awsvpc);
        let check = |details: &ServiceDetails, definition: &TaskDefinition| {
            let checked = check(details, 1, definition, &cluster());
            checked.map_err(|error| error.to_string())
        };
        let refused = Err("Task definition does not support launch_type FARGATE.".to_owned());
        assert_eq!(check(&details, &definition), refused);
        definition.document.compatibilities = vec![Compatibility::Fargate];
        assert_eq!(check(&details, &definition), Ok(()));
        details.placement_constraints = vec![PlacementConstraint {
            kind: Some(PlacementConstraintType::DistinctInstance),
            expression: None,
        }];
        let message = "Placement constraints are not supported with FARGATE launch type.";
        assert_eq!(check(&details, &definition), Err(message.to_owned()));
    }

    #[test]
    fn what_is_not_done_is_refused() {
        let message = refusal(|details| {
            details.deployment_configuration.strategy = Some(DeploymentStrategy::BlueGreen);
        });
        assert_eq!(
            message,
            "The deployment strategy BLUE_GREEN is not supported."
        );
        let message = refusal(|details| {
            details.deployment_configuration.bake_time_in_minutes = Some(5);
        });
        assert!(message.starts_with("bakeTimeInMinutes"));
    }

    #[test]
    fn balance_needs_a_spread_by_zone_first() {
        let mut details = service("s", "web").details;
        assert!(can_balance(&details));
        details.placement_strategy = vec![PlacementStrategy {
            kind: Some(PlacementStrategyType::Binpack),
            field: Some("cpu".to_owned()),
        }];
        assert!(!can_balance(&details));
        let message = refusal(|details| {
            details.availability_zone_rebalancing = AvailabilityZoneRebalancing::Enabled;
            details.deployment_configuration.maximum_percent = Some(100);
            details.deployment_configuration.minimum_healthy_percent = Some(50);
        });
        assert!(message.starts_with("Availability Zone rebalancing"));
    }
}
