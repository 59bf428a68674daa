//! Tokens: issued by us, verified by us. The README has the table of all kinds.

mod claims;
mod config;
mod spent;

use std::{fmt, sync::Arc};

use foldhash::quality::RandomState;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use moka::sync::Cache;
use omgservers_api::{ClientId, Problem, Role, RuntimeId, UserId, problem::codes};
use omgservers_core::Clock;

pub use self::config::TokenConfig;
use self::{
    claims::{Audience, Claims},
    spent::Spent,
};
use crate::{Keys, revoked::Revoked};

/// Longer texts are no token of ours; a registry token with many repositories is the longest.
const LONGEST: usize = 16 * 1024;
/// Bytes of verified API tokens and of verified registry tokens that are remembered.
const API_CACHE: u64 = 96 << 20;
const REGISTRY_CACHE: u64 = 8 << 20;
/// What an entry takes besides the token's text, in bytes.
const ENTRY: usize = 200;

/// What an API token proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// A user of this role asks.
    User {
        /// Who.
        id: UserId,
        /// What the user is.
        role: Role,
    },
    /// A game server asks.
    Runtime(RuntimeId),
}

/// What a WebSocket token proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WsClaims {
    /// A game server wants to speak to its players.
    Runtime {
        /// Who.
        runtime: RuntimeId,
        /// What the issuer bound the token to.
        assignment: u64,
    },
    /// A player wants to speak to the game server.
    Player {
        /// Who.
        client: ClientId,
        /// The game server.
        runtime: RuntimeId,
        /// What the issuer bound the token to: it is void when the client's assignment is another
        /// one.
        assignment: u64,
    },
}

impl WsClaims {
    /// The game server whose room it is.
    pub const fn runtime(self) -> RuntimeId {
        match self {
            Self::Runtime { runtime, .. } | Self::Player { runtime, .. } => runtime,
        }
    }
}

/// What may be done with one resource of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Access {
    /// `repository` or `registry`.
    pub r#type: String,
    /// The repository's name without host and tag.
    pub name: String,
    /// `pull`, `push`, `delete` or `*`.
    pub actions: Vec<String>,
}

/// What a registry access token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryClaims {
    /// Whom the token was made for: a user id, or the backend itself.
    pub subject: String,
    /// What the bearer may do.
    pub access: Vec<Access>,
}

/// Issues and verifies tokens.
pub struct Tokens {
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
    config: TokenConfig,
    revoked: Revoked,
    spent: Spent,
    /// The second of wall time in which this process began to remember used tokens.
    started: i64,
    api: Cache<String, Dated<Verified>, RandomState>,
    registry: Cache<String, Dated<Arc<RegistryClaims>>, RandomState>,
}

/// An API token whose signature was verified.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedToken(Dated<Verified>);

impl VerifiedToken {
    /// What it proved when it was verified or checked last.
    pub const fn verified(&self) -> Verified {
        self.0.of
    }
}

/// A token that was verified once; the times are seconds of wall time.
#[derive(Debug, Clone, Copy)]
struct Dated<T> {
    of: T,
    issued: i64,
    expires: i64,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("keys", &self.keys)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    /// Signs with the newest of `keys` and verifies with all of them. Lives above 400 days are cut,
    /// for keys are kept no longer.
    pub fn new(keys: Arc<Keys>, clock: Arc<dyn Clock>, config: TokenConfig) -> Self {
        Self {
            started: clock.now().timestamp(),
            keys,
            clock,
            config: config.cut(),
            revoked: Revoked::default(),
            spent: Spent::default(),
            api: remember(API_CACHE),
            registry: remember(REGISTRY_CACHE),
        }
    }

    /// The configured lives, for answers that tell how long a token is good for.
    pub fn config(&self) -> &TokenConfig {
        &self.config
    }

    /// A user's API token.
    pub fn user(&self, id: UserId, role: Role) -> Result<String, Problem> {
        let mut claims = self.claims(Audience::Api, id.to_string(), self.config.user);
        claims.groups = vec![role.as_str().into()];
        claims.user_id = Some(id);
        self.sign(&claims)
    }

    /// A game server's API token.
    pub fn runtime(&self, id: RuntimeId) -> Result<String, Problem> {
        let mut claims = self.claims(Audience::Api, id.to_string(), self.config.runtime);
        claims.groups = vec![RUNTIME.into()];
        claims.runtime_id = Some(id);
        self.sign(&claims)
    }

    /// A game server's WebSocket token. `assignment` is the caller's own mark, given back by
    /// [`redeem_ws`](Self::redeem_ws) and below 2^53.
    pub fn ws_runtime(&self, id: RuntimeId, assignment: u64) -> Result<String, Problem> {
        let mut claims = self.ws_claims(id.to_string());
        claims.groups = vec![WEBSOCKET.into()];
        (claims.runtime_id, claims.user_role) = (Some(id), Some(RUNTIME.into()));
        claims.assignment = Some(assignment);
        self.sign(&claims)
    }

    /// A player's WebSocket token for one game server and one assignment to it.
    pub fn ws_player(
        &self,
        client: ClientId,
        runtime: RuntimeId,
        assignment: u64,
    ) -> Result<String, Problem> {
        let mut claims = self.ws_claims(client.to_string());
        claims.groups = vec![WEBSOCKET.into()];
        (claims.runtime_id, claims.user_role) = (Some(runtime), Some(Role::Player.as_str().into()));
        claims.assignment = Some(assignment);
        self.sign(&claims)
    }

    /// A registry access token with exactly `access`, also when that is empty. `subject` is shown
    /// in a registry's logs.
    pub fn registry(&self, subject: &str, access: &[Access]) -> Result<String, Problem> {
        let mut claims = self.claims(Audience::Registry, subject.to_owned(), self.config.registry);
        claims.access = Some(access.to_vec());
        let mut header = Header::new(Algorithm::ES256);
        header.x5c = Some(self.keys.registry().chain(self.clock.now())?.to_vec());
        encode(&header, &claims, self.keys.registry().signing()).map_err(Problem::internal)
    }

    /// A token that is good for new registry access tokens, and for nothing else.
    pub fn registry_refresh(&self, user: UserId) -> Result<String, Problem> {
        let mut claims = self.claims(Audience::Refresh, user.to_string(), self.config.refresh);
        claims.user_id = Some(user);
        self.sign(&claims)
    }

    /// Checks an API token. A token that was verified before costs a look-up. Problems:
    /// `auth.token`.
    pub fn verify(&self, token: &str) -> Result<Verified, Problem> {
        self.prove(token).map(|it| it.verified())
    }

    /// The same, for who keeps the answer and [checks](Self::check) it when the same token comes
    /// again.
    pub fn prove(&self, token: &str) -> Result<VerifiedToken, Problem> {
        if let Some(dated) = self.api.get(token) {
            let checked = self.check(&VerifiedToken(dated));
            if checked.is_err() {
                self.api.invalidate(token);
            }
            return checked.map(|_| VerifiedToken(dated));
        }
        let claims = self.decode(token, Audience::Api)?;
        let dated = Dated { of: claims.api()?, issued: claims.iat, expires: claims.exp };
        self.check(&VerifiedToken(dated))?;
        self.api.insert(token.to_owned(), dated);
        Ok(VerifiedToken(dated))
    }

    /// Checks whether a token still proves what it did. Problems: `auth.token`.
    pub fn check(&self, token: &VerifiedToken) -> Result<Verified, Problem> {
        let VerifiedToken(dated) = token;
        self.still(self.now(), dated, dated.of.user())?;
        Ok(dated.of)
    }

    /// Checks a WebSocket token and uses it up: this process refuses the same token from then on.
    /// It also refuses one from before its start, which another process may have used up. Problems:
    /// `auth.token`; `unavailable` when so many tokens were used within their life that no more can
    /// be remembered.
    pub fn redeem_ws(&self, token: &str) -> Result<WsClaims, Problem> {
        let (claims, now) = (self.decode(token, Audience::Ws)?, self.now());
        let dated = Dated { of: claims.ws()?, issued: claims.iat, expires: claims.exp };
        self.still(now, &dated, None)?;
        if dated.issued <= self.started {
            return Err(
                codes::WRONG_TOKEN.detail("the token is from before the server's start; ask for another one")
            );
        }
        self.spent.spend(&claims.jti, claims.exp, now)?;
        Ok(dated.of)
    }

    /// Checks a registry access token; one that was verified before costs a look-up. Problems:
    /// `auth.token`.
    pub fn verify_registry(&self, token: &str) -> Result<RegistryClaims, Problem> {
        let now = self.now();
        if let Some(dated) = self.registry.get(token) {
            return match self.still(now, &dated, dated.of.subject.parse().ok()) {
                Ok(()) => Ok(RegistryClaims::clone(&dated.of)),
                Err(problem) => {
                    self.registry.invalidate(token);
                    Err(problem)
                }
            };
        }
        let claims = self.decode(token, Audience::Registry)?;
        let (issued, expires) = (claims.iat, claims.exp);
        let dated = Dated { of: Arc::new(claims.registry()?), issued, expires };
        self.still(now, &dated, dated.of.subject.parse().ok())?;
        let verified = RegistryClaims::clone(&dated.of);
        self.registry.insert(token.to_owned(), dated);
        Ok(verified)
    }

    /// Checks a refresh token. Who holds one may be gone for longer than this process lives: ask
    /// `accounts` for the user. Problems: `auth.token`.
    pub fn verify_refresh(&self, token: &str) -> Result<UserId, Problem> {
        let claims = self.decode(token, Audience::Refresh)?;
        let dated = Dated { of: claims.refresh()?, issued: claims.iat, expires: claims.exp };
        self.still(self.now(), &dated, Some(dated.of))?;
        Ok(dated.of)
    }

    /// Refuses what was issued to a user until now, in this process and as long as it lives.
    pub fn revoke_user(&self, user: UserId) {
        let longest = self.config.user.max(self.config.registry).max(self.config.refresh);
        self.revoked.add(user, self.now(), seconds(longest));
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().timestamp()
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    fn claims(&self, audience: Audience, sub: String, life: std::time::Duration) -> Claims {
        let now = self.now();
        Claims {
            iss: self.config.issuer.clone(),
            iat: now,
            exp: now.saturating_add(seconds(life)),
            jti: format!("{:032x}", rand::random::<u128>()),
            aud: audience.as_str().to_owned(),
            sub,
            ..Claims::default()
        }
    }

    /// Claims of a WebSocket token. In the second of the start they are dated ahead: a token of an
    /// earlier process can have that second's date.
    fn ws_claims(&self, subject: String) -> Claims {
        let mut claims = self.claims(Audience::Ws, subject, self.config.ws);
        claims.iat = claims.iat.max(self.started.saturating_add(1));
        claims
    }

    fn sign(&self, claims: &Claims) -> Result<String, Problem> {
        self.keys.newest()?.sign(claims)
    }

    /// Checks everything but the times, which are the [`Clock`]'s business.
    fn decode(&self, token: &str, audience: Audience) -> Result<Claims, Problem> {
        if token.len() > LONGEST {
            return Err(codes::WRONG_TOKEN.into());
        }
        let refused = |it| Problem::from(codes::WRONG_TOKEN).because(it);
        let (algorithm, key) = if audience == Audience::Registry {
            (Algorithm::ES256, self.keys.registry().verifying())
        } else {
            let kid = decode_header(token).map_err(refused)?.kid;
            let key = kid.as_deref().and_then(|it| self.keys.find(it)).ok_or(codes::WRONG_TOKEN)?;
            (Algorithm::EdDSA, &key.verifying)
        };
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[audience.as_str()]);
        Ok(decode::<Claims>(token, key, &validation).map_err(refused)?.claims)
    }

    fn still<T>(&self, now: i64, dated: &Dated<T>, user: Option<UserId>) -> Result<(), Problem> {
        if now >= dated.expires {
            return Err(codes::WRONG_TOKEN.detail("the token has expired; ask for another one"));
        }
        if user.is_some_and(|it| self.revoked.covers(it, dated.issued)) {
            return Err(codes::WRONG_TOKEN.detail("the token was revoked"));
        }
        Ok(())
    }
}

impl Verified {
    fn user(self) -> Option<UserId> {
        match self {
            Self::User { id, .. } => Some(id),
            Self::Runtime(_) => None,
        }
    }
}

const RUNTIME: &str = "runtime";
const WEBSOCKET: &str = "websocket";

fn seconds(life: std::time::Duration) -> i64 {
    i64::try_from(life.as_secs()).unwrap_or(i64::MAX)
}

/// Bounded by the bytes of the tokens, whose lengths outsiders choose. Only tokens of our own are
/// in it, so that nobody can choose colliding ones; a fast hash is enough.
fn remember<T: Clone + Send + Sync + 'static>(bytes: u64) -> Cache<String, Dated<T>, RandomState> {
    let weigh = |token: &String, _: &Dated<T>| u32::try_from(token.len() + ENTRY).unwrap_or(u32::MAX);
    Cache::builder().max_capacity(bytes).weigher(weigh).build_with_hasher(RandomState::default())
}

#[cfg(test)]
mod tests;
