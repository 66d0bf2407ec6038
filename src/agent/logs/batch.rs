//! Events that are sent together. PURE.
//!
//! Source: CloudWatch Logs API reference, `PutLogEvents`.

use serde_json::{Value, json};

use crate::logs::lines::Line;
use crate::logs::position::Position;

/// Limits of a batch: events; bytes, where each event counts for so many more than its text; and
/// milliseconds between its first and its last event.
const MAX_EVENTS: usize = 10_000;
const MAX_BYTES: usize = 1024 * 1024;
const EVENT_OVERHEAD_BYTES: usize = 26;
const MAX_SPAN_MS: i64 = 24 * 3_600 * 1_000;

/// Lines in the order of the container's output.
#[derive(Debug, Default)]
pub(super) struct Batch {
    lines: Vec<Line>,
    bytes: usize,
}

impl Batch {
    pub(super) const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether a line fits.
    pub(super) fn takes(&self, line: &Line) -> bool {
        let first = self.lines.first().map_or(line.ns, |first| first.ns);
        self.lines.len() < MAX_EVENTS
            && self.bytes + line.text.len() + EVENT_OVERHEAD_BYTES <= MAX_BYTES
            && (line.ns - first) / 1_000_000 < MAX_SPAN_MS
    }

    pub(super) fn push(&mut self, line: Line) {
        self.bytes += line.text.len() + EVENT_OVERHEAD_BYTES;
        self.lines.push(line);
    }

    /// The events. Times never go back in a batch: where those of two streams do, the order of the
    /// output counts.
    pub(super) fn events(&self) -> Vec<Value> {
        let mut latest = i64::MIN;
        let events = self.lines.iter().map(|line| {
            latest = latest.max(line.ns / 1_000_000);
            json!({"timestamp": latest, "message": line.text})
        });
        events.collect()
    }

    /// Removes the events, which the server has, and notes their position.
    pub(super) fn sent(&mut self, position: &mut Position) {
        self.bytes = 0;
        for line in self.lines.drain(..) {
            for ns in line.ends {
                position.advance(line.stream, ns);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::position::Stream;

    fn line(ns: i64, text: &str) -> Line {
        Line {
            stream: Stream::Stdout,
            ns,
            text: text.to_owned(),
            ends: vec![ns],
        }
    }

    #[test]
    fn a_batch_keeps_the_limits_of_the_api() {
        let mut batch = Batch::default();
        let large = "x".repeat(200 * 1024);
        while batch.takes(&line(0, &large)) {
            batch.push(line(0, &large));
        }
        assert_eq!(batch.len(), 5);
        let mut batch = Batch::default();
        while batch.takes(&line(0, "x")) {
            batch.push(line(0, "x"));
        }
        assert_eq!(batch.len(), MAX_EVENTS);
        let mut batch = Batch::default();
        batch.push(line(0, "x"));
        assert!(!batch.takes(&line(MAX_SPAN_MS * 1_000_000, "x")));
    }

    #[test]
    fn times_never_go_back() {
        let mut batch = Batch::default();
        batch.push(line(3_000_000, "a"));
        batch.push(line(2_000_000, "b"));
        let times: Vec<_> = batch
            .events()
            .iter()
            .map(|event| event["timestamp"].clone())
            .collect();
        assert_eq!(times, [3, 3]);
    }

    #[test]
    fn what_is_sent_is_noted() {
        let mut batch = Batch::default();
        batch.push(line(1, "a"));
        let mut position = Position::default();
        batch.sent(&mut position);
        assert!(batch.is_empty());
        let mut reading = position.clone();
        assert!(reading.skips(Stream::Stdout, 1));
        assert!(!reading.skips(Stream::Stdout, 2));
    }
}
