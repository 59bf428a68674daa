//! The player's side: accounts, sessions, messages.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use omgservers_api::{
    ClientId, Kind, MatchmakerId, Problem, Role, RuntimeId, RuntimeQualifier,
    entrypoint::{
        Empty,
        player::{CreateClientRequest, CreateClientResponse, CreateUserResponse},
    },
    ids::SenderSeq,
    interchange::{
        ClientOutgoing, ConnectionUpgrade, DisconnectionReason, Incoming, MOST_WAIT, MatchmakerAssignment,
        PlayerInterchangeRequest, PlayerInterchangeResponse, Reason, RuntimeAssignment, RuntimeConfig,
        ServerWelcome, ToAll, message,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::{
    flow::Flow,
    http::{Client, Token, reference},
    problems::VALUE,
    retry::Retry,
};

/// A signed-in player. Cloning is cheap, and clones share the token.
#[derive(Debug, Clone)]
pub struct Player {
    client: Client,
    account: Arc<Account>,
}

struct Account {
    /// User and password, to get a further token when one expires.
    credentials: Option<(String, String)>,
    token: Mutex<Token>,
}

impl Player {
    /// Makes a player. The password is in this answer only: it is for the game to keep.
    pub async fn sign_up(client: &Client) -> Result<CreateUserResponse, Problem> {
        client.call("player", "create-user", None, &Empty {}).await
    }

    /// Signs a player in; the token is kept, and renewed when it expires.
    pub async fn sign_in(client: &Client, user: impl fmt::Display, password: &str) -> Result<Self, Problem> {
        let user = user.to_string();
        let token = client.create_token(Role::Player, &user, password).await?;
        let account =
            Account { credentials: Some((user, password.to_owned())), token: Mutex::new(Token::new(&token)) };
        Ok(Self { client: client.clone(), account: Arc::new(account) })
    }

    /// A player with a token from elsewhere; it isn't renewed.
    pub fn with_token(client: &Client, token: &str) -> Self {
        let account = Account { credentials: None, token: Mutex::new(Token::new(token)) };
        Self { client: client.clone(), account: Arc::new(account) }
    }

    /// Begins a session where the stage says: tenant, project and stage are ids or aliases.
    pub async fn create_client(
        &self,
        tenant: impl fmt::Display,
        project: impl fmt::Display,
        stage: impl fmt::Display,
    ) -> Result<Session, Problem> {
        let request = CreateClientRequest {
            tenant: reference("tenant", tenant)?,
            project: reference("project", project)?,
            stage: reference("stage", stage)?,
        };
        let call = || async {
            let token = self.token();
            self.client.call("player", "create-client", Some(token.as_str()), &request).await
        };
        let answer: CreateClientResponse = match call().await {
            Err(problem) if problem.kind() == Kind::Unauthenticated => {
                self.renew(problem).await?;
                call().await?
            }
            answer => answer?,
        };
        Ok(Session::new(self.clone(), answer.client_id))
    }

    fn token(&self) -> Token {
        lock(&self.account.token).clone()
    }

    /// A further token, in place of the one that was refused with `problem`.
    async fn renew(&self, problem: Problem) -> Result<(), Problem> {
        let Some((user, password)) = &self.account.credentials else { return Err(problem) };
        let token = self.client.create_token(Role::Player, user, password).await?;
        *lock(&self.account.token) = Token::new(&token);
        Ok(())
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.credentials.as_ref().map(|it| &it.0))
            .finish_non_exhaustive()
    }
}

/// Something that happened to a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// First of all.
    Welcome(ServerWelcome),
    /// A matchmaker was attached.
    MatchmakerAssigned(MatchmakerId),
    /// Messages go to this runtime from now on.
    Assigned {
        /// The runtime.
        runtime_id: RuntimeId,
        /// Lobby or match.
        qualifier: RuntimeQualifier,
        /// What it is.
        config: RuntimeConfig,
    },
    /// The runtime invites to a direct connection.
    Upgrade(ConnectionUpgrade),
    /// The session is over.
    Disconnected {
        /// Why.
        reason: Reason,
    },
    /// What the runtime says, byte for byte.
    Message(Box<RawValue>),
    /// Something that this version doesn't know.
    Unknown {
        /// What it is.
        qualifier: String,
        /// Its fields.
        body: Box<RawValue>,
    },
}

impl Event {
    fn read(incoming: Incoming) -> Self {
        let body = incoming.body.get();
        let known = match incoming.qualifier.as_str() {
            message::SERVER_WELCOME => parse(body).map(Self::Welcome),
            message::MATCHMAKER_ASSIGNMENT => {
                parse(body).map(|it: MatchmakerAssignment| Self::MatchmakerAssigned(it.matchmaker_id))
            }
            message::RUNTIME_ASSIGNMENT => parse(body).map(|it: RuntimeAssignment| Self::Assigned {
                runtime_id: it.runtime_id,
                qualifier: it.runtime_qualifier,
                config: it.runtime_config,
            }),
            message::CONNECTION_UPGRADE => parse(body).map(Self::Upgrade),
            message::DISCONNECTION_REASON => {
                parse(body).map(|it: DisconnectionReason| Self::Disconnected { reason: it.reason })
            }
            message::SERVER_OUTGOING => parse(body).map(|it: ToAll<'_>| Self::Message(it.message.to_owned())),
            _ => None,
        };
        known.unwrap_or(Self::Unknown { qualifier: incoming.qualifier, body: incoming.body })
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a str) -> Option<T> {
    serde_json::from_str(body).ok()
}

/// A player's session in a stage.
///
/// Every future of it may be dropped at any time, e.g. in a `select!`: nothing is lost, what was under way is
/// repeated by the next call and recognised by the backend.
#[derive(Debug)]
pub struct Session {
    player: Player,
    retry: Retry,
    shared: Arc<Shared>,
    inbox: VecDeque<Event>,
    over: bool,
}

struct Shared {
    client_id: ClientId,
    flow: Mutex<Flow>,
    wake: Notify,
}

impl Session {
    fn new(player: Player, client_id: ClientId) -> Self {
        let shared = Shared { client_id, flow: Mutex::new(Flow::from(0)), wake: Notify::new() };
        Self { player, retry: Retry::PLAYER, shared: Arc::new(shared), inbox: VecDeque::new(), over: false }
    }

    /// How exchanges are repeated; [`Retry::PLAYER`] unless it is set.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Its id.
    pub fn client_id(&self) -> ClientId {
        self.shared.client_id
    }

    /// Speaks from elsewhere while this session waits in [`next`](Self::next).
    pub fn speaker(&self) -> Speaker {
        Speaker(self.shared.clone())
    }

    /// Queues a message to the runtime; the next exchange takes it along. A `&RawValue` goes byte for byte.
    /// Problems: `client.value`.
    pub fn say(&mut self, message: &(impl Serialize + ?Sized)) -> Result<SenderSeq, Problem> {
        self.shared.say(message)
    }

    /// One exchange: sends what was said, acknowledges what came before, answers what waits, in order; when
    /// nothing waits, up to `wait` for something to come. It is repeated as [`Retry`] says. A batch that is
    /// refused for good (4xx) is given up.
    pub async fn exchange(&mut self, wait: Duration) -> Result<Vec<Event>, Problem> {
        let milliseconds = u32::try_from(wait.as_millis()).unwrap_or(MOST_WAIT).min(MOST_WAIT);
        let (body, consumed) = self.shared.request(milliseconds)?;
        let wait = Duration::from_millis(milliseconds.into());
        let mut attempts = self.retry.start();
        let mut renewed = false;
        loop {
            let token = self.player.token();
            let client = &self.player.client;
            match client.exchange("player", "interchange", Some(token.as_str()), body.clone(), wait).await {
                Ok(answer) => return Ok(self.shared.settle(consumed, answer)),
                Err(problem) if problem.kind() == Kind::Unauthenticated && !renewed => {
                    renewed = true;
                    if let Err(problem) = self.player.renew(problem).await {
                        renewed = false;
                        attempts.pause(problem).await?;
                    }
                }
                Err(problem) => {
                    if !crate::http::transient(&problem) && problem.kind() != Kind::Unauthenticated {
                        lock(&self.shared.flow).give_up();
                    }
                    attempts.pause(problem).await?;
                }
            }
        }
    }

    /// The next event; `None` after [`Event::Disconnected`]. What is said meanwhile goes out at once.
    pub async fn next(&mut self) -> Result<Option<Event>, Problem> {
        loop {
            if let Some(event) = self.inbox.pop_front() {
                self.over |= matches!(event, Event::Disconnected { .. });
                return Ok(Some(event));
            }
            if self.over {
                return Ok(None);
            }
            let events = if lock(&self.shared.flow).has_outgoing() {
                self.exchange(Duration::ZERO).await?
            } else {
                let shared = self.shared.clone();
                tokio::select! {
                    events = self.exchange(Duration::from_millis(MOST_WAIT.into())) => events?,
                    () = shared.spoken() => Vec::new(),
                }
            };
            self.inbox.extend(events);
        }
    }
}

impl Shared {
    fn say(&self, message: &(impl Serialize + ?Sized)) -> Result<SenderSeq, Problem> {
        let data = raw(message)?;
        let body = raw(&ClientOutgoing { data: &data })?;
        let seq = lock(&self.flow).push(message::CLIENT_OUTGOING, body);
        self.wake.notify_one();
        Ok(seq)
    }

    fn request(&self, wait: u32) -> Result<(bytes::Bytes, usize), Problem> {
        let mut flow = lock(&self.flow);
        let (outgoing_messages, consumed_messages) = flow.request();
        let consumed = consumed_messages.len();
        let request = PlayerInterchangeRequest {
            client_id: self.client_id,
            outgoing_messages,
            consumed_messages,
            wait: (wait > 0).then_some(wait),
        };
        let body = serde_json::to_vec(&request).map_err(|error| VALUE.detail(error.to_string()))?;
        Ok((body.into(), consumed))
    }

    fn settle(&self, consumed: usize, answer: PlayerInterchangeResponse) -> Vec<Event> {
        let fresh = lock(&self.flow).settle(consumed, answer.incoming_messages);
        fresh.into_iter().map(Event::read).collect()
    }

    /// Until something was said that wasn't sent.
    async fn spoken(&self) {
        loop {
            self.wake.notified().await;
            if lock(&self.flow).has_outgoing() {
                return;
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Speaks for a [`Session`].
#[derive(Debug, Clone)]
pub struct Speaker(Arc<Shared>);

impl Speaker {
    /// Like [`Session::say`].
    pub fn say(&self, message: &(impl Serialize + ?Sized)) -> Result<SenderSeq, Problem> {
        self.0.say(message)
    }
}

/// A value as JSON.
pub(crate) fn raw(value: &(impl Serialize + ?Sized)) -> Result<Box<RawValue>, Problem> {
    serde_json::value::to_raw_value(value).map_err(|error| VALUE.detail(error.to_string()))
}

/// Nothing panics while it holds one of these locks; if something did, the value is whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
