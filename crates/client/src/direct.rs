//! Direct connections, the game server's side. A player shows a connect token; this module checks
//! the token without a request to the backend.
//!
//! A player gets address, ports and token with its assignment
//! ([`DirectConnection`](omgservers_api::interchange::DirectConnection)) and sends the token first.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ed25519_dalek::{Signature, VerifyingKey};
use omgservers_api::{ClientId, Problem, RuntimeId, UserId};
use serde::Deserialize;

use crate::{
    problems::{CONNECT_TOKEN, ENVIRONMENT},
    runtime::RUNTIME_ID,
};

/// The variable with the public key, PEM. Only runtimes whose version names ports have it.
pub const CONNECT_KEY: &str = "OMGSERVERS_CONNECT_KEY";

/// How far the clocks of the backend and of this host may be apart.
const LEEWAY: Duration = Duration::from_secs(5);
/// Longer texts are no token.
const LONGEST: usize = 4096;
/// What comes before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Checks the tokens of players who connect to this runtime.
#[derive(Clone)]
pub struct Verifier {
    key: VerifyingKey,
    runtime: RuntimeId,
}

/// The client that connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedConnectToken {
    /// The session, which the runtime knows from ADD_CLIENT.
    pub client_id: ClientId,
    /// The player.
    pub user_id: UserId,
    /// Names the token: who lets each in only once remembers it until `expires`.
    pub token_id: String,
    /// Until when the token is good. A connection may go on for longer.
    pub expires: SystemTime,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct TokenClaims {
    aud: String,
    sub: ClientId,
    user_id: UserId,
    runtime_id: RuntimeId,
    exp: u64,
    jti: String,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}

impl Verifier {
    /// The verifier that the environment describes; `None` for a runtime without ports. Problems:
    /// `client.environment`.
    #[expect(clippy::disallowed_methods, reason = "the environment is how the contract speaks to a runtime")]
    pub fn from_env() -> Result<Option<Self>, Problem> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Like [`from_env`](Self::from_env), with another source of the variables.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Problem> {
        let Some(pem) = variable(CONNECT_KEY).filter(|it| !it.is_empty()) else { return Ok(None) };
        let runtime = variable(RUNTIME_ID)
            .and_then(|it| it.parse().ok())
            .ok_or_else(|| ENVIRONMENT.detail(format!("{RUNTIME_ID} isn't the id of a runtime")))?;
        Self::new(&pem, runtime).map(Some)
    }

    /// A verifier of tokens for `runtime` with this public key (Ed25519, PEM). Problems:
    /// `client.environment`.
    pub fn new(pem: &str, runtime: RuntimeId) -> Result<Self, Problem> {
        let wrong = || ENVIRONMENT.detail(format!("{CONNECT_KEY} isn't an Ed25519 public key as PEM"));
        let body = pem
            .trim()
            .strip_prefix("-----BEGIN PUBLIC KEY-----")
            .and_then(|it| it.strip_suffix("-----END PUBLIC KEY-----"))
            .ok_or_else(wrong)?;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD.decode(body).ok();
        let key = der.as_ref().and_then(|it| it.strip_prefix(&PREFIX)).and_then(|it| it.try_into().ok());
        let key = key.and_then(|it| VerifyingKey::from_bytes(it).ok()).ok_or_else(wrong)?;
        Ok(Self { key, runtime })
    }

    /// Checks a token now. Problems: `client.connect_token`, with what is wrong.
    pub fn verify(&self, token: &str) -> Result<VerifiedConnectToken, Problem> {
        self.verify_at(token, SystemTime::now())
    }

    /// Checks a token at another time.
    pub fn verify_at(&self, token: &str, now: SystemTime) -> Result<VerifiedConnectToken, Problem> {
        let refused = |why: &str| CONNECT_TOKEN.detail(why);
        let no_token = || refused("that is no token");
        if token.len() > LONGEST {
            return Err(no_token());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(no_token)?;
        let (header, claims) = signed.split_once('.').ok_or_else(no_token)?;
        // The key says what signs; a token isn't asked for its opinion.
        if read::<Header>(header).ok_or_else(no_token)?.alg != "EdDSA" {
            return Err(refused("the token isn't signed with EdDSA"));
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok();
        let signature = signature.and_then(|it| Signature::from_slice(&it).ok()).ok_or_else(no_token)?;
        if self.key.verify_strict(signed.as_bytes(), &signature).is_err() {
            return Err(refused("the token isn't signed by this backend"));
        }
        let claims: TokenClaims = read(claims).ok_or_else(no_token)?;
        let audience = format!("runtime:{}", self.runtime);
        if claims.aud != audience || claims.runtime_id != self.runtime {
            return Err(refused("the token is for another runtime"));
        }
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp)).ok_or_else(no_token)?;
        if now.checked_sub(LEEWAY).is_none_or(|it| it >= expires) {
            return Err(refused("the token has expired"));
        }
        let TokenClaims { sub: client_id, user_id, jti: token_id, .. } = claims;
        Ok(VerifiedConnectToken { client_id, user_id, token_id, expires })
    }
}

/// A part of a token.
fn read<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
