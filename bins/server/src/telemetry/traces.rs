//! Traces: spans of requests and workers, sent to an OpenTelemetry collector.

use std::time::Duration;

use actix_web::dev::ServiceRequest;
use anyhow::Context as _;
use omgservers_core::{Context, context::Origin};
use opentelemetry::{
    KeyValue,
    trace::{
        SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
        TracerProvider as _,
    },
};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample},
};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::config::TracesConfig;

/// How long one batch of spans may take on its way to the collector.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends spans to the collector of the configuration, or makes none.
pub struct Exporter(Option<SdkTracerProvider>);

impl Exporter {
    pub(super) fn open(config: &TracesConfig) -> anyhow::Result<Self> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(Self(None)) };
        let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(TIMEOUT)
            .with_headers(std::collections::HashMap::new())
            .build()
            .context("traces.otlp_endpoint")?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Share(Sampler::TraceIdRatioBased(config.sample_ratio)))
            .with_resource(
                Resource::builder_empty()
                    .with_service_name(config.service_name.clone())
                    .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
                    .build(),
            )
            .build();
        Ok(Self(Some(provider)))
    }

    /// Records the spans of our crates. `None` makes all of them free.
    pub(super) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.0.as_ref()?.tracer("omgservers");
        let ours = |metadata: &tracing::Metadata<'_>| {
            metadata.is_span() && metadata.target().starts_with("omgservers")
        };
        // Without the location in the source: three attributes less for each span.
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        Some(layer.with_filter(filter_fn(ours)))
    }

    /// Sends the spans that are left. Blocks for some seconds when the collector doesn't answer.
    pub fn stop(self) {
        if let Some(Err(error)) = self.0.map(|provider| provider.shutdown()) {
            tracing::warn!(%error, "the last spans did not reach the collector");
        }
    }
}

/// Records a share of the traces. A span follows its local parent. A remote caller can keep its
/// trace out, but it can't ask for more than the share: otherwise any player could fill the
/// collector.
#[derive(Debug, Clone)]
struct Share(Sampler);

impl ShouldSample for Share {
    fn should_sample(
        &self,
        parent: Option<&opentelemetry::Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[opentelemetry::trace::Link],
    ) -> SamplingResult {
        let parent =
            parent.map(|context| context.span().span_context().clone()).filter(SpanContext::is_valid);
        let decided = |decision| SamplingResult {
            decision,
            attributes: Vec::new(),
            trace_state: parent.as_ref().map(|parent| parent.trace_state().clone()).unwrap_or_default(),
        };
        match &parent {
            Some(parent) if !parent.is_sampled() => decided(SamplingDecision::Drop),
            Some(parent) if !parent.is_remote() => decided(SamplingDecision::RecordAndSample),
            _ => {
                let by_ratio = self.0.should_sample(None, trace_id, name, kind, attributes, links);
                decided(by_ratio.decision)
            }
        }
    }
}

/// Makes the span of a request, a child of the caller's span. Disabled, and free, without an
/// exporter.
pub(crate) fn request_span(request: &ServiceRequest, context: &Context) -> Span {
    let span = tracing::info_span!(
        "request",
        otel.name = Empty,
        otel.kind = "server",
        http.request.method = Empty,
        http.route = Empty,
        http.response.status_code = Empty,
        request.id = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    let method = request.method().as_str();
    // A path may hold ids and names of images; its pattern is one of few.
    let route = request.match_pattern().unwrap_or_else(|| "unknown".to_owned());
    span.record("otel.name", format!("{method} {route}"));
    span.record("http.request.method", method);
    span.record("http.route", route);
    if let Origin::Request(id) = &context.origin {
        span.record("request.id", tracing::field::display(id));
    }
    if let Some(caller) = &context.trace {
        let remote = SpanContext::new(
            TraceId::from_bytes(caller.trace_id.to_be_bytes()),
            SpanId::from_bytes(caller.span_id.to_be_bytes()),
            TraceFlags::new(caller.flags),
            true,
            TraceState::default(),
        );
        // The span isn't entered yet, so it takes a parent.
        let _taken = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote));
    }
    span
}
