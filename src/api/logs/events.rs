//! `PutLogEvents`.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_monitoring::{NewEvent, Rejected};

use crate::resource::{LogResourceId, StreamRef};
use crate::sequence_token::{sequence, sequence_token};
use crate::{LogsService, Result};

/// `logEvents` of up to 1 MiB of text, which JSON can write six times as long.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug, Deserialize)]
pub(super) struct PutLogEvents {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "logEvents")]
    events: Vec<InputLogEvent>,
    #[serde(rename = "sequenceToken")]
    sequence_token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct InputLogEvent {
    timestamp: i64,
    message: String,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutLogEventsOutput {
    next_sequence_token: String,
    rejected_log_events_info: Option<RejectedView>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
struct RejectedView {
    #[serde(rename = "tooNewLogEventStartIndex")]
    too_new_from: Option<usize>,
    #[serde(rename = "tooOldLogEventEndIndex")]
    too_old_to: Option<usize>,
    #[serde(rename = "expiredLogEventEndIndex")]
    expired_to: Option<usize>,
}

impl Operation for PutLogEvents {
    type Service = LogsService;
    const NAME: &'static str = "PutLogEvents";
    const MAX_BODY_BYTES: usize = MAX_BODY_BYTES;
    // Containers write all the time: the audit log would hold nothing else.
    const IS_AUDITED: bool = false;
    type Output = PutLogEventsOutput;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(self.stream.id(scope))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<PutLogEventsOutput> {
        let account = &cx.resource().account;
        let events = self.events.into_iter().map(|event| NewEvent {
            at: event.timestamp,
            message: event.message,
        });
        let logs = &cx.state().logs;
        let StreamRef { group, stream } = &self.stream;
        let sequence = self.sequence_token.as_deref().and_then(sequence);
        let stored = logs.put(account, group, stream, sequence, events.collect());
        let stored = stored.await?;
        let Rejected {
            too_new_from,
            too_old_to,
            expired_to,
        } = stored.rejected;
        let info = RejectedView {
            too_new_from,
            too_old_to,
            expired_to,
        };
        Ok(PutLogEventsOutput {
            next_sequence_token: sequence_token(stored.next_sequence),
            rejected_log_events_info: Some(info).filter(|_| stored.rejected != Rejected::default()),
        })
    }
}
