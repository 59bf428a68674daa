//! What tests of the whole system share: the real binary as a child process, and the sample game's image.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on must fail at once"
)]

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use omgservers_api::{
    DeploymentId, ProjectId, ProjectPermission, Ref, Role, RuntimeId, RuntimeQualifier, StageId,
    StagePermission, TenantId, TenantPermission, UserId, VersionId,
    config::VersionConfig,
    details::DeploymentDetails,
    entrypoint::{
        developer::{CreateVersionRequest, DeployVersionRequest, GetDeploymentDetailsRequest},
        support::{
            CreateProjectPermissionsRequest, CreateProjectRequest, CreateStagePermissionsRequest,
            CreateTenantPermissionsRequest, DeleteTenantRequest,
        },
    },
};
use omgservers_client::{
    Client, Player, Runtime, Session,
    runtime::{PASSWORD, RUNTIME_ID, RUNTIME_QUALIFIER},
};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A binary of the workspace, built if the test run didn't.
pub fn binary(package: &str, name: &str) -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let beside = me.parent().unwrap();
    // Tests and examples are one folder deeper than programs.
    let is_deeper = ["deps", "examples"].iter().any(|it| beside.ends_with(it));
    let folder = if is_deeper { beside.parent().unwrap() } else { beside };
    let path = folder.join(name);
    if !path.exists() {
        run(Command::new(env!("CARGO")).args(["build", "-p", package, "--bin", name]).current_dir(root()));
    }
    path
}

/// Runs a program to its end and answers what it printed. Panics unless it succeeds.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|it| panic!("{command:?}: {it}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// The real backend as a child process, with a data directory of its own. Its containers go with it.
pub struct Backend {
    child: Option<Child>,
    data: tempfile::TempDir,
    port: u16,
    /// Held as systemd holds it, over restarts.
    socket: Option<TcpListener>,
    settings: BTreeMap<String, String>,
}

impl Backend {
    /// Starts a backend whose listening socket is held by somebody else, as under systemd: clients that connect
    /// while it is away wait in the socket.
    pub async fn activated(settings: &[(&str, &str)]) -> Self {
        let mut backend = Self::prepare(settings);
        backend.socket = Some(TcpListener::bind(("0.0.0.0", backend.port)).unwrap());
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
        // Free a moment ago; nothing else on the machine asks for this very one.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
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
            assert!(start.elapsed() < Duration::from_secs(60), "not ready: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
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
            .env("OMGSERVERS__SERVER__BIND", format!("0.0.0.0:{}", self.port))
            .envs(&self.settings)
            .stdin(stdin.unwrap_or_else(Stdio::null))
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// How the process has ended; `None` while it runs, and when that was told before.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
    /// The SDK's client.
    pub fn client(&self) -> Client {
        Client::new(&self.url()).unwrap()
    }
    /// Where docker pushes to.
    pub fn registry(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
    /// The same without a name.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
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

    /// The game servers of [`Game::StandIn`] whose containers run.
    pub fn stand_ins(&self) -> Vec<StandIn> {
        self.containers().into_iter().filter_map(stand_in).collect()
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

/// Reads a container's environment. `None` if it went in the meantime.
fn stand_in(container: String) -> Option<StandIn> {
    let format = "{{range .Config.Env}}{{println .}}{{end}}";
    let output = Command::new("docker").args(["inspect", "--format", format, &container]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let variables: BTreeMap<&str, &str> = text.lines().filter_map(|it| it.split_once('=')).collect();
    Some(StandIn {
        id: variables.get(RUNTIME_ID)?.parse().unwrap(),
        password: (*variables.get(PASSWORD)?).to_owned(),
        qualifier: variables.get(RUNTIME_QUALIFIER)?.parse().unwrap(),
        container,
    })
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

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let _ended = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the backend\n{}", self.log());
        }
        sweep(&self.data_dir());
    }
}

/// The id of the installation in a data directory; empty if there is none.
fn installation(data: &Path) -> String {
    std::fs::read_to_string(data.join("installation")).unwrap_or_default().trim().to_owned()
}

/// Removes the containers and networks of the installation in a data directory, whose server has ended.
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

/// What an image has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Game {
    /// The sample game.
    Sample,
    /// The sample game with duels.
    Arena,
    /// Nothing that speaks to the backend: whoever deployed it [does so itself](Backend::stand_ins).
    StandIn,
    /// An image that can't be started: its entrypoint isn't in it.
    Unstartable,
}

impl Game {
    /// The static binary; built once for all tests of a process.
    pub fn binary(self) -> &'static Path {
        static SAMPLE: OnceLock<PathBuf> = OnceLock::new();
        static ARENA: OnceLock<PathBuf> = OnceLock::new();
        static STAND_IN: OnceLock<PathBuf> = OnceLock::new();
        let (built, name) = match self {
            Self::Sample => (&SAMPLE, "lobby-echo"),
            Self::Arena => (&ARENA, "arena"),
            Self::StandIn | Self::Unstartable => (&STAND_IN, "stand-in"),
        };
        built.get_or_init(|| {
            let built = run(Command::new("sh").arg(root().join("scripts/game.sh")).arg(name));
            let path = PathBuf::from(built.lines().last().expect("a path").trim());
            if path.is_absolute() { path } else { root().join(path) }
        })
    }
}

/// A game server whose part the test plays.
#[derive(Debug, Clone)]
pub struct StandIn {
    /// The container.
    pub container: String,
    /// The runtime.
    pub id: RuntimeId,
    /// Its password.
    pub password: String,
    /// Lobby or match.
    pub qualifier: RuntimeQualifier,
}

impl StandIn {
    /// The runtime's side of the SDK.
    pub fn runtime(&self, client: Client) -> Runtime {
        Runtime::new(client, self.id, &self.password, self.qualifier)
    }
}

/// A stock Docker client with a configuration of its own.
pub struct Docker {
    config: tempfile::TempDir,
}

impl Docker {
    /// Logged in nowhere.
    pub fn new() -> Self {
        Self { config: tempfile::tempdir().unwrap() }
    }

    /// A command of the client.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_CONFIG", self.config.path()).args(arguments);
        command
    }

    /// Signs in as the specification's guide does.
    pub fn login(&self, registry: &str, user: &str, password: &str) {
        run(&mut self.command(&["login", "-u", user, "-p", password, registry]));
    }

    /// An image with one file, `/content`, of so many random bytes, which no client can make smaller.
    pub fn random_image(&self, image: &str, bytes: u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut file = std::fs::File::create(folder.path().join("content")).unwrap();
        let random = std::fs::File::open("/dev/urandom").unwrap();
        std::io::copy(&mut std::io::Read::take(random, bytes), &mut file).unwrap();
        run(Command::new("tar").args(["-cf", "image.tar", "content"]).current_dir(folder.path()));
        let archive = folder.path().join("image.tar");
        run(self.command(&["import"]).arg(archive).arg(image));
    }

    /// Makes an image of a game `FROM scratch` and pushes it.
    pub fn push(&self, game: Game, image: &str) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(game.binary(), folder.path().join("game")).unwrap();
        let entrypoint = if game == Game::Unstartable { "/forgotten" } else { "/game" };
        let file =
            format!("FROM scratch\nCOPY game /game\nUSER 65532:65532\nENTRYPOINT [\"{entrypoint}\"]\n");
        std::fs::write(folder.path().join("Dockerfile"), file).unwrap();
        run(self
            .command(&["build", "-q", "-t", image, "."])
            .current_dir(folder.path())
            .env("DOCKER_BUILDKIT", "0"));
        run(&mut self.command(&["push", "-q", image]));
    }
}

impl Default for Docker {
    fn default() -> Self {
        Self::new()
    }
}

/// A studio with one project.
pub struct Studio {
    /// The developer's client.
    pub developer: omgservers_client::Developer,
    /// The developer.
    pub user: UserId,
    /// The developer's password.
    pub password: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The project.
    pub project: ProjectId,
    /// Its stage.
    pub stage: StageId,
    support: omgservers_client::Support,
    client: Client,
}

impl Studio {
    /// Made by support, as the specification's guide says.
    pub async fn open(backend: &Backend) -> Self {
        let client = backend.client();
        let token =
            client.create_token(Role::Support, "support", &backend.password("support")).await.unwrap();
        let support = client.support(&token);
        let tenant = support.create_tenant().await.unwrap().id;
        let made = support.create_developer().await.unwrap();
        let user = Ref::Id(made.user_id);
        let all = TenantPermission::ALL.to_vec();
        let request = CreateTenantPermissionsRequest {
            tenant: tenant.into(),
            user: user.clone(),
            permissions_to_create: all,
        };
        support.create_tenant_permissions(&request).await.unwrap();
        let token = client.create_token(Role::Developer, &user, &made.password).await.unwrap();
        let developer = client.developer(&token);
        let project =
            developer.create_project(&CreateProjectRequest { tenant: tenant.into() }).await.unwrap();
        Self {
            developer,
            user: made.user_id,
            password: made.password,
            tenant,
            project: project.project_id,
            stage: project.stage_id,
            support,
            client,
        }
    }

    /// Makes a version with this configuration and pushes the sample game for it.
    pub async fn push(&self, backend: &Backend, config: &str) -> VersionId {
        self.push_game(backend, Game::Sample, config).await
    }

    /// Makes a version with this configuration and pushes a game for it.
    pub async fn push_game(&self, backend: &Backend, game: Game, config: &str) -> VersionId {
        let config: VersionConfig = serde_json::from_str(config).unwrap();
        let request =
            CreateVersionRequest { tenant: self.tenant.into(), project: self.project.into(), config };
        let version = self.developer.create_version(&request).await.unwrap().version_id;
        let image =
            format!("{}/omgservers/{}/{}/universal:{version}", backend.registry(), self.tenant, self.project);
        let (registry, user, password) = (backend.registry(), self.user.to_string(), self.password.clone());
        tokio::task::spawn_blocking(move || {
            let docker = Docker::new();
            docker.login(&registry, &user, &password);
            docker.push(game, &image);
        })
        .await
        .unwrap();
        version
    }

    /// Deploys a version.
    pub async fn deploy(&self, version_id: VersionId) -> DeploymentId {
        let request = DeployVersionRequest {
            tenant: self.tenant.into(),
            project: self.project.into(),
            stage: self.stage.into(),
            version_id,
            config: None,
        };
        self.developer.deploy_version(&request).await.unwrap().deployment_id
    }

    /// How a deployment stands.
    pub async fn details(&self, deployment_id: DeploymentId) -> DeploymentDetails {
        let request = GetDeploymentDetailsRequest { tenant: self.tenant.into(), deployment_id };
        self.developer.get_deployment_details(&request).await.unwrap().details
    }

    /// A new player with a session.
    pub async fn player(&self) -> Session {
        let made = Player::sign_up(&self.client).await.unwrap();
        let player = Player::sign_in(&self.client, made.user_id, &made.password).await.unwrap();
        player.create_client(self.tenant, self.project, self.stage).await.unwrap()
    }

    /// Deletes the tenant with everything in it.
    pub async fn close(&self) {
        let deleted =
            self.support.delete_tenant(&DeleteTenantRequest { tenant: self.tenant.into() }).await.unwrap();
        assert!(deleted.deleted);
    }

    /// Gives another developer nothing but one permission, for tests of gates.
    pub async fn grant(&self, user: UserId, project: &[ProjectPermission], stage: &[StagePermission]) {
        let user = Ref::Id(user);
        if !project.is_empty() {
            let request = CreateProjectPermissionsRequest {
                tenant: self.tenant.into(),
                project: self.project.into(),
                user: user.clone(),
                permissions_to_create: project.to_vec(),
            };
            self.support.create_project_permissions(&request).await.unwrap();
        }
        if !stage.is_empty() {
            let request = CreateStagePermissionsRequest {
                tenant: self.tenant.into(),
                project: self.project.into(),
                stage: self.stage.into(),
                user,
                permissions_to_create: stage.to_vec(),
            };
            self.support.create_stage_permissions(&request).await.unwrap();
        }
    }
}

/// Asks `check` until it says yes. Panics after `most`.
pub async fn eventually<F: Future<Output = bool>>(what: &str, most: Duration, mut check: impl FnMut() -> F) {
    let start = Instant::now();
    while !check().await {
        assert!(start.elapsed() < most, "not within {most:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
