//! `GetAccountSetting`, `PutAccountSetting`.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_registry::AccountSetting;

use crate::resource::{ResourceId, registry_id};
use crate::{Ecr, Result, error};

/// The output of both operations.
#[derive(Debug, Serialize)]
pub(super) struct AccountSettingOutput {
    name: &'static str,
    value: String,
}

/// The setting of this name.
fn setting(name: &str) -> Result<AccountSetting> {
    AccountSetting::of_name(name).ok_or_else(|| {
        let constraint = "Member must satisfy enum value set: [BASIC_SCAN_TYPE_VERSION, \
                          REGISTRY_POLICY_SCOPE, BLOB_MOUNTING]";
        error::invalid("name", constraint)
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct GetAccountSetting {
    name: String,
}

impl Operation for GetAccountSetting {
    type Service = Ecr;
    type Output = AccountSettingOutput;

    const NAME: &'static str = "GetAccountSetting";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<AccountSettingOutput> {
        let setting = setting(&self.name)?;
        let settings = &cx.state().registry.settings;
        let value = settings.account_setting(cx.resource().registry(), setting);
        Ok(AccountSettingOutput {
            name: setting.name(),
            value: value.await?,
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct PutAccountSetting {
    name: String,
    value: String,
}

impl Operation for PutAccountSetting {
    type Service = Ecr;
    type Output = AccountSettingOutput;

    const NAME: &'static str = "PutAccountSetting";

    fn resource(&self, scope: &RequestScope) -> Result<ResourceId> {
        Ok(ResourceId::Registry(registry_id(scope, None)))
    }

    async fn run(self, cx: &Context<Ecr>) -> Result<AccountSettingOutput> {
        let setting = setting(&self.name)?;
        if !setting.values().contains(&self.value.as_str()) {
            let values = setting.values().join(", ");
            let constraint = format!("Member must satisfy enum value set: [{values}]");
            return Err(error::invalid("value", &constraint));
        }
        let (registry, value) = (cx.resource().registry(), self.value);
        let settings = &cx.state().registry.settings;
        let put = settings.put_account_setting(registry, setting, value.clone());
        put.await?;
        Ok(AccountSettingOutput {
            name: setting.name(),
            value,
        })
    }
}
