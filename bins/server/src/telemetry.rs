//! What the process says while it runs. The log goes to the standard error output.

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
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

/// Collects the metrics of this process. Once per process.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().context("the metrics can't be collected")
}
