//! The game server's side: commands in, commands out.

mod command;
mod commands;
mod dispatcher;

use std::{fmt, time::Duration};

use omgservers_api::{
    Kind, Problem, RuntimeId, RuntimeQualifier,
    entrypoint::{
        Endpoint as _,
        runtime::{self, CreateRuntimeTokenRequest, CreateRuntimeTokenResponse},
    },
    interchange::{MAX_WAIT_MS, RuntimeInterchangeRequest, RuntimeInterchangeResponse},
};

pub use self::{
    command::{Command, Exchanged, Rejected},
    commands::MatchmakingRequest,
    dispatcher::{DispatcherConnection, DispatcherEvent},
};
use crate::{
    flow::{Flow, first_number},
    http::{Client, Token, transient},
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
/// The trace of the container's start; set when the backend exports traces.
pub const TRACE_PARENT: &str = "TRACEPARENT";

/// A game server as the backend sees it.
///
/// Every future of it may be dropped at any time, e.g. in a `select!` with the game's clock. The
/// next exchange repeats what was under way, and the backend carries no command out twice.
pub struct Runtime {
    client: Client,
    /// Signs in. Its requests are in the trace of the container's start; polls aren't, for they go
    /// on for hours.
    sign_in: Client,
    id: RuntimeId,
    password: String,
    qualifier: RuntimeQualifier,
    tokens: Option<RuntimeTokens>,
    flow: Flow,
    retry: Retry,
}

struct RuntimeTokens {
    api: Token,
    websocket: Token,
}

impl Runtime {
    /// The runtime that the environment describes: the backend sets [`SERVICE_URL`],
    /// [`RUNTIME_ID`], [`PASSWORD`] and [`RUNTIME_QUALIFIER`] in every container. Nothing is sent
    /// yet. Problems: `client.environment`, `client.address`.
    #[expect(clippy::disallowed_methods, reason = "the environment is how the contract speaks to a runtime")]
    pub fn from_env() -> Result<Self, Problem> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Like [`from_env`](Self::from_env), with another source of the variables.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Problem> {
        let trace_parent = variable(TRACE_PARENT);
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
        let mut runtime = Self::new(client, id, &variable(PASSWORD)?, qualifier);
        if let Some(trace_parent) = trace_parent {
            runtime.sign_in = runtime.client.with_trace_parent(&trace_parent);
        }
        Ok(runtime)
    }

    /// A runtime with these credentials.
    pub fn new(client: Client, id: RuntimeId, password: &str, qualifier: RuntimeQualifier) -> Self {
        let flow = Flow::from(first_number());
        Self {
            sign_in: client.clone(),
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
    /// The token for the dispatcher's WebSocket; there is one after the first exchange. It is good
    /// for one connection and for a minute; a [room](Self::open_dispatcher) fetches its own.
    pub fn websocket_token(&self) -> Option<&str> {
        self.tokens.as_ref().map(|it| it.websocket.as_str())
    }

    /// Fetches tokens. An exchange does so by itself when it has none or they expired.
    pub async fn create_token(&mut self) -> Result<(), Problem> {
        let answer = create_token(&self.sign_in, self.id, &self.password).await?;
        self.tokens = Some(RuntimeTokens {
            api: Token::new(&answer.api_token),
            websocket: Token::new(&answer.ws_token),
        });
        Ok(())
    }

    /// Opens the runtime's side of the dispatcher: a room where the clients are that followed an
    /// [invitation](Self::upgrade_connection). It is independent of the exchanges, and opens in the
    /// background.
    pub fn open_dispatcher(&self) -> DispatcherConnection {
        DispatcherConnection::open(self.client.clone(), self.id, &self.password, self.retry)
    }

    /// One exchange: sends the queued commands, acknowledges what came before, answers what waits,
    /// in order; when nothing waits, up to `wait` for something to come. It is repeated as
    /// [`Retry`] says, by default until the backend answers. Problems are final: the runtime is
    /// stopped (404 RUNTIME_NOT_FOUND), its credentials are refused, or the request is, whose
    /// commands are given up then.
    pub async fn exchange(&mut self, wait: Duration) -> Result<Exchanged, Problem> {
        let milliseconds = u32::try_from(wait.as_millis()).unwrap_or(MAX_WAIT_MS).min(MAX_WAIT_MS);
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
                .exchange(&runtime::Interchange::DESCRIPTOR, Some(token.as_str()), body.clone(), wait)
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

async fn create_token(
    client: &Client,
    runtime_id: RuntimeId,
    password: &str,
) -> Result<CreateRuntimeTokenResponse, Problem> {
    let request = CreateRuntimeTokenRequest { runtime_id, password: password.to_owned() };
    client.call::<runtime::CreateToken>(None, &request).await
}
