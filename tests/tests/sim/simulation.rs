//! The simulation of one seed: what the backend runs in, who uses it, and what they were promised.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Display,
    sync::Arc,
    time::Duration,
};

use omgservers_api::{
    ClientId, DeploymentId, Problem, ProjectId, Role, RuntimeId, StageId, TenantId, VersionId,
    config::{DeploymentConfig, LobbyConfig, VersionConfig},
    roles::ImageQualifier,
};
use omgservers_auth::Keys;
use omgservers_core::{Caller, Clock as _};
use omgservers_runtimes::{FakeHost, FakeHosts, HostConfig, host::Attempt};
use omgservers_testkit::TestDb;
use omgservers_versions::Repository;

use crate::{
    backend::{Backend, Environment},
    faults::{Script, begin_only},
    modes,
    player::Player,
    rng::Rng,
    server::Server,
    tickets::Records,
};

/// What an invariant says when it is broken.
pub(crate) type Verdict = Result<(), String>;

/// Lines of the trace that a failure shows.
const MOST_LINES: usize = 80;

/// How a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallMode {
    /// Its answer arrives.
    Whole,
    /// It is carried out, and its answer is lost.
    Unanswered,
    /// Who calls hangs up when a transaction begins.
    Cancelled,
    /// Who calls hangs up at once; the process goes on for so many turns.
    Begun(usize),
}

/// The values that a profile may have.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) possible: BTreeSet<String>,
    /// Those that it had, and the steps in which others took their place.
    pub(crate) past: BTreeMap<String, u64>,
    /// How many different values somebody tried to set.
    pub(crate) tried: u64,
}

impl Default for Profile {
    fn default() -> Self {
        Self { possible: ["{}".to_owned()].into(), past: BTreeMap::new(), tried: 0 }
    }
}

/// The simulation.
pub(crate) struct Simulation {
    pub(crate) step: u64,
    pub(crate) script: Script,
    pub(crate) environment: Environment,
    pub(crate) hosts: Vec<FakeHost>,
    backend: Option<Backend>,
    /// For what the harness itself wants to know.
    pub(crate) sql: tokio_postgres::Client,
    pub(crate) tenant: TenantId,
    pub(crate) project: ProjectId,
    pub(crate) stage: StageId,
    pub(crate) versions: Vec<VersionId>,
    pub(crate) config: DeploymentConfig,
    pub(crate) players: Vec<Player>,
    pub(crate) servers: BTreeMap<Attempt, Server>,
    /// Of each client the messages that were handed to a game server.
    pub(crate) taken: BTreeMap<ClientId, BTreeSet<u64>>,
    /// Of each client the messages that it may have said to a game server that it left before that
    /// one got them.
    pub(crate) behind: BTreeMap<ClientId, BTreeMap<u64, RuntimeId>>,
    /// Runtimes whose game servers have polled.
    pub(crate) polled: BTreeSet<RuntimeId>,
    /// Matches and tickets that were seen.
    pub(crate) records: Records,
    pub(crate) profiles: BTreeMap<omgservers_api::UserId, Profile>,
    /// Deployments and lobbies' runtimes that somebody tried to delete.
    pub(crate) doomed_deployments: BTreeSet<DeploymentId>,
    pub(crate) doomed_runtimes: BTreeSet<RuntimeId>,
    /// Somebody tried to delete the stage, or what it is in.
    pub(crate) doomed_stage: bool,
    /// Milliseconds since the beginning, over all lives of the backend.
    pub(crate) now: u64,
    pub(crate) trace: VecDeque<String>,
    verbose: bool,
    // The last to go.
    _test_db: TestDb,
}

pub(crate) const SYSTEM: Caller = Caller::System("simulation");

impl Simulation {
    /// A simulation with a deployed game and players who don't play yet.
    pub(crate) async fn new(rng: &mut Rng, verbose: bool) -> Self {
        let test_db = TestDb::new(omgservers_server::SCHEMAS).await;
        let sound = test_db.pool(2).await;
        let script = Script::default();
        let (sql, connection) = tokio_postgres::connect(test_db.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let uris: Vec<String> = (1..=1 + rng.below(2)).map(|it| format!("tcp://host{it}:2376")).collect();
        let hosts: Vec<FakeHost> = uris.iter().map(|_| FakeHost::new()).collect();
        // Mostly enough for all; sometimes matches and lobbies wait for room.
        let least = if rng.percent(30) { 2 } else { 10 };
        let cores = least + u32::try_from(rng.below(3)).unwrap();
        let environment = Environment {
            db: sound.with_faults(script.faults()),
            sound,
            keys: Arc::new(Keys::ephemeral()),
            blobs: tempfile::tempdir().unwrap(),
            hosts: FakeHosts::new(uris.iter().cloned().zip(hosts.iter().cloned())),
            pool: uris
                .iter()
                .map(|uri| HostConfig { uri: uri.clone(), ..HostConfig::local(cores, 8192) })
                .collect(),
        };
        let wall = chrono::DateTime::UNIX_EPOCH + chrono::Duration::days(20_000);
        let backend = Backend::start(&environment, wall).await.unwrap();
        let tenant = backend.tenants.create(&SYSTEM).await.unwrap();
        let (project, stage) = backend.projects.create(&SYSTEM, tenant).await.unwrap();
        let lobby = LobbyConfig {
            max_assignments: 1 + u32::try_from(rng.below(4)).unwrap(),
            ..LobbyConfig::default()
        };
        let config = DeploymentConfig {
            min_lobbies: u32::try_from(rng.below(2)).unwrap(),
            max_lobbies: 2 + u32::try_from(rng.below(5)).unwrap(),
            lobby,
            ..DeploymentConfig::default()
        };
        let mut players = Vec::new();
        for _ in 0..2 + rng.below(5) {
            let user = backend.accounts.create(&SYSTEM, Role::Player).await.unwrap();
            players.push(Player::new(user.id));
        }
        let mut simulation = Self {
            step: 0,
            script,
            environment,
            hosts,
            backend: Some(backend),
            sql,
            tenant,
            project,
            stage,
            versions: Vec::new(),
            config,
            players,
            servers: BTreeMap::new(),
            taken: BTreeMap::new(),
            behind: BTreeMap::new(),
            polled: BTreeSet::new(),
            records: Records::default(),
            profiles: BTreeMap::new(),
            doomed_deployments: BTreeSet::new(),
            doomed_runtimes: BTreeSet::new(),
            doomed_stage: false,
            now: 0,
            trace: VecDeque::new(),
            verbose,
            _test_db: test_db,
        };
        for _ in 0..2 {
            let version = simulation.make_version().await.unwrap();
            simulation.versions.push(version);
        }
        simulation.deploy(0, CallMode::Whole).await.unwrap().unwrap();
        simulation
    }

    /// The life of the backend.
    pub(crate) fn backend(&self) -> &Backend {
        self.backend.as_ref().unwrap()
    }

    /// The same, to run its workers.
    pub(crate) fn backend_mut(&mut self) -> &mut Backend {
        self.backend.as_mut().unwrap()
    }

    /// Notes what happens.
    pub(crate) fn note(&mut self, line: impl Display) {
        let line = format!(
            "{:>4} {:>8.1}s  {line}",
            self.step,
            std::time::Duration::from_millis(self.now).as_secs_f64()
        );
        if self.verbose {
            eprintln!("{line}");
        }
        self.trace.push_back(line);
        if self.trace.len() > MOST_LINES {
            self.trace.pop_front();
        }
    }

    /// Makes a call in some way; `None` when there is no answer.
    pub(crate) async fn call<T>(
        script: &Script,
        call_mode: CallMode,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        match call_mode {
            CallMode::Whole => Some(work.await),
            CallMode::Unanswered => {
                let _lost = work.await;
                None
            }
            CallMode::Cancelled => script.until_cancelled(work).await,
            CallMode::Begun(turns) => begin_only(work, turns).await,
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, by: Duration) {
        self.backend().clock.advance(by);
        self.now += u64::try_from(by.as_millis()).unwrap();
    }

    /// Ends the backend as `kill -9` does, and starts it again.
    pub(crate) async fn kill(&mut self) -> Verdict {
        let wall = self.backend().clock.now();
        self.backend = None;
        // A receiver doesn't wait for the commit: what it got may be gone, and then the sender says
        // it again.
        for session in self.players.iter().filter_map(|it| it.session.as_ref()) {
            for server in self.servers.values_mut() {
                server.repeatable.entry(session.client).or_default().extend(session.unacknowledged());
            }
        }
        // What fails in a process that is about to end doesn't fail in the next one.
        self.script.disarm().await;
        let started = Backend::start(&self.environment, wall).await;
        self.backend = Some(started.map_err(|it| format!("the backend doesn't start again: {it:?}"))?);
        Ok(())
    }

    /// Ends the backend in order, and starts it again.
    pub(crate) async fn restart(&mut self) -> Verdict {
        self.backend().messaging.flush().await.map_err(|it| format!("a clean stop fails: {it:?}"))?;
        self.kill().await
    }

    async fn make_version(&self) -> Result<VersionId, Problem> {
        let config: VersionConfig = modes::of_version(self.versions.len());
        let (tenant, project) = (self.tenant, self.project);
        let versions = &self.backend().versions;
        let version = versions.create(&SYSTEM, tenant, project, &config).await?;
        let into = Repository { tenant, project, qualifier: ImageQualifier::Universal };
        let digest = format!("sha256:{}", format!("{:02x}", self.versions.len() + 1).repeat(32));
        versions.attach_image(&into.to_string(), &version.to_string(), &digest).await?;
        Ok(version)
    }

    /// Deploys one of the versions.
    pub(crate) async fn deploy(
        &mut self,
        version: usize,
        call_mode: CallMode,
    ) -> Option<Result<DeploymentId, Problem>> {
        let version = self.versions[version % self.versions.len()];
        let (tenant, project, stage) = (self.tenant, self.project, self.stage);
        let deployments = &self.backend().deployments;
        let work = deployments.deploy(&SYSTEM, tenant, project, stage, version, Some(&self.config));
        Self::call(&self.script, call_mode, work).await
    }

    /// The containers that run, and on which host each does.
    pub(crate) fn running(&self) -> Vec<(usize, omgservers_runtimes::host::fake::FakeContainer)> {
        let all = self.hosts.iter().enumerate();
        all.flat_map(|(host, it)| it.containers().into_iter().map(move |it| (host, it)))
            .filter(|(_, it)| it.status == omgservers_runtimes::host::ContainerStatus::Running)
            .collect()
    }
}
