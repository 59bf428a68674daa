//! A PostgreSQL of the torture's own: it can be stopped, killed and paused, and what it
//! acknowledged it keeps.
//!
//! fsync is on, as in production, though only the processes are killed and not the machine.

use std::{
    fs, io,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixStream;

use crate::process::{children, command_line, pid_of};

/// The database.
const NAME: &str = "omgservers";
const SOCKET: &str = ".s.PGSQL.5432";
/// PostgreSQL refuses to run as root; this account owns nothing else.
const NOBODY: u32 = 65534;
/// Recovery included.
const START: Duration = Duration::from_secs(60);

/// How to ask a database something.
#[derive(Debug, Clone)]
pub struct Sql {
    bin: PathBuf,
    socket: PathBuf,
    user: &'static str,
}

impl Sql {
    /// Of the PostgreSQL that a server with this data directory has started.
    pub fn embedded(data_dir: &Path) -> anyhow::Result<Self> {
        Ok(Self { bin: bin_dir()?, socket: data_dir.join("pg/run"), user: NAME })
    }

    /// The rows, each a list of columns. Fails when PostgreSQL doesn't answer or refuses the
    /// statement.
    pub async fn query(&self, statement: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let output = tokio::process::Command::new(self.bin.join("psql"))
            .args(["-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-U", self.user, "-d", NAME, "-h"])
            .arg(&self.socket)
            .args(["-c", statement])
            .stdin(Stdio::null())
            .output()
            .await
            .context("psql")?;
        ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        Ok(text.lines().map(|it| it.split('\t').map(str::to_owned).collect()).collect())
    }
}

/// A cluster on disk, and its process while it runs. Both go with it.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Cluster {
    /// Makes a cluster with an empty database, and starts it. Fails when PostgreSQL isn't
    /// installed.
    pub async fn make() -> anyhow::Result<Self> {
        let bin = bin_dir()?;
        let folder = tempfile::Builder::new().prefix("omgtorture").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        for name in ["data", "run"] {
            let path = folder.path().join(name);
            fs::create_dir(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
            if rustix::process::getuid().is_root() {
                chown(&path, Some(NOBODY), Some(NOBODY))?;
            }
        }
        let mut cluster = Self { bin, folder, child: None };
        let mut initdb = cluster.program("initdb");
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]);
        let made = initdb.arg(cluster.data()).output().context("initdb")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        cluster.start().await?;
        let mut createdb = cluster.program("createdb");
        let made = createdb.args(["-U", "postgres", "-h"]).arg(cluster.run()).arg(NAME).output()?;
        ensure!(made.status.success(), "createdb: {}", String::from_utf8_lossy(&made.stderr));
        Ok(cluster)
    }

    /// Its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.run().join(SOCKET)
    }

    /// The URL of its database at an address that leads to it.
    pub fn url_at(address: std::net::SocketAddr) -> String {
        format!("postgres://postgres@{address}/{NAME}")
    }

    /// How to ask it something, past the proxy.
    pub fn sql(&self) -> Sql {
        Sql { bin: self.bin.clone(), socket: self.run(), user: "postgres" }
    }

    /// Starts it and waits until it takes sessions. Without effect while it runs.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            if self.child.as_mut().is_none_or(|it| !matches!(it.try_wait(), Ok(None))) {
                // One that was killed may leave processes that hold its memory for a moment; then
                // it refuses to start.
                self.child = Some(self.spawn()?);
            }
            let ready = self.program("pg_isready").arg("-q").arg("-h").arg(self.run()).status();
            if ready.is_ok_and(|it| it.success()) && UnixStream::connect(self.socket()).await.is_ok() {
                return Ok(());
            }
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            ensure!(begin.elapsed() < START, "PostgreSQL doesn't start: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it with a signal to its first process, and waits until that is gone.
    pub fn end(&mut self, signal: Signal) -> io::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = pid_of(child.id()) {
            kill_process(pid, signal)?;
        }
        child.wait().map(drop)
    }

    /// The processes that serve sessions.
    pub fn sessions(&self) -> Vec<Pid> {
        self.child.as_ref().map(|it| sessions_of(it.id())).unwrap_or_default()
    }

    fn spawn(&self) -> io::Result<Child> {
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.run());
        for setting in ["listen_addresses=", "max_connections=100", "shared_buffers=128MB", "jit=off"] {
            command.arg("-c").arg(setting);
        }
        // A group of its own: a terminal's ^C is for us alone.
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir("/");
        if rustix::process::getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _gone = self.end(Signal::QUIT);
    }
}

/// The processes below a postmaster that serve sessions.
pub fn sessions_of(postmaster: u32) -> Vec<Pid> {
    let serves = |pid: &u32| {
        // `postgres: [name: ]user database client state`; background processes have names of their
        // own.
        let line = command_line(*pid);
        line.starts_with("postgres:") && line.contains(&format!(" {NAME} ")) && !line.contains("walsender")
    };
    children(postmaster).into_iter().filter(serves).filter_map(pid_of).collect()
}

/// The programs of the newest PostgreSQL, where distributions put them, else on the path.
fn bin_dir() -> anyhow::Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let numbered =
        folders.filter_map(|it| Some((it.file_name().to_str()?.parse::<u32>().ok()?, it.path().join("bin"))));
    let newest = numbered.filter(|it| it.1.join("initdb").exists()).max();
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(|it| it.join("initdb").exists())
    };
    newest.map(|it| it.1).or_else(on_path).context("no PostgreSQL programs: apt-get install postgresql")
}
