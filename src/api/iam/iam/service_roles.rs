//! `CreateServiceLinkedRole`, `DeleteServiceLinkedRole`, `GetServiceLinkedRoleDeletionStatus`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::{EntityKind, service_role, service_role_path};

use crate::iam::entity_view::{EntityOutput, EntityView};
use crate::iam::kinds::{Kind as _, Named, Role};
use crate::iam::resource::IamResourceId;
use crate::iam::{IamService, Result, error};

/// The condition key with the service that a role is linked to.
const SERVICE_NAME: &str = "iam:AWSServiceName";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateServiceLinkedRole {
    #[serde(rename = "AWSServiceName")]
    service: String,
    description: Option<String>,
    custom_suffix: Option<String>,
}

impl Operation for CreateServiceLinkedRole {
    type Service = IamService;
    type Output = EntityOutput<Role>;

    const NAME: &'static str = "CreateServiceLinkedRole";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        let name = service_role(&self.service).map(|role| role.name);
        Ok(IamResourceId::Named {
            account: scope.account,
            kind: EntityKind::Role.as_str(),
            path: service_role_path(&self.service),
            name: name.unwrap_or_default().to_owned(),
        })
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.with_key(SERVICE_NAME, &self.service)])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<EntityOutput<Role>> {
        let entities = cx.state().iam.entities();
        let (account, service) = (cx.scope().account, self.service);
        let made = entities
            .create_service_role(account, &service, self.custom_suffix, self.description)
            .await?;
        Ok(EntityOutput(EntityView::of(made)))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DeleteServiceLinkedRole {
    #[serde(flatten)]
    role: Named<Role>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteServiceLinkedRoleOutput {
    deletion_task_id: String,
}

impl Operation for DeleteServiceLinkedRole {
    type Service = IamService;
    type Output = DeleteServiceLinkedRoleOutput;

    const NAME: &'static str = "DeleteServiceLinkedRole";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.role.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<DeleteServiceLinkedRoleOutput> {
        let role = Role::of(cx)?;
        let entities = cx.state().iam.entities();
        let account = cx.scope().account;
        Ok(DeleteServiceLinkedRoleOutput {
            deletion_task_id: entities.delete_service_role(account, &role.name).await?,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetServiceLinkedRoleDeletionStatus {
    deletion_task_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetServiceLinkedRoleDeletionStatusOutput {
    status: DeletionStatus,
}

/// A deletion has ended when its task is known.
#[derive(Debug, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum DeletionStatus {
    Succeeded,
}

impl Operation for GetServiceLinkedRoleDeletionStatus {
    type Service = IamService;
    type Output = GetServiceLinkedRoleDeletionStatusOutput;

    const NAME: &'static str = "GetServiceLinkedRoleDeletionStatus";

    /// The role of a task: `task/aws-service-role/<service>/<role>/<uuid>`.
    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        let parts: Vec<&str> = self.deletion_task_id.split('/').collect();
        match parts.as_slice() {
            ["task", "aws-service-role", service, role, _uuid] => Ok(IamResourceId::Named {
                account: scope.account,
                kind: EntityKind::Role.as_str(),
                path: service_role_path(service),
                name: (*role).to_owned(),
            }),
            _ => Err(error::invalid_input("The deletion task id is not valid.")),
        }
    }

    async fn run(
        self,
        cx: &Context<IamService>,
    ) -> Result<GetServiceLinkedRoleDeletionStatusOutput> {
        let entities = cx.state().iam.entities();
        let (account, task) = (cx.scope().account, self.deletion_task_id);
        if entities.is_service_role_deletion(account, &task).await? {
            let status = DeletionStatus::Succeeded;
            return Ok(GetServiceLinkedRoleDeletionStatusOutput { status });
        }
        Err(error::no_such_deletion(&task))
    }
}
