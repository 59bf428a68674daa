//! A deployment with players and game servers that the tests drive by hand.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use omgservers_accounts::Accounts as _;
use omgservers_api::{
    ClientId, DeploymentId, EntryId, Problem, Role, RuntimeId, RuntimeQualifier, UserId,
    interchange::Outgoing, roles::ImageQualifier,
};
use omgservers_auth::{Secrets, TokenConfig, Tokens};
use omgservers_core::{
    Caller, Mint, Ownership, Worker,
    db::{Fault, Faults},
};
use omgservers_fixtures::{StagePath, support, user};
use omgservers_matchmaking::{
    Matchmaking as _, MatchmakingConfig, MatchmakingParts, PgMatchmaking, ReconcileDeployments, Resync,
    RuntimeAnswer, RuntimeTurn,
};
use omgservers_messaging::{Bounds, ClientInfo, Mailboxes, Messaging as _};
use omgservers_players::{PgPlayers, PlayersParts};
use omgservers_runtimes::{
    FakeHost, HostConfig, PgRuntimes, PullTokens, Reconcile, RuntimesConfig, RuntimesParts,
    host::{ContainerStatus, Exit},
};
use tokio_util::sync::CancellationToken;

/// The modes of the deployment: a duel of two, and one that never finds enough players.
const MODES: &str = r#"{"modes":[
{"name":"duel","min_players":2,"max_players":2,"groups":[{"name":"all","min_players":2,"max_players":2}]},
{"name":"crowd","min_players":50,"max_players":50,"groups":[{"name":"all","min_players":50,"max_players":50}]}
]}"#;

/// Turns of the workers in which everything must come to rest.
const MOST_TURNS: usize = 30;

struct NoPulls;

#[async_trait::async_trait]
impl PullTokens for NoPulls {
    async fn token(&self, repository: &str) -> Result<String, Problem> {
        Ok(format!("pull {repository}"))
    }
}

/// The services of one process.
pub(crate) struct Node {
    pub(crate) messaging: Arc<Mailboxes>,
    pub(crate) runtimes: PgRuntimes,
    reconciler: Reconcile,
    pub(crate) matchmaking: Arc<PgMatchmaking>,
}

pub(crate) struct Fixture {
    pub(crate) base: omgservers_fixtures::Fixture,
    pub(crate) host: FakeHost,
    pub(crate) at: StagePath,
    pub(crate) deployment: DeploymentId,
    /// The fault of the next transaction of matchmaking.
    pub(crate) fault: Arc<Mutex<Option<Fault>>>,
    node: Option<Node>,
}

/// A player's session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) user: UserId,
    pub(crate) client: ClientId,
}

/// An entry of a mailbox, as the tests compare it.
pub(crate) type Received = (&'static str, serde_json::Value);

impl Fixture {
    pub(crate) async fn new() -> Self {
        let schemas = [
            omgservers_messaging::SCHEMA,
            omgservers_runtimes::SCHEMA,
            omgservers_players::SCHEMA,
            omgservers_matchmaking::SCHEMA,
        ];
        let base = omgservers_fixtures::Fixture::with_schemas(&schemas).await;
        let at = base.stage().await;
        let version = base.version_with(at, MODES, &[ImageQualifier::Universal]).await;
        let deployment = base.deploy(at, version).await.unwrap();
        let (host, fault) = (FakeHost::new(), Arc::default());
        let mut fixture = Self { base, host, at, deployment, fault, node: None };
        fixture.start().await;
        fixture
    }

    async fn start(&mut self) {
        let foundation = &self.base.foundation;
        let (db, clock, mint) = (&foundation.db, foundation.clock(), foundation.mint.clone());
        let ownership = foundation.ownership.clone();
        let messaging =
            Mailboxes::open(db, Arc::clone(&clock), mint.clone(), ownership.clone(), Bounds::default())
                .await
                .unwrap();
        let changed = self.base.changed_deployments.clone();
        let runtimes = PgRuntimes::new(RuntimesParts {
            db: db.clone(),
            clock: Arc::clone(&clock),
            mint: mint.clone(),
            ownership: ownership.clone(),
            secrets: Secrets::new(&self.base.keys),
            connect_key: self.base.keys.connect_key().unwrap(),
            pull_tokens: Arc::new(NoPulls),
            config: RuntimesConfig { inline: Some(Duration::from_millis(5)), ..RuntimesConfig::default() },
            hosts: Arc::new(self.host.clone()),
            changed: changed.clone(),
        });
        runtimes.ensure_pool(&[HostConfig::local(16, 65_536)]).await.unwrap();
        let players = PgPlayers::new(PlayersParts {
            db: db.clone(),
            clock: Arc::clone(&clock),
            tenants: Arc::new(self.base.tenants.clone()),
            projects: Arc::new(self.base.projects.clone()),
            deployments: Arc::new(self.base.deployments.clone()),
            most_profile_bytes: 1_000,
        });
        let fault = Arc::clone(&self.fault);
        let faults: Faults = Arc::new(move || fault.lock().unwrap().take());
        let matchmaking = PgMatchmaking::new(MatchmakingParts {
            db: db.with_faults(faults),
            clock: Arc::clone(&clock),
            mint,
            ownership,
            projects: Arc::new(self.base.projects.clone()),
            versions: Arc::new(self.base.versions.clone()),
            deployments: Arc::new(self.base.deployments.clone()),
            messaging: messaging.clone(),
            runtimes: Arc::new(runtimes.clone()),
            players: Arc::new(players),
            tokens: Arc::new(Tokens::new(Arc::clone(&self.base.keys), clock, TokenConfig::default())),
            config: MatchmakingConfig::default(),
            changed,
        });
        let reconciler = runtimes.reconciler();
        self.node = Some(Node { messaging, runtimes, reconciler, matchmaking });
    }

    /// The process ends, and another one begins. What was consumed is recorded.
    pub(crate) async fn restart(&mut self) {
        self.node().messaging.flush().await.unwrap();
        self.node = None;
        let foundation = &mut self.base.foundation;
        foundation.ownership = Ownership::take(&foundation.db, "test").await.unwrap();
        foundation.mint = Mint::take(&foundation.db).await.unwrap();
        self.start().await;
        self.resync().await;
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub(crate) async fn resync(&self) -> usize {
        Resync(Arc::clone(&self.node().matchmaking)).run_once().await.unwrap().changed
    }

    /// Runs the workers until they have nothing to do.
    pub(crate) async fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..MOST_TURNS {
            self.await_round().await;
            let node = self.node.as_mut().unwrap();
            let mut reconcile = ReconcileDeployments(Arc::clone(&node.matchmaking));
            let runtimes = node.reconciler.run_once().await.unwrap();
            let deployments = reconcile.run_once().await.unwrap();
            let is_quiet = runtimes.changed + deployments.changed == 0 && deployments.backlog.due == 0;
            quiet = if is_quiet { quiet + 1 } else { 0 };
            // The runtimes' worker runs first: it starts in the next turn what this one has opened.
            if quiet == 2 {
                return;
            }
        }
        panic!("the workers don't come to rest");
    }

    /// Requests are answered before their round is over: reading the state waits for its end.
    async fn await_round(&self) {
        let matchmaking = &self.node().matchmaking;
        let _gone = matchmaking.details(&support(), self.at.tenant, self.deployment).await;
    }

    /// The same with game servers that poll.
    pub(crate) async fn play(&mut self) {
        for _ in 0..4 {
            self.settle().await;
            for runtime in self.running() {
                self.poll(runtime).await;
            }
        }
        self.settle().await;
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.base.foundation.clock.advance(Duration::from_secs(seconds));
    }

    /// The runtimes whose containers run, by id.
    pub(crate) fn running(&self) -> Vec<RuntimeId> {
        self.running_as(RuntimeQualifier::Lobby)
            .into_iter()
            .chain(self.running_as(RuntimeQualifier::Match))
            .collect()
    }

    pub(crate) fn running_as(&self, qualifier: RuntimeQualifier) -> Vec<RuntimeId> {
        let containers = self.host.containers().into_iter();
        containers
            .filter(|it| it.status == ContainerStatus::Running && it.spec.qualifier == qualifier)
            .map(|it| it.spec.attempt.runtime)
            .collect()
    }

    /// The only lobby that runs.
    pub(crate) fn lobby(&self) -> RuntimeId {
        let lobbies = self.running_as(RuntimeQualifier::Lobby);
        let [lobby] = lobbies[..] else { panic!("not one lobby: {lobbies:?}") };
        lobby
    }

    /// The only match that runs.
    pub(crate) fn match_runtime(&self) -> RuntimeId {
        let matches = self.running_as(RuntimeQualifier::Match);
        let [runtime] = matches[..] else { panic!("not one match: {matches:?}") };
        runtime
    }

    /// The container of a runtime ends with an exit code.
    pub(crate) fn crash(&self, runtime: RuntimeId) {
        let exit = Exit { code: 1, out_of_memory: false, log_tail: String::new() };
        assert!(self.host.exit(runtime, exit));
    }

    pub(crate) async fn session(&self) -> Session {
        let made = self.base.accounts.create(&Caller::System("sign-up"), Role::Player).await.unwrap();
        let (tenant, project, stage) = (self.at.tenant.into(), self.at.project.into(), self.at.stage.into());
        let caller = user(Role::Player, made.id);
        let client = self.node().matchmaking.create_client(&caller, &tenant, &project, &stage).await.unwrap();
        Session { user: made.id, client }
    }

    /// Sessions that are with the lobby.
    pub(crate) async fn sessions_in_lobby<const N: usize>(&mut self) -> [Session; N] {
        let mut sessions = Vec::new();
        for _ in 0..N {
            sessions.push(self.session().await);
        }
        self.play().await;
        let lobby = self.lobby();
        for session in &sessions {
            assert_eq!(self.info(*session).route, Some(lobby));
            self.receive(*session).await;
        }
        sessions.try_into().unwrap()
    }

    /// Two sessions that are with a match.
    pub(crate) async fn duel(&mut self) -> [Session; 2] {
        let [first, second] = self.sessions_in_lobby().await;
        let lobby = self.lobby();
        self.send(lobby, &[request(first, "duel"), request(second, "duel")]).await;
        self.play().await;
        let runtime = self.match_runtime();
        for session in [first, second] {
            assert_eq!(self.info(session).route, Some(runtime));
            self.receive(session).await;
        }
        [first, second]
    }

    pub(crate) fn info(&self, session: Session) -> ClientInfo {
        self.node().messaging.client(session.client).unwrap()
    }

    /// Receives what waits for a session, and consumes it.
    pub(crate) async fn receive(&self, session: Session) -> Vec<Received> {
        let messaging = &self.node().messaging;
        let receive = |consumed: Vec<EntryId>| async move {
            let (user, client) = (session.user, session.client);
            messaging.client_receive(user, client, None, &consumed, Duration::ZERO).await.unwrap()
        };
        let mut received = Vec::new();
        let mut consumed = Vec::new();
        while let Some(entries) = receive(std::mem::take(&mut consumed)).await
            && !entries.is_empty()
        {
            consumed = entries.iter().map(|it| it.id).collect();
            received.extend(entries.into_iter().map(|it| (it.qualifier, json(&it.body))));
        }
        received
    }

    /// A game server receives its commands and consumes them.
    pub(crate) async fn poll(&self, runtime: RuntimeId) -> Vec<Received> {
        let answer = self.exchange(runtime, "[]", &[]).await.unwrap();
        let consumed: Vec<EntryId> = answer.incoming.iter().map(|it| it.id).collect();
        if !consumed.is_empty() {
            self.node().messaging.runtime_ack(runtime, &consumed).unwrap();
        }
        answer.incoming.into_iter().map(|it| (it.qualifier, json(&it.body))).collect()
    }

    /// A game server sends commands. Answers the codes of the rejected ones with their positions.
    pub(crate) async fn send(&self, runtime: RuntimeId, commands: &[String]) -> Vec<(usize, String)> {
        let commands = format!("[{}]", commands.join(","));
        let answer = self.exchange(runtime, &commands, &[]).await.unwrap();
        answer.rejected.into_iter().map(|it| (it.index, it.code)).collect()
    }

    pub(crate) async fn exchange(
        &self,
        runtime: RuntimeId,
        commands: &str,
        consumed: &[EntryId],
    ) -> Result<RuntimeAnswer, Problem> {
        let commands: Vec<Outgoing<'_>> = serde_json::from_str(commands).unwrap();
        let turn = RuntimeTurn { commands: &commands, consumed, wait: Duration::ZERO };
        let caller = Caller::Runtime(runtime);
        self.node().matchmaking.exchange(&caller, turn, &CancellationToken::new()).await
    }

    /// Notes whether the deployment is in its stage's list.
    pub(crate) async fn note_listed(&self, listed: bool) {
        let sql = self.base.foundation.test_db.sql().await;
        let update =
            format!("update deployments.deployment set listed = {listed} where id = {}", self.deployment);
        sql.batch_execute(&update).await.unwrap();
    }

    /// How many rows a table of this crate has.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = self.base.foundation.test_db.sql().await;
        let query = format!("select count(*) from matchmaking.{table}");
        sql.query_one(&query, &[]).await.unwrap().get(0)
    }
}

fn json(body: &str) -> serde_json::Value {
    serde_json::from_str(body).unwrap()
}

/// A REQUEST_MATCHMAKING command.
pub(crate) fn request(session: Session, mode: &str) -> String {
    command("REQUEST_MATCHMAKING", &format!(r#"{{"client_id":"{}","mode":"{mode}"}}"#, session.client))
}

/// A command about a client.
pub(crate) fn about(qualifier: &str, session: Session) -> String {
    command(qualifier, &format!(r#"{{"client_id":"{}"}}"#, session.client))
}

/// A command.
pub(crate) fn command(qualifier: &str, body: &str) -> String {
    format!(r#"{{"qualifier":"{qualifier}","body":{body}}}"#)
}

/// A command with the runtime's own counter.
pub(crate) fn numbered(seq: u64, command: &str) -> String {
    command.replacen('{', &format!(r#"{{"id":"{seq}","#), 1)
}

/// The qualifiers of entries.
pub(crate) fn qualifiers(received: &[Received]) -> Vec<&'static str> {
    received.iter().map(|it| it.0).collect()
}
