//! The service, its reconciler and its watcher, as in a server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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
use omgservers_testkit::Foundation;
use omgservers_versions::PinnedImage;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};
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
    foundation: Foundation,
    secrets: Secrets,
    host: HostConfig,
    pub(crate) runtimes: PgRuntimes,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn new(installation: &Installation, host: HostConfig) -> Self {
        let foundation = Foundation::new(&[SCHEMA]).await;
        let secrets = Secrets::new(&Keys::ephemeral());
        let runtimes = serve(&foundation, &secrets, installation);
        runtimes.ensure_pool(std::slice::from_ref(&host)).await.unwrap();
        let mut server =
            Self { foundation, secrets, host, runtimes, stop: CancellationToken::new(), tasks: Vec::new() };
        server.begin();
        server
    }

    fn begin(&mut self) {
        let (runtimes, stop) = (self.runtimes.clone(), self.stop.clone());
        let reconciler = Box::new(runtimes.reconciler());
        let registry = WorkerRegistry::new(self.foundation.clock());
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
        self.runtimes = serve(&self.foundation, &self.secrets, installation);
        self.runtimes.ensure_pool(std::slice::from_ref(&self.host)).await.unwrap();
        self.begin();
    }

    pub(crate) async fn create(&self, installation: &Installation, mode: Mode) -> NewRuntime {
        let image = installation.image(mode).await;
        let new = NewRuntime {
            id: self.foundation.mint.root().unwrap(),
            tenant: self.foundation.mint.root().unwrap(),
            deployment: self.foundation.mint.root().unwrap(),
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

    /// Waits until the state is as expected; returns how long that took.
    pub(crate) async fn until(
        &self,
        id: RuntimeId,
        expected: impl Fn(Option<&RuntimeState>) -> bool,
    ) -> (Option<RuntimeState>, Duration) {
        let begin = Instant::now();
        loop {
            let state = self.runtimes.states(&[id]).await.unwrap().remove(&id);
            if expected(state.as_ref()) {
                return (state, begin.elapsed());
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "runtime {id} is still {state:?}");
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

fn serve(foundation: &Foundation, secrets: &Secrets, installation: &Installation) -> PgRuntimes {
    PgRuntimes::new(RuntimesParts {
        db: foundation.db.clone(),
        clock: Arc::new(SystemClock::default()),
        mint: foundation.mint.clone(),
        ownership: foundation.ownership.clone(),
        secrets: secrets.clone(),
        connect_key: Keys::ephemeral().connect_key().unwrap(),
        pull_tokens: Arc::new(NoTokens),
        config: RuntimesConfig { stop_grace: Duration::from_secs(1), ..RuntimesConfig::default() },
        hosts: Arc::new(DockerConnector::new(installation.config())),
        changed: WorkQueue::new(foundation.clock()),
    })
}

fn first(id: RuntimeId) -> Attempt {
    Attempt { runtime: id, epoch: 1 }
}

fn password(words: &str) -> &str {
    words.lines().find_map(|it| it.strip_prefix("env OMGSERVERS_PASSWORD=")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_runtime_lives_and_goes() {
    let installation = Installation::new();
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
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_crash_is_recorded_when_the_host_reports_it() {
    let installation = Installation::new();
    let server = Server::new(&installation, local()).await;
    let new = server.create(&installation, Mode::Short).await;
    server.runs(new.id).await;
    ended(&server, &installation, new.id).await;
    let failed = |it: Option<&RuntimeState>| matches!(it, Some(RuntimeState::Failed(_)));
    let (state, took) = server.until(new.id, failed).await;
    assert!(took < BEFORE_THE_PERIOD, "the event tells, not the period: {took:?}");
    let Some(RuntimeState::Failed(failure)) = state else { unreachable!() };
    assert_eq!(failure.exit_code, Some(3));
    assert!(failure.log_tail.ends_with("that was it"), "{}", failure.log_tail);
    assert_eq!(server.runtimes.failures(new.deployment).await.unwrap(), [failure]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_program_that_ends_at_once_is_seen_at_once() {
    let installation = Installation::new();
    let server = Server::new(&installation, local()).await;
    let new = server.create(&installation, Mode::Fail).await;
    ended(&server, &installation, new.id).await;
    let failed = |it: Option<&RuntimeState>| matches!(it, Some(RuntimeState::Failed(_)));
    let (state, took) = server.until(new.id, failed).await;
    let Some(RuntimeState::Failed(failure)) = state else { unreachable!() };
    assert_eq!(failure.exit_code, Some(7));
    assert!(failure.log_tail.contains("the last words"), "{failure:?}");
    assert!(took < BEFORE_THE_PERIOD, "the event tells, not the period: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn lack_of_memory_is_recorded() {
    let installation = Installation::new();
    let server = Server::new(&installation, local()).await;
    let new = server.create(&installation, Mode::Eat).await;
    let failed = |it: Option<&RuntimeState>| matches!(it, Some(RuntimeState::Failed(_)));
    let Some(RuntimeState::Failed(failure)) = server.until(new.id, failed).await.0 else { unreachable!() };
    assert!(failure.out_of_memory && failure.exit_code == Some(137), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_restart_finds_what_runs_and_removes_what_shouldnt() {
    let installation = Installation::new();
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
        assert!(begin.elapsed() < Duration::from_secs(60), "the orphan is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.runs(id).await;
    server.runtimes.verify(id, password(&words)).await.unwrap();
    assert_eq!(installation.containers().await.len(), 1);
}

/// Less than the reconciler's period: what it notices within this time came as an event of the
/// host.
const BEFORE_THE_PERIOD: Duration = Duration::from_secs(4);

/// Waits until the container of a runtime's first attempt has come to its end, or that is known
/// already.
async fn ended(server: &Server, installation: &Installation, runtime: RuntimeId) {
    let begin = Instant::now();
    loop {
        let state = installation.inspect(first(runtime)).await.and_then(|it| it.state);
        // A container is created before it runs; its end has a date then already.
        let over = state.is_some_and(|state| {
            state.running == Some(false) && state.finished_at.is_some_and(|at| !at.starts_with("0001"))
        });
        let states = server.runtimes.states(&[runtime]).await.unwrap();
        if over || matches!(states.get(&runtime), Some(RuntimeState::Failed(_))) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "the container of runtime {runtime} doesn't end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The daemon's socket through a door that can be shut.
struct Door {
    path: std::path::PathBuf,
    open: tokio::sync::watch::Sender<bool>,
    /// How often the events of the daemon were asked for.
    followed: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl Door {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (open, watched) = tokio::sync::watch::channel(true);
        let followed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&followed);
        tokio::spawn(async move {
            loop {
                let (inside, _) = listener.accept().await.unwrap();
                let (mut watched, count) = (watched.clone(), Arc::clone(&count));
                if !*watched.borrow_and_update() {
                    continue;
                }
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(inside, &count) => {}
                        _ = watched.changed() => {}
                    }
                });
            }
        });
        Self { path, open, followed, _folder: folder }
    }

    /// Opens the door again, and waits until somebody asks for the events through it.
    async fn reopen(&self) {
        let before = self.followed.load(Ordering::SeqCst);
        self.open.send(true).unwrap();
        let begin = Instant::now();
        while self.followed.load(Ordering::SeqCst) == before {
            assert!(begin.elapsed() < Duration::from_secs(60), "nobody asks for events");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Passes bytes on in both directions, and counts requests for events.
async fn pass(mut inside: UnixStream, followed: &AtomicUsize) {
    let mut outside = UnixStream::connect(crate::installation::SOCKET).await.unwrap();
    let (mut requests, mut to_client) = inside.split();
    let (mut answers, mut to_daemon) = outside.split();
    let forth = async {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = requests.read(&mut buffer).await {
            if buffer[..count].windows(8).any(|it| it == b"/events?" || it == b"/events ") {
                followed.fetch_add(1, Ordering::SeqCst);
            }
            if to_daemon.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = forth => {}
        _ = tokio::io::copy(&mut answers, &mut to_client) => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn after_a_break_events_arrive_again_and_what_was_missed_is_found() {
    let installation = Installation::new();
    let door = Door::new();
    let host = HostConfig { uri: format!("unix://{}", door.path.display()), ..local() };
    let server = Server::new(&installation, host).await;
    let missed = server.create(&installation, Mode::Serve).await.id;
    let later = server.create(&installation, Mode::Serve).await.id;
    server.runs(missed).await;
    server.runs(later).await;
    door.open.send(false).unwrap();
    installation.docker.kill_container(&installation.name(first(missed)), None).await.unwrap();
    ended(&server, &installation, missed).await;
    assert!(matches!(
        server.runtimes.states(&[missed]).await.unwrap()[&missed],
        RuntimeState::Running { .. }
    ));
    door.reopen().await;
    let failed = |it: Option<&RuntimeState>| matches!(it, Some(RuntimeState::Failed(_)));
    let (_, took) = server.until(missed, failed).await;
    assert!(took < BEFORE_THE_PERIOD, "the event tells, not the period: {took:?}");
    installation.docker.kill_container(&installation.name(first(later)), None).await.unwrap();
    ended(&server, &installation, later).await;
    let (_, took) = server.until(later, failed).await;
    assert!(took < BEFORE_THE_PERIOD, "the event tells, not the period: {took:?}");
}
