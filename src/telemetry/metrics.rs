//! Prometheus metrics: per operation the number of requests, their status and duration; and
//! readings of other parts' own counters.
//!
//! `metrics` with its Prometheus exporter keeps the numbers: recording is a relaxed atomic, and for
//! a duration a push to a lock-free list.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Key, Label, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use crate::process;
use crate::series::{METADATA, as_float, counter, gauge, gauge_name};

pub use metrics_exporter_prometheus::BuildError as MetricsError;

/// The format that [`Metrics::text`] is written in.
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the duration buckets in seconds, from a cached response to the slowest upload.
const BOUNDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
    30.0, 120.0,
];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The label of requests that no operation claims.
const UNKNOWN: &str = "Unknown";

/// Recorded durations wait in a list until they are added to their buckets: after this many (64
/// KiB), and whenever metrics are read.
const DURATIONS_PER_UPKEEP: u64 = 8_192;

const REQUESTS: &str = "wharfinger_requests_total";
const DURATION: &str = "wharfinger_request_duration_seconds";
const IN_FLIGHT: &str = "wharfinger_requests_in_flight";
const RATE_LIMITED: &str = "wharfinger_rate_limited_total";
const ABORTED: &str = "wharfinger_responses_aborted_total";
const BLOB_IN: &str = "wharfinger_blob_in_bytes_total";
const BLOB_OUT: &str = "wharfinger_blob_out_bytes_total";

/// Whether a reading only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

/// A number that another module counts, read for `/metrics`.
pub struct Reading {
    /// Without the `wharfinger_` prefix, unit last, and without `_total`, which counters get by
    /// themselves.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Reading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

/// All metrics of one server. There is no global recorder: tests run servers side by side.
#[derive(Debug)]
pub struct Metrics {
    numbers: Arc<Numbers>,
    readings: Vec<Reading>,
}

struct Numbers {
    recorder: PrometheusRecorder,
    /// The series of an operation are registered by its first request.
    operations: HashMap<&'static str, OnceLock<OperationMetrics>>,
    unknown: OnceLock<OperationMetrics>,
    durations: AtomicU64,
    in_flight: Gauge,
    rate_limited: Counter,
    aborted: Counter,
    blob_bytes_in: BytesCounter,
    blob_bytes_out: BytesCounter,
}

/// One operation's series.
struct OperationMetrics {
    by_class: [Counter; CLASSES.len()],
    durations: Histogram,
}

impl Metrics {
    /// Metrics for these operations; the label values can never be anything else, so clients cannot
    /// make new time series.
    ///
    /// # Errors
    /// The exporter refuses its buckets.
    pub fn new(
        operations: impl IntoIterator<Item = &'static str>,
        readings: Vec<Reading>,
    ) -> Result<Self, MetricsError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&BOUNDS)?
            .build_recorder();
        for (name, help) in [
            (REQUESTS, "Requests by operation and class of status"),
            (RATE_LIMITED, "Requests refused by the rate limit"),
            (ABORTED, "Responses whose body was not sent to its end"),
            (BLOB_IN, "Bytes of blobs received"),
            (BLOB_OUT, "Bytes of blobs sent"),
        ] {
            recorder.describe_counter(name.into(), None, help.into());
        }
        let help = "From a request's head to the end of its response";
        recorder.describe_histogram(DURATION.into(), None, help.into());
        let help = "Requests whose response has not ended";
        recorder.describe_gauge(IN_FLIGHT.into(), None, help.into());
        for reading in &readings {
            match reading.kind {
                Kind::Counter => {
                    recorder.describe_counter(
                        counter_name(reading).into(),
                        None,
                        reading.help.into(),
                    );
                }
                Kind::Gauge => {
                    recorder.describe_gauge(
                        gauge_name(reading.name).into(),
                        None,
                        reading.help.into(),
                    );
                }
            }
        }
        process::describe(&recorder);
        let numbers = Numbers {
            operations: operations
                .into_iter()
                .map(|name| (name, OnceLock::new()))
                .collect(),
            unknown: OnceLock::new(),
            durations: AtomicU64::new(0),
            in_flight: gauge(&recorder, IN_FLIGHT),
            rate_limited: counter(&recorder, RATE_LIMITED),
            aborted: counter(&recorder, ABORTED),
            blob_bytes_in: BytesCounter(counter(&recorder, BLOB_IN)),
            blob_bytes_out: BytesCounter(counter(&recorder, BLOB_OUT)),
            recorder,
        };
        Ok(Self {
            numbers: Arc::new(numbers),
            readings,
        })
    }

    /// Counts a request as in flight until [`Started::finish`] or the drop.
    pub fn start(&self) -> Started {
        self.numbers.in_flight.increment(1.0);
        Started {
            numbers: Arc::clone(&self.numbers),
            at: Instant::now(),
        }
    }

    /// Counts a request refused by the rate limit.
    pub fn refused_for_rate(&self) {
        self.numbers.rate_limited.increment(1);
    }

    /// The counter of received blob bytes.
    pub fn blob_bytes_in(&self) -> BytesCounter {
        self.numbers.blob_bytes_in.clone()
    }

    /// The counter of sent blob bytes.
    pub fn blob_bytes_out(&self) -> BytesCounter {
        self.numbers.blob_bytes_out.clone()
    }

    /// Everything in the Prometheus text format.
    pub fn text(&self) -> String {
        let recorder = &self.numbers.recorder;
        for reading in &self.readings {
            let value = (reading.read)();
            match reading.kind {
                Kind::Counter => counter(recorder, &counter_name(reading)).absolute(value),
                Kind::Gauge => gauge(recorder, &gauge_name(reading.name)).set(as_float(value)),
            }
        }
        process::record(recorder);
        recorder.handle().render()
    }
}

/// A counter of bytes. Cloning shares it.
#[derive(Clone)]
pub struct BytesCounter(Counter);

impl BytesCounter {
    pub fn add(&self, bytes: usize) {
        self.0.increment(bytes as u64);
    }
}

impl fmt::Debug for BytesCounter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BytesCounter")
    }
}

/// A request in flight: until the end of its response's body.
#[derive(Debug)]
pub struct Started {
    numbers: Arc<Numbers>,
    at: Instant,
}

impl Started {
    /// Records how the request ended; returns how long it took.
    pub fn finish(self, operation: Option<&str>, status: u16, aborted: bool) -> Duration {
        let took = self.at.elapsed();
        let numbers = Arc::clone(&self.numbers);
        // A request that the counters have is not in flight any more.
        drop(self);
        if aborted {
            numbers.aborted.increment(1);
        }
        numbers.observe(operation, status, took);
        took
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.numbers.in_flight.decrement(1.0);
    }
}

impl Numbers {
    fn observe(&self, operation: Option<&str>, status: u16, took: Duration) {
        let known = operation.and_then(|name| self.operations.get_key_value(name));
        let (name, series) =
            known.map_or((UNKNOWN, &self.unknown), |(name, series)| (name, series));
        let series = series.get_or_init(|| OperationMetrics::register(&self.recorder, name));
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        series.by_class[class].increment(1);
        series.durations.record(took.as_secs_f64());
        let before = self.durations.fetch_add(1, Relaxed);
        if before % DURATIONS_PER_UPKEEP == DURATIONS_PER_UPKEEP - 1 {
            self.recorder.handle().run_upkeep();
        }
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Numbers")
    }
}

impl OperationMetrics {
    fn register(recorder: &PrometheusRecorder, operation: &'static str) -> Self {
        let label = Label::from_static_parts("operation", operation);
        let by_class = CLASSES.map(|class| {
            let labels = vec![label.clone(), Label::from_static_parts("status", class)];
            recorder.register_counter(&Key::from_parts(REQUESTS, labels), &METADATA)
        });
        let durations =
            recorder.register_histogram(&Key::from_parts(DURATION, vec![label]), &METADATA);
        Self {
            by_class,
            durations,
        }
    }
}

fn counter_name(reading: &Reading) -> String {
    format!("wharfinger_{}_total", reading.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_readings(readings: Vec<Reading>) -> Metrics {
        Metrics::new(["GetManifest", "PutManifest"], readings).expect("valid buckets")
    }

    #[test]
    fn requests_are_counted_by_operation_and_class() {
        let metrics = with_readings(vec![Reading {
            name: "connections_open",
            help: "Open",
            kind: Kind::Gauge,
            read: Box::new(|| 7),
        }]);
        metrics.start().finish(Some("GetManifest"), 200, false);
        metrics.start().finish(Some("GetManifest"), 404, false);
        metrics
            .start()
            .finish(Some("made/up by a client"), 200, false);
        metrics.start().finish(None, 599, true);
        metrics.blob_bytes_out().add(12);
        let under_way = metrics.start();
        let text = metrics.text();
        for line in [
            "wharfinger_requests_total{operation=\"GetManifest\",status=\"2xx\"} 1",
            "wharfinger_requests_total{operation=\"GetManifest\",status=\"4xx\"} 1",
            "wharfinger_requests_total{operation=\"Unknown\",status=\"5xx\"} 1",
            "wharfinger_request_duration_seconds_count{operation=\"GetManifest\"} 2",
            "wharfinger_request_duration_seconds_bucket{operation=\"Unknown\",le=\"+Inf\"} 2",
            "wharfinger_requests_in_flight 1",
            "wharfinger_responses_aborted_total 1",
            "wharfinger_blob_out_bytes_total 12",
            "wharfinger_connections_open 7",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
        assert!(!text.contains("PutManifest") && !text.contains("made/up"));
        drop(under_way);
        assert!(metrics.text().contains("wharfinger_requests_in_flight 0"));
    }

    #[test]
    fn a_duration_falls_into_the_buckets_that_hold_it() {
        let metrics = with_readings(Vec::new());
        for us in [0, 100, 101, 120_000_000, 120_000_001] {
            let took = Duration::from_micros(us);
            metrics.numbers.observe(Some("GetManifest"), 200, took);
        }
        let text = metrics.text();
        for (bound, count) in [("0.0001", 2), ("0.00025", 3), ("120", 4), ("+Inf", 5)] {
            let labels = format!("operation=\"GetManifest\",le=\"{bound}\"");
            let line = format!("wharfinger_request_duration_seconds_bucket{{{labels}}} {count}");
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn durations_that_nobody_reads_are_added_up() {
        let metrics = with_readings(Vec::new());
        for _ in 0..3 * DURATIONS_PER_UPKEEP {
            metrics
                .numbers
                .observe(Some("PutManifest"), 201, Duration::from_millis(1));
        }
        let count = 3 * DURATIONS_PER_UPKEEP;
        let line = format!(
            "wharfinger_request_duration_seconds_count{{operation=\"PutManifest\"}} {count}"
        );
        assert!(metrics.text().contains(&line));
    }
}
