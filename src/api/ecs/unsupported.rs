//! Operations of ECS that this server does not have: task sets, commands in containers, services by
//! Cloud Map namespace, gateways, managed daemons, Express services, and updates of agents from
//! here.

/// In the order of their names.
pub(super) const OPERATIONS: &[&str] = &[
    "AssociateGatewayWithCluster",
    "ContinueServiceDeployment",
    "CreateDaemon",
    "CreateExpressGatewayService",
    "CreateGateway",
    "CreateTaskSet",
    "DeleteDaemon",
    "DeleteDaemonTaskDefinition",
    "DeleteExpressGatewayService",
    "DeleteGateway",
    "DeleteTaskSet",
    "DescribeDaemon",
    "DescribeDaemonDeployments",
    "DescribeDaemonRevisions",
    "DescribeDaemonTaskDefinition",
    "DescribeExpressGatewayService",
    "DescribeGateway",
    "DescribeGatewayResources",
    "DescribeGatewayRoute",
    "DescribeTaskSets",
    "DisassociateGatewayFromCluster",
    "ExecuteCommand",
    "ListDaemonDeployments",
    "ListDaemonTaskDefinitions",
    "ListDaemons",
    "ListGatewayClusterAssociations",
    "ListGatewayRoutes",
    "ListGateways",
    "ListServicesByNamespace",
    "RegisterDaemonTaskDefinition",
    "UpdateContainerAgent",
    "UpdateDaemon",
    "UpdateExpressGatewayService",
    "UpdateGateway",
    "UpdateServicePrimaryTaskSet",
    "UpdateTaskSet",
];

#[cfg(test)]
mod tests {
    use crate::MODEL;

    #[test]
    fn none_of_them_is_served() {
        let served = |name: &&str| MODEL.limits.operations().any(|(known, _)| known == *name);
        assert!(!MODEL.unsupported.iter().any(served) && MODEL.unsupported.is_sorted());
    }
}
