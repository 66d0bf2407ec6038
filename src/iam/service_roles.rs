//! Service-linked roles: roles that a service defines for itself and that only it may use. IAM
//! creates and deletes them and changes nothing else of them but the description.
//!
//! Source: IAM user guide, "Create a service-linked role"; the service-linked roles of the ECS, ECR
//! and Application Auto Scaling user guides.

use std::time::Duration;

use wharfinger_aws::AccountId;

use crate::entities::{Entities, NewEntity};
use crate::entity::{Entity, EntityKind, EntityName, SERVICE_LINKED_PATH};
use crate::error::Error;
use crate::managed::managed_policy_arn;
use crate::new_role::NewRole;
use crate::store;

/// How long the status of a deletion is known.
const DELETION_KEPT: Duration = Duration::from_hours(24);

/// A role as its service defines it.
#[derive(Debug)]
pub struct ServiceRole {
    /// The principal that assumes the role.
    pub service: &'static str,
    pub name: &'static str,
    policy: &'static str,
    description: &'static str,
}

static SERVICE_ROLES: [ServiceRole; 3] = [
    ServiceRole {
        service: "ecs.amazonaws.com",
        name: "AWSServiceRoleForECS",
        policy: "AmazonECSServiceRolePolicy",
        description: "Role to enable Amazon ECS to manage your cluster.",
    },
    ServiceRole {
        service: "ecs.application-autoscaling.amazonaws.com",
        name: "AWSServiceRoleForApplicationAutoScaling_ECSService",
        policy: "AWSApplicationAutoscalingECSServicePolicy",
        description: "",
    },
    ServiceRole {
        service: "replication.ecr.amazonaws.com",
        name: "AWSServiceRoleForECRReplication",
        policy: "ECRReplicationServiceRolePolicy",
        description: "",
    },
];

/// The role that this service defines.
#[must_use]
pub fn service_role(service: &str) -> Option<&'static ServiceRole> {
    SERVICE_ROLES.iter().find(|role| role.service == service)
}

/// `/aws-service-role/<service>/`.
#[must_use]
pub fn service_role_path(service: &str) -> String {
    format!("{SERVICE_LINKED_PATH}{service}/")
}

/// Who may assume the role: the service, and nobody else.
fn trust_of(service: &str) -> String {
    let statement = format!(
        r#"{{"Effect":"Allow","Principal":{{"Service":"{service}"}},"Action":"sts:AssumeRole"}}"#
    );
    format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#)
}

impl Entities {
    /// Creates the role of a service, with its policy attached.
    ///
    /// # Errors
    /// [`Error::NoServiceRole`], [`Error::ServiceRoleSuffix`], [`Error::ServiceRoleTaken`],
    /// [`Error::Quota`].
    pub async fn create_service_role(
        &self,
        account: AccountId,
        service: &str,
        suffix: Option<String>,
        description: Option<String>,
    ) -> Result<Entity, Error> {
        let known = service_role(service);
        let known = known.ok_or_else(|| Error::NoServiceRole(service.to_owned()))?;
        if suffix.is_some() {
            return Err(Error::ServiceRoleSuffix(service.to_owned()));
        }
        let by_default = Some(known.description).filter(|text| !text.is_empty());
        let role = NewRole {
            trust_policy: trust_of(service),
            description: description.or_else(|| by_default.map(ToOwned::to_owned)),
            max_session: None,
        };
        let new = NewEntity {
            path: service_role_path(service),
            role: Some(role),
            ..NewEntity::new(EntityKind::Role, known.name)
        };
        let made = self.insert(account, new, managed_policy_arn(known.policy));
        made.await.map_err(|error| match error {
            Error::EntityExists { name, .. } => Error::ServiceRoleTaken(name),
            error => error,
        })
    }

    /// Deletes the role of a service; returns the id of the task that did it. No service here uses
    /// its role, so that the task has ended then.
    ///
    /// # Errors
    /// [`Error::NoSuchEntity`] also for a role that is not linked to a service.
    pub async fn delete_service_role(
        &self,
        account: AccountId,
        role: &EntityName,
    ) -> Result<String, Error> {
        let (now, uuid) = (self.clock.now(), self.ids.uuid());
        self.change(account, role, move |tx, row| {
            let name = row.name;
            if !name.is_service_linked() {
                let EntityName { kind, name, .. } = name;
                return Err(Error::NoSuchEntity { kind, name });
            }
            let task = format!("task{}{}/{uuid}", name.path, name.name);
            store::entities::delete(tx, account, &name.id)?;
            let oldest = now.minus(DELETION_KEPT);
            store::role_deletions::insert(tx, account, &task, now, oldest)?;
            Ok(task)
        })
        .await
    }

    /// Whether a role was deleted under this task, within the last day.
    pub async fn is_service_role_deletion(
        &self,
        account: AccountId,
        task: &str,
    ) -> Result<bool, Error> {
        let (task, oldest) = (task.to_owned(), self.clock.now().minus(DELETION_KEPT));
        let found = self
            .db
            .read(move |tx| store::role_deletions::exists(tx, account, &task, oldest));
        Ok(found.await?)
    }
}
