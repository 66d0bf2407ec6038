//! The roles of instance profiles: `AddRoleToInstanceProfile`, `RemoveRoleFromInstanceProfile`,
//! `ListInstanceProfilesForRole`.

use serde::Deserialize;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_iam::EntityKind;

use crate::iam::entity_view::{EntitiesOutput, Shown as _};
use crate::iam::kinds::{InstanceProfile, Kind as _, Named, Role};
use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::IamResourceId;
use crate::iam::{Error, IamService, Result};

/// The condition key with the service that gets a role.
const PASSED_TO: &str = "iam:PassedToService";
/// What hands the role of an instance profile to programs.
const EC2: &str = "ec2.amazonaws.com";

#[derive(Debug, Deserialize)]
pub(super) struct AddRoleToInstanceProfile {
    #[serde(flatten)]
    profile: Named<InstanceProfile>,
    #[serde(flatten)]
    role: Named<Role>,
}

impl Operation for AddRoleToInstanceProfile {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "AddRoleToInstanceProfile";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.profile.id(scope))
    }

    /// The role is passed, which needs `iam:PassRole` (Service Authorization Reference,
    /// `AddRoleToInstanceProfile`).
    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let pass = Demand::new("PassRole", self.role.id(scope)).with_key(PASSED_TO, EC2);
        Ok(vec![
            Demand::new(Self::ACTION, self.profile.id(scope)),
            pass,
        ])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let profile = InstanceProfile::of(cx)?;
        let role = cx.resources().nth(1).ok_or_else(Error::wrong_resource)?;
        let role = role.entity(EntityKind::Role)?;
        let entities = cx.state().iam.entities();
        let account = cx.scope().account;
        entities
            .add_role(account, &profile.name, &role.name)
            .await?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct RemoveRoleFromInstanceProfile {
    #[serde(flatten)]
    profile: Named<InstanceProfile>,
    #[serde(flatten)]
    role: Named<Role>,
}

impl Operation for RemoveRoleFromInstanceProfile {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "RemoveRoleFromInstanceProfile";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.profile.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let profile = InstanceProfile::of(cx)?;
        let entities = cx.state().iam.entities();
        let account = cx.scope().account;
        entities
            .remove_role(account, &profile.name, &self.role.name)
            .await?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ListInstanceProfilesForRole {
    #[serde(flatten)]
    role: Named<Role>,
    #[serde(flatten)]
    paging: Paging,
}

impl Operation for ListInstanceProfilesForRole {
    type Service = IamService;
    type Output = EntitiesOutput<InstanceProfile>;

    const NAME: &'static str = "ListInstanceProfilesForRole";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.role.id(scope))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<EntitiesOutput<InstanceProfile>> {
        let role = Role::of(cx)?;
        let after = self.paging.after(Self::NAME)?;
        let entities = cx.state().iam.entities();
        let (account, limit) = (cx.scope().account, self.paging.limit());
        let page = entities
            .profiles_of(account, &role.name, after.as_deref(), limit)
            .await?;
        Ok(EntitiesOutput {
            end: PageEnd::of(Self::NAME, page.next.as_deref()),
            entities: InstanceProfile::views(cx, page.items).await?,
        })
    }
}
