//! `CreateLogGroup`, `DescribeLogGroups`, `DeleteLogGroup` and retention.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_base::PageToken;
use wharfinger_monitoring::{LogGroup, Logs};

use crate::output::Nothing;
use crate::resource::LogResourceId;
use crate::{LogsService, Result, error, tags};

/// The class of a group where the request names none. All classes are stored alike.
const STANDARD: &str = "STANDARD";

/// Groups on a page where the request does not say (API reference, `limit`).
const DEFAULT_ITEMS: usize = 50;

/// Groups that one read looks at, and reads for one page: a search that finds little returns what
/// it has with the position to continue.
const GROUPS_PER_SCAN: usize = 50;
const MAX_SCANS: usize = 20;

/// The days that retention takes (API reference, `retentionInDays`).
const RETENTION_DAYS: &[i64] = &[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateLogGroup {
    log_group_name: String,
    kms_key_id: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    log_group_class: Option<String>,
    deletion_protection_enabled: Option<bool>,
}

impl Operation for CreateLogGroup {
    type Service = LogsService;
    const NAME: &'static str = "CreateLogGroup";
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::group(scope, &self.log_group_name))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<LogsService>>> {
        let tags = self.tags.clone().unwrap_or_default();
        let pairs: Vec<_> = tags.into_iter().collect();
        let id = self.resource(scope)?;
        let mut demands = vec![Demand::new(Self::NAME, id).with_tags(pairs.clone())];
        if !pairs.is_empty() {
            let id = LogResourceId::tagged(scope, &self.log_group_name);
            demands.push(Demand::new("TagResource", id).with_tags(pairs));
        }
        Ok(demands)
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        if self.kms_key_id.is_some() {
            return Err(error::invalid(
                "This server has no KMS keys for log groups.",
            ));
        }
        if self.deletion_protection_enabled == Some(true) {
            return Err(error::invalid(
                "This server has no deletion protection for log groups.",
            ));
        }
        if self.log_group_name.starts_with("aws/") {
            return Err(error::invalid(
                "Log groups starting with aws/ are reserved for AWS.",
            ));
        }
        let tags = self.tags.unwrap_or_default();
        tags::check(&tags)?;
        let class = self.log_group_class.as_deref().unwrap_or(STANDARD);
        let account = &cx.resource().account;
        let logs = &cx.state().logs;
        logs.create_group(account, &self.log_group_name, class, tags)
            .await?;
        Ok(Nothing {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeleteLogGroup {
    log_group_name: String,
}

impl Operation for DeleteLogGroup {
    type Service = LogsService;
    const NAME: &'static str = "DeleteLogGroup";
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::group(scope, &self.log_group_name))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        let group = cx.resource().group()?;
        cx.state()
            .logs
            .delete_group(&group.account, &group.name)
            .await?;
        Ok(Nothing {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeLogGroups {
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    log_group_class: Option<String>,
    log_group_identifiers: Option<Vec<String>>,
    next_token: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeLogGroupsOutput {
    log_groups: Vec<GroupView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupView {
    arn: String,
    creation_time: i64,
    log_group_arn: String,
    log_group_class: String,
    log_group_name: String,
    metric_filter_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_in_days: Option<i64>,
    stored_bytes: i64,
}

impl GroupView {
    fn new((group, stored_bytes): (LogGroup, i64)) -> Self {
        let arn = group.account.arn(&group.name).to_string();
        Self {
            arn: format!("{arn}:*"),
            creation_time: group.created_at.as_ms(),
            log_group_arn: arn,
            log_group_class: group.class,
            log_group_name: group.name,
            metric_filter_count: 0,
            retention_in_days: group.retention_days,
            stored_bytes,
        }
    }
}

impl Operation for DescribeLogGroups {
    type Service = LogsService;
    const NAME: &'static str = "DescribeLogGroups";
    type Output = DescribeLogGroupsOutput;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::groups(scope))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<DescribeLogGroupsOutput> {
        if self.log_group_name_prefix.is_some() && self.log_group_name_pattern.is_some() {
            return Err(error::invalid(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
            ));
        }
        let prefix = self.log_group_name_prefix.unwrap_or_default();
        let limit = self.limit.unwrap_or(DEFAULT_ITEMS);
        let mut after = match self.next_token {
            None => String::new(),
            Some(token) => PageToken::decode(Self::NAME, &token)
                .and_then(|parts| parts.into_iter().next())
                .ok_or_else(error::bad_token)?,
        };
        let pattern = self.log_group_name_pattern.unwrap_or_default();
        let identifiers = self.log_group_identifiers.as_ref().map(|identifiers| {
            let name = |text: &String| text.rsplit(":log-group:").next().unwrap_or(text).to_owned();
            identifiers.iter().map(name).collect::<Vec<_>>()
        });
        let is_wanted = |group: &LogGroup| {
            group.name.contains(&pattern)
                && self
                    .log_group_class
                    .as_ref()
                    .is_none_or(|class| *class == group.class)
                && identifiers.as_ref().is_none_or(|names| {
                    names
                        .iter()
                        .any(|name| name.trim_end_matches(":*") == group.name)
                })
        };
        let account = &cx.resource().account;
        let logs = &cx.state().logs;
        let mut found = Vec::new();
        let mut next = None;
        for _ in 0..MAX_SCANS {
            let page = logs
                .groups(account, &prefix, &after, GROUPS_PER_SCAN)
                .await?;
            for group in page.items.into_iter().filter(&is_wanted) {
                if found.len() == limit {
                    let last = found.last().map(|last: &LogGroup| last.name.clone());
                    return self::page(logs, found, last).await;
                }
                found.push(group);
            }
            next = page.next;
            match &next {
                Some(name) => after.clone_from(name),
                None => break,
            }
        }
        page(logs, found, next).await
    }
}

/// The output with these groups. Further ones follow after the name.
async fn page(
    logs: &Logs,
    groups: Vec<LogGroup>,
    next: Option<String>,
) -> Result<DescribeLogGroupsOutput> {
    let sized = logs.stored_bytes(groups).await?;
    Ok(DescribeLogGroupsOutput {
        log_groups: sized.into_iter().map(GroupView::new).collect(),
        next_token: next.map(|name| PageToken::encode(DescribeLogGroups::NAME, &[&name])),
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutRetentionPolicy {
    log_group_name: String,
    retention_in_days: i64,
}

impl Operation for PutRetentionPolicy {
    type Service = LogsService;
    const NAME: &'static str = "PutRetentionPolicy";
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::group(scope, &self.log_group_name))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        if !RETENTION_DAYS.contains(&self.retention_in_days) {
            let values: Vec<String> = RETENTION_DAYS.iter().map(i64::to_string).collect();
            let constraint = format!(
                "Member must satisfy enum value set: [{}]",
                values.join(", ")
            );
            return Err(error::invalid_member("retentionInDays", &constraint));
        }
        let account = account_of(cx);
        let days = Some(self.retention_in_days);
        cx.state()
            .logs
            .set_retention(account, &self.log_group_name, days)
            .await?;
        Ok(Nothing {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeleteRetentionPolicy {
    log_group_name: String,
}

impl Operation for DeleteRetentionPolicy {
    type Service = LogsService;
    const NAME: &'static str = "DeleteRetentionPolicy";
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::group(scope, &self.log_group_name))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        let account = account_of(cx);
        cx.state()
            .logs
            .set_retention(account, &self.log_group_name, None)
            .await?;
        Ok(Nothing {})
    }
}

fn account_of(cx: &Context<LogsService>) -> &wharfinger_monitoring::Account {
    &cx.resource().account
}
