//! `CreateLogStream`, `DescribeLogStreams`, `DeleteLogStream`.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_base::{PageToken, Timestamp};
use wharfinger_monitoring::{LogGroup, LogStream, StreamOrder, StreamPosition};

use crate::output::Nothing;
use crate::resource::{GroupRef, LogResourceId, StreamRef};
use crate::sequence_token::sequence_token;
use crate::{LogsService, Result, error};

/// Streams on a page where the request does not say (API reference, `limit`).
const DEFAULT_ITEMS: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct CreateLogStream(StreamRef);

impl Operation for CreateLogStream {
    type Service = LogsService;
    const NAME: &'static str = "CreateLogStream";
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(self.0.id(scope))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        let StreamRef { group, stream } = &self.0;
        let account = &cx.resource().account;
        cx.state()
            .logs
            .create_stream(account, group, stream)
            .await?;
        Ok(Nothing {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct DeleteLogStream(StreamRef);

impl Operation for DeleteLogStream {
    type Service = LogsService;
    const NAME: &'static str = "DeleteLogStream";
    type Output = Nothing;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(self.0.id(scope))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<Nothing> {
        let StreamRef { group, stream } = &self.0;
        let account = &cx.resource().account;
        cx.state()
            .logs
            .delete_stream(account, group, stream)
            .await?;
        Ok(Nothing {})
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeLogStreams {
    #[serde(flatten)]
    group: GroupRef,
    log_stream_name_prefix: Option<String>,
    order_by: Option<String>,
    descending: Option<bool>,
    next_token: Option<String>,
    limit: Option<usize>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeLogStreamsOutput {
    log_streams: Vec<StreamView>,
    next_token: Option<String>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamView {
    arn: String,
    creation_time: i64,
    first_event_timestamp: Option<i64>,
    last_event_timestamp: Option<i64>,
    last_ingestion_time: Option<i64>,
    log_stream_name: String,
    stored_bytes: i64,
    upload_sequence_token: String,
}

impl StreamView {
    fn new(group: &LogGroup, stream: LogStream) -> Self {
        let path = format!("{}:log-stream:{}", group.name, stream.name);
        Self {
            arn: group.account.arn(&path).to_string(),
            creation_time: stream.created_at.as_ms(),
            first_event_timestamp: stream.first_event_at.map(Timestamp::as_ms),
            last_event_timestamp: stream.last_event_at.map(Timestamp::as_ms),
            last_ingestion_time: stream.last_ingested_at.map(Timestamp::as_ms),
            log_stream_name: stream.name,
            stored_bytes: stream.stored_bytes,
            upload_sequence_token: sequence_token(stream.next_sequence),
        }
    }
}

impl Operation for DescribeLogStreams {
    type Service = LogsService;
    const NAME: &'static str = "DescribeLogStreams";
    type Output = DescribeLogStreamsOutput;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::group(scope, &self.group.name(scope)?))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<DescribeLogStreamsOutput> {
        let group = cx.resource().group()?;
        let order = match self.order_by.as_deref() {
            Some("LastEventTime") => StreamOrder::LastEvent,
            _ => StreamOrder::Name,
        };
        if order == StreamOrder::LastEvent && self.log_stream_name_prefix.is_some() {
            return Err(error::invalid(
                "Cannot order by LastEventTime with a logStreamNamePrefix.",
            ));
        }
        let listing = format!("{}:{order:?}", Self::NAME);
        let after = self
            .next_token
            .map(|token| position(&listing, &token))
            .transpose()?;
        let page = cx.state().logs.streams(
            &group.account,
            &group.name,
            self.log_stream_name_prefix.as_deref().unwrap_or_default(),
            order,
            self.descending == Some(true),
            after,
            self.limit.unwrap_or(DEFAULT_ITEMS),
        );
        let page = page.await?;
        let next_token = page.next.map(|next| {
            let at = next.last_event_at.to_string();
            PageToken::encode(&listing, &[&at, &next.name])
        });
        let view = |stream| StreamView::new(group, stream);
        Ok(DescribeLogStreamsOutput {
            log_streams: page.items.into_iter().map(view).collect(),
            next_token,
        })
    }
}

fn position(listing: &str, token: &str) -> Result<StreamPosition> {
    let parts = PageToken::decode(listing, token)
        .and_then(|parts| <[String; 2]>::try_from(parts).ok())
        .ok_or_else(error::bad_token)?;
    let [at, name] = parts;
    Ok(StreamPosition {
        last_event_at: at.parse().map_err(|_| error::bad_token())?,
        name,
    })
}
