//! Explanations of placement, for people.

use std::sync::Arc;

use crate::error::Result;
use crate::model::{Capacity, InstanceId, InstanceStatus};
use crate::nodes::Wants;
use crate::placement::{LaunchKind, Needs, Node, Refusal, Wanted};
use crate::tasks::Tasks;
use crate::tasks::launch::Launch;
use crate::tasks::prepared::Prepared;
use crate::tasks::request::StartTasks;

/// What placement finds for a request.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedPlacement {
    pub needs: Needs,
    /// All instances of the cluster, by their identifiers.
    pub instances: Vec<ExplainedInstance>,
    /// Where the tasks of the request would go one after the other, as far as they fit.
    pub chosen: Vec<InstanceId>,
}

/// An instance with all reasons against it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedInstance {
    pub id: InstanceId,
    pub zone: Option<String>,
    pub status: InstanceStatus,
    pub agent_connected: bool,
    pub remaining: Capacity,
    /// Tasks of the same group on it.
    pub tasks_of_group: u32,
    pub refusals: Vec<Refusal>,
}

impl Tasks {
    /// Tells for each instance of the cluster why tasks of the request could not be placed there,
    /// and where they would be. Starts nothing. Of capacity providers, the first one counts.
    ///
    /// # Errors
    /// As [`Tasks::start`].
    pub async fn explain(&self, request: StartTasks) -> Result<ExplainedPlacement> {
        let prepared = Prepared::new(&self.db, request).await?;
        let cluster = &prepared.request.cluster.id;
        let (of_cluster, mut loaded) = self.nodes.lock(cluster, Wants::All).await?;
        let nodes = self.nodes.compare(cluster, &of_cluster, &mut loaded);
        nodes.await?;
        let launch = &prepared.request.launch;
        let mut needs = prepared.needs.clone();
        let has_fargate_instances = loaded.nodes.has_fargate_instances();
        needs.launch = LaunchKind::of(launch.launch_type(), has_fargate_instances);
        if let Launch::Providers(_, items) = launch {
            let first = items.first().map(|item| item.capacity_provider.clone());
            needs.capacity_provider = first;
        }
        let explained = loaded.nodes.nodes().map(|node| explain(&needs, node));
        let mut instances: Vec<ExplainedInstance> = explained.collect();
        instances.sort_by(|one, other| one.id.cmp(&other.id));
        let wanted = Arc::new(Wanted {
            needs: needs.clone(),
            strategies: prepared.strategies.clone(),
        });
        let placed = (0..prepared.request.count()).map_while(|_| loaded.nodes.place(&wanted).ok());
        let chosen: Vec<InstanceId> = placed.collect();
        for instance in &chosen {
            // Nothing was taken: the snapshots are read again.
            of_cluster.note(instance);
        }
        Ok(ExplainedPlacement {
            needs,
            instances,
            chosen,
        })
    }
}

fn explain(needs: &Needs, node: &Node) -> ExplainedInstance {
    ExplainedInstance {
        id: node.id.clone(),
        zone: node.zone().map(str::to_owned),
        status: node.status,
        agent_connected: node.agent_connected,
        remaining: node.remaining,
        tasks_of_group: node.tasks_of(&needs.group),
        refusals: Refusal::all(needs, node),
    }
}
