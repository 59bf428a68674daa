//! What the process reports while it runs: log lines, traces and metrics. `docs/logging.md`
//! describes all three.

mod context_fields;
mod traces;

use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Dispatch;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt as _, filter_fn},
    fmt::format::Format,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use self::context_fields::WithContext;
pub use self::traces::Exporter;
pub(crate) use self::traces::request_span;
use crate::config::{LogConfig, LogFormat, TracesConfig};

/// Crates whose finer levels quote what is secret: tokens and messages as parameters of SQL,
/// environments of containers. A filter that names one of them still shows it.
const INDISCREET: &[&str] = &["tokio_postgres", "bollard"];

/// Opens the log on the standard error output and, where the configuration names a collector, the
/// export of traces. Once per process. The exporter must live as long as the process:
/// [`Exporter::stop`] sends what is left.
pub fn open(log: &LogConfig, traces: &TracesConfig) -> anyhow::Result<Exporter> {
    let exporter = Exporter::open(traces)?;
    let opened = dispatch(log, &exporter)?.try_init();
    opened.map_err(|error| anyhow::anyhow!("the log can't be opened: {error}"))?;
    // A panic in a request's thread belongs into the same stream, as one line.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(message = %panic, backtrace = %std::backtrace::Backtrace::capture());
    }));
    Ok(exporter)
}

/// Sends log lines to the standard error output, and spans to the exporter if it wants them.
fn dispatch(log: &LogConfig, exporter: &Exporter) -> anyhow::Result<Dispatch> {
    let lines = tracing_subscriber::registry().with(lines(log)?);
    // Not a layer that is `None`: with it, each request asks whether its span is wanted.
    Ok(match exporter.layer() {
        Some(spans) => lines.with(spans).into(),
        None => lines.into(),
    })
}

fn lines(log: &LogConfig) -> anyhow::Result<Box<dyn Layer<Registry> + Send + Sync>> {
    let mut filter = EnvFilter::try_new(&log.filter).context("log.filter")?;
    for name in INDISCREET.iter().filter(|name| !log.filter.contains(**name)) {
        filter = filter.add_directive(format!("{name}=warn").parse().context("log.filter")?);
    }
    // Log lines get their fields from the context of the task. Spans are made for the export alone,
    // so that a request costs none when nobody collects them.
    let filter = filter.and(filter_fn(|metadata| !metadata.is_span()));
    let lines = tracing_subscriber::fmt::layer::<Registry>().with_writer(std::io::stderr);
    Ok(match log.format {
        LogFormat::Json => lines
            .event_format(WithContext::json(Format::default().json().flatten_event(true)))
            .fmt_fields(tracing_subscriber::fmt::format::JsonFields::new())
            .with_filter(filter)
            .boxed(),
        LogFormat::Pretty => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines
                .with_ansi(ansi)
                .event_format(WithContext::text(Format::default().with_ansi(ansi)))
                .with_filter(filter)
                .boxed()
        }
    })
}

/// Bounds of what is measured in seconds: from a commit to a container.
const SECONDS: &[f64] =
    &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// Bounds of what is counted in rows.
const ROWS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0];
/// Samples of histograms are kept one by one until they are asked for, or until this time is over.
const MAINTENANCE_PERIOD: Duration = Duration::from_secs(5);

/// Collects the metrics of this process. Once per process; needs a runtime.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|it| it.set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), ROWS))
        .and_then(PrometheusBuilder::install_recorder)
        .context("the metrics can't be collected")?;
    let maintenance = handle.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(MAINTENANCE_PERIOD);
        loop {
            tick.tick().await;
            maintenance.run_upkeep();
        }
    });
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_nobody_collects_is_switched_off_for_good() {
        let log = LogConfig { filter: "warn".to_owned(), ..LogConfig::default() };
        let exporter = Exporter::open(&TracesConfig::default()).unwrap();
        let dispatch = dispatch(&log, &exporter).unwrap();
        let span = tracing::info_span!("request").metadata().unwrap();
        assert!(dispatch.register_callsite(span).is_never(), "each request would ask again");
    }
}
