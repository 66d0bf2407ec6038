//! Metrics, logs and traces, and the request ids that connect them.

mod logs;
mod metrics;
mod process;
mod request_id;
mod series;
mod traces;

pub use logs::{LogFormat, LogsConfig, Telemetry, TelemetryError, check_level, init};
pub use metrics::{
    BytesCounter, Kind, METRICS_CONTENT_TYPE, Metrics, MetricsError, Reading, Started,
};
pub use request_id::{REQUEST_ID, RequestIds, remove_unsafe_id};
pub use traces::{TracesConfig, request_span};
