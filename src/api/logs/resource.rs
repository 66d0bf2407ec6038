//! The resources of `CloudWatch` Logs: groups and streams.
//!
//! The ARNs of permissions are those that AWS's own refusals name:
//! `log-group:<group>:log-stream:<stream>`, with nothing for the stream where an operation names
//! none.

use serde::Deserialize;
use wharfinger_api_core::RequestScope;
use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::Resource;
use wharfinger_monitoring::{Account, LogGroup, Logs};

use crate::{Result, error};

/// The name of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogResourceId {
    pub(super) account: Account,
    /// The group; empty for operations on all of them.
    pub(super) group: String,
    /// What follows the group's name in the ARN.
    rest: String,
}

impl LogResourceId {
    /// All groups of the account.
    pub(super) fn groups(scope: &RequestScope) -> Self {
        Self::stream(scope, "", "")
    }

    pub(super) fn group(scope: &RequestScope, group: &str) -> Self {
        Self::stream(scope, group, "")
    }

    pub(super) fn stream(scope: &RequestScope, group: &str, stream: &str) -> Self {
        Self {
            account: account(scope),
            group: group.to_owned(),
            rest: format!(":log-stream:{stream}"),
        }
    }

    /// A group for operations on tags, whose ARN ends with the name.
    pub(super) fn tagged(scope: &RequestScope, group: &str) -> Self {
        Self {
            account: account(scope),
            group: group.to_owned(),
            rest: String::new(),
        }
    }
}

/// The account and region of a request.
pub(super) fn account(scope: &RequestScope) -> Account {
    Account {
        id: scope.account,
        region: scope.region.clone(),
    }
}

/// A resource as decisions and operations use it.
#[derive(Clone, Debug)]
pub struct LogResource {
    pub(super) account: Account,
    arn: Arn,
    /// `None` for all groups, and for a group that does not exist.
    group: Option<LogGroup>,
    tags: Vec<(String, String)>,
}

impl LogResource {
    pub(super) async fn load(logs: &Logs, id: &LogResourceId) -> Result<Self> {
        let group = match id.group.as_str() {
            "" => None,
            name => logs.find_group(&id.account, name).await?,
        };
        let tags = group.iter().flat_map(|group| group.tags.clone()).collect();
        Ok(Self {
            arn: id.account.arn(&format!("{}{}", id.group, id.rest)),
            account: id.account.clone(),
            group,
            tags,
        })
    }

    /// The group.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(super) fn group(&self) -> Result<&LogGroup> {
        let missing = || wharfinger_monitoring::Error::NoSuchGroup.into();
        self.group.as_ref().ok_or_else(missing)
    }
}

impl Resource for LogResource {
    fn arn(&self) -> Option<&Arn> {
        Some(&self.arn)
    }

    fn account(&self) -> AccountId {
        self.account.id
    }

    fn tags(&self) -> &[(String, String)] {
        &self.tags
    }
}

/// `logGroupName` and `logStreamName`, for requests about one stream.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StreamRef {
    #[serde(rename = "logGroupName")]
    pub(super) group: String,
    #[serde(rename = "logStreamName")]
    pub(super) stream: String,
}

impl StreamRef {
    pub(super) fn id(&self, scope: &RequestScope) -> LogResourceId {
        LogResourceId::stream(scope, &self.group, &self.stream)
    }
}

/// `logGroupName` or `logGroupIdentifier`, which is a name or an ARN.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupRef {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
}

impl GroupRef {
    /// The name of the group.
    ///
    /// # Errors
    /// Both members or none, or an ARN of something else.
    pub(super) fn name(&self, scope: &RequestScope) -> Result<String> {
        match (&self.log_group_name, &self.log_group_identifier) {
            (None, Some(arn)) if arn.starts_with("arn:") => group_of_arn(scope, arn),
            (Some(name), None) | (None, Some(name)) => Ok(name.clone()),
            _ => Err(error::invalid(
                "Exactly one of logGroupName and logGroupIdentifier must be specified.",
            )),
        }
    }
}

/// The group that an ARN names.
///
/// # Errors
/// An ARN that names none of this account in this region.
pub(super) fn group_of_arn(scope: &RequestScope, text: &str) -> Result<String> {
    let wrong = || error::invalid_member("resourceArn", "Member must be the ARN of a log group");
    let arn: Arn = text.parse().map_err(|_| wrong())?;
    let is_ours = arn.service() == "logs"
        && arn.account_id() == Some(scope.account)
        && arn.region() == scope.region.as_str();
    let name = arn.resource().strip_prefix("log-group:");
    match name {
        Some(name) if is_ours => Ok(name.trim_end_matches(":*").to_owned()),
        _ => Err(wrong()),
    }
}
