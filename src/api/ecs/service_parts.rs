//! ARNs of the parts of a service's history.

use wharfinger_api_core::{Demand, RequestScope};
use wharfinger_aws::Arn;
use wharfinger_orchestrator::model::ClusterName;

use crate::demands::in_cluster;
use crate::resource::{EcsResourceId, cluster_of, home};
use crate::{Ecs, Result, error};

pub(super) const DEPLOYMENT: &str = "service-deployment";
pub(super) const REVISION: &str = "service-revision";

/// Most service deployments or revisions that one request describes (ECS API reference).
const MAX_DESCRIBED: usize = 20;

/// A part of a service's history by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) arn: Arn,
    pub(super) cluster: ClusterName,
    pub(super) service: String,
    pub(super) id: String,
}

impl Part {
    /// Reads `arn:…:KIND/CLUSTER/SERVICE/ID`.
    pub(super) fn parse(scope: &RequestScope, kind: &str, text: &str) -> Result<Self> {
        let invalid = || error::invalid_parameter(format!("Invalid {kind} ARN."));
        let arn: Arn = text.parse().map_err(|_| invalid())?;
        let home = home(scope);
        let parts: Vec<&str> = arn.resource().split('/').collect();
        let [found, cluster, service, id] = parts[..] else {
            return Err(invalid());
        };
        let here = arn.service() == "ecs"
            && arn.region() == home.region.as_str()
            && arn.account_id() == Some(home.account);
        if found != kind || !here {
            return Err(invalid());
        }
        Ok(Self {
            cluster: cluster_of(scope, Some(cluster))?,
            service: service.to_owned(),
            id: id.to_owned(),
            arn,
        })
    }

    pub(super) fn parse_all(
        scope: &RequestScope,
        kind: &str,
        texts: &[String],
    ) -> Result<Vec<Self>> {
        if texts.is_empty() {
            return Err(error::invalid_parameter(format!(
                "The list of {kind} ARNs cannot be empty."
            )));
        }
        if texts.len() > MAX_DESCRIBED {
            return Err(error::invalid_parameter(format!(
                "The list of {kind} ARNs can not have more than {MAX_DESCRIBED} items."
            )));
        }
        texts
            .iter()
            .map(|text| Self::parse(scope, kind, text))
            .collect()
    }

    pub(super) fn demand(&self, action: &str) -> Demand<Ecs> {
        let id = EcsResourceId::Named(self.cluster.home.clone(), self.arn.resource().to_owned());
        in_cluster(action, id, &self.cluster)
    }
}
