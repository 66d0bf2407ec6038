//! Prometheus metrics: per operation the number of requests, their status and duration; and
//! readings of other parts' own counters.
//!
//! The hot path touches relaxed atomics only. prometheus-client's own histogram takes a lock per
//! observation, so the numbers are kept here and passed to its encoder for `/metrics`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::process;

/// What [`Metrics::text`] is written in.
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the duration buckets in microseconds, from a cached response to the slowest
/// upload.
const BOUNDS_US: [u64; 16] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The label of requests that no operation claims.
const UNKNOWN: &str = "Unknown";

/// One operation's numbers.
#[derive(Debug)]
struct OperationMetrics {
    name: &'static str,
    by_class: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl OperationMetrics {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            by_class: Default::default(),
            buckets: Default::default(),
            sum_us: AtomicU64::new(0),
        }
    }

    fn observe(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.by_class[class].fetch_add(1, Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Relaxed);
        self.buckets[BOUNDS_US.partition_point(|bound| *bound < us)].fetch_add(1, Relaxed);
    }

    fn count(&self) -> u64 {
        self.by_class.iter().map(|count| count.load(Relaxed)).sum()
    }
}

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

/// All metrics of one server. There is no global: tests run servers side by side.
#[derive(Debug)]
pub struct Metrics {
    numbers: Arc<Numbers>,
    registry: Registry,
}

#[derive(Debug)]
struct Numbers {
    operations: HashMap<&'static str, OperationMetrics>,
    unknown: OperationMetrics,
    in_flight: AtomicI64,
    rate_limited: AtomicU64,
    aborted: AtomicU64,
    blob_bytes_in: BytesCounter,
    blob_bytes_out: BytesCounter,
    readings: Vec<Reading>,
}

impl Metrics {
    /// Metrics for these operations; the label values can never be anything else, so clients cannot
    /// make new time series.
    pub fn new(operations: impl IntoIterator<Item = &'static str>, readings: Vec<Reading>) -> Self {
        let operations = operations
            .into_iter()
            .map(|name| (name, OperationMetrics::new(name)))
            .collect();
        let numbers = Arc::new(Numbers {
            operations,
            unknown: OperationMetrics::new(UNKNOWN),
            in_flight: AtomicI64::new(0),
            rate_limited: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
            blob_bytes_in: BytesCounter::default(),
            blob_bytes_out: BytesCounter::default(),
            readings,
        });
        let mut registry = Registry::with_prefix("wharfinger");
        registry.register_collector(Box::new(Arc::clone(&numbers)));
        Self { numbers, registry }
    }

    /// Counts a request as in flight until [`Started::finish`] or the drop.
    pub fn start(&self) -> Started {
        self.numbers.in_flight.fetch_add(1, Relaxed);
        Started {
            numbers: Arc::clone(&self.numbers),
            at: Instant::now(),
        }
    }

    /// Counts a request turned away for its caller's rate.
    pub fn refused_for_rate(&self) {
        self.numbers.rate_limited.fetch_add(1, Relaxed);
    }

    /// The counter of received blob bytes.
    pub fn blob_bytes_in(&self) -> BytesCounter {
        self.numbers.blob_bytes_in.clone()
    }

    /// The counter of sent blob bytes.
    pub fn blob_bytes_out(&self) -> BytesCounter {
        self.numbers.blob_bytes_out.clone()
    }

    /// Everything in the `OpenMetrics` text format.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        // Writing into a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// A counter of bytes. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct BytesCounter(Arc<AtomicU64>);

impl BytesCounter {
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
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
        if aborted {
            self.numbers.aborted.fetch_add(1, Relaxed);
        }
        let operation = operation
            .and_then(|name| self.numbers.operations.get(name))
            .unwrap_or(&self.numbers.unknown);
        operation.observe(status, took);
        took
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.numbers.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Numbers {
    fn seen(&self) -> Vec<&OperationMetrics> {
        let mut seen: Vec<_> = self
            .operations
            .values()
            .chain([&self.unknown])
            .filter(|operation| operation.count() > 0)
            .collect();
        seen.sort_unstable_by_key(|operation| operation.name);
        seen
    }

    fn encode_requests(&self, mut metric: MetricEncoder<'_>) -> fmt::Result {
        for operation in self.seen() {
            for (class, count) in CLASSES.iter().zip(&operation.by_class) {
                let count = count.load(Relaxed);
                if count > 0 {
                    let labels = [("operation", operation.name), ("status", class)];
                    metric
                        .encode_family(&labels)?
                        .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
                }
            }
        }
        Ok(())
    }

    fn encode_durations(&self, mut metric: MetricEncoder<'_>) -> fmt::Result {
        for operation in self.seen() {
            let counts: Vec<u64> = operation
                .buckets
                .iter()
                .map(|count| count.load(Relaxed))
                .collect();
            let bounds = BOUNDS_US
                .iter()
                .map(|us| seconds(*us))
                .chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
            let (sum, count) = (seconds(operation.sum_us.load(Relaxed)), counts.iter().sum());
            let labels = [("operation", operation.name)];
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds stay exact in 53 bits for 285 years"
)]
fn seconds(us: u64) -> f64 {
    us as f64 / 1_000_000.0
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.encode_requests(encoder.encode_descriptor(
            "requests",
            "Requests by operation and class of status",
            None,
            MetricType::Counter,
        )?)?;
        let help = "From a request's head to the end of its response";
        self.encode_durations(encoder.encode_descriptor(
            "request_duration",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?)?;
        let in_flight = self.in_flight.load(Relaxed);
        encoder
            .encode_descriptor(
                "requests_in_flight",
                "Requests whose response has not ended",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&in_flight)?;
        let own = [
            (
                "rate_limited",
                "Requests refused by the rate limit",
                self.rate_limited.load(Relaxed),
            ),
            (
                "responses_aborted",
                "Responses whose body was not sent to its end",
                self.aborted.load(Relaxed),
            ),
            (
                "blob_in_bytes",
                "Bytes of blobs received",
                self.blob_bytes_in.get(),
            ),
            (
                "blob_out_bytes",
                "Bytes of blobs sent",
                self.blob_bytes_out.get(),
            ),
        ];
        for (name, help, value) in own {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        for reading in &self.readings {
            let value = (reading.read)();
            match reading.kind {
                Kind::Counter => encoder
                    .encode_descriptor(reading.name, reading.help, None, MetricType::Counter)?
                    .encode_counter::<NoLabelSet, _, f64>(&value, None)?,
                Kind::Gauge => encoder
                    .encode_descriptor(reading.name, reading.help, None, MetricType::Gauge)?
                    .encode_gauge(&value)?,
            }
        }
        process::encode(&mut encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_operation_and_class() {
        let reading = Reading {
            name: "connections_open",
            help: "Open",
            kind: Kind::Gauge,
            read: Box::new(|| 7),
        };
        let metrics = Metrics::new(["GetManifest", "PutManifest"], vec![reading]);
        metrics.start().finish(Some("GetManifest"), 200, false);
        metrics.start().finish(Some("GetManifest"), 404, false);
        metrics
            .start()
            .finish(Some("made/up by a client"), 200, false);
        metrics.start().finish(None, 599, false);
        metrics.blob_bytes_out().add(12);
        let under_way = metrics.start();
        let text = metrics.text();
        for line in [
            "wharfinger_requests_total{operation=\"GetManifest\",status=\"2xx\"} 1",
            "wharfinger_requests_total{operation=\"GetManifest\",status=\"4xx\"} 1",
            "wharfinger_requests_total{operation=\"Unknown\",status=\"5xx\"} 1",
            "wharfinger_request_duration_seconds_count{operation=\"GetManifest\"} 2",
            "wharfinger_request_duration_seconds_bucket{le=\"+Inf\",operation=\"Unknown\"} 2",
            "wharfinger_requests_in_flight 1",
            "wharfinger_blob_out_bytes_total 12",
            "wharfinger_connections_open 7",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(
            text.ends_with("# EOF\n") && !text.contains("PutManifest") && !text.contains("made/up")
        );
        drop(under_way);
        assert!(metrics.text().contains("wharfinger_requests_in_flight 0"));
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let operation = OperationMetrics::new("x");
        for us in [0, 100, 101, 120_000_000, 120_000_001] {
            operation.observe(200, Duration::from_micros(us));
        }
        let counts: Vec<u64> = operation
            .buckets
            .iter()
            .map(|count| count.load(Relaxed))
            .collect();
        assert_eq!((counts[0], counts[1], counts[15], counts[16]), (2, 1, 1, 1));
    }
}
