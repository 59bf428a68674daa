//! The game server's side: commands in, commands out.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use omgservers_api::{
    ClientId, Kind, Problem, RuntimeId, RuntimeQualifier,
    entrypoint::{
        Empty,
        runtime::{CreateRuntimeTokenRequest, CreateRuntimeTokenResponse},
    },
    ids::SenderSeq,
    interchange::{
        AddClient, ClientRef, Incoming, InitRuntime, MOST_WAIT, RejectedCommand, RequestMatchmaking,
        RuntimeConfig, RuntimeInterchangeRequest, RuntimeInterchangeResponse, SetProfile, ToAll, ToClient,
        ToClients, UpgradeConnection, command,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    flow::Flow,
    http::{Client, Token, transient},
    player::raw,
    problems::{ENVIRONMENT, VALUE},
    retry::{Attempts, Retry},
};

/// The address of the backend.
pub const SERVICE_URL: &str = "OMGSERVERS_SERVICE_URL";
/// The runtime's id.
pub const RUNTIME_ID: &str = "OMGSERVERS_RUNTIME_ID";
/// The runtime's password.
pub const PASSWORD: &str = "OMGSERVERS_PASSWORD";
/// `LOBBY` or `MATCH`.
pub const RUNTIME_QUALIFIER: &str = "OMGSERVERS_RUNTIME_QUALIFIER";

/// A game server as the backend sees it.
///
/// Every future of it may be dropped at any time, e.g. in a `select!` with the game's clock: what was under way is
/// repeated by the next exchange, and the backend carries no command out twice.
pub struct Runtime {
    client: Client,
    id: RuntimeId,
    password: String,
    qualifier: RuntimeQualifier,
    tokens: Option<Tokens>,
    flow: Flow,
    retry: Retry,
}

struct Tokens {
    api: Token,
    websocket: Token,
}

/// A command from the backend.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Command {
    /// First of all.
    Init {
        /// What the runtime is.
        config: RuntimeConfig,
    },
    /// A client joined; in a match with its group.
    AddClient(AddClient),
    /// A client left.
    DeleteClient {
        /// The session.
        client_id: ClientId,
    },
    /// A client said something.
    HandleMessage {
        /// The session.
        client_id: ClientId,
        /// What it said, byte for byte.
        message: Box<RawValue>,
    },
    /// Something that this version doesn't know.
    Unknown {
        /// What it is.
        qualifier: String,
        /// Its fields.
        body: Box<RawValue>,
    },
}

/// What an exchange brought.
#[derive(Debug, Clone, Default)]
pub struct Exchanged {
    /// Commands of the backend, in order.
    pub commands: Vec<Command>,
    /// Commands of the runtime that were not carried out.
    pub rejected: Vec<Rejected>,
}

/// A command that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The number that the method returned which queued it; `None` if the backend names none of the request.
    pub seq: Option<SenderSeq>,
    /// What it was, and why not.
    pub command: RejectedCommand,
}

impl Command {
    fn read(incoming: Incoming) -> Self {
        let body = incoming.body.get();
        let known = match incoming.qualifier.as_str() {
            command::INIT_RUNTIME => {
                parse(body).map(|it: InitRuntime| Self::Init { config: it.runtime_config })
            }
            command::ADD_CLIENT | command::ADD_MATCH_CLIENT => parse(body).map(Self::AddClient),
            command::DELETE_CLIENT => {
                parse(body).map(|it: ClientRef| Self::DeleteClient { client_id: it.client_id })
            }
            command::HANDLE_MESSAGE => parse(body).map(|it: ToClient<'_>| Self::HandleMessage {
                client_id: it.client_id,
                message: it.message.to_owned(),
            }),
            _ => None,
        };
        known.unwrap_or(Self::Unknown { qualifier: incoming.qualifier, body: incoming.body })
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a str) -> Option<T> {
    serde_json::from_str(body).ok()
}

impl Runtime {
    /// The runtime that the environment describes: the backend sets [`SERVICE_URL`], [`RUNTIME_ID`], [`PASSWORD`]
    /// and [`RUNTIME_QUALIFIER`] in every container. Nothing is sent yet. Problems: `client.environment`,
    /// `client.address`.
    #[expect(clippy::disallowed_methods, reason = "the environment is how the contract speaks to a runtime")]
    pub fn from_env() -> Result<Self, Problem> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Like [`from_env`](Self::from_env), with another source of the variables.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Problem> {
        let variable = |name: &str| {
            variable(name)
                .filter(|it| !it.is_empty())
                .ok_or_else(|| ENVIRONMENT.detail(format!("the variable {name} isn't set")))
        };
        let wrong = |name: &str, reason: &dyn fmt::Display| ENVIRONMENT.detail(format!("{name}: {reason}"));
        let client = Client::new(&variable(SERVICE_URL)?)?;
        let id = variable(RUNTIME_ID)?.parse().map_err(|error| wrong(RUNTIME_ID, &error))?;
        let qualifier =
            variable(RUNTIME_QUALIFIER)?.parse().map_err(|error| wrong(RUNTIME_QUALIFIER, &error))?;
        Ok(Self::new(client, id, &variable(PASSWORD)?, qualifier))
    }

    /// A runtime with these credentials.
    pub fn new(client: Client, id: RuntimeId, password: &str, qualifier: RuntimeQualifier) -> Self {
        // The backend remembers the greatest number that a runtime sent. Microseconds are beyond whatever an
        // earlier process of the same runtime has counted to.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first = u64::try_from(now.as_micros()).unwrap_or_default();
        let flow = Flow::from(first);
        Self {
            client,
            id,
            password: password.to_owned(),
            qualifier,
            tokens: None,
            flow,
            retry: Retry::RUNTIME,
        }
    }

    /// How exchanges are repeated; [`Retry::RUNTIME`] unless it is set.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Its id.
    pub fn id(&self) -> RuntimeId {
        self.id
    }
    /// Lobby or match.
    pub fn qualifier(&self) -> RuntimeQualifier {
        self.qualifier
    }
    /// The backend.
    pub fn client(&self) -> &Client {
        &self.client
    }
    /// The token for the dispatcher's WebSocket; there is one after the first exchange.
    pub fn websocket_token(&self) -> Option<&str> {
        self.tokens.as_ref().map(|it| it.websocket.as_str())
    }

    /// Fetches tokens. An exchange does so by itself when it has none or they expired.
    pub async fn create_token(&mut self) -> Result<(), Problem> {
        let request = CreateRuntimeTokenRequest { runtime_id: self.id, password: self.password.clone() };
        let answer: CreateRuntimeTokenResponse =
            self.client.call("runtime", "create-token", None, &request).await?;
        self.tokens =
            Some(Tokens { api: Token::new(&answer.api_token), websocket: Token::new(&answer.ws_token) });
        Ok(())
    }

    /// One exchange: sends the queued commands, acknowledges what came before, answers what waits, in order; when
    /// nothing waits, up to `wait` for something to come. It is repeated as [`Retry`] says, by default until the
    /// backend answers. Problems are final: the runtime is stopped (404 RUNTIME_NOT_FOUND), its credentials are
    /// refused, or the request is, whose commands are given up then.
    pub async fn exchange(&mut self, wait: Duration) -> Result<Exchanged, Problem> {
        let milliseconds = u32::try_from(wait.as_millis()).unwrap_or(MOST_WAIT).min(MOST_WAIT);
        let (outgoing_commands, consumed_commands) = self.flow.request();
        let consumed = consumed_commands.len();
        let wait = (milliseconds > 0).then_some(milliseconds);
        let request = RuntimeInterchangeRequest { outgoing_commands, consumed_commands, wait };
        let body = serde_json::to_vec(&request).map_err(|error| VALUE.detail(error.to_string()))?;
        let answer = self.deliver(body.into(), Duration::from_millis(milliseconds.into())).await?;
        let rejected = answer
            .rejected_commands
            .into_iter()
            .map(|command| Rejected { seq: self.flow.seq(command.index), command })
            .collect();
        let fresh = self.flow.settle(consumed, answer.incoming_commands);
        Ok(Exchanged { commands: fresh.into_iter().map(Command::read).collect(), rejected })
    }

    async fn deliver(
        &mut self,
        body: bytes::Bytes,
        wait: Duration,
    ) -> Result<RuntimeInterchangeResponse, Problem> {
        let mut attempts = self.retry.start();
        let mut renewed = false;
        loop {
            let token = match &self.tokens {
                Some(tokens) => tokens.api.clone(),
                None => self.renew(&mut attempts).await?,
            };
            match self
                .client
                .exchange("runtime", "interchange", Some(token.as_str()), body.clone(), wait)
                .await
            {
                Ok(answer) => return Ok(answer),
                Err(problem) if problem.kind() == Kind::Unauthenticated => {
                    self.tokens = None;
                    if renewed {
                        return Err(problem);
                    }
                    renewed = true;
                }
                Err(problem) => {
                    if matches!(problem.kind(), Kind::Invalid | Kind::TooLarge) && !transient(&problem) {
                        self.flow.give_up();
                    }
                    attempts.pause(problem).await?;
                }
            }
        }
    }

    async fn renew(&mut self, attempts: &mut Attempts) -> Result<Token, Problem> {
        loop {
            match self.create_token().await {
                Ok(()) => {
                    if let Some(tokens) = &self.tokens {
                        return Ok(tokens.api.clone());
                    }
                }
                Err(problem) => attempts.pause(problem).await?,
            }
        }
    }

    fn queue(&mut self, qualifier: &'static str, body: &impl Serialize) -> Result<SenderSeq, Problem> {
        Ok(self.flow.push(qualifier, raw(body)?))
    }

    /// Says something to one client.
    pub fn respond(
        &mut self,
        client_id: ClientId,
        message: &(impl Serialize + ?Sized),
    ) -> Result<SenderSeq, Problem> {
        let message = raw(message)?;
        self.queue(command::RESPOND_CLIENT, &ToClient { client_id, message: &message })
    }

    /// Says something to some clients.
    pub fn multicast(
        &mut self,
        clients: impl IntoIterator<Item = ClientId>,
        message: &(impl Serialize + ?Sized),
    ) -> Result<SenderSeq, Problem> {
        let message = raw(message)?;
        let clients = clients.into_iter().collect();
        self.queue(command::MULTICAST_MESSAGE, &ToClients { clients, message: &message })
    }

    /// Says something to every client that is here.
    pub fn broadcast(&mut self, message: &(impl Serialize + ?Sized)) -> Result<SenderSeq, Problem> {
        let message = raw(message)?;
        self.queue(command::BROADCAST_MESSAGE, &ToAll { message: &message })
    }

    /// Replaces the profile of a client's player in this stage; the next [`Command::AddClient`] has it.
    pub fn set_profile(
        &mut self,
        client_id: ClientId,
        profile: &(impl Serialize + ?Sized),
    ) -> Result<SenderSeq, Problem> {
        let profile = raw(profile)?;
        self.queue(command::SET_PROFILE, &SetProfile { client_id, profile: &profile })
    }

    /// Sends a client away: out of a lobby its session ends, out of a match it goes to a lobby.
    pub fn kick(&mut self, client_id: ClientId) -> Result<SenderSeq, Problem> {
        self.queue(command::KICK_CLIENT, &ClientRef { client_id })
    }

    /// Asks for a match of a mode of the version's configuration.
    pub fn request_matchmaking(&mut self, client_id: ClientId, mode: &str) -> Result<SenderSeq, Problem> {
        self.queue(
            command::REQUEST_MATCHMAKING,
            &RequestMatchmaking {
                clients: Vec::new(),
                attributes: std::collections::BTreeMap::new(),
                client_id,
                mode: mode.into(),
            },
        )
    }

    /// In a match: no further clients, please.
    pub fn stop_matchmaking(&mut self) -> Result<SenderSeq, Problem> {
        self.queue(command::STOP_MATCHMAKING, &Empty {})
    }

    /// Invites a client to a direct connection through the dispatcher.
    pub fn upgrade(&mut self, client_id: ClientId) -> Result<SenderSeq, Problem> {
        self.queue(
            command::UPGRADE_CONNECTION,
            &UpgradeConnection { client_id, protocol: "DISPATCHER".into() },
        )
    }

    /// Whether commands wait to be sent, or were sent and not answered yet.
    pub fn has_unsent(&self) -> bool {
        self.flow.has_outgoing()
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("id", &self.id)
            .field("qualifier", &self.qualifier)
            .finish_non_exhaustive()
    }
}
