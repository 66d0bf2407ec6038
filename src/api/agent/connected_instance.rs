//! The instance of a connection.

use wharfinger_orchestrator::model::{Cluster, InstanceId};

/// Whom a connection is for.
#[derive(Clone, Debug)]
pub(crate) struct ConnectedInstance {
    pub(crate) cluster: Cluster,
    pub(crate) id: InstanceId,
}

impl ConnectedInstance {
    pub(crate) fn cluster_arn(&self) -> String {
        self.cluster.name.arn().to_string()
    }

    pub(crate) fn arn(&self) -> String {
        self.cluster.name.instance_arn(&self.id).to_string()
    }
}
