//! Tasks that wait for capacity get it.

use std::collections::BTreeMap;
use std::sync::Arc;

use wharfinger_db::{self as db, Tx};

use crate::error::Result;
use crate::model::{Cluster, LaunchType, Task, TaskDefinition};
use crate::nodes::Wants;
use crate::placement::{ClusterNodes, LaunchKind, Needs, Strategies, Wanted};
use crate::store;
use crate::tasks::Tasks;
use crate::tasks::new_task::assign;

/// Tasks that one call looks at.
const MAX_TASKS: usize = 500;

impl Tasks {
    /// Places tasks of the cluster that wait for capacity, the oldest first; returns how many.
    /// Those that lost a race with another change wait for the next call.
    pub async fn place_waiting(&self, cluster: &Cluster) -> Result<usize> {
        let (id, home) = (cluster.id.clone(), cluster.name.home.clone());
        let read = move |tx: &mut Tx<'_>| -> db::Result<_> {
            let tasks = store::tasks::waiting(tx, &id, MAX_TASKS)?;
            let mut definitions = BTreeMap::new();
            for task in &tasks {
                if !definitions.contains_key(&task.definition) {
                    let found = store::task_definitions::by_name(tx, &home, &task.definition)?;
                    definitions.insert(task.definition.clone(), found);
                }
            }
            Ok((tasks, definitions))
        };
        let (tasks, definitions) = self.db.read(read).await?;
        if tasks.is_empty() {
            return Ok(0);
        }
        let (of_cluster, mut loaded) = self.nodes.lock(&cluster.id, Wants::All).await?;
        let mut placed = Vec::new();
        for task in tasks {
            let definition = definitions.get(&task.definition).and_then(Option::as_ref);
            placed.extend(place(&mut loaded.nodes, task, definition));
        }
        let placed: Arc<Vec<(Task, i64)>> = Arc::new(placed);
        let stored = self.store_placed(Arc::clone(&placed)).await;
        for (task, _) in placed.iter() {
            // The next decision reads what was taken, whether it was stored or not.
            if let Some(instance) = &task.instance {
                of_cluster.note(instance);
                self.sessions.wake(instance);
            }
        }
        Ok(stored?)
    }

    async fn store_placed(&self, placed: Arc<Vec<(Task, i64)>>) -> db::Result<usize> {
        let work = move |tx: &mut Tx<'_>| {
            let mut stored = 0;
            // How much newer a row is than its snapshot because of tasks before.
            let mut newer: BTreeMap<_, i64> = BTreeMap::new();
            for (task, version) in placed.iter() {
                let Some(instance) = &task.instance else {
                    continue;
                };
                let steps = newer.entry(instance).or_default();
                let version = *version + *steps;
                let reservation = &task.details.reservation;
                if store::nodes::is_current(tx, instance, version)?
                    && store::tasks::update(tx, task)?
                    && store::instances::take(tx, instance, version, reservation)?
                {
                    *steps += 1;
                    stored += 1;
                }
            }
            Ok(stored)
        };
        self.db.write(work).await
    }
}

/// The task on an instance, with the version of the instance's row; `None` where it has to wait.
fn place(
    nodes: &mut ClusterNodes,
    mut task: Task,
    definition: Option<&TaskDefinition>,
) -> Option<(Task, i64)> {
    let details = &task.details;
    let kind = LaunchKind::of(task.launch_type, nodes.has_fargate_instances());
    let constraints = &details.placement_constraints;
    let document = &definition?.document;
    let needs = Needs::of(document, &details.overrides, &task.group, kind, constraints);
    let mut needs = needs.ok()?;
    if task.launch_type != LaunchType::Fargate {
        needs
            .capacity_provider
            .clone_from(&details.capacity_provider);
    }
    let strategies = Strategies::parse(&details.placement_strategy).ok()?;
    let wanted = Arc::new(Wanted { needs, strategies });
    let instance = nodes.place(&wanted).ok()?;
    let node = nodes.get(&instance)?;
    assign(&mut task, node);
    Some((task, node.version))
}
