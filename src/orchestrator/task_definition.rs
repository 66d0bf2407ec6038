//! What makes a task definition valid, and what its registration fills in. PURE.
//!
//! Sources: ECS API reference, `RegisterTaskDefinition` and `ContainerDefinition`; ECS developer
//! guide, "Task definition parameters". Messages are those that ECS is known to give where they
//! are known.

mod computed;
mod container;
mod container_limits;
mod dependencies;
mod error;
mod fargate;
mod linux;
mod logging;
mod names;
mod network;
mod ports;
mod reference;
mod secrets;
mod sizes;
#[cfg(test)]
mod tests;
mod unsupported;
mod volumes;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

pub(crate) use error::InvalidTaskDefinition;
use error::{Checked, refuse};
pub(crate) use reference::TaskDefinitionName;
pub(crate) use secrets::secret_provider;
pub(crate) use sizes::MIN_MEMORY_MIB;
use wharfinger_aws::Arn;

use crate::model::{AccountRegion, Compatibility, TaskDefinitionDocument};
use crate::placement::Expression;

/// The storage that a Fargate task may name, in GiB (ECS API reference, `EphemeralStorage`).
pub(crate) const FARGATE_STORAGE_GIB: RangeInclusive<i32> = 21..=200;

/// Most containers of a task definition. Source: ECS service quotas.
const MAX_CONTAINERS: usize = 10;
/// Most placement constraints of a task definition. Source: `RegisterTaskDefinition`.
const MAX_CONSTRAINTS: usize = 10;

/// Checks a task definition as `RegisterTaskDefinition` does, and returns it with its defaults,
/// with normalised sizes, and with the attributes and compatibilities that follow from it. What it
/// returns is valid again and stays as it is.
///
/// # Errors
/// The first rule that it breaks.
pub(crate) fn validate(
    home: &AccountRegion,
    family: &str,
    mut document: TaskDefinitionDocument,
) -> Checked<TaskDefinitionDocument> {
    names::check_family(family)?;
    unsupported::check(&document)?;
    document.task_role_arn = role_arn(home, document.task_role_arn.as_deref())?;
    document.execution_role_arn = role_arn(home, document.execution_role_arn.as_deref())?;
    sizes::normalise(&mut document)?;
    check_task(&document)?;
    volumes::complete(&mut document.volumes)?;

    let containers = &mut document.container_definitions;
    if containers.is_empty() {
        return Err(refuse("Container list cannot be empty."));
    }
    if containers.len() > MAX_CONTAINERS {
        return Err(refuse("Too many containers."));
    }
    for container in containers {
        container::complete(container, document.network_mode)?;
    }
    check_names(&document)?;
    container_limits::check(&document)?;
    network::check(&document)?;
    ports::check_task(&document.container_definitions)?;
    volumes::check_mounts(&document)?;
    dependencies::check(&document.container_definitions)?;
    secrets::check(&document)?;
    check_compatibilities(&document)?;
    computed::fill(&mut document);
    Ok(document)
}

/// The ARN of a role that is given by its ARN or name; an empty text is no role.
///
/// # Errors
/// A text that names no role of the account.
pub(crate) fn role_arn(home: &AccountRegion, given: Option<&str>) -> Checked<Option<String>> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Ok(None);
    };
    if !given.starts_with("arn:") {
        if !names::is_role_name(given) {
            return Err(refuse("Role is not valid"));
        }
        let partition = home.region.partition();
        let account = home.account.as_str();
        let arn = Arn::new(partition, "iam", "", account, &format!("role/{given}"));
        return Ok(Some(arn.as_str().to_owned()));
    }
    let arn: Arn = given.parse().map_err(|_| refuse("Role is not valid"))?;
    let name = arn.resource().strip_prefix("role/");
    let name = name.and_then(|path| path.rsplit('/').next());
    if arn.service() != "iam" || !name.is_some_and(names::is_role_name) {
        return Err(refuse("Role is not valid"));
    }
    if arn.account() != home.account.as_str() {
        return Err(refuse("Cross-account pass role is not allowed."));
    }
    Ok(Some(given.to_owned()))
}

/// Rules of the task that need no container.
fn check_task(document: &TaskDefinitionDocument) -> Checked {
    if document.placement_constraints.len() > MAX_CONSTRAINTS {
        return Err(refuse("Too many placement constraints."));
    }
    for constraint in &document.placement_constraints {
        if constraint.kind.is_none() {
            return Err(refuse("Placement constraint type should not be null."));
        }
        let expression = constraint.expression.as_deref().unwrap_or_default();
        if expression.is_empty() {
            return Err(refuse(
                "Placement constraint expression should not be null or empty.",
            ));
        }
        Expression::parse(expression).map_err(|why| {
            refuse(format!(
                "The cluster query expression '{expression}' is not valid: {why}"
            ))
        })?;
    }
    if let Some(storage) = &document.ephemeral_storage
        && !FARGATE_STORAGE_GIB.contains(&storage.size_in_gib)
    {
        return Err(refuse(
            "Invalid setting for 'ephemeralStorage'. The 'sizeInGiB' must be between 21 and 200.",
        ));
    }
    Ok(())
}

fn check_names(document: &TaskDefinitionDocument) -> Checked {
    let mut names = BTreeSet::new();
    for container in &document.container_definitions {
        let name = container.name.as_deref().unwrap_or_default();
        if !names.insert(name) {
            return Err(refuse(format!("Duplicate container name '{name}'.")));
        }
    }
    let essential = |container: &crate::model::ContainerDefinition| {
        container.essential.unwrap_or(true) // The default, which is filled in already.
    };
    if !document.container_definitions.iter().any(essential) {
        return Err(refuse(
            "A task definition must have at least one essential container.",
        ));
    }
    Ok(())
}

/// Checks the rules of the launch types that the task definition requires.
fn check_compatibilities(document: &TaskDefinitionDocument) -> Checked {
    for required in document.requires_compatibilities.iter().flatten() {
        match required {
            Compatibility::Ec2 => {}
            Compatibility::Fargate => fargate::check(document)?,
            Compatibility::External => network::check_external(document)?,
            Compatibility::ManagedInstances => {
                return Err(unsupported::refuse_feature(
                    "the compatibility MANAGED_INSTANCES",
                ));
            }
        }
    }
    Ok(())
}
