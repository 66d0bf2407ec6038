//! What containers of a task need of each other: `dependsOn`, `links` and `volumesFrom`.

use std::collections::BTreeMap;

use crate::model::{ContainerCondition, ContainerDefinition};
use crate::task_definition::error::Checked;
use crate::task_definition::error::refuse;

/// The containers that each container names, by their positions.
type Graph = Vec<Vec<usize>>;

/// Checks that what containers name exists, and that no container needs itself.
pub(super) fn check(containers: &[ContainerDefinition]) -> Checked {
    let positions: BTreeMap<&str, usize> = containers
        .iter()
        .enumerate()
        .map(|(position, container)| (container.name.as_deref().unwrap_or_default(), position))
        .collect();
    let find = |name: &str, setting: &str| {
        positions.get(name).copied().ok_or_else(|| {
            refuse(format!(
                "Invalid '{setting}' setting. Unknown container: '{name}'."
            ))
        })
    };
    let (mut links, mut volumes, mut dependencies) = (Graph::new(), Graph::new(), Graph::new());
    for container in containers {
        let names = container.links.iter().flatten();
        let names = names.map(|link| link.split_once(':').map_or(link.as_str(), |(name, _)| name));
        links.push(
            names
                .map(|name| find(name, "links"))
                .collect::<Checked<_>>()?,
        );

        let names = container.volumes_from.iter();
        let names = names.map(|from| from.source_container.as_deref().unwrap_or("null"));
        volumes.push(
            names
                .map(|name| find(name, "volumesFrom"))
                .collect::<Checked<_>>()?,
        );

        let mut needed = Vec::new();
        for dependency in container.depends_on.iter().flatten() {
            let position = find(&dependency.container_name, "dependsOn")?;
            check_condition(&containers[position], dependency.condition)?;
            needed.push(position);
        }
        dependencies.push(needed);
    }
    for (graph, what) in [
        (&links, "links"),
        (&volumes, "volumes"),
        (&dependencies, "dependencies"),
    ] {
        if has_cycle(graph) {
            return Err(refuse(format!("Container {what} should not have a cycle")));
        }
    }
    // All of them decide the order in which containers start.
    let order: Graph = links
        .into_iter()
        .zip(volumes)
        .zip(dependencies)
        .map(|((links, volumes), needed)| [links, volumes, needed].concat())
        .collect();
    if has_cycle(&order) {
        return Err(refuse("Container dependencies should not have a cycle"));
    }
    Ok(())
}

fn check_condition(needed: &ContainerDefinition, condition: ContainerCondition) -> Checked {
    match condition {
        ContainerCondition::Complete | ContainerCondition::Success
            if needed.essential.unwrap_or(true) =>
        {
            Err(refuse(
                "A dependency container with SUCCESS or COMPLETE condition cannot be an essential \
                 container",
            ))
        }
        ContainerCondition::Healthy if needed.health_check.is_none() => Err(refuse(
            "A dependency container with HEALTHY condition must have a health check",
        )),
        _ => Ok(()),
    }
}

/// Whether following the graph leads back to where one was. Removes what names nothing that is
/// left, until nothing can be removed.
fn has_cycle(graph: &Graph) -> bool {
    let mut left: Vec<usize> = (0..graph.len()).collect();
    loop {
        let remaining: Vec<usize> = left
            .iter()
            .copied()
            .filter(|position| graph[*position].iter().any(|next| left.contains(next)))
            .collect();
        if remaining.len() == left.len() {
            return !left.is_empty();
        }
        left = remaining;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_of_any_length_are_found() {
        assert!(!has_cycle(&vec![]));
        assert!(!has_cycle(&vec![vec![1, 2], vec![2], vec![]]));
        assert!(has_cycle(&vec![vec![0]]));
        assert!(has_cycle(&vec![vec![1], vec![0], vec![]]));
        assert!(has_cycle(&vec![vec![], vec![2], vec![3], vec![1, 0]]));
    }
}
