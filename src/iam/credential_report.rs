//! The credential report: which users of an account have access keys, and when these were used.
//!
//! Source: IAM user guide, "Generate credential reports for your AWS account".

use std::collections::BTreeMap;
use std::time::Duration;

use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;
use wharfinger_db::Tx;

use crate::access_keys::MAX_KEYS;
use crate::account::Accounts;
use crate::entity::EntityKind;
use crate::error::Error;
use crate::store;
use crate::store::account::{self as rows, CredentialReport, ReportedKey};

/// How long a report is used before another one is made.
const MAX_AGE: Duration = Duration::from_hours(4);
/// Users read at a time.
const CHUNK: usize = 500;

/// The columns of the report. There are no passwords, MFA devices and certificates here; their
/// columns say so.
const HEADER: &str = "user,arn,user_creation_time,password_enabled,password_last_used,\
    password_last_changed,password_next_rotation,mfa_active,\
    access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,\
    access_key_1_last_used_region,access_key_1_last_used_service,\
    access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,\
    access_key_2_last_used_region,access_key_2_last_used_service,\
    cert_1_active,cert_1_last_rotated,cert_2_active,cert_2_last_rotated";
/// The columns of the password and of MFA: of the root, and of a user.
const ROOT_PASSWORD: &str = "not_supported,N/A,not_supported,not_supported,false";
const USER_PASSWORD: &str = "false,N/A,N/A,N/A,false";
const NO_KEY: &str = "false,N/A,N/A,N/A,N/A";
const NO_CERTIFICATES: &str = "false,N/A,false,N/A";

impl Accounts {
    /// Makes a credential report, unless there is one that is at most four hours old.
    pub async fn generate_credential_report(&self, account: AccountId) -> Result<(), Error> {
        let now = self.clock.now();
        self.db
            .write(move |tx| {
                if rows::report(tx, account)?.is_some_and(|report| is_current(&report, now)) {
                    return Ok(());
                }
                let content = content(tx, account, now)?;
                let report = CredentialReport {
                    content,
                    generated_at: now,
                };
                Ok(rows::put_report(tx, account, &report)?)
            })
            .await
    }

    /// The newest credential report.
    ///
    /// # Errors
    /// [`Error::NoReport`], [`Error::ReportExpired`] for one that is more than four hours old.
    pub async fn credential_report(&self, account: AccountId) -> Result<CredentialReport, Error> {
        let now = self.clock.now();
        let found = self.db.read(move |tx| rows::report(tx, account)).await?;
        let report = found.ok_or(Error::NoReport)?;
        if is_current(&report, now) {
            Ok(report)
        } else {
            Err(Error::ReportExpired)
        }
    }
}

fn is_current(report: &CredentialReport, now: Timestamp) -> bool {
    now.since(report.generated_at) <= MAX_AGE
}

fn content(tx: &mut Tx<'_>, account: AccountId, now: Timestamp) -> Result<String, Error> {
    let mut keys: BTreeMap<String, Vec<ReportedKey>> = BTreeMap::new();
    for key in rows::keys(tx, account)? {
        keys.entry(key.owner_id.clone()).or_default().push(key);
    }
    let made_at = store::account_created_at(tx, account)?.unwrap_or(now);
    let keys_of = |owner: &str| keys.get(owner).map_or(&[][..], Vec::as_slice);
    let root = [
        "<root_account>".to_owned(),
        account.root_arn().to_string(),
        date(made_at),
        ROOT_PASSWORD.to_owned(),
    ];
    let mut lines = vec![HEADER.to_owned(), line(root, keys_of(store::ROOT))];
    let mut after = String::new();
    loop {
        let users = store::entities::page(tx, account, EntityKind::User, "/", &after, CHUNK)?;
        let Some(last) = users.last() else { break };
        after.clone_from(&last.name.name);
        lines.extend(users.iter().map(|user| {
            let start = [
                csv(&user.name.name),
                csv(user.name.arn(account).as_str()),
                date(user.created_at),
                USER_PASSWORD.to_owned(),
            ];
            line(start, keys_of(&user.name.id))
        }));
    }
    Ok(lines.join("\n"))
}

fn line(start: [String; 4], keys: &[ReportedKey]) -> String {
    let mut fields = Vec::from(start);
    let shown = keys.iter().map(key).take(MAX_KEYS);
    fields.extend(
        shown
            .chain(std::iter::repeat(NO_KEY.to_owned()))
            .take(MAX_KEYS),
    );
    fields.push(NO_CERTIFICATES.to_owned());
    fields.join(",")
}

fn key(key: &ReportedKey) -> String {
    let used = key.last_use.as_ref().map_or_else(
        || "N/A,N/A,N/A".to_owned(),
        |used| {
            format!(
                "{},{},{}",
                date(used.at),
                csv(&used.region),
                csv(&used.service)
            )
        },
    );
    format!("{},{},{used}", key.is_active, date(key.created_at))
}

/// A field that may hold a comma, which names of users do.
fn csv(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// A time in whole seconds, as the report shows it.
fn date(time: Timestamp) -> String {
    let seconds = time.as_ms().div_euclid(1_000);
    let text = Timestamp::from_ms(seconds.saturating_mul(1_000)).to_rfc3339();
    text.replace('Z', "+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::access_keys::KeyUse;

    #[test]
    fn a_report_is_used_for_four_hours() {
        let generated_at = Timestamp::from_ms(1_700_000_000_000);
        let report = CredentialReport {
            content: String::new(),
            generated_at,
        };
        let hours = |hours| generated_at.plus(Duration::from_hours(hours));
        assert!(is_current(&report, hours(4)));
        assert!(!is_current(&report, hours(5)));
    }

    #[test]
    fn a_line_has_a_field_for_each_column() {
        let used = ReportedKey {
            owner_id: "AIDA1".to_owned(),
            is_active: true,
            created_at: Timestamp::from_ms(1_700_000_000_000),
            last_use: Some(KeyUse {
                at: Timestamp::from_ms(1_700_000_001_999),
                region: "us-east-1".to_owned(),
                service: "ecr".to_owned(),
            }),
        };
        let start = || ["u", "a", "t", USER_PASSWORD].map(str::to_owned);
        let columns = HEADER.split(',').count();
        for count in 0..=MAX_KEYS {
            let keys = vec![used.clone(); count];
            assert_eq!(line(start(), &keys).split(',').count(), columns);
        }
        assert_eq!(
            line(start(), &[used]),
            "u,a,t,false,N/A,N/A,N/A,false,true,2023-11-14T22:13:20+00:00,\
             2023-11-14T22:13:21+00:00,us-east-1,ecr,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
        );
        assert_eq!(csv("a,\"b"), "\"a,\"\"b\"");
    }
}
