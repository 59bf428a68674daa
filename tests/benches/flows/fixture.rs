//! A version whose game servers this process plays itself, and players in it. Both are made of
//! bytes only, so that they cost next to nothing.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use omgservers_api::{RuntimeQualifier, interchange::ConnectionUpgrade};
use omgservers_tests::{Backend, Game, IdleRuntime, Studio};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{
    load::{Script, request},
    net::{PreparedRequest, finish},
};

const PLAYER: &str = "/service/v1/entrypoint/player/request";
pub(crate) const RUNTIME: &str = "/service/v1/entrypoint/runtime/request";
pub(crate) const INTERCHANGE: &str = "/service/v1/entrypoint/player/request/interchange";
pub(crate) const COMMANDS: &str = "/service/v1/entrypoint/runtime/request/interchange";
/// The longest that a container may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Connections by which players come.
const AT_ONCE: usize = 32;
/// Milliseconds that a request waits for something to come.
pub(crate) const WAIT: u32 = 20_000;

/// A deployed version.
pub(crate) struct FlowFixture {
    studio: Studio,
    pub(crate) address: SocketAddr,
}

impl FlowFixture {
    pub(crate) async fn open(backend: &Backend, config: &str) -> Self {
        let studio = Studio::open(backend).await;
        let version = studio.push_game(backend, Game::IdleRuntime, config).await;
        studio.deploy(version).await;
        Self { studio, address: backend.address() }
    }

    /// The game servers of one kind, once there are so many. Each has polled.
    pub(crate) async fn servers(
        &self,
        backend: &Backend,
        kind: RuntimeQualifier,
        count: usize,
    ) -> anyhow::Result<Vec<Server>> {
        let begun = Instant::now();
        loop {
            let found: Vec<_> =
                backend.idle_runtimes().into_iter().filter(|it| it.qualifier == kind).collect();
            if found.len() >= count {
                return found.iter().map(|it| Server::start(self.address, it)).collect();
            }
            ensure!(begun.elapsed() < TIMEOUT, "{} of {count} containers: {}", found.len(), backend.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// New players, all of whom are in a lobby.
    pub(crate) fn guests(&self, count: usize) -> anyhow::Result<Vec<Guest>> {
        let stage_body =
            json!({"tenant": self.studio.tenant, "project": self.studio.project, "stage": self.studio.stage});
        let mut arrivals: Vec<_> =
            (0..count).map(|_| Arrival::new(self.address, stage_body.to_string())).collect();
        finish(self.address, &mut arrivals, AT_ONCE)?;
        let mut guests: Vec<_> = arrivals.into_iter().map(|it| it.guest).collect();
        self.fetch(&mut guests, "RUNTIME_ASSIGNMENT_MESSAGE")?;
        Ok(guests)
    }

    /// Waits until every guest got this message, and consumes all that comes. Returns the bodies.
    pub(crate) fn fetch(&self, guests: &mut [Guest], wanted: &'static str) -> anyhow::Result<Vec<String>> {
        let mut fetches: Vec<_> = guests.iter_mut().map(|it| Fetch::new(self.address, it, wanted)).collect();
        finish(self.address, &mut fetches, AT_ONCE)?;
        fetches.into_iter().map(|it| it.found.context("it wasn't received")).collect()
    }

    /// Invites players into their game server's room: the tokens for their WebSockets.
    pub(crate) fn invite(&self, server: &mut Server, guests: &mut [Guest]) -> anyhow::Result<Vec<String>> {
        let body = |it: &Guest| json!({"client_id": it.client, "protocol": "DISPATCHER"}).to_string();
        let commands: Vec<_> = guests.iter().map(|it| ("UPGRADE_CONNECTION", body(it))).collect();
        server.exchange(&commands, 0)?;
        let upgrades = self.fetch(guests, "CONNECTION_UPGRADE_MESSAGE")?;
        let token = |body: &String| -> anyhow::Result<String> {
            let upgrade: ConnectionUpgrade = serde_json::from_str(body)?;
            Ok(upgrade.web_socket_config.ws_token)
        };
        upgrades.iter().map(token).collect()
    }

    /// Deletes everything.
    pub(crate) async fn close(self) {
        self.studio.close().await;
    }
}

/// A game server, played by this process.
pub(crate) struct Server {
    pub(crate) token: String,
    ws_token: String,
    prepared: PreparedRequest,
    pub(crate) seq: u64,
    consumed: Vec<String>,
}

/// A message or a command as it comes.
#[derive(Deserialize)]
pub(crate) struct Came<'a> {
    pub(crate) id: &'a str,
    pub(crate) qualifier: &'a str,
    #[serde(borrow)]
    pub(crate) body: &'a RawValue,
}

#[derive(Deserialize)]
pub(crate) struct Commands<'a> {
    #[serde(borrow)]
    pub(crate) incoming_commands: Vec<Came<'a>>,
    #[serde(borrow, default)]
    pub(crate) rejected_commands: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(crate) struct Messages<'a> {
    #[serde(borrow, default)]
    pub(crate) incoming_messages: Vec<Came<'a>>,
}

impl Server {
    pub(crate) fn start(address: SocketAddr, runtime: &IdleRuntime) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Made {
            api_token: String,
            ws_token: String,
        }
        let body = json!({"runtime_id": runtime.id, "password": runtime.password}).to_string();
        let made = PreparedRequest::new(address, &format!("{RUNTIME}/create-token"), "")?.send(&body)?;
        let Made { api_token, ws_token } = serde_json::from_slice(&made)?;
        let prepared = PreparedRequest::new(address, COMMANDS, &api_token)?;
        let mut server = Self { token: api_token, ws_token, prepared, seq: 0, consumed: Vec::new() };
        server.exchange(&[], 0)?;
        Ok(server)
    }

    /// The token for its WebSocket: good for one connection.
    pub(crate) fn ws_token(&self) -> &str {
        &self.ws_token
    }

    /// One exchange: commands are qualifiers with bodies. What came: the same. None may be
    /// rejected.
    pub(crate) fn exchange(
        &mut self,
        commands: &[(&str, String)],
        wait: u32,
    ) -> anyhow::Result<Vec<(String, String)>> {
        let body = self.body(commands, wait);
        let answer = self.prepared.send(&body)?;
        let answer: Commands<'_> = serde_json::from_slice(&answer)?;
        if let Some(rejected) = answer.rejected_commands {
            anyhow::bail!("rejected: {rejected}");
        }
        let came = answer.incoming_commands;
        self.consumed = came.iter().map(|it| it.id.to_owned()).collect();
        Ok(came.iter().map(|it| (it.qualifier.to_owned(), it.body.get().to_owned())).collect())
    }

    /// Exchanges until nothing comes any more.
    pub(crate) fn drain(&mut self) -> anyhow::Result<()> {
        while !self.exchange(&[], 0)?.is_empty() {}
        Ok(())
    }

    fn body(&mut self, commands: &[(&str, String)], wait: u32) -> String {
        let mut text = String::from("{\"outgoing_commands\":[");
        for (index, (qualifier, body)) in commands.iter().enumerate() {
            self.seq += 1;
            let comma = if index > 0 { "," } else { "" };
            text += &format!(r#"{comma}{{"id":{},"qualifier":"{qualifier}","body":{body}}}"#, self.seq);
        }
        text += &format!("],\"consumed_commands\":{},\"wait\":{wait}}}", json!(self.consumed));
        text
    }
}

/// A player with a session.
#[derive(Default)]
pub(crate) struct Guest {
    pub(crate) token: String,
    pub(crate) client: String,
}

/// Makes a user, a token, and a client.
struct Arrival {
    address: SocketAddr,
    stage_body: String,
    next: Vec<u8>,
    guest: Guest,
}

#[derive(Deserialize)]
struct Arrived {
    user_id: Option<String>,
    password: Option<String>,
    raw_token: Option<String>,
    client_id: Option<String>,
}

impl Arrival {
    fn new(address: SocketAddr, stage_body: String) -> Self {
        let next = request(address, &format!("{PLAYER}/create-user"), None, "{}");
        Self { address, stage_body, next, guest: Guest::default() }
    }
}

impl Script for Arrival {
    fn request(&self) -> &[u8] {
        &self.next
    }

    fn answered(&mut self, body: &[u8]) -> anyhow::Result<bool> {
        let answer: Arrived = serde_json::from_slice(body)?;
        if let (Some(user), Some(password)) = (answer.user_id, answer.password) {
            let body = json!({"user_id": user, "password": password}).to_string();
            self.next = request(self.address, &format!("{PLAYER}/create-token"), None, &body);
        }
        if let Some(token) = answer.raw_token {
            let path = format!("{PLAYER}/create-client");
            self.next = request(self.address, &path, Some(&token), &self.stage_body);
            self.guest.token = token;
        }
        self.guest.client = answer.client_id.unwrap_or_default();
        Ok(!self.guest.client.is_empty())
    }
}

/// Fetches until the wanted message came, and consumes all that came.
struct Fetch<'a> {
    address: SocketAddr,
    guest: &'a Guest,
    wanted: &'static str,
    next: Vec<u8>,
    found: Option<String>,
}

impl<'a> Fetch<'a> {
    fn new(address: SocketAddr, guest: &'a mut Guest, wanted: &'static str) -> Self {
        let mut fetch = Self { address, guest, wanted, next: Vec::new(), found: None };
        fetch.write_request(&[]);
        fetch
    }

    fn write_request(&mut self, consumed: &[&str]) {
        let wait = if self.found.is_none() { WAIT } else { 0 };
        let body = json!({
            "client_id": self.guest.client, "outgoing_messages": [], "consumed_messages": consumed, "wait": wait,
        });
        self.next = request(self.address, INTERCHANGE, Some(&self.guest.token), &body.to_string());
    }
}

impl Script for Fetch<'_> {
    fn request(&self) -> &[u8] {
        &self.next
    }

    fn answered(&mut self, body: &[u8]) -> anyhow::Result<bool> {
        let answer: Messages<'_> = serde_json::from_slice(body)?;
        let all = answer.incoming_messages;
        let found = all.iter().find(|it| it.qualifier == self.wanted);
        let done = self.found.is_some() && all.is_empty();
        self.found = self.found.take().or_else(|| found.map(|it| it.body.get().to_owned()));
        self.write_request(&all.iter().map(|it| it.id).collect::<Vec<_>>());
        Ok(done)
    }
}
