//! What the process says while it runs. The log goes to the standard error output.

use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Crates whose finer levels quote what is secret: tokens and messages as parameters of SQL, environments of containers.
/// Whoever wants them has to name them in the filter.
const INDISCREET: &[&str] = &["tokio_postgres", "bollard"];

/// Sends the log of this process where the configuration says. Once per process.
pub fn log(config: &LogConfig) -> anyhow::Result<()> {
    let mut filter = EnvFilter::try_new(&config.filter).context("log.filter")?;
    for it in INDISCREET.iter().filter(|it| !config.filter.contains(**it)) {
        filter = filter.add_directive(format!("{it}=warn").parse().context("log.filter")?);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match config.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Pretty => {
            builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
    };
    set.map_err(|it| anyhow::anyhow!("the log can't be opened: {it}"))?;
    // A panic in a request's thread belongs into the same stream, as one line.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(message = %panic, backtrace = %std::backtrace::Backtrace::capture());
    }));
    Ok(())
}

/// Bounds of what is measured in seconds: from a commit to a container.
const SECONDS: &[f64] =
    &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// Bounds of what is counted in rows.
const ROWS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0];
/// Samples of histograms are kept one by one until they are asked for, or until this time is over.
const UPKEEP: Duration = Duration::from_secs(5);

/// Collects the metrics of this process. Once per process; needs a runtime.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|it| it.set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), ROWS))
        .and_then(PrometheusBuilder::install_recorder)
        .context("the metrics can't be collected")?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}
