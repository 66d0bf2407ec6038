//! The instance of a connection.

use wharfinger_orchestrator as orchestrator;
use wharfinger_orchestrator::model::{Cluster, InstanceId, InstanceStatus};

use crate::AgentState;
use crate::permission::Permission;

/// Whom a connection is for.
pub(crate) struct ConnectedInstance {
    pub(crate) cluster: Cluster,
    pub(crate) id: InstanceId,
    pub(crate) permission: Permission,
}

/// What has become of an instance and of the permission to connect for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Registered,
    Deregistered,
    Revoked,
}

impl ConnectedInstance {
    pub(crate) async fn standing(
        &self,
        state: &AgentState,
    ) -> Result<Standing, orchestrator::Error> {
        let assignments = &state.orchestrator.assignments;
        let found = assignments.instance(&self.cluster, &self.id).await?;
        let found = found.filter(|found| found.status != InstanceStatus::Inactive);
        let Some(found) = found else {
            return Ok(Standing::Deregistered);
        };
        Ok(
            if self.permission.stands(state, &self.cluster, &found).await {
                Standing::Registered
            } else {
                Standing::Revoked
            },
        )
    }

    pub(crate) fn cluster_arn(&self) -> String {
        self.cluster.name.arn().to_string()
    }

    pub(crate) fn arn(&self) -> String {
        self.cluster.name.instance_arn(&self.id).to_string()
    }
}
