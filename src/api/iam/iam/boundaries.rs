//! Permissions boundaries of users and roles: `Put…PermissionsBoundary`,
//! `Delete…PermissionsBoundary`.

use serde::Deserialize;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};

use crate::iam::kinds::{Kind, Named, Role, User};
use crate::iam::resource::{IamResource, IamResourceId, PERMISSIONS_BOUNDARY};
use crate::iam::{IamService, Result};

/// A kind whose entities have a permissions boundary.
pub(super) trait Bounded: Kind {
    const PUT_BOUNDARY: &'static str;
    const DELETE_BOUNDARY: &'static str;
}

impl Bounded for User {
    const PUT_BOUNDARY: &'static str = "PutUserPermissionsBoundary";
    const DELETE_BOUNDARY: &'static str = "DeleteUserPermissionsBoundary";
}

impl Bounded for Role {
    const PUT_BOUNDARY: &'static str = "PutRolePermissionsBoundary";
    const DELETE_BOUNDARY: &'static str = "DeleteRolePermissionsBoundary";
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", bound = "")]
pub(super) struct PutBoundary<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
    permissions_boundary: String,
}

impl<K: Bounded> Operation for PutBoundary<K> {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = K::PUT_BOUNDARY;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        Ok(vec![demand.with_key(
            PERMISSIONS_BOUNDARY,
            &self.permissions_boundary,
        )])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let entity = K::of(cx)?;
        let entities = cx.state().iam.entities();
        let boundary = Some(self.permissions_boundary);
        Ok(entities
            .set_boundary(cx.scope().account, &entity.name, boundary)
            .await?)
    }
}

#[derive(Deserialize)]
#[serde(bound = "")]
pub(super) struct DeleteBoundary<K: Kind> {
    #[serde(flatten)]
    named: Named<K>,
}

impl<K: Bounded> Operation for DeleteBoundary<K> {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = K::DELETE_BOUNDARY;

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(self.named.id(scope))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<IamService>>> {
        let demand = Demand::new(Self::ACTION, self.resource(scope)?);
        let boundary = IamResource::boundary;
        Ok(vec![
            demand.with_key_of_resource(PERMISSIONS_BOUNDARY, boundary),
        ])
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let entity = K::of(cx)?;
        let entities = cx.state().iam.entities();
        Ok(entities
            .set_boundary(cx.scope().account, &entity.name, None)
            .await?)
    }
}
