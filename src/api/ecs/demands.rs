//! The permissions beyond an operation's own action: for tags at creation, for roles that are
//! passed on, and with the condition keys of ECS.
//!
//! Source: Service Authorization Reference, "Amazon Elastic Container Service"; ECS developer
//! guide, "Grant permission to tag resources on creation".

use wharfinger_api_core::{Context, Demand, Operation};
use wharfinger_aws::Arn;
use wharfinger_orchestrator as orchestrator;
use wharfinger_orchestrator::model::{ClusterName, InstanceId, Tag};

use crate::resource::{EcsResourceId, pairs};
use crate::{Ecs, Error, Result, error};

/// The service that assumes the roles of tasks, and whom policies name in `iam:PassedToService`.
pub(super) const TASKS_SERVICE: &str = "ecs-tasks.amazonaws.com";

/// The action by which a principal may act for instances that another one registered. Policies of
/// instances lack it.
const ADMINISTER: &str = "UpdateContainerAgent";

/// The condition key with the ARN of a request's cluster.
const CLUSTER: &str = "ecs:cluster";

/// A permission on something in a cluster, with the condition key `ecs:cluster`.
pub(super) fn in_cluster(action: &str, id: EcsResourceId, cluster: &ClusterName) -> Demand<Ecs> {
    Demand::new(action, id).with_key(CLUSTER, cluster.arn().as_str())
}

/// The demands of an operation that may set tags on what it creates: its own, and for the tags
/// `ecs:TagResource` on `created`, with the condition key `ecs:CreateAction`.
pub(super) fn with_tags<O: Operation<Service = Ecs>>(
    own: Demand<Ecs>,
    created: EcsResourceId,
    tags: Option<&[Tag]>,
) -> Vec<Demand<Ecs>> {
    let pairs = pairs(tags.unwrap_or_default());
    if pairs.is_empty() {
        return vec![own];
    }
    let tagging = Demand::new("TagResource", created)
        .with_tags(pairs.clone())
        .with_key("ecs:CreateAction", O::NAME);
    vec![own.with_tags(pairs), tagging]
}

/// The permission to hand the role with this ARN to `service`.
///
/// # Errors
/// A text that is no ARN of a role.
pub(super) fn pass_role(role: &str, service: &str) -> Result<Demand<Ecs>> {
    let arn = role.parse::<Arn>().ok();
    let arn = arn.filter(|arn| {
        let is_role = arn.service() == "iam" && arn.resource().starts_with("role/");
        is_role && arn.account_id().is_some()
    });
    let arn = arn.ok_or_else(|| error::client("Role is not valid"))?;
    let demand = Demand::of_other_service("iam:PassRole", EcsResourceId::Role(arn));
    Ok(demand.with_key("iam:PassedToService", service))
}

/// The instance of the cluster that another principal registered, which is why a request was
/// refused, if the caller may administer its agent.
///
/// # Errors
/// The refusal, if the caller may not or it has another reason.
pub(super) async fn administered(
    cx: &Context<Ecs>,
    cluster: &ClusterName,
    refused: orchestrator::Error,
) -> Result<InstanceId> {
    let orchestrator::Error::OtherRegistrant { instance, .. } = &refused else {
        return Err(refused.into());
    };
    let id = EcsResourceId::Instance(cluster.clone(), instance.clone());
    let allowed = cx.require(in_cluster(ADMINISTER, id, cluster)).await;
    match allowed.map_err(Error::from) {
        Ok(()) => Ok(instance.clone()),
        Err(error) if error.is_access_denied() => Err(refused.into()),
        Err(error) => Err(error),
    }
}
