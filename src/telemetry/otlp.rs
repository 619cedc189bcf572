//! Export of spans to a collector by OTLP over HTTP.
//!
//! A finished span is put into a bounded queue, and dropped if that is full; a thread
//! sends what has accumulated, with a time-out of `telemetry.export_timeout`. Whatever
//! the collector does, nobody waits.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use anyhow::Context as _;
use deia_hive::{
    config::TelemetrySettings,
    trace::{self, Attribute, Recorder, Span, SpanKind},
};
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId, Value,
    trace::{SpanContext, SpanKind as OtelKind, Status, TraceState},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanProcessor},
};

/// Maximum number of spans in one request. Fact: the default of OpenTelemetry
/// (OTEL_BSP_MAX_EXPORT_BATCH_SIZE).
const BATCH_MAX: usize = 512;
/// Maximum wait of the end of the process for the last spans. Fixed: the end of the
/// process must not wait for a collector that hangs.
const LAST_SPANS_WITHIN: Duration = Duration::from_secs(2);

/// The exporter of spans.
pub(super) struct Exporter(BatchSpanProcessor);

impl Exporter {
    /// Sends what is left, and accepts no more.
    pub(super) fn shut_down(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_SPANS_WITHIN) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

impl Recorder for Exporter {
    fn record(&self, span: Span) {
        self.0.on_end(span_data(span));
    }
}

/// Sends spans from now on, if the settings name a collector.
pub(super) fn start(settings: &TelemetrySettings) -> anyhow::Result<Option<Arc<Exporter>>> {
    if settings.otlp_endpoint.is_empty() {
        return Ok(None);
    }
    // Another part of the process may have chosen already; it chose the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::blocking::Client::builder()
        .timeout(settings.export_timeout)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("telemetry: no HTTP client")?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&settings.otlp_endpoint)
        .with_timeout(settings.export_timeout)
        .build()
        .context("telemetry.otlp_endpoint")?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(settings.queue_max as usize)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(settings.export_interval)
        .build();
    let mut processor = BatchSpanProcessor::new(exporter, batches);
    let resource = Resource::builder()
        .with_service_name(settings.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    processor.set_resource(&resource);
    let exporter = Arc::new(Exporter(processor));
    trace::install(exporter.clone(), settings.trace_share);
    Ok(Some(exporter))
}

fn span_data(span: Span) -> SpanData {
    static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
        InstrumentationScope::builder("deia")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build()
    });
    let context = SpanContext::new(
        TraceId::from_bytes(span.context.trace_id.to_be_bytes()),
        SpanId::from_bytes(span.context.span_id.to_be_bytes()),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    );
    let attribute = |(name, value)| {
        let value = match value {
            Attribute::Text(text) => Value::from(text),
            Attribute::Number(number) => Value::from(number),
        };
        KeyValue::new(name, value)
    };
    SpanData {
        span_context: context,
        parent_span_id: span
            .parent
            .map_or(SpanId::INVALID, |id| SpanId::from_bytes(id.to_be_bytes())),
        parent_span_is_remote: span.parent_is_remote,
        span_kind: match span.kind {
            SpanKind::Server => OtelKind::Server,
            SpanKind::Producer => OtelKind::Producer,
            SpanKind::Consumer => OtelKind::Consumer,
            SpanKind::Internal => OtelKind::Internal,
        },
        name: span.name.into(),
        start_time: span.began,
        end_time: span.ended,
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: match span.error {
            Some(error) => Status::error(error),
            None => Status::Unset,
        },
        instrumentation_scope: SCOPE.clone(),
    }
}
