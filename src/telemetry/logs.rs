//! Structured logs on stderr, plain or JSON, and the switch for traces.

use std::io::{self, IsTerminal as _};

use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use crate::traces::{self, TracesConfig};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Plain,
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "plain" => Ok(Self::Plain),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is neither plain nor json")),
        }
    }
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsConfig {
    /// A level (`info`) or directives (`info,wharfinger::registry=debug`).
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log level `{level}` cannot be read")]
    Level { level: String, source: ParseError },
    #[error("cannot set up the trace exporter")]
    Exporter(#[from] ExporterBuildError),
    #[error("telemetry is set up already")]
    Twice(#[from] TryInitError),
}

/// Checks a log level without using it.
pub fn check_level(level: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(level).map_err(|source| TelemetryError::Level {
        level: level.to_owned(),
        source,
    })
}

/// Keeps the exporter alive. [`Telemetry::shut_down`] sends what it still holds.
#[derive(Debug)]
#[must_use = "dropping it stops the traces"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts logging, and tracing where `traces` names a collector. Once per process.
pub fn init(logs: &LogsConfig, traces: Option<&TracesConfig>) -> Result<Telemetry, TelemetryError> {
    let filter = check_level(&logs.level)?;
    let lines = match logs.format {
        LogFormat::Plain => fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(io::stderr)
            .boxed(),
    };
    let provider = traces.map(traces::provider).transpose()?;
    // Only our own spans: the exporter's HTTP client makes spans too, and would trace itself for
    // ever.
    let spans = provider.as_ref().map(|provider| {
        let own = Targets::new().with_target("wharfinger", tracing::Level::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(traces::tracer(provider))
            .with_filter(own)
    });
    Registry::default()
        .with(spans)
        .with(lines.with_filter(filter))
        .try_init()?;
    Ok(Telemetry { traces: provider })
}

impl Telemetry {
    /// Whether spans are worth making.
    pub fn traces(&self) -> bool {
        self.traces.is_some()
    }

    /// Sends the spans that wait. Blocks up to the exporter's timeout, so not on an async worker.
    pub fn shut_down(self) {
        if let Some(provider) = self.traces
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "the last traces were not delivered");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_checked() {
        for good in ["info", "warn,wharfinger=debug", "off"] {
            assert!(check_level(good).is_ok(), "{good}");
        }
        for bad in ["wharfinger=loud", "info,=,"] {
            assert!(check_level(bad).is_err(), "{bad}");
        }
    }
}
