//! The configured sinks of events, and the numbers of their deliveries.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use wharfinger_event_sinks::{FileSink, Sink, SinkError, WebhookSink};
use wharfinger_registry::{DeliverySettings, EventCounts};
use wharfinger_telemetry::{Kind, Reading};

use crate::config::{Config, EventSinkConfig, SinkKind};

/// A sink whose secret or certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the sink {name} of events")]
pub struct EventSinkError {
    name: String,
    source: SinkError,
}

/// The configured sinks of events. Reads their secrets and certificates.
pub(crate) fn event_sinks(
    config: &Config,
) -> Result<Vec<(Sink, DeliverySettings)>, EventSinkError> {
    let sink = |config: &EventSinkConfig| {
        let sink = match &config.kind {
            SinkKind::File(file) => Sink::File(FileSink::new(file.clone())),
            SinkKind::Webhook(webhook) => {
                let webhook = WebhookSink::new(webhook.clone());
                Sink::Webhook(webhook.map_err(|source| EventSinkError {
                    name: config.filter.name.clone(),
                    source,
                })?)
            }
        };
        Ok((sink, config.delivery.clone()))
    };
    config.event_sinks.iter().map(sink).collect()
}

/// The numbers of the deliveries of events, for `/metrics`.
pub(crate) fn event_readings(counts: &Arc<EventCounts>) -> [Reading; 4] {
    let reading = |name, help, read: fn(&EventCounts) -> u64| {
        let counts = Arc::clone(counts);
        Reading {
            name,
            help,
            kind: Kind::Counter,
            read: Box::new(move || read(&counts)),
        }
    };
    [
        reading("events_delivered", "Events that sinks took", |counts| {
            counts.delivered.load(Relaxed)
        }),
        reading(
            "event_attempts_failed",
            "Deliveries of events that failed and are repeated",
            |counts| counts.failed.load(Relaxed),
        ),
        reading(
            "events_rejected",
            "Events that a receiver did not accept",
            |counts| counts.rejected.load(Relaxed),
        ),
        reading(
            "events_dropped",
            "Events that were given up: too old, too often tried, or too many waiting",
            |counts| counts.dropped.load(Relaxed),
        ),
    ]
}
