//! CPU units and memory of containers, beside those of their task.

use crate::model::{ContainerDefinition, TaskDefinitionDocument};
use crate::task_definition::error::Checked;
use crate::task_definition::error::{invalid_container, invalid_setting, refuse};
use crate::task_definition::sizes::MIN_MEMORY_MIB;

/// Checks the sizes of all containers.
pub(super) fn check(document: &TaskDefinitionDocument) -> Checked {
    let number = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<i64>().ok());
    let (task_cpu, task_memory) = (number(&document.cpu), number(&document.memory));
    let (mut cpu, mut reserved) = (0, 0);
    for container in &document.container_definitions {
        check_container(container, task_memory)?;
        cpu += i64::from(container.cpu.unwrap_or(0));
        reserved += i64::from(container.memory_reservation.unwrap_or(0));
    }
    if task_cpu.is_some_and(|limit| cpu > limit) {
        return Err(refuse(
            "The sum of all container 'cpu' values cannot be greater than the value of the task \
             'cpu'.",
        ));
    }
    if task_memory.is_some_and(|limit| reserved > limit) {
        return Err(refuse(
            "The sum of all container 'memoryReservation' values cannot be greater than the value \
             of the task 'memory'.",
        ));
    }
    Ok(())
}

fn check_container(container: &ContainerDefinition, task_memory: Option<i64>) -> Checked {
    let name = container.name.as_deref().unwrap_or_default();
    if container.cpu.is_some_and(|units| units < 0) {
        return Err(invalid_setting("cpu", name));
    }
    let least = i32::try_from(MIN_MEMORY_MIB).unwrap_or(i32::MAX);
    let settings = [
        ("memory", container.memory),
        ("memoryReservation", container.memory_reservation),
    ];
    for (setting, mib) in settings {
        if mib.is_some_and(|mib| mib < least) {
            return Err(invalid_setting(setting, name));
        }
        if let (Some(mib), Some(limit)) = (mib, task_memory)
            && i64::from(mib) > limit
        {
            return Err(refuse(format!(
                "The '{setting}' setting for container '{name}' is greater than for the task."
            )));
        }
    }
    match (container.memory, container.memory_reservation) {
        (None, None) if task_memory.is_none() => Err(invalid_container(
            name,
            "At least one of 'memory' or 'memoryReservation' must be specified.",
        )),
        (Some(hard), Some(soft)) if hard < soft => Err(invalid_container(
            name,
            "The 'memory' must not be less than the 'memoryReservation'.",
        )),
        _ => Ok(()),
    }
}
