//! An installation of its own for each test, cleared away also when the test fails.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    models::ContainerInspectResponse,
    query_parameters::{
        CreateImageOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
        ListNetworksOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
        RemoveImageOptionsBuilder,
    },
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use omgservers_api::{DeploymentId, RuntimeId, RuntimeQualifier, TenantId, ids::Id as _};
use omgservers_runtimes::{
    DockerConfig, DockerHost, HostConfig, Images,
    host::{Attempt, ContainerSpec, ImageName},
};
use tokio::sync::Mutex;

pub(crate) const SOCKET: &str = "/var/run/docker.sock";

/// What the program in the image does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    /// It waits for SIGTERM.
    Serve,
    /// It ignores SIGTERM.
    Deaf,
    /// It says much and exits with 7.
    Fail,
    /// It takes all memory.
    Eat,
    /// It lives for 700 ms.
    Short,
    /// It sends UDP datagrams back: on port 7777 with "one " in front, on 7778 with "two ".
    Echo,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Deaf => "deaf",
            Self::Fail => "fail",
            Self::Eat => "eat",
            Self::Short => "short",
            Self::Echo => "echo",
        }
    }
}

/// See the module. Its name is in every label.
pub(crate) struct Installation {
    pub(crate) id: String,
    pub(crate) docker: Docker,
    images: Mutex<HashMap<Mode, ImageName>>,
}

impl Installation {
    /// An installation on the daemon of this machine.
    pub(crate) fn new() -> Self {
        use std::hash::BuildHasher as _;
        assert!(
            Path::new(SOCKET).exists(),
            "there is no Docker daemon at {SOCKET}: `make setup` starts one, and without it these tests stay ignored"
        );
        let id = format!("t{:x}", std::hash::RandomState::new().hash_one(std::process::id()));
        Self { id, docker: connect(), images: Mutex::default() }
    }

    pub(crate) fn config(&self) -> DockerConfig {
        DockerConfig::new(self.id.clone(), Images::Local)
    }

    pub(crate) fn host(&self) -> DockerHost {
        DockerHost::connect(Arc::new(self.config()), &local()).unwrap()
    }

    /// Loads an image with the game server in this mode; its name is its id.
    pub(crate) async fn image(&self, mode: Mode) -> ImageName {
        let mut images = self.images.lock().await;
        if let Some(image) = images.get(&mode) {
            return image.clone();
        }
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_path_with_name(game(), "game").unwrap();
        let tar = bollard::body_full(archive.into_inner().unwrap().into());
        let repository = format!("omg-test/{}", self.id);
        let options = CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(&repository)
            .tag(mode.word())
            .changes(vec![
                format!("ENTRYPOINT [\"/game\", \"{}\"]", mode.word()),
                "USER 65532:65532".to_owned(),
            ])
            .build();
        let imported = self.docker.create_image(Some(options), Some(tar), None);
        imported.try_for_each(|_| async { Ok(()) }).await.unwrap();
        let image = self.docker.inspect_image(&format!("{repository}:{}", mode.word())).await.unwrap();
        let image = ImageName { repository, digest: image.id.unwrap() };
        images.insert(mode, image.clone());
        image
    }

    pub(crate) async fn spec(&self, mode: Mode, runtime: i64) -> ContainerSpec {
        ContainerSpec {
            attempt: Attempt { runtime: RuntimeId::from_i64(runtime).unwrap(), epoch: 1 },
            tenant: TenantId::from_i64(5).unwrap(),
            deployment: DeploymentId::from_i64(6).unwrap(),
            qualifier: RuntimeQualifier::Match,
            image: self.image(mode).await,
            cpu: 50,
            memory: 64,
            env: [("OMGSERVERS_PASSWORD".to_owned(), "a+b/c=".to_owned())].into(),
            ports: Vec::new(),
            labels: vec![("stage".into(), "9".into()), ("omgservers.runtime".into(), "1".into())],
        }
    }

    pub(crate) fn name(&self, attempt: Attempt) -> String {
        format!("omg-{}-{attempt}", self.id)
    }

    pub(crate) async fn inspect(&self, attempt: Attempt) -> Option<ContainerInspectResponse> {
        self.docker.inspect_container(&self.name(attempt), None::<InspectContainerOptions>).await.ok()
    }

    /// What the container says, once it is ready.
    pub(crate) async fn words(&self, attempt: Attempt) -> String {
        let begin = Instant::now();
        loop {
            let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
            let log: Vec<_> = self
                .docker
                .logs(&self.name(attempt), Some(options))
                .filter_map(async |it| it.ok())
                .collect()
                .await;
            let log: String = log.iter().map(ToString::to_string).collect();
            if log.contains("ready\n") {
                return log;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "not ready: {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn networks(&self) -> Vec<String> {
        networks(&self.docker, &self.id).await
    }

    pub(crate) async fn containers(&self) -> Vec<String> {
        containers(&self.docker, &self.id).await
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let id = self.id.clone();
        // On a runtime of its own: the test's may be gone already.
        let cleared = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(clear(&id));
        })
        .join();
        if !std::thread::panicking() {
            cleared.unwrap();
        }
    }
}

async fn clear(id: &str) {
    let docker = connect();
    for container in containers(&docker, id).await {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let _gone = docker.remove_container(&container, Some(options)).await;
    }
    for network in networks(&docker, id).await {
        let _gone = docker.remove_network(&network).await;
    }
    for mode in [Mode::Serve, Mode::Deaf, Mode::Fail, Mode::Eat, Mode::Short, Mode::Echo] {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        let _gone = docker.remove_image(&format!("omg-test/{id}:{}", mode.word()), Some(options), None).await;
    }
}

fn of(id: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("omgservers.installation={id}")])])
}

async fn containers(docker: &Docker, id: &str) -> Vec<String> {
    let options = ListContainersOptionsBuilder::default().all(true).filters(&of(id)).build();
    docker.list_containers(Some(options)).await.unwrap().into_iter().filter_map(|it| it.id).collect()
}

async fn networks(docker: &Docker, id: &str) -> Vec<String> {
    let options = ListNetworksOptionsBuilder::default().filters(&of(id)).build();
    docker.list_networks(Some(options)).await.unwrap().into_iter().filter_map(|it| it.id).collect()
}

fn connect() -> Docker {
    Docker::connect_with_socket(SOCKET, 120, API_DEFAULT_VERSION).unwrap()
}

pub(crate) fn local() -> HostConfig {
    HostConfig { uri: format!("unix://{SOCKET}"), ..HostConfig::local(2, 8192) }
}

/// The game server, built once: for musl where that is installed, else a static glibc.
fn game() -> PathBuf {
    static GAME: OnceLock<PathBuf> = OnceLock::new();
    GAME.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("game-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (source, program) =
            (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docker/game.rs"), folder.join("game"));
        let arch = std::env::consts::ARCH;
        for target in [format!("{arch}-unknown-linux-musl"), format!("{arch}-unknown-linux-gnu")] {
            let built = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
                .args(["--edition", "2024", "--target", &target, "-C", "target-feature=+crt-static"])
                .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols", "-o"])
                .arg(&program)
                .arg(source)
                .output()
                .unwrap();
            if built.status.success() {
                return program;
            }
            eprintln!("{target}: {}", String::from_utf8_lossy(&built.stderr));
        }
        panic!("the game server can't be built");
    })
    .clone()
}
