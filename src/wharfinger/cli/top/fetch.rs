//! Reads a snapshot through the ECS API, as any client could.

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;
use wharfinger_agent::EcsClient;

use crate::cli::top::snapshot::{Cluster, Instance, Service, Snapshot};

/// Most of each kind that are shown. A larger cluster is better searched than watched.
const MAX_CLUSTERS: usize = 100;
const MAX_SERVICES: usize = 200;
const MAX_INSTANCES: usize = 500;

/// Names that one description takes (API reference).
const CLUSTERS_PER_CALL: usize = 100;
const SERVICES_PER_CALL: usize = 10;
const INSTANCES_PER_CALL: usize = 100;

/// A server that is looked at.
pub(super) struct Source(EcsClient);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(
        alias = "clusterArns",
        alias = "serviceArns",
        alias = "containerInstanceArns"
    )]
    arns: Vec<String>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Described<T> {
    #[serde(alias = "clusters", alias = "services", alias = "containerInstances")]
    items: Vec<T>,
}

impl Source {
    pub(super) async fn new(endpoint: &Url, region: &str) -> anyhow::Result<Self> {
        let client = EcsClient::new(endpoint.clone(), region.to_owned()).await;
        Ok(Self(client.context("cannot make a client")?))
    }

    /// Looks at all clusters, and at the named one in full; at the first one if none is named.
    pub(super) async fn snapshot(&self, cluster: Option<&str>) -> anyhow::Result<Snapshot> {
        let arns = self.list("ListClusters", json!({}), MAX_CLUSTERS).await?;
        let mut clusters: Vec<Cluster> = self
            .describe(
                "DescribeClusters",
                "clusters",
                &arns,
                CLUSTERS_PER_CALL,
                None,
            )
            .await?;
        clusters.sort_by(|left, right| left.name.cmp(&right.name));
        let is_known = |name: &str| clusters.iter().any(|one| one.name == name);
        let cluster = match cluster {
            Some(name) if is_known(name) => Some(name.to_owned()),
            _ => clusters.first().map(|first| first.name.clone()),
        };
        let Some(name) = cluster else {
            return Ok(Snapshot::default());
        };
        let of_cluster = json!({"cluster": name});
        let arns = self
            .list("ListServices", of_cluster.clone(), MAX_SERVICES)
            .await?;
        let mut services: Vec<Service> = self
            .describe(
                "DescribeServices",
                "services",
                &arns,
                SERVICES_PER_CALL,
                Some(&name),
            )
            .await?;
        services.sort_by(|left, right| left.name.cmp(&right.name));
        let arns = self
            .list("ListContainerInstances", of_cluster, MAX_INSTANCES)
            .await?;
        let member = "containerInstances";
        let operation = "DescribeContainerInstances";
        let mut instances: Vec<Instance> = self
            .describe(operation, member, &arns, INSTANCES_PER_CALL, Some(&name))
            .await?;
        instances.sort_by(|left, right| left.id().cmp(right.id()));
        Ok(Snapshot {
            clusters,
            cluster: Some(name),
            services,
            instances,
        })
    }

    async fn list(
        &self,
        operation: &str,
        mut request: Value,
        limit: usize,
    ) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        loop {
            let page: Page = self.call(operation, &request).await?;
            found.extend(page.arns);
            match page.next_token {
                Some(token) if found.len() < limit => request["nextToken"] = token.into(),
                _ => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn describe<T: DeserializeOwned>(
        &self,
        operation: &str,
        member: &str,
        arns: &[String],
        per_call: usize,
        cluster: Option<&str>,
    ) -> anyhow::Result<Vec<T>> {
        let mut found = Vec::new();
        for some in arns.chunks(per_call) {
            let mut request = json!({});
            request[member] = some.into();
            if let Some(cluster) = cluster {
                request["cluster"] = cluster.into();
            }
            let described: Described<T> = self.call(operation, &request).await?;
            found.extend(described.items);
        }
        Ok(found)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: &Value,
    ) -> anyhow::Result<T> {
        let reply = self.0.call(operation, request).await;
        reply.with_context(|| operation.to_owned())
    }
}
