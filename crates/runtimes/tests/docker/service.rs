//! The service, its reconciler and its watcher, as in a server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use omgservers_api::{Problem, RuntimeId, RuntimeQualifier, roles::ImageQualifier};
use omgservers_auth::{Keys, Secrets};
use omgservers_core::{SystemClock, WorkQueue, WorkerRegistry, worker};
use omgservers_runtimes::{
    DockerConnector, HostConfig, NewRuntime, PgRuntimes, PullTokens, RuntimeState, Runtimes as _,
    RuntimesConfig, RuntimesParts, SCHEMA,
    host::{Attempt, ContainerHost as _},
};
use omgservers_testkit::Ground;
use omgservers_versions::PinnedImage;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::installation::{Installation, Mode, local};

struct NoTokens;

#[async_trait::async_trait]
impl PullTokens for NoTokens {
    async fn token(&self, _repository: &str) -> Result<String, Problem> {
        Ok(String::new())
    }
}

pub(crate) struct Server {
    ground: Ground,
    secrets: Secrets,
    host: HostConfig,
    pub(crate) runtimes: PgRuntimes,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn new(installation: &Installation, host: HostConfig) -> Self {
        let ground = Ground::new(&[SCHEMA]).await;
        let secrets = Secrets::new(&Keys::ephemeral());
        let runtimes = serve(&ground, &secrets, installation);
        runtimes.ensure_pool(std::slice::from_ref(&host)).await.unwrap();
        let mut server =
            Self { ground, secrets, host, runtimes, stop: CancellationToken::new(), tasks: Vec::new() };
        server.begin();
        server
    }

    fn begin(&mut self) {
        let (runtimes, stop) = (self.runtimes.clone(), self.stop.clone());
        let reconciler = Box::new(runtimes.reconciler());
        let registry = WorkerRegistry::new(self.ground.clock());
        self.tasks.push(tokio::spawn(worker::run(reconciler, runtimes.doorbell(), registry, stop.clone())));
        self.tasks.push(tokio::spawn(async move { runtimes.watch(stop).await }));
    }

    async fn end(&mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        self.stop = CancellationToken::new();
    }

    async fn restart(&mut self, installation: &Installation) {
        self.end().await;
        self.runtimes = serve(&self.ground, &self.secrets, installation);
        self.runtimes.ensure_pool(std::slice::from_ref(&self.host)).await.unwrap();
        self.begin();
    }

    pub(crate) async fn create(&self, installation: &Installation, mode: Mode) -> NewRuntime {
        let image = installation.image(mode).await;
        let new = NewRuntime {
            id: self.ground.mint.root().unwrap(),
            tenant: self.ground.mint.root().unwrap(),
            deployment: self.ground.mint.root().unwrap(),
            qualifier: RuntimeQualifier::Lobby,
            image: PinnedImage {
                qualifier: ImageQualifier::Universal,
                repository: image.repository,
                digest: image.digest,
            },
            cpu_limit: 50,
            memory_limit: 64,
            ports: Vec::new(),
            labels: Vec::new(),
        };
        self.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
        new
    }

    /// Waits until the state is as wished; says how long that took.
    pub(crate) async fn until(
        &self,
        id: RuntimeId,
        wished: impl Fn(Option<&RuntimeState>) -> bool,
    ) -> (Option<RuntimeState>, Duration) {
        let begin = Instant::now();
        loop {
            let state = self.runtimes.states(&[id]).await.unwrap().remove(&id);
            if wished(state.as_ref()) {
                return (state, begin.elapsed());
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "still {state:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn runs(&self, id: RuntimeId) -> Duration {
        self.until(id, |it| matches!(it, Some(RuntimeState::Running { .. }))).await.1
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn serve(ground: &Ground, secrets: &Secrets, installation: &Installation) -> PgRuntimes {
    PgRuntimes::new(RuntimesParts {
        db: ground.db.clone(),
        clock: Arc::new(SystemClock::default()),
        mint: ground.mint.clone(),
        ownership: ground.ownership.clone(),
        secrets: secrets.clone(),
        connect_key: Keys::ephemeral().connect_key().unwrap(),
        pull_tokens: Arc::new(NoTokens),
        config: RuntimesConfig { stop_grace: Duration::from_secs(1), ..RuntimesConfig::default() },
        hosts: Arc::new(DockerConnector::new(installation.config())),
        changed: WorkQueue::new(ground.clock()),
    })
}

fn first(id: RuntimeId) -> Attempt {
    Attempt { runtime: id, epoch: 1 }
}

fn password(words: &str) -> &str {
    words.lines().find_map(|it| it.strip_prefix("env OMGSERVERS_PASSWORD=")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_lives_and_goes() {
    let Some(installation) = Installation::new() else { return };
    let server = Server::new(&installation, local()).await;
    let id = server.create(&installation, Mode::Serve).await.id;
    server.runs(id).await;
    let words = installation.words(first(id)).await;
    server.runtimes.verify(id, password(&words)).await.unwrap();
    assert!(words.contains(&format!("env OMGSERVERS_RUNTIME_ID={id}\n")), "{words}");
    assert!(words.contains("env OMGSERVERS_RUNTIME_QUALIFIER=LOBBY\n"), "{words}");
    assert!(words.contains("env OMGSERVERS_SERVICE_URL=http://host.docker.internal:8080\n"), "{words}");
    assert!(server.runtimes.ping_host(&local().uri).await.unwrap());
    server.runtimes.stop(&[id]).await.unwrap();
    server.until(id, |it| it.is_none()).await;
    assert_eq!(installation.containers().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_recorded_within_a_second() {
    let Some(installation) = Installation::new() else { return };
    let server = Server::new(&installation, local()).await;
    let new = server.create(&installation, Mode::Short).await;
    server.runs(new.id).await;
    let ended = async {
        loop {
            let state = installation.inspect(first(new.id)).await.and_then(|it| it.state);
            if state.is_none_or(|it| it.running == Some(false)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    ended.await;
    let failed = |it: Option<&RuntimeState>| matches!(it, Some(RuntimeState::Failed(_)));
    let (state, took) = server.until(new.id, failed).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    let Some(RuntimeState::Failed(failure)) = state else { unreachable!() };
    assert_eq!(failure.exit_code, Some(3));
    assert!(failure.log_tail.ends_with("that was it"), "{}", failure.log_tail);
    assert_eq!(server.runtimes.failures(new.deployment).await.unwrap(), [failure]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_ends_at_once_is_seen_at_once() {
    let Some(installation) = Installation::new() else { return };
    let server = Server::new(&installation, local()).await;
    let new = server.create(&installation, Mode::Fail).await;
    let failed = |it: Option<&RuntimeState>| matches!(it, Some(RuntimeState::Failed(_)));
    let (state, took) = server.until(new.id, failed).await;
    let Some(RuntimeState::Failed(failure)) = state else { unreachable!() };
    assert_eq!(failure.exit_code, Some(7));
    assert!(failure.log_tail.contains("the last words"), "{failure:?}");
    assert!(took < Duration::from_secs(4), "the event tells, not the period: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lack_of_memory_is_recorded() {
    let Some(installation) = Installation::new() else { return };
    let server = Server::new(&installation, local()).await;
    let new = server.create(&installation, Mode::Eat).await;
    let failed = |it: Option<&RuntimeState>| matches!(it, Some(RuntimeState::Failed(_)));
    let Some(RuntimeState::Failed(failure)) = server.until(new.id, failed).await.0 else { unreachable!() };
    assert!(failure.out_of_memory && failure.exit_code == Some(137), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_what_runs_and_removes_what_shouldnt() {
    let Some(installation) = Installation::new() else { return };
    let mut server = Server::new(&installation, local()).await;
    let id = server.create(&installation, Mode::Serve).await.id;
    server.runs(id).await;
    let words = installation.words(first(id)).await;
    server.end().await;
    let orphan = installation.spec(Mode::Serve, 77).await;
    installation.host().start(&orphan).await.unwrap();
    server.restart(&installation).await;
    let begin = Instant::now();
    while installation.inspect(orphan.attempt).await.is_some() {
        assert!(begin.elapsed() < Duration::from_secs(10), "the orphan is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.runs(id).await;
    server.runtimes.verify(id, password(&words)).await.unwrap();
    assert_eq!(installation.containers().await.len(), 1);
}

/// The daemon's socket through a door that can be shut.
struct Door {
    path: std::path::PathBuf,
    open: tokio::sync::watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

impl Door {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let (open, watched) = tokio::sync::watch::channel(true);
        tokio::spawn(async move {
            loop {
                let (mut inside, _) = listener.accept().await.unwrap();
                let mut watched = watched.clone();
                if !*watched.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    let mut outside =
                        tokio::net::UnixStream::connect(crate::installation::SOCKET).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => {}
                        _ = watched.changed() => {}
                    }
                });
            }
        });
        Self { path, open, _folder: folder }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_break_the_events_are_heard_again_and_what_was_missed_is_found() {
    let Some(installation) = Installation::new() else { return };
    let door = Door::new();
    let host = HostConfig { uri: format!("unix://{}", door.path.display()), ..local() };
    let server = Server::new(&installation, host).await;
    let missed = server.create(&installation, Mode::Serve).await.id;
    let later = server.create(&installation, Mode::Serve).await.id;
    server.runs(missed).await;
    server.runs(later).await;
    door.open.send(false).unwrap();
    installation.docker.kill_container(&installation.name(first(missed)), None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(matches!(
        server.runtimes.states(&[missed]).await.unwrap()[&missed],
        RuntimeState::Running { .. }
    ));
    door.open.send(true).unwrap();
    let failed = |it: Option<&RuntimeState>| matches!(it, Some(RuntimeState::Failed(_)));
    let (_, took) = server.until(missed, failed).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    tokio::time::sleep(Duration::from_millis(700)).await;
    installation.docker.kill_container(&installation.name(first(later)), None).await.unwrap();
    let (_, took) = server.until(later, failed).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}
