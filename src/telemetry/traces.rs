//! OpenTelemetry traces over OTLP/HTTP, made only where an endpoint is configured.
//!
//! The exporter's client blocks; it lives on the batch processor's own thread and never meets the
//! async runtime.

use std::time::Duration;

use http::{HeaderMap, Request};
use opentelemetry::KeyValue;
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, Tracer};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::request_id::REQUEST_ID;

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracesConfig {
    /// The collector's base URL as `OTEL_EXPORTER_OTLP_ENDPOINT` has it; `/v1/traces` is added.
    pub endpoint: String,
}

/// Spans waiting for export; past it new ones are dropped, because a slow collector must not cost
/// the server memory.
const QUEUE_SPANS: usize = 8_192;

/// Patience with the collector per batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn provider(config: &TracesConfig) -> Result<SdkTracerProvider, ExporterBuildError> {
    let endpoint = format!("{}/v1/traces", config.endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let batches = BatchSpanProcessor::builder(exporter)
        .with_batch_config(
            BatchConfigBuilder::default()
                .with_max_queue_size(QUEUE_SPANS)
                .build(),
        )
        .build();
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder()
        .with_service_name("wharfinger")
        .with_attribute(version)
        .build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(batches)
        .with_resource(resource)
        .build())
}

pub(super) fn tracer(provider: &SdkTracerProvider) -> Tracer {
    provider.tracer("wharfinger")
}

/// The span of a request; a child of the client's span if the client sent a `traceparent`.
pub fn request_span<B>(request: &Request<B>) -> tracing::Span {
    let id = request.headers().get(REQUEST_ID);
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        http.request.method = %request.method(),
        url.path = request.uri().path(),
        request_id = id.and_then(|id| id.to_str().ok()),
    );
    let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
    // Fails if the span is disabled: then there is nothing to continue.
    let _ = span.set_parent(parent);
    span
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
