//! Amazon `CloudWatch` Logs: what the `awslogs` log driver, `aws logs tail` and readers of logs
//! use.

mod error;
mod events;
mod groups;
mod output;
mod reading;
mod resource;
mod sequence_token;
mod streams;
mod tags;

use std::sync::LazyLock;

pub use error::Error;
pub use resource::{LogResource, LogResourceId};
use wharfinger_api_core::{OperationEntry, Service, ServiceModel, operations};
use wharfinger_aws::Family;
use wharfinger_aws::constraints::Limits;
use wharfinger_iam::Caller;
use wharfinger_monitoring::Logs;

type Result<T, E = Error> = std::result::Result<T, E>;

/// Amazon `CloudWatch` Logs, API version 2014-03-28.
pub static MODEL: ServiceModel = ServiceModel {
    name: "logs",
    family: Family::Json,
    target: "Logs_20140328",
    version: "2014-03-28",
    namespace: "http://logs.amazonaws.com/doc/2014-03-28/",
    limits: &LIMITS,
    unsupported: &[],
};

static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits::read(include_str!("limits.toml")));

/// The service.
pub struct LogsService;

/// The handles that the operations use.
pub struct State {
    pub logs: Logs,
}

impl Service for LogsService {
    type State = State;
    type ResourceId = LogResourceId;
    type Resource = LogResource;
    type Error = Error;

    fn model() -> &'static ServiceModel {
        &MODEL
    }

    fn operations() -> &'static [OperationEntry<Self>] {
        OPERATIONS
    }

    async fn load(state: &State, id: &LogResourceId, _caller: &Caller) -> Result<LogResource> {
        LogResource::load(&state.logs, id).await
    }
}

static OPERATIONS: &[OperationEntry<LogsService>] = operations![
    groups::CreateLogGroup,
    groups::DeleteLogGroup,
    groups::DescribeLogGroups,
    groups::PutRetentionPolicy,
    groups::DeleteRetentionPolicy,
    streams::CreateLogStream,
    streams::DeleteLogStream,
    streams::DescribeLogStreams,
    events::PutLogEvents,
    reading::GetLogEvents,
    reading::FilterLogEvents,
    tags::Tag<tags::ByArn>,
    tags::Untag<tags::ByArn>,
    tags::ListTags<tags::ByArn>,
    tags::Tag<tags::ByName>,
    tags::Untag<tags::ByName>,
    tags::ListTags<tags::ByName>,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_limits_and_no_other_has() {
        let mut served: Vec<&str> = OPERATIONS.iter().map(OperationEntry::name).collect();
        served.sort_unstable();
        let known: Vec<&str> = MODEL.limits.operations().map(|(name, _)| name).collect();
        assert_eq!(served, known);
    }
}
