//! Account settings: for a user or role, and the defaults of an account.
//!
//! Source: ECS developer guide, "Access Amazon ECS features with account settings".

use wharfinger_aws::Arn;
use wharfinger_db::{Db, Tx};

use crate::error::{Error, Result};
use crate::model::AccountRegion;
use crate::store::account_settings as store;

/// A setting that exists: its default, and the values that it takes here.
struct Known {
    name: SettingName,
    default: &'static str,
    values: &'static [&'static str],
}

/// The name of a setting.
type SettingName = &'static str;

const SWITCH: &[&str] = &["enabled", "disabled"];
/// Every resource has the long form of ARNs and identifiers.
const ALWAYS_ENABLED: &[&str] = &["enabled"];

/// The only setting whose value is a number of days, which only the root may set.
const RETIREMENT: SettingName = "fargateTaskRetirementWaitPeriod";
/// A setting that its owner only reads.
const MANAGED: SettingName = "guardDutyActivate";
pub const CONTAINER_INSIGHTS: &str = "containerInsights";
pub const LOG_DRIVER_MODE: &str = "defaultLogDriverMode";

/// In the order of the service model.
const KNOWN: &[Known] = &[
    known("serviceLongArnFormat", "enabled", ALWAYS_ENABLED),
    known("taskLongArnFormat", "enabled", ALWAYS_ENABLED),
    known("containerInstanceLongArnFormat", "enabled", ALWAYS_ENABLED),
    known("awsvpcTrunking", "disabled", SWITCH),
    known(
        CONTAINER_INSIGHTS,
        "disabled",
        &["enabled", "disabled", "enhanced"],
    ),
    known("fargateFIPSMode", "disabled", SWITCH),
    // Tags at creation always need the permission to tag.
    known("tagResourceAuthorization", "on", &["on"]),
    known(RETIREMENT, "7", &["0", "7", "14"]),
    known(MANAGED, "off", &[]),
    known(
        LOG_DRIVER_MODE,
        "non-blocking",
        &["blocking", "non-blocking"],
    ),
    known("fargateEventWindows", "disabled", SWITCH),
];

const fn known(name: SettingName, default: &'static str, values: &'static [&'static str]) -> Known {
    Known {
        name,
        default,
        values,
    }
}

/// The value of a setting, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: SettingName,
    pub value: String,
    /// A user, a role or the root, whose settings are the defaults.
    pub principal: Arn,
}

impl Setting {
    /// Whether the setting is AWS's and only read.
    pub fn is_managed(&self) -> bool {
        self.name == MANAGED
    }
}

/// Operations on account settings.
#[derive(Clone)]
pub struct AccountSettings {
    db: Db,
}

impl AccountSettings {
    pub(super) const fn new(db: Db) -> Self {
        Self { db }
    }

    /// The value that counts for the principal: its own, the account's, or the default.
    pub async fn effective(
        &self,
        home: &AccountRegion,
        principal: &Arn,
        name: &str,
    ) -> Result<String> {
        let known = find(name)?;
        let (home, principal) = (home.clone(), principal.clone());
        let read = move |tx: &mut Tx<'_>| effective(tx, &home, &principal, known);
        Ok(self.db.get(read).await?.value)
    }

    /// Sets the value for the principal, or for all of the account if that is the root.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a value that the setting cannot have.
    pub async fn put(
        &self,
        home: &AccountRegion,
        principal: &Arn,
        name: &str,
        value: &str,
    ) -> Result<Setting> {
        let known = find(name)?;
        check(known, value)?;
        if known.name == RETIREMENT && *principal != home.account.root_arn() {
            return invalid(format!("Only the root user can set {RETIREMENT}."));
        }
        let setting = Setting {
            name: known.name,
            value: value.to_owned(),
            principal: principal.clone(),
        };
        let (home, written) = (home.clone(), setting.clone());
        let work = move |tx: &mut Tx<'_>| {
            let key = stored_principal(&home, &written.principal);
            store::put(tx, &home, written.name, key, &written.value)
        };
        self.db.write(work).await?;
        Ok(setting)
    }

    /// Removes the principal's own value and returns it; the effective value where there is none.
    pub async fn delete(
        &self,
        home: &AccountRegion,
        principal: &Arn,
        name: &str,
    ) -> Result<Setting> {
        let known = find(name)?;
        let (home, principal) = (home.clone(), principal.clone());
        let work = move |tx: &mut Tx<'_>| {
            let value = effective(tx, &home, &principal, known)?.value;
            let key = stored_principal(&home, &principal);
            store::delete(tx, &home, known.name, key)?;
            let (name, principal) = (known.name, principal.clone());
            Ok(Setting {
                name,
                value,
                principal,
            })
        };
        self.db.write(work).await
    }

    /// The settings of the principal in the order of the service model: all effective ones, or
    /// those that were set for it.
    pub async fn list(
        &self,
        home: &AccountRegion,
        principal: &Arn,
        all_effective: bool,
    ) -> Result<Vec<Setting>> {
        let (home, principal) = (home.clone(), principal.clone());
        let read = move |tx: &mut Tx<'_>| {
            let mut settings = Vec::new();
            for known in KNOWN {
                if all_effective {
                    settings.push(effective(tx, &home, &principal, known)?);
                } else if let Some(setting) = own(tx, &home, &principal, known)? {
                    settings.push(setting);
                }
            }
            Ok(settings)
        };
        self.db.get(read).await
    }
}

fn find(name: &str) -> Result<&'static Known> {
    let found = KNOWN.iter().find(|known| known.name == name);
    found.ok_or_else(|| Error::InvalidParameter(format!("There is no account setting {name}.")))
}

fn check(known: &Known, value: &str) -> Result<()> {
    let Known { name, values, .. } = known;
    if values.is_empty() {
        return invalid(format!("The account setting {name} can only be read."));
    }
    if values.contains(&value) {
        return Ok(());
    }
    if *values == ALWAYS_ENABLED && value == "disabled" {
        return invalid("You can no longer disable Long Arn settings".to_owned());
    }
    let values = values.join(",");
    invalid(format!("{name} should be one of [{values}]"))
}

fn invalid<T>(message: String) -> Result<T> {
    Err(Error::InvalidParameter(message))
}

/// The value that was set for the principal itself.
fn own(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    principal: &Arn,
    known: &Known,
) -> Result<Option<Setting>> {
    let key = stored_principal(home, principal);
    let value = store::get(tx, home, known.name, key)?;
    Ok(value.map(|value| Setting {
        name: known.name,
        value,
        principal: principal.clone(),
    }))
}

fn effective(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    principal: &Arn,
    known: &Known,
) -> Result<Setting> {
    if let Some(setting) = own(tx, home, principal, known)? {
        return Ok(setting);
    }
    let root = home.account.root_arn();
    let of_account = own(tx, home, &root, known)?;
    Ok(of_account.unwrap_or_else(|| Setting {
        name: known.name,
        value: known.default.to_owned(),
        principal: root,
    }))
}

/// The settings of the root are those of the account.
fn stored_principal<'a>(home: &AccountRegion, principal: &'a Arn) -> &'a str {
    if *principal == home.account.root_arn() {
        ""
    } else {
        principal.as_str()
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_db::testing::every_engine;

    use super::*;

    #[tokio::test]
    async fn a_principals_own_value_counts_before_the_accounts() {
        for db in every_engine(crate::MIGRATIONS) {
            let settings = AccountSettings::new(db);
            let home = AccountRegion {
                account: "123456789012".parse().expect("an account"),
                region: "us-east-1".parse().expect("a region"),
            };
            let root = home.account.root_arn();
            let ann: Arn = "arn:aws:iam::123456789012:user/ann"
                .parse()
                .expect("an ARN");
            let of = async |principal: &Arn| {
                let value = settings.effective(&home, principal, CONTAINER_INSIGHTS);
                value.await.expect("a value")
            };
            assert_eq!(of(&ann).await, "disabled");
            let put = settings.put(&home, &root, CONTAINER_INSIGHTS, "enhanced");
            put.await.expect("the value is set");
            assert_eq!(of(&ann).await, "enhanced");
            let put = settings.put(&home, &ann, CONTAINER_INSIGHTS, "enabled");
            put.await.expect("the value is set");
            assert_eq!(
                (of(&ann).await.as_str(), of(&root).await.as_str()),
                ("enabled", "enhanced")
            );
            let own = settings.list(&home, &ann, false).await.expect("a list");
            assert_eq!(own.len(), 1);
            let all = settings.list(&home, &ann, true).await.expect("a list");
            assert_eq!(all.len(), KNOWN.len());
            assert_eq!(all[0].principal, root);
            let deleted = settings.delete(&home, &ann, CONTAINER_INSIGHTS).await;
            assert_eq!(deleted.expect("deleted").value, "enabled");
            assert_eq!(of(&ann).await, "enhanced");
            for (name, value) in [
                (CONTAINER_INSIGHTS, "on"),
                (MANAGED, "on"),
                (RETIREMENT, "14"),
                ("taskLongArnFormat", "disabled"),
                ("none", "on"),
            ] {
                let put = settings.put(&home, &ann, name, value).await;
                assert!(matches!(put, Err(Error::InvalidParameter(_))), "{name}");
            }
        }
    }
}
