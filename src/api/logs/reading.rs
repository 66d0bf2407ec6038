//! `GetLogEvents`, `FilterLogEvents`.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_base::PageToken;
use wharfinger_monitoring::{
    Direction, EventKey, EventPage, FilterEvents, FilterPattern, GetEvents,
};

use crate::resource::{GroupRef, LogResourceId};
use crate::{LogsService, Result, error};

/// Events on a page where the request does not say (API reference, `limit`).
const DEFAULT_ITEMS: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetLogEvents {
    #[serde(flatten)]
    group: GroupRef,
    log_stream_name: String,
    start_time: Option<i64>,
    end_time: Option<i64>,
    next_token: Option<String>,
    limit: Option<usize>,
    start_from_head: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetLogEventsOutput {
    events: Vec<OutputLogEvent>,
    next_forward_token: String,
    next_backward_token: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputLogEvent {
    timestamp: i64,
    message: String,
    ingestion_time: i64,
}

impl Operation for GetLogEvents {
    type Service = LogsService;
    const NAME: &'static str = "GetLogEvents";
    type Output = GetLogEventsOutput;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        let group = self.group.name(scope)?;
        Ok(LogResourceId::stream(scope, &group, &self.log_stream_name))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<GetLogEventsOutput> {
        let group = cx.resource().group()?;
        let (direction, after) = match &self.next_token {
            Some(token) => stream_position(token)?,
            None if self.start_from_head == Some(true) => (Direction::Forward, None),
            None => (Direction::Backward, None),
        };
        let from = self.start_time.unwrap_or(0);
        let request = GetEvents {
            from,
            to: self.end_time.unwrap_or(i64::MAX),
            direction,
            after: after.clone(),
            limit: self.limit.unwrap_or(DEFAULT_ITEMS),
        };
        let stream = &self.log_stream_name;
        let page = cx
            .state()
            .logs
            .get(&group.account, &group.name, stream, request)
            .await?;
        let (first, last) = ends(&page, direction, after, from);
        Ok(GetLogEventsOutput {
            next_forward_token: format!("f/{}", encode("f", &last)),
            next_backward_token: format!("b/{}", encode("b", &first)),
            events: page
                .events
                .into_iter()
                .map(|event| OutputLogEvent {
                    timestamp: event.key.at,
                    message: event.message,
                    ingestion_time: event.ingested_at,
                })
                .collect(),
        })
    }
}

/// The positions from which earlier and later events follow. A reader that has come to the end
/// gets the token back that it gave.
fn ends(
    page: &EventPage,
    direction: Direction,
    after: Option<EventKey>,
    from: i64,
) -> (EventKey, EventKey) {
    let first = page.events.first().map(|event| event.key.clone());
    let last = page.events.last().map(|event| event.key.clone());
    let here = after.unwrap_or_else(|| EventKey::before(from));
    // A page can be empty although more follows, where the work for one page is bounded.
    let reached = page.next.clone().unwrap_or_else(|| here.clone());
    match direction {
        Direction::Forward => (first.unwrap_or(here), last.unwrap_or(reached)),
        Direction::Backward => (first.unwrap_or(reached), last.unwrap_or(here)),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FilterLogEvents {
    #[serde(flatten)]
    group: GroupRef,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<i64>,
    end_time: Option<i64>,
    filter_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<usize>,
    start_from_head: Option<bool>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FilterLogEventsOutput {
    events: Vec<FilteredLogEvent>,
    searched_log_streams: Vec<()>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FilteredLogEvent {
    log_stream_name: String,
    timestamp: i64,
    message: String,
    ingestion_time: i64,
    event_id: String,
}

impl Operation for FilterLogEvents {
    type Service = LogsService;
    const NAME: &'static str = "FilterLogEvents";
    type Output = FilterLogEventsOutput;

    fn resource(&self, scope: &RequestScope) -> Result<LogResourceId> {
        Ok(LogResourceId::group(scope, &self.group.name(scope)?))
    }

    async fn run(self, cx: &Context<LogsService>) -> Result<FilterLogEventsOutput> {
        let group = cx.resource().group()?;
        if self.log_stream_names.is_some() && self.log_stream_name_prefix.is_some() {
            return Err(error::invalid(
                "logStreamNames and logStreamNamePrefix cannot be specified together.",
            ));
        }
        let token = self.next_token.as_deref();
        let direction = match self.start_from_head {
            Some(false) => Direction::Backward,
            _ => Direction::Forward,
        };
        let request = FilterEvents {
            streams: self.log_stream_names.unwrap_or_default(),
            stream_prefix: self.log_stream_name_prefix,
            from: self.start_time.unwrap_or(0),
            to: self.end_time.unwrap_or(i64::MAX),
            pattern: FilterPattern::parse(self.filter_pattern.as_deref().unwrap_or_default())?,
            direction,
            after: token.map(|token| decode(Self::NAME, token)).transpose()?,
            limit: self.limit.unwrap_or(DEFAULT_ITEMS),
        };
        let (page, names) = cx
            .state()
            .logs
            .filter(&group.account, &group.name, request)
            .await?;
        let next_token = page.next.map(|next| encode(Self::NAME, &next));
        let mut events: Vec<FilteredLogEvent> = page
            .events
            .into_iter()
            .zip(names)
            .map(|(event, log_stream_name)| FilteredLogEvent {
                log_stream_name,
                timestamp: event.key.at,
                event_id: event.key.event_id(),
                message: event.message,
                ingestion_time: event.ingested_at,
            })
            .collect();
        if direction == Direction::Backward {
            events.reverse();
        }
        Ok(FilterLogEventsOutput {
            events,
            searched_log_streams: Vec::new(),
            next_token,
        })
    }
}

fn encode(listing: &str, key: &EventKey) -> String {
    let (at, sequence) = (key.at.to_string(), key.sequence.to_string());
    PageToken::encode(listing, &[&at, &key.stream_id, &sequence])
}

fn decode(listing: &str, token: &str) -> Result<EventKey> {
    let parts = PageToken::decode(listing, token)
        .and_then(|parts| <[String; 3]>::try_from(parts).ok())
        .ok_or_else(error::bad_token)?;
    let [at, stream_id, sequence] = parts;
    let number = |text: &str| text.parse().map_err(|_| error::bad_token());
    Ok(EventKey {
        at: number(&at)?,
        stream_id,
        sequence: number(&sequence)?,
    })
}

/// The direction and position of a token of `GetLogEvents`.
fn stream_position(token: &str) -> Result<(Direction, Option<EventKey>)> {
    if let Some(token) = token.strip_prefix("f/") {
        Ok((Direction::Forward, Some(decode("f", token)?)))
    } else if let Some(token) = token.strip_prefix("b/") {
        Ok((Direction::Backward, Some(decode("b", token)?)))
    } else {
        Err(error::bad_token())
    }
}
