//! The labels of containers: those that Amazon's agent sets, and the agent's own.

/// The labels that Amazon's agent sets (ECS developer guide, "Amazon ECS container labels").
pub(crate) const CLUSTER: &str = "com.amazonaws.ecs.cluster";
pub(crate) const CONTAINER_NAME: &str = "com.amazonaws.ecs.container-name";
pub(crate) const TASK_ARN: &str = "com.amazonaws.ecs.task-arn";
pub(crate) const FAMILY: &str = "com.amazonaws.ecs.task-definition-family";
pub(crate) const REVISION: &str = "com.amazonaws.ecs.task-definition-version";

/// The instance that runs a container, by its ARN: several may use one Docker Engine.
pub(crate) const INSTANCE: &str = "wharfinger.container-instance";
