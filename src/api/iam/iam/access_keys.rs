//! `CreateAccessKey`, `ListAccessKeys`, `UpdateAccessKey`, `DeleteAccessKey`,
//! `GetAccessKeyLastUsed`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};

use crate::iam::paging::{PageEnd, Paging};
use crate::iam::resource::IamResourceId;
use crate::iam::users::user_or_caller;
use crate::iam::views::date;
use crate::iam::{IamService, Result, error};

/// Whether a key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Status {
    Active,
    Inactive,
    /// AWS sets it; no request can.
    Expired,
}

impl Status {
    const fn of(disabled: bool) -> Self {
        if disabled {
            Self::Inactive
        } else {
            Self::Active
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateAccessKey {
    user_name: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateAccessKeyOutput {
    access_key: AccessKeyView,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccessKeyView {
    /// Root has none.
    user_name: Option<String>,
    access_key_id: String,
    status: Status,
    secret_access_key: String,
    create_date: String,
}

/// Leaves the secret out.
impl std::fmt::Debug for AccessKeyView {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("AccessKeyView");
        shown.field("access_key_id", &self.access_key_id);
        shown.finish_non_exhaustive()
    }
}

impl Operation for CreateAccessKey {
    type Service = IamService;
    type Output = CreateAccessKeyOutput;

    const NAME: &'static str = "CreateAccessKey";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_or_caller(scope, self.user_name.as_deref()))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<CreateAccessKeyOutput> {
        let owner = cx.resource().key_owner()?;
        let users = cx.state().iam.users();
        let key = users.add_owned_key(cx.scope().account, owner).await?;
        Ok(CreateAccessKeyOutput {
            access_key: AccessKeyView {
                user_name: key.user,
                access_key_id: key.access_key_id,
                status: Status::Active,
                secret_access_key: key.secret_access_key.into_inner(),
                create_date: date(key.created_at),
            },
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListAccessKeys {
    user_name: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListAccessKeysOutput {
    access_key_metadata: Vec<AccessKeyMetadata>,
    #[serde(flatten)]
    end: PageEnd,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccessKeyMetadata {
    user_name: Option<String>,
    access_key_id: String,
    status: Status,
    create_date: String,
}

impl Operation for ListAccessKeys {
    type Service = IamService;
    type Output = ListAccessKeysOutput;

    const NAME: &'static str = "ListAccessKeys";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_or_caller(scope, self.user_name.as_deref()))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<ListAccessKeysOutput> {
        let owner = cx.resource().key_owner()?;
        let users = cx.state().iam.users();
        let keys = users.owned_keys(cx.scope().account, owner).await?;
        let (keys, end) = self
            .paging
            .page(Self::NAME, keys, |key| &key.access_key_id)?;
        let shown = keys.into_iter().map(|key| AccessKeyMetadata {
            user_name: owner.name().map(ToOwned::to_owned),
            access_key_id: key.access_key_id,
            status: Status::of(key.disabled_at.is_some()),
            create_date: date(key.created_at),
        });
        Ok(ListAccessKeysOutput {
            access_key_metadata: shown.collect(),
            end,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateAccessKey {
    user_name: Option<String>,
    access_key_id: String,
    status: Status,
}

impl Operation for UpdateAccessKey {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "UpdateAccessKey";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_or_caller(scope, self.user_name.as_deref()))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let owner = cx.resource().key_owner()?;
        let disabled = match self.status {
            Status::Active => false,
            Status::Inactive => true,
            Status::Expired => {
                return Err(error::invalid_input("A key cannot be set to Expired."));
            }
        };
        let users = cx.state().iam.users();
        let account = cx.scope().account;
        users
            .set_key_disabled(account, owner, &self.access_key_id, disabled)
            .await?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteAccessKey {
    user_name: Option<String>,
    access_key_id: String,
}

impl Operation for DeleteAccessKey {
    type Service = IamService;
    type Output = ();

    const NAME: &'static str = "DeleteAccessKey";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        Ok(user_or_caller(scope, self.user_name.as_deref()))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<()> {
        let owner = cx.resource().key_owner()?;
        let users = cx.state().iam.users();
        let account = cx.scope().account;
        users
            .remove_key(account, owner, &self.access_key_id)
            .await?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAccessKeyLastUsed {
    access_key_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAccessKeyLastUsedOutput {
    user_name: Option<String>,
    access_key_last_used: AccessKeyLastUsed,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccessKeyLastUsed {
    last_used_date: Option<String>,
    region: String,
    service_name: String,
}

impl Operation for GetAccessKeyLastUsed {
    type Service = IamService;
    type Output = GetAccessKeyLastUsedOutput;

    const NAME: &'static str = "GetAccessKeyLastUsed";

    fn resource(&self, scope: &RequestScope) -> Result<IamResourceId> {
        let key = self.access_key_id.clone();
        Ok(IamResourceId::KeyOwner(scope.account, key))
    }

    async fn run(self, cx: &Context<IamService>) -> Result<GetAccessKeyLastUsedOutput> {
        /// What AWS shows of a key that was never used.
        const NOT_USED: &str = "N/A";
        let users = cx.state().iam.users();
        let record = users.key_record(cx.scope().account, &self.access_key_id);
        let found = record.await?;
        let record = found.ok_or_else(|| error::no_such_key(&self.access_key_id))?;
        let (at, region, service) = match record.last_use {
            Some(used) => (Some(date(used.at)), used.region, used.service),
            None => (None, NOT_USED.to_owned(), NOT_USED.to_owned()),
        };
        Ok(GetAccessKeyLastUsedOutput {
            user_name: record.user,
            access_key_last_used: AccessKeyLastUsed {
                last_used_date: at,
                region,
                service_name: service,
            },
        })
    }
}
