//! Account settings.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_aws::Arn;
use wharfinger_iam::Principal;
use wharfinger_orchestrator::account_settings::Setting;

use crate::resource::{EcsResourceId, home};
use crate::{Ecs, Result, error, paging};

/// Most settings on a page (ECS API reference, `ListAccountSettings`).
const MAX_ITEMS: usize = 10;

/// The condition key with the name of a setting.
const ACCOUNT_SETTING: &str = "ecs:account-setting";

/// `Setting` of the service model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SettingView {
    name: &'static str,
    value: String,
    principal_arn: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl From<Setting> for SettingView {
    fn from(setting: Setting) -> Self {
        Self {
            kind: if setting.is_managed() {
                "aws_managed"
            } else {
                "user"
            },
            name: setting.name,
            value: setting.value,
            principal_arn: setting.principal.to_string(),
        }
    }
}

/// The principal whose settings a request is about: the caller, unless it names another, which only
/// the root and the principal itself may.
fn principal(cx: &Context<Ecs>, named: Option<&str>) -> Result<Arn> {
    let caller = cx.caller();
    let Some(named) = named else {
        return Ok(caller.principal_arn().clone());
    };
    let arn: Option<Arn> = named.parse().ok();
    let arn = arn.filter(|arn| {
        let kind = arn.resource().split('/').next().unwrap_or_default();
        arn.service() == "iam" && ["root", "user", "role"].contains(&kind)
    });
    let arn = arn.ok_or_else(|| error::invalid_parameter("Principal ARN is not valid."))?;
    let of_account = arn.account_id() == Some(cx.scope().account);
    let may = caller.principal == Principal::Root || *caller.principal_arn() == arn;
    if of_account && may {
        return Ok(arn);
    }
    Err(wharfinger_orchestrator::Error::NotAllowed(
        "Only the root user and the principal itself can use the settings of a principal."
            .to_owned(),
    )
    .into())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListAccountSettings {
    name: Option<String>,
    value: Option<String>,
    principal_arn: Option<String>,
    #[serde(default)]
    effective_settings: Option<bool>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListAccountSettingsOutput {
    settings: Vec<SettingView>,
    next_token: Option<String>,
}

impl Operation for ListAccountSettings {
    type Service = Ecs;
    type Output = ListAccountSettingsOutput;

    const NAME: &'static str = "ListAccountSettings";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ListAccountSettingsOutput> {
        if self.value.is_some() && self.name.is_none() {
            return Err(error::invalid_parameter(
                "An account setting name must be specified with a value.",
            ));
        }
        // A number of 0 is that of clients that always send one.
        let requested = self.max_results.filter(|requested| *requested != 0);
        let limit = paging::limit(requested, MAX_ITEMS)?;
        let principal = principal(cx, self.principal_arn.as_deref())?;
        let after = paging::position(Self::NAME, principal.as_str(), self.next_token.as_deref())?;
        let settings = &cx.state().orchestrator.settings;
        let effective = self.effective_settings.unwrap_or(false);
        let found = settings
            .list(&home(cx.scope()), &principal, effective)
            .await?;
        let wanted = |setting: &Setting| {
            let has_name = self.name.as_ref().is_none_or(|name| *name == setting.name);
            has_name
                && self
                    .value
                    .as_ref()
                    .is_none_or(|value| *value == setting.value)
        };
        let found: Vec<Setting> = found.into_iter().filter(wanted).collect();
        let start = found.iter().position(|setting| setting.name == after);
        let start = start.map_or(0, |at| at + 1);
        let page: Vec<Setting> = found.iter().skip(start).take(limit).cloned().collect();
        let more = start + page.len() < found.len();
        let last = page.last().filter(|_| more);
        let next_token = last.map(|last| paging::token(Self::NAME, principal.as_str(), last.name));
        Ok(ListAccountSettingsOutput {
            settings: page.into_iter().map(SettingView::from).collect(),
            next_token,
        })
    }
}

/// The response of the operations that change one setting.
#[derive(Debug, Serialize)]
pub(super) struct SettingOutput {
    setting: SettingView,
}

impl From<Setting> for SettingOutput {
    fn from(setting: Setting) -> Self {
        Self {
            setting: setting.into(),
        }
    }
}

fn demand(action: &str, scope: &RequestScope, name: &str) -> Vec<Demand<Ecs>> {
    let demand = Demand::new(action, EcsResourceId::Account(home(scope)));
    vec![demand.with_key(ACCOUNT_SETTING, name)]
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutAccountSetting {
    name: String,
    value: String,
    principal_arn: Option<String>,
}

impl Operation for PutAccountSetting {
    type Service = Ecs;
    type Output = SettingOutput;

    const NAME: &'static str = "PutAccountSetting";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        Ok(demand(Self::ACTION, scope, &self.name))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<SettingOutput> {
        let principal = principal(cx, self.principal_arn.as_deref())?;
        let settings = &cx.state().orchestrator.settings;
        let home = home(cx.scope());
        let setting = settings.put(&home, &principal, &self.name, &self.value);
        Ok(setting.await?.into())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutAccountSettingDefault {
    name: String,
    value: String,
}

impl Operation for PutAccountSettingDefault {
    type Service = Ecs;
    type Output = SettingOutput;

    const NAME: &'static str = "PutAccountSettingDefault";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        Ok(demand(Self::ACTION, scope, &self.name))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<SettingOutput> {
        let settings = &cx.state().orchestrator.settings;
        let home = home(cx.scope());
        let root = home.account.root_arn();
        let setting = settings.put(&home, &root, &self.name, &self.value);
        Ok(setting.await?.into())
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeleteAccountSetting {
    name: String,
    principal_arn: Option<String>,
}

impl Operation for DeleteAccountSetting {
    type Service = Ecs;
    type Output = SettingOutput;

    const NAME: &'static str = "DeleteAccountSetting";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        Ok(demand(Self::ACTION, scope, &self.name))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<SettingOutput> {
        let principal = principal(cx, self.principal_arn.as_deref())?;
        let settings = &cx.state().orchestrator.settings;
        let home = home(cx.scope());
        let setting = settings.delete(&home, &principal, &self.name);
        Ok(setting.await?.into())
    }
}
