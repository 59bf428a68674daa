//! The machine and the programs that figures depend on.

use std::{path::Path, process::Command};

use anyhow::ensure;
use omgservers_tests::run;
use serde::Serialize;
use tokio_postgres::NoTls;

use crate::baseline;

/// What figures depend on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) postgresql: String,
    pub(crate) docker: String,
}

impl Machine {
    /// Inspects the machine and the server's PostgreSQL.
    pub(crate) async fn inspect(socket: &Path) -> anyhow::Result<Self> {
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|it| it.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|it| it.1.trim().to_owned()).unwrap_or_default()
        };
        let kilobytes: u64 =
            field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
        let output_of =
            |program: &str, arguments: &[&str]| run(Command::new(program).args(arguments)).trim().to_owned();
        Ok(Self {
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: format!("{} MiB", kilobytes / 1024),
            kernel: output_of("uname", &["-sr"]),
            rustc: output_of("rustc", &["--version"]),
            postgresql: postgresql(socket).await?,
            docker: output_of("docker", &["version", "--format", "{{.Server.Version}}"]),
        })
    }
}

/// The version of the server's PostgreSQL, which must keep what it acknowledges.
async fn postgresql(socket: &Path) -> anyhow::Result<String> {
    let (client, connection) = baseline::config(socket).connect(NoTls).await?;
    tokio::spawn(connection);
    let show = async |name: &str| -> anyhow::Result<String> {
        Ok(client.query_one(&format!("show {name}"), &[]).await?.get(0))
    };
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        ensure!(show(setting).await? == "on", "{setting} is off");
    }
    show("server_version").await
}
