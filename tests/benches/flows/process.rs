//! Processes: the one that serves the baselines, and what a process takes.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;

/// The baselines as a child process. It ends with this.
pub(crate) struct Baseline {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Baseline {
    /// Starts it and waits until it listens.
    pub(crate) fn start(socket: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("baseline")
            .arg(socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let address = line.trim().parse().context("the baselines don't start")?;
        Ok(Self { child, address })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// What a process and its ended threads have taken of the cores.
pub(crate) fn cpu_time(process: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).context("the process is gone")?;
    // The second field is a name in brackets, which may have spaces.
    let (_, fields) = stat.rsplit_once(") ").context("stat")?;
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    // Linux counts hundredths of a second for programs, whatever its own clock is.
    Ok(Duration::from_millis(ticks.saturating_mul(10)))
}

/// A field of `/proc/<process>/<file>` in MiB, e.g. `Pss` of `smaps_rollup`.
pub(crate) fn megabytes(process: u32, file: &str, field: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/{file}"))?;
    let line = text.lines().find_map(|it| it.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes: u32 =
        line.and_then(|it| it.split_whitespace().next()).context("no such field")?.parse()?;
    Ok(f64::from(kilobytes) / 1024.0)
}
