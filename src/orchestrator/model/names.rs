//! Accounts with regions, identifiers, and the ARNs of ECS.
//!
//! Source: ECS developer guide, "Amazon Resource Names (ARNs) and IDs".

use serde::{Deserialize, Serialize};
use wharfinger_aws::{AccountId, Arn, Region};
use wharfinger_base::Ids;

/// An account in a region: what all names of ECS are relative to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountRegion {
    pub account: AccountId,
    pub region: Region,
}

/// That of all tests.
#[cfg(test)]
pub(crate) fn home() -> AccountRegion {
    AccountRegion {
        account: "123456789012".parse().expect("an account"),
        region: "us-east-1".parse().expect("a region"),
    }
}

impl AccountRegion {
    /// `arn:aws:ecs:<region>:<account>:<resource>`.
    pub fn arn(&self, resource: &str) -> Arn {
        let partition = self.region.partition();
        let (region, account) = (self.region.as_str(), self.account.as_str());
        Arn::new(partition, "ecs", region, account, resource)
    }
}

/// A cluster by its internal identifier: a cluster that is made again under an old name is another
/// one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub String);

/// The last part of a container instance's ARN: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

/// The last part of a task's ARN: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub String);

/// A service by its internal identifier, as [`ClusterId`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceId(pub String);

/// A deployment of a service: `ecs-svc/` and 19 digits. It is the `startedBy` of its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(pub String);

impl DeploymentId {
    /// A new identifier.
    pub fn new(ids: &Ids) -> Self {
        let first = ids.text(b"123456789", 1);
        let others = ids.text(b"0123456789", 18);
        Self(format!("ecs-svc/{first}{others}"))
    }

    /// The digits after `ecs-svc/`.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.0.strip_prefix("ecs-svc/").unwrap_or(&self.0)
    }
}

/// A new identifier of 32 hexadecimal digits.
pub fn new_hex_id(ids: &Ids) -> String {
    ids.uuid().simple().to_string()
}

/// A revision of a family of task definitions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FamilyRevision {
    pub family: String,
    /// From 1.
    pub revision: i64,
}

impl FamilyRevision {
    pub fn arn(&self, home: &AccountRegion) -> Arn {
        let Self { family, revision } = self;
        home.arn(&format!("task-definition/{family}:{revision}"))
    }
}

impl std::fmt::Display for FamilyRevision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.family, self.revision)
    }
}

/// The names of a cluster, for the ARNs of what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterName {
    pub home: AccountRegion,
    /// 1 to 255 letters, digits, `-` and `_`.
    pub name: String,
}

impl ClusterName {
    pub fn arn(&self) -> Arn {
        self.home.arn(&format!("cluster/{}", self.name))
    }

    pub fn instance_arn(&self, instance: &InstanceId) -> Arn {
        self.member("container-instance", &instance.0)
    }

    pub fn task_arn(&self, task: &TaskId) -> Arn {
        self.member("task", &task.0)
    }

    pub fn container_arn(&self, task: &TaskId, container_id: &str) -> Arn {
        self.member("container", &format!("{}/{container_id}", task.0))
    }

    pub fn service_arn(&self, service: &str) -> Arn {
        self.member("service", service)
    }

    fn member(&self, kind: &str, name: &str) -> Arn {
        self.home.arn(&format!("{kind}/{}/{name}", self.name))
    }
}
