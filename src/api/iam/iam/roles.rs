//! What only roles have: `UpdateRole`, `UpdateRoleDescription`, `UpdateAssumeRolePolicy`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_iam::RoleChange;

use crate::iam::entity_view::{EntityOutput, EntityView};
use crate::iam::kinds::{Kind as _, Named, Role};
use crate::iam::resource::IamResourceId;
use crate::iam::{IamService, Result};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateRole {
    #[serde(flatten)]
    role: Named<Role>,
    description: Option<String>,
    max_session_duration: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct UpdateRoleOutput {}

impl Operation for UpdateRole {
    type Service = IamService;
    type Output = UpdateRoleOutput;

    const NAME: &'static str = "UpdateRole";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.role.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<UpdateRoleOutput> {
        let role = Role::of(cx)?;
        let change = RoleChange {
            description: self.description,
            max_session: self.max_session_duration.map(Duration::from_secs),
        };
        let entities = cx.state().iam.entities();
        let account = cx.scope().account;
        entities.update_role(account, &role.name, change).await?;
        Ok(UpdateRoleOutput {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateRoleDescription {
    #[serde(flatten)]
    role: Named<Role>,
    description: String,
}

impl Operation for UpdateRoleDescription {
    type Service = IamService;
    type Output = EntityOutput<Role>;

    const NAME: &'static str = "UpdateRoleDescription";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.role.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<EntityOutput<Role>> {
        let role = Role::of(cx)?;
        let change = RoleChange {
            description: Some(self.description),
            max_session: None,
        };
        let entities = cx.state().iam.entities();
        let account = cx.scope().account;
        let changed = entities.update_role(account, &role.name, change).await?;
        Ok(EntityOutput(EntityView::of(changed)))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateAssumeRolePolicy {
    #[serde(flatten)]
    role: Named<Role>,
    policy_document: String,
}

impl Operation for UpdateAssumeRolePolicy {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "UpdateAssumeRolePolicy";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.role.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let role = Role::of(cx)?;
        let entities = cx.state().iam.entities();
        let account = cx.scope().account;
        entities
            .set_trust_policy(account, &role.name, self.policy_document)
            .await?;
        Ok(())
    }
}
