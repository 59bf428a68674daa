//! The real backend as a child process.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Instant,
};

use omgservers_client::Client;

use crate::{DEADLINE, IdleRuntime, ReservedPort, binary, idle_runtime, root, run};

/// How many lines of the log a failed test prints.
const TAIL: usize = 150;

/// The real backend as a child process, with a data directory of its own. Its containers go with
/// it.
pub struct Backend {
    child: Option<Child>,
    data: tempfile::TempDir,
    port: ReservedPort,
    /// Held as systemd holds it, over restarts.
    socket: Option<TcpListener>,
    settings: BTreeMap<String, String>,
}

impl Backend {
    /// Starts a backend whose listening socket is held by somebody else, as under systemd: clients
    /// that connect while it is away wait in the socket.
    pub async fn activated(settings: &[(&str, &str)]) -> Self {
        let mut backend = Self::prepare(settings);
        backend.socket = Some(TcpListener::bind(("0.0.0.0", backend.port.number)).unwrap());
        backend.launch().await;
        backend
    }

    /// Starts a backend and waits until it is ready.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with settings, e.g. `("OMGSERVERS__LOBBIES__MIN_LIFETIME_SECONDS", "1")`.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let mut backend = Self::prepare(settings);
        backend.launch().await;
        backend
    }

    fn prepare(settings: &[(&str, &str)]) -> Self {
        let port = ReservedPort::new();
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        // PostgreSQL's own user must be able to enter the folders above its data.
        let data = tempfile::Builder::new().prefix("omg").permissions(open_folder()).tempdir().unwrap();
        Self { child: None, data, port, socket: None, settings }
    }

    /// Changes a setting from the next launch on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.insert(key.to_owned(), value.to_owned());
    }

    /// Starts the process again over the same data, and waits until it is ready.
    pub async fn launch(&mut self) {
        self.spawn();
        let start = Instant::now();
        while reqwest::get(format!("{}/readyz", self.url()))
            .await
            .map(|it| !it.status().is_success())
            .unwrap_or(true)
        {
            assert!(start.elapsed() < DEADLINE, "not ready within {DEADLINE:?}: {}", self.log());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Starts the process again over the same data, and waits for nothing.
    pub fn spawn(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        // The socket comes as descriptor 3, by way of the standard input.
        let script = match self.socket {
            Some(_) => r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" serve --data-dir "$1""#,
            None => r#"exec "$0" serve --data-dir "$1" </dev/null"#,
        };
        let stdin = self.socket.as_ref().map(|it| Stdio::from(OwnedFd::from(it.try_clone().unwrap())));
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(binary("omgservers-server", "omgservers"))
            .arg(self.data.path().join("data"))
            .env("OMGSERVERS__SERVER__BIND", format!("0.0.0.0:{}", self.port.number))
            .envs(&self.settings)
            .stdin(stdin.unwrap_or_else(Stdio::null))
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// How the process has ended; `None` while it runs, and after the first such answer.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number)
    }
    /// The SDK's client.
    pub fn client(&self) -> Client {
        Client::new(&self.url()).unwrap()
    }
    /// Where docker pushes to.
    pub fn registry(&self) -> String {
        format!("127.0.0.1:{}", self.port.number)
    }
    /// The same without a name.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port.number))
    }
    /// The id of the process, which must run.
    pub fn process(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }
    /// Where the process keeps everything.
    pub fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }
    /// A connection to the `PostgreSQL` that the server supervises.
    pub async fn sql(&self) -> tokio_postgres::Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.data_dir().join("pg/run")).user("omgservers").dbname("omgservers");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// What the process has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
    fn log_file(&self) -> PathBuf {
        self.data.path().join("log")
    }

    /// The generated password of a first user.
    pub fn password(&self, user: &str) -> String {
        let folder = self.data.path().join("data");
        let file = std::fs::read_to_string(folder.join("credentials.txt")).expect("credentials");
        let line = file.lines().find(|it| it.trim_start().starts_with(user)).expect("the user's line");
        line.split('"').nth(1).expect("a quoted password").to_owned()
    }

    /// Asks the process to stop and waits for it.
    pub fn stop(&mut self) {
        self.signal("-TERM");
        let status = self.child.take().unwrap().wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Ends the process as a power cut would.
    pub fn kill(&mut self) {
        self.signal("-KILL");
        self.child.take().unwrap().wait().unwrap();
    }

    /// Sends the process a signal, e.g. `-STOP`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        run(Command::new("kill").args([signal, &id]));
    }

    /// The containers of this installation that run.
    pub fn containers(&self) -> Vec<String> {
        docker_list(&self.installation(), &[])
    }

    /// The game servers of [`Game::IdleRuntime`](crate::Game::IdleRuntime) whose containers run.
    pub fn idle_runtimes(&self) -> Vec<IdleRuntime> {
        self.containers().into_iter().filter_map(idle_runtime::inspect).collect()
    }

    /// Does something to all containers that run, e.g. `pause`.
    pub fn docker(&self, verb: &str) {
        run(Command::new("docker").arg(verb).args(self.containers()));
    }

    /// What the labels of its containers call it.
    pub fn installation(&self) -> String {
        installation(&self.data_dir())
    }
}

fn docker_list(installation: &str, more: &[&str]) -> Vec<String> {
    let filter = format!("label=omgservers.installation={installation}");
    let listed = run(Command::new("docker").args(["ps", "-q", "--filter", &filter]).args(more));
    listed.lines().map(str::to_owned).collect()
}

/// Of a folder that PostgreSQL's own user may enter.
pub fn open_folder() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

impl Backend {
    /// Prints what a developer needs to find out why a test failed. That is the running game
    /// servers, the end of the log, and the path of the whole log.
    fn explain(&self) {
        for runtime in self.idle_runtimes() {
            eprintln!("--- {} {} runs in container {}", runtime.qualifier, runtime.id, runtime.container);
        }
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let folder = root().join("target/e2e-logs");
        let test = std::thread::current().name().unwrap_or("test").replace("::", "-");
        let kept = folder.join(format!("{test}-{}.log", self.port.number));
        let saved = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&kept, &log));
        eprintln!("--- the backend's log, its last {TAIL} of {} lines", lines.len());
        for line in lines.iter().skip(lines.len().saturating_sub(TAIL)) {
            eprintln!("{line}");
        }
        match saved {
            Ok(()) => eprintln!("--- the whole log: {}", kept.display()),
            Err(error) => eprintln!("--- the whole log could not be kept in {}: {error}", kept.display()),
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.explain();
        }
        if let Some(mut child) = self.child.take() {
            let _asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let _ended = child.wait();
        }
        sweep(&self.data_dir());
    }
}

/// The id of the installation in a data directory; empty if there is none.
fn installation(data: &Path) -> String {
    std::fs::read_to_string(data.join("installation")).unwrap_or_default().trim().to_owned()
}

/// Removes the containers and networks of the installation in a data directory, whose server has
/// ended.
pub fn sweep(data: &Path) {
    let installation = installation(data);
    if installation.is_empty() {
        return;
    }
    let left = docker_list(&installation, &["-a"]);
    if !left.is_empty() {
        let _removed = Command::new("docker").args(["rm", "-f"]).args(left).stdout(Stdio::null()).status();
    }
    let filter = format!("label=omgservers.installation={installation}");
    let networks = run(Command::new("docker").args(["network", "ls", "-q", "--filter", &filter]));
    for network in networks.lines() {
        let _removed = Command::new("docker").args(["network", "rm", network]).stdout(Stdio::null()).status();
    }
}
