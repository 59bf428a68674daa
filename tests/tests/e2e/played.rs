//! Game servers that the test plays: their containers only stand there, and hold the credentials.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use omgservers_api::{RuntimeId, RuntimeQualifier, ids::SenderSeq};
use omgservers_client::{Command, Event, Runtime, Session};
use omgservers_tests::{Backend, DEADLINE, Game, Studio};

use crate::flows::wait_for;

/// How long one exchange waits for something.
const MOMENT: Duration = Duration::from_millis(100);

/// A deployed game whose servers the test plays.
pub(crate) struct PlayedFixture {
    pub(crate) backend: Backend,
    pub(crate) studio: Studio,
    pub(crate) deployment: omgservers_api::DeploymentId,
    known: BTreeSet<RuntimeId>,
}

/// A game server that the test plays.
pub(crate) struct Played {
    pub(crate) runtime: Runtime,
    /// The commands that the backend has sent, in order.
    pub(crate) received: Vec<Command>,
}

impl PlayedFixture {
    /// A backend with these settings, and a game with this configuration.
    pub(crate) async fn new(settings: &[(&str, &str)], config: &str) -> Self {
        // Nobody polls for a while, when the test looks at something else.
        let patient = [
            ("OMGSERVERS__RUNTIMES__INACTIVE_INTERVAL_SECONDS", "300"),
            ("OMGSERVERS__CLIENTS__INACTIVE_INTERVAL_SECONDS", "300"),
        ];
        let backend = Backend::with(&[&patient[..], settings].concat()).await;
        let studio = Studio::open(&backend).await;
        let deployment = studio.deploy(studio.push_game(&backend, Game::IdleRuntime, config).await).await;
        Self { backend, studio, deployment, known: BTreeSet::new() }
    }

    /// The next game server of a kind whose container starts. It hasn't polled yet.
    pub(crate) async fn next(&mut self, kind: RuntimeQualifier) -> Played {
        let begun = Instant::now();
        loop {
            let all = self.backend.idle_runtimes();
            if let Some(found) =
                all.into_iter().find(|it| it.qualifier == kind && !self.known.contains(&it.id))
            {
                self.known.insert(found.id);
                return Played { runtime: found.runtime(self.backend.client()), received: Vec::new() };
            }
            assert!(begun.elapsed() < DEADLINE, "deployment {}: no {kind:?} starts", self.deployment);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// So many players in one lobby.
    pub(crate) async fn in_lobby(&mut self, count: usize) -> (Played, Vec<Session>) {
        let mut players = Vec::new();
        for _ in 0..count {
            players.push(self.studio.player().await);
        }
        let mut lobby = self.next(RuntimeQualifier::Lobby).await;
        for player in &mut players {
            lobby.welcome(player).await;
        }
        (lobby, players)
    }
}

impl Played {
    pub(crate) fn id(&self) -> RuntimeId {
        self.runtime.id()
    }

    /// Sends what is queued, and takes in what has come. Answers what was not carried out: number
    /// and code.
    pub(crate) async fn exchange(&mut self) -> Vec<(Option<SenderSeq>, String)> {
        let exchanged = self.runtime.exchange(MOMENT).await.unwrap();
        self.received.extend(exchanged.commands);
        exchanged.rejected.into_iter().map(|it| (it.seq, it.command.code)).collect()
    }

    /// Polls until a command comes; earlier ones count, once.
    pub(crate) async fn receives(&mut self, what: &str, wanted: impl Fn(&Command) -> bool) -> Command {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.received.iter().position(&wanted) {
                return self.received.remove(at);
            }
            assert!(
                begun.elapsed() < DEADLINE,
                "runtime {}: {what}; it has received {:?}",
                self.id(),
                self.received
            );
            assert_eq!(self.exchange().await, [], "runtime {}: a command is refused", self.id());
        }
    }

    /// Polls until a player is here, and the player knows.
    pub(crate) async fn welcome(&mut self, player: &mut Session) {
        let (id, client) = (self.id(), player.client_id());
        self.receives("a client joins", |it| matches!(it, Command::AddClient(it) if it.client_id == client))
            .await;
        wait_for(player, |it| matches!(it, Event::Assigned { runtime_id, .. } if *runtime_id == id)).await;
    }

    /// Polls until a player is gone.
    pub(crate) async fn misses(&mut self, player: &Session) {
        let client = player.client_id();
        let gone = |it: &Command| matches!(it, Command::DeleteClient { client_id } if *client_id == client);
        self.receives("a client leaves", gone).await;
    }

    /// Asks for a match for a player.
    pub(crate) async fn requests_match(&mut self, player: &Session, mode: &str) {
        self.runtime.request_matchmaking(player.client_id(), mode).unwrap();
        assert_eq!(
            self.exchange().await,
            [],
            "runtime {}: the request for client {} is refused",
            self.id(),
            player.client_id()
        );
    }
}

/// Waits until a player gets the failure of its ticket.
pub(crate) async fn fails(player: &mut Session, why: omgservers_api::interchange::MatchmakingFailureReason) {
    wait_for(player, |it| matches!(it, Event::MatchmakingFailed(failure) if failure.reason == why)).await;
}

/// Waits until a player hears a text from its game server.
pub(crate) async fn receives(player: &mut Session, text: &str) {
    wait_for(player, |it| matches!(it, Event::Message(raw) if raw.get().contains(text))).await;
}
