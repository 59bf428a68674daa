//! What flows of matches share: a backend whose game servers are simulated, with matches that are
//! warm, and players that wait for their assignments.

use std::{
    collections::{HashSet, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use omgservers_api::RuntimeQualifier;
use omgservers_tests::{Backend, IdleRuntime};
use serde::Deserialize;
use serde_json::json;

use crate::{
    broadcast::stream,
    fixture::{COMMANDS, Commands, FlowFixture, Guest, RUNTIME, Server, WAIT},
    host::Host,
    load::{Script, request},
    net::{Answers, Counts, Frames, Peer, Table, Wire, connect, finish, head, write_request},
};

/// How long the matches may take to get warm.
const TIMEOUT: Duration = Duration::from_secs(300);
const AT_ONCE: usize = 16;

/// A stage with warm matches of `size` players each, and its lobby.
pub(crate) struct Arena {
    pub(crate) stage: FlowFixture,
    pub(crate) lobby: Server,
    /// Tokens of the matches' game servers.
    pub(crate) matches: Vec<String>,
}

impl Arena {
    pub(crate) async fn open(
        backend: &Backend,
        host: &Host,
        matches: usize,
        size: usize,
    ) -> anyhow::Result<Self> {
        let config = json!({
            "modes": [{
                "name": "duel", "min_players": size, "max_players": size, "min_matches": matches, "max_matches": matches,
                "groups": [{"name": "all", "min_players": size, "max_players": size}],
            }],
            "deployment": {
                "min_lobbies": 1, "lobby": {"max_assignments": 1_000_000, "cpu_limit": 1, "memory_limit": 16},
                "match": {"cpu_limit": 1, "memory_limit": 16},
            },
        });
        let mut seen: HashSet<_> = host.idle_runtimes().await?.iter().map(|it| it.id).collect();
        let stage = FlowFixture::open(backend, &config.to_string()).await;
        let address = stage.address;
        let (mut lobby, mut tokens, begun) = (None, Vec::new(), Instant::now());
        while lobby.is_none() || tokens.len() < matches {
            let mut new = host.idle_runtimes().await?;
            new.retain(|it| seen.insert(it.id));
            let (lobbies, new): (Vec<_>, Vec<_>) =
                new.into_iter().partition(|it| it.qualifier == RuntimeQualifier::Lobby);
            if let Some(runtime) = lobbies.first() {
                lobby = Some(Server::start(address, runtime)?);
            }
            // At once: a match whose game server doesn't poll in time is given up.
            let mut polls: Vec<_> = new.iter().map(|it| Poll::new(address, it)).collect();
            tokio::task::block_in_place(|| finish(address, &mut polls, AT_ONCE))?;
            tokens.extend(polls.into_iter().map(|it| it.token));
            ensure!(begun.elapsed() < TIMEOUT, "{} of {matches}: {}", tokens.len(), backend.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        eprintln!("{matches} matches were started in {:.1?}", begun.elapsed());
        Ok(Self { stage, lobby: lobby.context("no lobby")?, matches: tokens })
    }

    /// A table with the streams of players, and behind them the lobby.
    pub(crate) fn seat(&mut self, guests: &[Guest], at_once: usize) -> anyhow::Result<Table<Part>> {
        let mut table = Table::new()?;
        let address = self.stage.address;
        for guest in guests {
            let player = WaitingPlayer { begun: Instant::now(), waits: false };
            table.seat(stream(&self.stage, guest)?, Part::Player(player))?;
        }
        self.lobby.drain()?;
        let lobby = Lobby {
            head: head(address, COMMANDS, &self.lobby.token),
            seq: self.lobby.seq,
            unmatched: guests.iter().map(|it| it.client.clone()).collect(),
            at_once,
            asked: false,
        };
        table.seat(Wire::new(connect(address)?, Vec::new())?, Part::Lobby(lobby))?;
        Ok(table)
    }
}

/// Gets a token and polls once: its match is warm then.
struct Poll {
    address: SocketAddr,
    token: String,
    next: Vec<u8>,
}

#[derive(Deserialize)]
struct Polled {
    api_token: Option<String>,
}

impl Poll {
    fn new(address: SocketAddr, runtime: &IdleRuntime) -> Self {
        let body = json!({"runtime_id": runtime.id, "password": runtime.password}).to_string();
        let next = request(address, &format!("{RUNTIME}/create-token"), None, &body);
        Self { address, token: String::new(), next }
    }
}

impl Script for Poll {
    fn request(&self) -> &[u8] {
        &self.next
    }

    fn answered(&mut self, body: &[u8]) -> anyhow::Result<bool> {
        let polled: Polled = serde_json::from_slice(body)?;
        let Some(token) = polled.api_token else { return Ok(true) };
        let body = r#"{"outgoing_commands":[],"consumed_commands":[]}"#;
        self.next = request(self.address, COMMANDS, Some(&token), body);
        self.token = token;
        Ok(false)
    }
}

/// A peer at the table.
pub(crate) enum Part {
    Player(WaitingPlayer),
    Lobby(Lobby),
    Match(Polling),
}

impl Peer for Part {
    fn begin(&mut self, output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
        match self {
            Self::Player(player) => player.begin(output, counts),
            Self::Lobby(lobby) => lobby.begin(output, counts),
            Self::Match(game) => game.begin(output, counts),
        }
    }

    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<usize> {
        match self {
            Self::Player(player) => player.receive(input, output, counts),
            Self::Lobby(lobby) => lobby.receive(input, output, counts),
            Self::Match(game) => game.receive(input, output, counts),
        }
    }
}

/// A player that waits for its assignment to a match.
pub(crate) struct WaitingPlayer {
    begun: Instant,
    waits: bool,
}

impl Peer for WaitingPlayer {
    fn begin(&mut self, _: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
        counts.busy += 1;
        (self.begun, self.waits) = (Instant::now(), true);
        Ok(())
    }

    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<usize> {
        let mut frames = Frames::new(input);
        while let Some(frame) = frames.next(output)? {
            ensure!(
                memchr::memmem::find(frame, b"MATCHMAKING_FAILURE_MESSAGE").is_none(),
                "{}",
                String::from_utf8_lossy(frame)
            );
            if self.waits && memchr::memmem::find(frame, br#""runtime_qualifier":"MATCH""#).is_some() {
                self.waits = false;
                counts.busy -= 1;
                counts.complete(self.begun);
            }
        }
        Ok(frames.taken)
    }
}

/// A lobby that asks for so many more of its players to be matched whenever it begins.
pub(crate) struct Lobby {
    head: String,
    seq: u64,
    unmatched: VecDeque<String>,
    at_once: usize,
    asked: bool,
}

impl Lobby {
    fn write_request(&mut self, output: &mut Vec<u8>, consumed: &[&str]) {
        let mut body = String::from("{\"outgoing_commands\":[");
        for index in 0..self.at_once {
            let Some(client) = self.unmatched.pop_front() else { break };
            self.seq += 1;
            let (comma, seq) = (if index > 0 { "," } else { "" }, self.seq);
            body += &format!(
                r#"{comma}{{"id":{seq},"qualifier":"REQUEST_MATCHMAKING","body":{{"client_id":"{client}","mode":"duel"}}}}"#
            );
        }
        body += &format!("],\"consumed_commands\":{}}}", json!(consumed));
        write_request(output, &self.head, &body);
    }
}

impl Peer for Lobby {
    fn begin(&mut self, output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
        ensure!(!self.asked, "the last request isn't answered yet");
        (self.asked, counts.busy) = (true, counts.busy + 1);
        self.write_request(output, &[]);
        Ok(())
    }

    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<usize> {
        let mut answers = Answers::new(input);
        while let Some(body) = answers.next()? {
            let came: Commands<'_> = serde_json::from_slice(body)?;
            if let Some(rejected) = came.rejected_commands {
                anyhow::bail!("rejected: {rejected}");
            }
            (self.asked, counts.busy) = (false, counts.busy - 1);
        }
        let _nothing_to_send = output;
        Ok(answers.taken)
    }
}

/// A match's game server: it waits for commands all the time.
pub(crate) struct Polling {
    head: String,
    asked: bool,
}

impl Polling {
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        Self { head: head(address, COMMANDS, token), asked: false }
    }

    fn write_request(&mut self, output: &mut Vec<u8>, consumed: &[&str]) {
        let body = json!({"outgoing_commands": [], "consumed_commands": consumed, "wait": WAIT}).to_string();
        write_request(output, &self.head, &body);
    }
}

impl Peer for Polling {
    fn begin(&mut self, output: &mut Vec<u8>, _: &mut Counts) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.asked, true) {
            self.write_request(output, &[]);
        }
        Ok(())
    }

    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, _: &mut Counts) -> anyhow::Result<usize> {
        let mut answers = Answers::new(input);
        while let Some(body) = answers.next()? {
            let came: Commands<'_> = serde_json::from_slice(body)?;
            let ids: Vec<_> = came.incoming_commands.iter().map(|it| it.id).collect();
            self.write_request(output, &ids);
        }
        Ok(answers.taken)
    }
}
