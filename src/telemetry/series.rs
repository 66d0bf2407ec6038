//! Series without labels in the exporter's recorder.

use metrics::{Counter, Gauge, Key, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::PrometheusRecorder;

/// Where a series comes from, which the exporter ignores.
pub(crate) const METADATA: Metadata<'static> =
    Metadata::new("wharfinger", Level::INFO, Some(module_path!()));

/// The whole name of a gauge.
pub(crate) fn gauge_name(name: &str) -> String {
    format!("wharfinger_{name}")
}

/// The counter of this name without labels, registered by its first use.
pub(crate) fn counter(recorder: &PrometheusRecorder, name: &str) -> Counter {
    recorder.register_counter(&Key::from_name(name.to_owned()), &METADATA)
}

/// The gauge of this name without labels, registered by its first use.
pub(crate) fn gauge(recorder: &PrometheusRecorder, name: &str) -> Gauge {
    recorder.register_gauge(&Key::from_name(name.to_owned()), &METADATA)
}

/// A number of things or bytes as the exporter keeps gauges.
#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are far below the 2^53 up to which whole numbers are exact"
)]
pub(crate) fn as_float(value: u64) -> f64 {
    value as f64
}
