//! What the server says of its clusters, and of one of them in full.

use serde::Deserialize;

/// One look at the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    pub(super) clusters: Vec<Cluster>,
    /// The name of the cluster whose services and instances follow; `None` without clusters.
    pub(super) cluster: Option<String>,
    pub(super) services: Vec<Service>,
    pub(super) instances: Vec<Instance>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Cluster {
    #[serde(rename = "clusterName")]
    pub(super) name: String,
    pub(super) status: String,
    pub(super) registered_container_instances_count: i64,
    pub(super) running_tasks_count: i64,
    pub(super) pending_tasks_count: i64,
    pub(super) active_services_count: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Service {
    #[serde(rename = "serviceName")]
    pub(super) name: String,
    pub(super) status: String,
    pub(super) desired_count: i64,
    pub(super) running_count: i64,
    pub(super) pending_count: i64,
    pub(super) task_definition: String,
    pub(super) deployments: Vec<Deployment>,
    pub(super) events: Vec<ServiceEvent>,
}

impl Service {
    /// The deployment that others give way to while it is under way.
    pub(super) fn rollout(&self) -> Option<&Deployment> {
        self.deployments
            .iter()
            .find(|deployment| deployment.status == "PRIMARY")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Deployment {
    pub(super) status: String,
    pub(super) desired_count: i64,
    pub(super) running_count: i64,
    pub(super) failed_tasks: i64,
    pub(super) rollout_state: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServiceEvent {
    /// Seconds since 1970.
    pub(super) created_at: f64,
    pub(super) message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Instance {
    pub(super) container_instance_arn: String,
    pub(super) status: String,
    pub(super) agent_connected: bool,
    pub(super) running_tasks_count: i64,
    pub(super) pending_tasks_count: i64,
    pub(super) registered_resources: Vec<Resource>,
    pub(super) remaining_resources: Vec<Resource>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Resource {
    pub(super) name: String,
    pub(super) integer_value: i64,
}

impl Instance {
    /// The last part of the ARN.
    pub(super) fn id(&self) -> &str {
        let arn = &self.container_instance_arn;
        arn.rsplit('/').next().unwrap_or(arn)
    }

    /// What is used of a resource, and what there is.
    pub(super) fn used(&self, name: &str) -> (i64, i64) {
        let value = |resources: &[Resource]| {
            let found = resources.iter().find(|resource| resource.name == name);
            found.map_or(0, |resource| resource.integer_value)
        };
        let registered = value(&self.registered_resources);
        (registered - value(&self.remaining_resources), registered)
    }
}
