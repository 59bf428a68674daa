//! Processes: those of this program that serve, and what a process takes.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;

/// A part of this program that serves, as a child process. It ends with this.
pub(crate) struct Served {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// The baselines.
pub(crate) type Baseline = Served;

impl Served {
    /// The baselines; `socket` is the folder of PostgreSQL's socket.
    pub(crate) fn baseline(socket: &Path) -> anyhow::Result<Self> {
        Self::start(&[Path::new("baseline"), socket])
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(arguments: &[impl AsRef<OsStr>]) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let address = line.trim().parse().context("what should serve doesn't start")?;
        Ok(Self { child, address })
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// In the child: tells where it listens, and ends it when whoever started it has ended, one way or
/// the other.
pub(crate) fn announce(addresses: &[SocketAddr]) {
    for address in addresses {
        println!("{address}");
    }
    std::thread::spawn(|| {
        let _ended = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// What a process and its ended threads have taken of the cores.
pub(crate) fn cpu_time(process: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).context("the process is gone")?;
    // The second field is a name in brackets, which may have spaces.
    let (_, fields) = stat.rsplit_once(") ").context("stat")?;
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    // Linux counts hundredths of a second for programs, with any clock of its own.
    Ok(Duration::from_millis(ticks.saturating_mul(10)))
}

/// What stands behind a name at the begin of a line, and a colon if there is one.
pub(crate) fn field(file: &str, name: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|it| it.strip_prefix(name)).context("no such field")?;
    Ok(line.trim_start_matches(':').trim().to_owned())
}

/// A field of `/proc/<process>/<file>` in MiB, e.g. `Pss` of `smaps_rollup`.
pub(crate) fn megabytes(process: u32, file: &str, name: &str) -> anyhow::Result<f64> {
    let line = field(&format!("/proc/{process}/{file}"), &format!("{name}:"))?;
    let kilobytes: u32 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(f64::from(kilobytes) / 1024.0)
}
