//! Runs the real binary.

use std::{
    fs::{self, File},
    io::Read as _,
    net::TcpListener,
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_omgservers");
/// Generous: the machine may be busy with other tests.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A directory that the account `postgres` can pass through, in memory where there is room.
pub(crate) fn folder() -> TempDir {
    let parent = if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm") } else { Path::new("/tmp") };
    let folder = tempfile::Builder::new().prefix("omgs").tempdir_in(parent).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The program with nothing of the test's environment but its path.
pub(crate) fn omgservers() -> Command {
    clean(Command::new(BINARY))
}

pub(crate) fn clean(mut command: Command) -> Command {
    command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// `omgservers serve` as a process, killed at the end of the test.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) url: String,
    log: PathBuf,
}

pub(crate) struct Serve<'a> {
    pub(crate) data: &'a Path,
    pub(crate) settings: Vec<(&'static str, String)>,
    pub(crate) socket: Option<&'a TcpListener>,
    pub(crate) open_files: Option<u32>,
}

impl<'a> Serve<'a> {
    pub(crate) fn new(data: &'a Path) -> Self {
        Self { data, settings: Vec::new(), socket: None, open_files: None }
    }

    pub(crate) fn set(mut self, key: &'static str, value: impl ToString) -> Self {
        self.settings.push((key, value.to_string()));
        self
    }

    /// The soft limit of open files that it starts with.
    pub(crate) fn open_files(mut self, most: u32) -> Self {
        self.open_files = Some(most);
        self
    }

    pub(crate) fn socket(mut self, socket: &'a TcpListener) -> Self {
        self.socket = Some(socket);
        self
    }

    /// Starts it without waiting for anything.
    pub(crate) fn spawn(self) -> Served {
        fs::create_dir_all(self.data.parent().unwrap()).unwrap();
        let log = self.data.with_extension(format!("log{}", rand_suffix()));
        let (mut command, url) = match self.socket {
            None => {
                // The port is free a moment later; a clash shows as a failed start.
                let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
                let mut command = match self.open_files {
                    None => omgservers(),
                    Some(most) => limited(most),
                };
                command.args(["serve", "--data-dir"]).arg(self.data);
                command.env("OMGSERVERS__SERVER__BIND", format!("127.0.0.1:{port}"));
                (command, format!("http://127.0.0.1:{port}"))
            }
            Some(socket) => (handed(socket, self.data), format!("http://{}", socket.local_addr().unwrap())),
        };
        command.envs(self.settings);
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        Served { child: command.spawn().unwrap(), url, log }
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(self) -> Served {
        let mut served = self.spawn();
        served.ready().await;
        served
    }
}

/// The program under a soft limit of open files.
fn limited(most: u32) -> Command {
    let mut command = clean(Command::new("/bin/sh"));
    command.args(["-c", &format!(r#"ulimit -Sn {most}; exec "$0" "$@""#), BINARY]);
    command
}

/// As systemd hands a socket over: the descriptor 3, and the process' own id in a variable.
fn handed(socket: &TcpListener, data: &Path) -> Command {
    let script = r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_FDNAMES=http LISTEN_PID=$$ exec "$0" serve --data-dir "$1""#;
    let mut command = clean(Command::new("/bin/sh"));
    command.args(["-c", script, BINARY]).arg(data);
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    command
}

impl Served {
    pub(crate) async fn ready(&mut self) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended with {status}:\n{}", self.log());
            }
            if let Ok(200) = status(&format!("{}/readyz", self.url)).await {
                return;
            }
            assert!(start.elapsed() < TIMEOUT, "not ready within {TIMEOUT:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end without blocking the runtime.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < TIMEOUT, "it didn't end within {TIMEOUT:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        assert!(status.success(), "{status}:\n{}", self.log());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server\n{}", self.log());
        }
    }
}

/// One request on a connection of its own.
pub(crate) async fn status(url: &str) -> Result<u16, reqwest::Error> {
    client().get(url).send().await.map(|it| it.status().as_u16())
}

pub(crate) fn client() -> reqwest::Client {
    static PROVIDER: std::sync::Once = std::sync::Once::new();
    PROVIDER.call_once(|| {
        let _first = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
    reqwest::Client::builder().timeout(TIMEOUT).build().unwrap()
}

/// The process of a cluster below `data`, if it runs.
pub(crate) fn postmaster(data: &Path) -> Option<i32> {
    let text = fs::read_to_string(data.join("pg/data/postmaster.pid")).ok()?;
    let pid: i32 = text.lines().next()?.trim().parse().ok()?;
    let mut comm = String::new();
    File::open(format!("/proc/{pid}/comm")).ok()?.read_to_string(&mut comm).ok()?;
    (comm.trim() == "postgres").then_some(pid)
}

pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < TIMEOUT, "{what}: not within {TIMEOUT:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn until_async(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < TIMEOUT, "{what}: not within {TIMEOUT:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn rand_suffix() -> u32 {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
