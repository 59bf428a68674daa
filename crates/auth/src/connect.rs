//! Connect tokens: a player shows one to the game server that it connects to directly. The game
//! server checks it by itself, with the public key in its environment; that is why these have keys
//! of their own.

use omgservers_api::{ClientId, Problem, RuntimeId, UserId};
use serde::Serialize;

use crate::{Keys, Tokens};

/// What verifies connect tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectKey {
    /// Its name, to be given to [`Tokens::connect`] for game servers that were started with it.
    pub kid: String,
    /// The public key (Ed25519) as PEM.
    pub pem: String,
}

#[derive(Serialize)]
struct ConnectTokenClaims<'a> {
    iss: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
    aud: String,
    sub: ClientId,
    user_id: UserId,
    runtime_id: RuntimeId,
}

impl Keys {
    /// What a game server that is started now gets.
    pub fn connect_key(&self) -> Result<ConnectKey, Problem> {
        let newest = self.connect(None)?;
        Ok(ConnectKey { kid: newest.kid.clone(), pem: newest.public_pem() })
    }
}

impl Tokens {
    /// A player's token for connecting to one game server, which was started with the
    /// [`ConnectKey`] named `kid`.
    pub fn connect(
        &self,
        client: ClientId,
        user: UserId,
        runtime: RuntimeId,
        kid: &str,
    ) -> Result<String, Problem> {
        let iat = self.now();
        self.keys().connect(Some(kid))?.sign(&ConnectTokenClaims {
            iss: &self.config().issuer,
            iat,
            exp: iat.saturating_add(i64::try_from(self.config().connect.as_secs()).unwrap_or(i64::MAX)),
            jti: format!("{:032x}", rand::random::<u128>()),
            aud: format!("runtime:{runtime}"),
            sub: client,
            user_id: user,
            runtime_id: runtime,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    use omgservers_api::ids::Id as _;
    use omgservers_core::{Clock as _, SystemClock};
    use serde_json::Value;

    use super::*;
    use crate::TokenConfig;

    fn tokens(keys: Keys) -> Tokens {
        let config = TokenConfig { connect: Duration::from_secs(45), ..TokenConfig::default() };
        Tokens::new(Arc::new(keys), Arc::new(SystemClock::default()), config)
    }

    fn token(tokens: &Tokens, kid: &str) -> String {
        let [client, user, runtime] = [7, 8, 9];
        tokens
            .connect(
                ClientId::from_i64(client).unwrap(),
                UserId::from_i64(user).unwrap(),
                RuntimeId::from_i64(runtime).unwrap(),
                kid,
            )
            .unwrap()
    }

    fn claims(key: &ConnectKey, token: &str) -> jsonwebtoken::errors::Result<Value> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&["runtime:9"]);
        let key = DecodingKey::from_ed_pem(key.pem.as_bytes())?;
        decode::<Value>(token, &key, &validation).map(|it| it.claims)
    }

    #[test]
    fn a_token_names_client_and_runtime_and_the_public_key_verifies_it() {
        let keys = Keys::ephemeral();
        let key = keys.connect_key().unwrap();
        let tokens = tokens(keys);
        let token = token(&tokens, &key.kid);
        let claims = claims(&key, &token).unwrap();
        assert_eq!(
            [&claims["sub"], &claims["user_id"], &claims["runtime_id"], &claims["aud"], &claims["iss"]],
            ["7", "8", "9", "runtime:9", "omgservers"]
        );
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 45);
        assert!((SystemClock::default().now().timestamp() - claims["iat"].as_i64().unwrap()).abs() < 5);
        assert_eq!(decode_header(&token).unwrap().kid, Some(key.kid));
    }

    #[test]
    fn it_is_nothing_to_the_backend_and_the_backends_tokens_are_nothing_to_game_servers() {
        let keys = Keys::ephemeral();
        let key = keys.connect_key().unwrap();
        let tokens = tokens(keys);
        assert!(tokens.verify(&token(&tokens, &key.kid)).is_err());
        assert!(tokens.redeem_ws(&token(&tokens, &key.kid)).is_err());
        assert!(claims(&key, &tokens.runtime(RuntimeId::from_i64(9).unwrap()).unwrap()).is_err());
    }

    #[test]
    fn after_a_rotation_game_servers_that_run_still_get_tokens_of_their_key() {
        let dir = tempfile::tempdir().unwrap();
        let before = Keys::load_or_create(dir.path()).unwrap().connect_key().unwrap();
        let keys = Keys::rotate(dir.path()).unwrap();
        let after = keys.connect_key().unwrap();
        assert_ne!(before, after);
        let tokens = tokens(keys);
        for (key, other) in [(&before, &after), (&after, &before)] {
            let token = token(&tokens, &key.kid);
            claims(key, &token).unwrap();
            assert!(claims(other, &token).is_err());
        }
        // A key that is gone is no reason to make none.
        claims(&after, &token(&tokens, "connect-1-00000000")).unwrap();
    }
}
