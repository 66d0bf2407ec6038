//! What the server says about itself: metrics, logs, traces, and the request ids that tie them
//! together.

mod logs;
mod metrics;
mod process;
mod request_id;
mod traces;

pub use logs::{LogFormat, LogsConfig, Telemetry, TelemetryError, check_level, init};
pub use metrics::{Kind, METRICS_CONTENT_TYPE, Metrics, Operation, Reading, Started};
pub use request_id::{REQUEST_ID, RequestId, RequestIds};
pub use traces::{TracesConfig, continue_trace};
