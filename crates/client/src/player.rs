//! The player's side: accounts, sessions, messages.

mod calls;
mod connection;
mod event;
mod session;
mod state;
mod stream;
mod upgrade;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use omgservers_api::{
    ClientId, Kind, Problem, Role,
    entrypoint::{
        Empty,
        player::{self, CreateClientRequest, CreateClientResponse, CreateUserResponse},
    },
};
use serde::Serialize;
use serde_json::value::RawValue;

pub use self::{connection::Transport, event::Event, session::Session, state::SessionSender};
use crate::{
    flow::first_number,
    http::{Client, Token, reference},
    problems::VALUE,
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
        client.call::<player::CreateUser>(None, &Empty {}).await
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
            self.client.call::<player::CreateClient>(Some(token.as_str()), &request).await
        };
        let answer: CreateClientResponse = match call().await {
            Err(problem) if problem.kind() == Kind::Unauthenticated => {
                self.renew(problem).await?;
                call().await?
            }
            answer => answer?,
        };
        Ok(Session::new(self.clone(), answer.client_id, 0))
    }

    /// Goes on with a session that another process has begun: what it didn't acknowledge comes
    /// again, and what it said isn't repeated.
    pub fn resume(&self, client_id: ClientId) -> Session {
        Session::new(self.clone(), client_id, first_number())
    }

    fn token(&self) -> Token {
        lock(&self.account.token).clone()
    }

    /// Whether it can get a further token.
    fn renews(&self) -> bool {
        self.account.credentials.is_some()
    }

    /// A further token, in place of the one that was refused with `problem`.
    async fn renew(&self, problem: Problem) -> Result<(), Problem> {
        if !self.renews() {
            return Err(problem);
        }
        self.renew_token().await
    }

    /// A further token, where there are credentials for it.
    async fn renew_token(&self) -> Result<(), Problem> {
        let Some((user, password)) = &self.account.credentials else { return Ok(()) };
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

/// A value as JSON.
pub(crate) fn raw(value: &(impl Serialize + ?Sized)) -> Result<Box<RawValue>, Problem> {
    serde_json::value::to_raw_value(value).map_err(|error| VALUE.detail(error.to_string()))
}

/// Nothing panics while it holds one of these locks; if something did, the value is whole all the
/// same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
