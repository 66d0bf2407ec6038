//! The permissions beyond an operation's own action: for tags at creation, for roles that are
//! passed on, and with the condition keys of ECS.
//!
//! Source: Service Authorization Reference, "Amazon Elastic Container Service"; ECS developer
//! guide, "Grant permission to tag resources on creation".

use wharfinger_api_core::{Demand, Operation};
use wharfinger_aws::Arn;
use wharfinger_orchestrator::model::{ClusterName, Tag};

use crate::resource::{EcsResourceId, pairs};
use crate::{Ecs, Result, error};

/// The service that assumes the roles of tasks, and whom policies name in `iam:PassedToService`.
pub(super) const TASKS_SERVICE: &str = "ecs-tasks.amazonaws.com";

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
