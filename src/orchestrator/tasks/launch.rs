//! Whether a task definition can be launched as a request says. PURE.

use crate::capacity_strategy::{check_strategy, is_fargate};
use crate::error::{Error, Result};
use crate::model::{
    CapacityProviderStrategyItem, ClusterDetails, Compatibility, ContainerOverride,
    EnvironmentFile, LaunchType, NetworkConfiguration, NetworkMode, PlacementConstraint,
    PlacementConstraintType, PlacementStrategy, TaskDefinition, TaskDefinitionStatus, TaskOverride,
};
use crate::placement::{Expression, Strategies};
use crate::task_definition::{FARGATE_STORAGE_GIB, MIN_MEMORY_MIB};

/// Most placement constraints of a task (ECS API reference, `RunTask`).
const MAX_CONSTRAINTS: usize = 10;
/// Most characters of overrides as JSON (ECS API reference, `TaskOverride`).
const MAX_OVERRIDES: usize = 8192;

/// The platform versions of Fargate for Linux (ECS developer guide, "Fargate platform versions").
/// An empty text is as good as none.
const PLATFORM_VERSIONS: &[&str] = &["", "LATEST", "1.4.0", "1.3.0"];

/// By what tasks get their instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launch {
    Type(LaunchType),
    /// Of these providers; tasks wait where there is no capacity.
    Providers(LaunchType, Vec<CapacityProviderStrategyItem>),
}

impl Launch {
    /// The launch type or capacity provider strategy of a request, or else what the cluster has as
    /// its default.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`].
    pub fn of(
        cluster: &ClusterDetails,
        launch_type: Option<LaunchType>,
        strategy: &[CapacityProviderStrategyItem],
    ) -> Result<Self> {
        let given = match (launch_type, strategy) {
            (Some(launch_type), []) => return Ok(Self::Type(launch_type)),
            (Some(_), _) => {
                return Err(refused(
                    "Specifying both a launch type and capacity provider strategy is not \
                     supported. Remove one and try again.",
                ));
            }
            (None, []) => &cluster.default_capacity_provider_strategy[..],
            (None, given) => given,
        };
        if given.is_empty() {
            return Ok(Self::Type(LaunchType::Ec2));
        }
        check_strategy(given, &cluster.capacity_providers)?;
        if given
            .iter()
            .all(|item| item.weight.unwrap_or_default() == 0)
        {
            return Err(refused(
                "The specified capacity provider strategy is not valid. At least one capacity \
                 provider must have a weight greater than zero.",
            ));
        }
        let mut names = given.iter().map(|item| item.capacity_provider.as_str());
        let launch_type = if names.any(is_fargate) {
            LaunchType::Fargate
        } else {
            LaunchType::Ec2
        };
        Ok(Self::Providers(launch_type, given.to_vec()))
    }

    pub fn launch_type(&self) -> LaunchType {
        match self {
            Self::Type(launch_type) | Self::Providers(launch_type, _) => *launch_type,
        }
    }
}

/// Checks that tasks of the definition can be launched so.
///
/// # Errors
/// [`Error::InvalidParameter`]; [`Error::Client`] for an inactive definition.
pub fn check_launch(
    definition: &TaskDefinition,
    launch_type: LaunchType,
    network: Option<&NetworkConfiguration>,
) -> Result<()> {
    if definition.status != TaskDefinitionStatus::Active {
        return Err(Error::Client("TaskDefinition is inactive".to_owned()));
    }
    check_launch_type(definition, launch_type)?;
    check_network(definition, network)
}

/// Checks the platform version that a request names: only Fargate has one.
///
/// # Errors
/// [`Error::InvalidParameter`]; [`Error::PlatformUnknown`].
pub fn check_platform(launch_type: LaunchType, version: Option<&str>) -> Result<()> {
    let Some(version) = version else {
        return Ok(());
    };
    if launch_type != LaunchType::Fargate {
        return Err(refused(
            "The platform version must be null when specifying an EC2 launch type.",
        ));
    }
    if PLATFORM_VERSIONS.contains(&version) {
        return Ok(());
    }
    Err(Error::PlatformUnknown(
        "The specified platform version does not exist.".to_owned(),
    ))
}

/// Checks that a network configuration is given where the definition needs one, and only there.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub(crate) fn check_network(
    definition: &TaskDefinition,
    network: Option<&NetworkConfiguration>,
) -> Result<()> {
    let network = network.and_then(|network| network.awsvpc_configuration.as_ref());
    let is_awsvpc = definition.document.network_mode == Some(NetworkMode::Awsvpc);
    match (is_awsvpc, network) {
        (true, None) => Err(refused(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        )),
        (false, Some(_)) => Err(refused(
            "Network Configuration is not valid for the given networkMode of this task \
             definition.",
        )),
        (true, Some(vpc)) if vpc.subnets.is_empty() => Err(refused("subnets can not be empty.")),
        _ => Ok(()),
    }
}

/// Checks that the definition was registered for the launch type.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub fn check_launch_type(definition: &TaskDefinition, launch_type: LaunchType) -> Result<()> {
    let compatibility = match launch_type {
        LaunchType::Ec2 => Compatibility::Ec2,
        LaunchType::Fargate => Compatibility::Fargate,
        LaunchType::External => Compatibility::External,
        LaunchType::ManagedInstances => Compatibility::ManagedInstances,
    };
    let document = &definition.document;
    let required = document.requires_compatibilities.iter().flatten();
    let supports = document.compatibilities.contains(&compatibility)
        || required.into_iter().any(|one| *one == compatibility);
    if supports {
        return Ok(());
    }
    Err(refused(format!(
        "Task definition does not support launch_type {launch_type}."
    )))
}

/// Checks placement constraints and strategies, which Fargate tasks must not have.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub fn check_placement(
    launch_type: LaunchType,
    constraints: &[PlacementConstraint],
    strategy: &[PlacementStrategy],
) -> Result<()> {
    if launch_type == LaunchType::Fargate && !strategy.is_empty() {
        return Err(refused(
            "Placement strategies are not supported with FARGATE launch type.",
        ));
    }
    if launch_type == LaunchType::Fargate && !constraints.is_empty() {
        return Err(refused(
            "Placement constraints are not supported with FARGATE launch type.",
        ));
    }
    if constraints.len() > MAX_CONSTRAINTS {
        return Err(refused(format!(
            "At most {MAX_CONSTRAINTS} placement constraints can be specified."
        )));
    }
    for constraint in constraints {
        match (constraint.kind, constraint.expression.as_deref()) {
            (None, _) => return Err(refused("A placement constraint needs a type.")),
            (Some(PlacementConstraintType::DistinctInstance), None | Some("")) => {}
            (Some(PlacementConstraintType::DistinctInstance), Some(_)) => {
                return Err(refused(
                    "Constraint of type distinctInstance cannot have an expression.",
                ));
            }
            (Some(PlacementConstraintType::MemberOf), None) => {
                return Err(refused(
                    "Constraint of type memberOf must have an expression.",
                ));
            }
            (Some(PlacementConstraintType::MemberOf), Some(text)) => {
                check_expression(text)?;
            }
        }
    }
    let strategies = Strategies::parse(strategy);
    strategies.map(drop).map_err(|why| refused(why.to_string()))
}

/// Checks an expression of the cluster query language.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub fn check_expression(text: &str) -> Result<Expression> {
    Expression::parse(text).map_err(|why| {
        refused(format!(
            "The cluster query expression '{text}' is not valid: {why}"
        ))
    })
}

/// Checks the overrides of a request.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub fn check_overrides(definition: &TaskDefinition, overrides: &TaskOverride) -> Result<()> {
    let size = serde_json::to_string(overrides).map_or(0, |text| text.chars().count());
    if size > MAX_OVERRIDES {
        return Err(refused(format!(
            "Overrides length must be at most {MAX_OVERRIDES}."
        )));
    }
    let accelerators = overrides.inference_accelerator_overrides.as_ref();
    if accelerators.is_some_and(|accelerators| !accelerators.is_empty()) {
        return Err(refused(
            "This server does not support 'inferenceAcceleratorOverrides'.",
        ));
    }
    if let Some(storage) = &overrides.ephemeral_storage
        && !FARGATE_STORAGE_GIB.contains(&storage.size_in_gib)
    {
        return Err(refused(
            "Invalid setting for 'ephemeralStorage'. The 'sizeInGiB' must be between 21 and 200.",
        ));
    }
    let containers = overrides.container_overrides.as_deref().unwrap_or_default();
    for (at, one) in containers.iter().enumerate() {
        let name = one.name.as_deref().unwrap_or_default();
        let mut defined = definition.document.container_definitions.iter();
        if !defined.any(|container| container.name == one.name) {
            return Err(refused(format!(
                "Override for container named {name} is not a container in the TaskDefinition."
            )));
        }
        let mut files = one.environment_files.iter().flatten();
        if !files.all(EnvironmentFile::is_valid) {
            return Err(refused(EnvironmentFile::RULE));
        }
        let required = one.resource_requirements.as_ref();
        if required.is_some_and(|required| !required.is_empty()) {
            return Err(refused(
                "This server does not support GPUs and other 'resourceRequirements'.",
            ));
        }
        if containers[..at].iter().any(|other| other.name == one.name) {
            return Err(refused(format!(
                "There is more than one override for the container named {name}."
            )));
        }
        check_sizes(name, one)?;
    }
    let sizes = [
        (&overrides.cpu, "cpu", "vcpu", 1),
        (&overrides.memory, "memory", "gb", MIN_MEMORY_MIB),
    ];
    for (text, member, unit, least) in sizes {
        let Some(text) = text else { continue };
        let size = crate::placement::size_of_text(text, unit);
        if size.is_none_or(|size| size < i64::from(least)) {
            return Err(refused(format!("Invalid setting for {member}: {text}")));
        }
    }
    Ok(())
}

/// Checks the sizes that an override gives to a container as those of its definition are.
fn check_sizes(name: &str, container: &ContainerOverride) -> Result<()> {
    let sizes = [
        ("cpu", container.cpu, 0),
        ("memory", container.memory, MIN_MEMORY_MIB),
        (
            "memoryReservation",
            container.memory_reservation,
            MIN_MEMORY_MIB,
        ),
    ];
    for (setting, size, least) in sizes {
        if size.is_some_and(|size| i64::from(size) < i64::from(least)) {
            return Err(refused(format!(
                "Invalid '{setting}' setting in the override for the container named {name}."
            )));
        }
    }
    Ok(())
}

fn refused(message: impl Into<String>) -> Error {
    Error::InvalidParameter(message.into())
}

#[cfg(test)]
mod tests {
    use wharfinger_base::Timestamp;

    use super::*;
    use crate::model::{AccountRegion, FamilyRevision};

    fn definition(document: &str) -> TaskDefinition {
        TaskDefinition {
            home: AccountRegion {
                account: "123456789012".parse().expect("an account"),
                region: "us-east-1".parse().expect("a region"),
            },
            name: FamilyRevision {
                family: "web".to_owned(),
                revision: 1,
            },
            status: TaskDefinitionStatus::Active,
            registered_at: Timestamp::default(),
            deregistered_at: None,
            delete_requested_at: None,
            registered_by: String::new(),
            document: serde_json::from_str(document).expect("a document"),
            tags: Vec::new(),
        }
    }

    #[test]
    fn only_fargate_has_platform_versions_and_only_those_that_exist() {
        let check = |launch_type, version| check_platform(launch_type, version);
        for version in [None, Some("LATEST"), Some("1.4.0"), Some("1.3.0")] {
            assert_eq!(check(LaunchType::Fargate, version), Ok(()), "{version:?}");
        }
        let unknown = "The specified platform version does not exist.".to_owned();
        for version in ["1.4", "2.0.0", "latest"] {
            let refused = Err(Error::PlatformUnknown(unknown.clone()));
            assert_eq!(check(LaunchType::Fargate, Some(version)), refused);
        }
        assert_eq!(check(LaunchType::Ec2, None), Ok(()));
        let refused = check(LaunchType::Ec2, Some("LATEST"));
        assert!(matches!(refused, Err(Error::InvalidParameter(_))));
    }

    #[test]
    fn launches_are_checked_before_tasks_are_made() {
        let message = |result: Result<()>| result.err().map(|error| error.to_string());
        let mut bridge = definition(r#"{"containerDefinitions": [], "compatibilities": ["EC2"]}"#);
        assert_eq!(message(check_launch(&bridge, LaunchType::Ec2, None)), None);
        assert_eq!(
            message(check_launch(&bridge, LaunchType::Fargate, None)).as_deref(),
            Some("Task definition does not support launch_type FARGATE.")
        );
        bridge.document.requires_compatibilities = Some(vec![Compatibility::Fargate]);
        assert_eq!(
            message(check_launch(&bridge, LaunchType::Fargate, None)),
            None
        );
        bridge.status = TaskDefinitionStatus::Inactive;
        assert_eq!(
            message(check_launch(&bridge, LaunchType::Ec2, None)).as_deref(),
            Some("TaskDefinition is inactive")
        );
        let both = Launch::of(
            &ClusterDetails::default(),
            Some(LaunchType::Ec2),
            &[CapacityProviderStrategyItem::default()],
        );
        assert!(message(both.map(drop)).is_some_and(|text| text.starts_with("Specifying both")));
        let overrides = TaskOverride {
            cpu: Some("some".to_owned()),
            ..TaskOverride::default()
        };
        assert_eq!(
            message(check_overrides(&bridge, &overrides)).as_deref(),
            Some("Invalid setting for cpu: some")
        );
    }

    #[test]
    fn overrides_name_objects_of_s3_only() {
        let definition = definition(r#"{"containerDefinitions": [{"name": "web"}]}"#);
        let with_file = |value: &str| -> TaskOverride {
            let file = serde_json::json!({ "value": value, "type": "s3" });
            let container = serde_json::json!({ "name": "web", "environmentFiles": [file] });
            let overrides = serde_json::json!({ "containerOverrides": [container] });
            serde_json::from_value(overrides).expect("overrides")
        };
        let check = |value: &str| check_overrides(&definition, &with_file(value));
        assert!(check("arn:aws:s3:::bucket/web.env").is_ok());
        for value in [
            "arn:aws:s3:::evil.example#/web.env",
            "arn:aws:s3:::bucket/web.txt",
        ] {
            let error = check(value).expect_err("no environment file").to_string();
            assert!(error.starts_with("An environment file must be"), "{error}");
        }
    }

    /// What is reserved and what the agent sets must be the same.
    #[test]
    fn overrides_are_one_for_each_container_and_of_sizes_that_containers_can_have() {
        let document = r#"{"containerDefinitions": [{"name": "web"}, {"name": "log"}]}"#;
        let definition = definition(document);
        let check = |overrides: serde_json::Value| {
            let overrides = serde_json::from_value(overrides).expect("overrides");
            let result = check_overrides(&definition, &overrides);
            result.err().map(|error| error.to_string())
        };
        let containers = |items: serde_json::Value| {
            let overrides = serde_json::json!({ "containerOverrides": items });
            check(overrides)
        };
        let least = serde_json::json!([
            {"name": "web", "cpu": 0, "memory": 4, "memoryReservation": 4},
            {"name": "log", "cpu": 128},
        ]);
        assert_eq!(containers(least), None);
        let twice = serde_json::json!([
            {"name": "web", "memory": 4},
            {"name": "web", "memory": 8000},
        ]);
        assert_eq!(
            containers(twice).as_deref(),
            Some("There is more than one override for the container named web.")
        );
        for (setting, size) in [("cpu", -1), ("memory", 3), ("memoryReservation", -4)] {
            let message = containers(serde_json::json!([{"name": "web", setting: size}]));
            let expected =
                format!("Invalid '{setting}' setting in the override for the container named web.");
            assert_eq!(message, Some(expected));
        }
        assert_eq!(
            check(serde_json::json!({"memory": "3"})).as_deref(),
            Some("Invalid setting for memory: 3")
        );
    }
}
