//! Connect tokens that the backend makes, and all that aren't quite those.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use omgservers_auth::{ConnectKey, Keys, TokenConfig, Tokens};
use omgservers_client::{
    api::{ClientId, RuntimeId, UserId, ids::Id as _},
    direct::{CONNECT_KEY, Verifier},
    problems::{CONNECT_TOKEN, ENVIRONMENT},
    runtime::RUNTIME_ID,
};
use omgservers_core::SystemClock;
use proptest::prelude::*;

struct Backend {
    tokens: Tokens,
    key: ConnectKey,
}

impl Backend {
    fn new() -> Self {
        let keys = Keys::ephemeral();
        let key = keys.connect_key().unwrap();
        let tokens = Tokens::new(Arc::new(keys), Arc::new(SystemClock::default()), TokenConfig::default());
        Self { tokens, key }
    }

    fn token(&self, for_runtime: i64) -> String {
        let (client, user) = (ClientId::from_i64(7).unwrap(), UserId::from_i64(8).unwrap());
        self.tokens.connect(client, user, runtime(for_runtime), &self.key.kid).unwrap()
    }

    fn verifier(&self) -> Verifier {
        Verifier::new(&self.key.pem, runtime(9)).unwrap()
    }
}

fn runtime(id: i64) -> RuntimeId {
    RuntimeId::from_i64(id).unwrap()
}

fn why(verifier: &Verifier, token: &str) -> String {
    let problem = verifier.verify(token).unwrap_err();
    assert!(problem.is(CONNECT_TOKEN), "{problem:?}");
    problem.sentence().to_owned()
}

#[test]
fn a_token_names_its_client() {
    let backend = Backend::new();
    let connecting = backend.verifier().verify(&backend.token(9)).unwrap();
    assert_eq!((connecting.client_id.get(), connecting.user_id.get()), (7, 8));
    let left = connecting.expires.duration_since(SystemTime::now()).unwrap();
    assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(50), "{left:?}");
    let other = backend.verifier().verify(&backend.token(9)).unwrap();
    assert_ne!(connecting.token_id, other.token_id);
}

#[test]
fn a_token_is_good_for_a_minute() {
    let backend = Backend::new();
    let (verifier, token) = (backend.verifier(), backend.token(9));
    let expires = verifier.verify(&token).unwrap().expires;
    verifier.verify_at(&token, expires + Duration::from_secs(4)).unwrap();
    let problem = verifier.verify_at(&token, expires + Duration::from_secs(5)).unwrap_err();
    assert!(problem.sentence().contains("expired"), "{problem:?}");
}

#[test]
fn a_token_for_another_runtime_or_of_another_backend_is_refused() {
    let (backend, other) = (Backend::new(), Backend::new());
    assert!(why(&backend.verifier(), &backend.token(10)).contains("another runtime"));
    assert!(why(&backend.verifier(), &other.token(9)).contains("isn't signed by this backend"));
    // A runtime's own API token proves nothing here.
    let api = backend.tokens.runtime(runtime(9)).unwrap();
    assert!(why(&backend.verifier(), &api).contains("isn't signed by this backend"));
}

#[test]
fn a_token_that_chooses_its_own_algorithm_is_refused() {
    let backend = Backend::new();
    let token = backend.token(9);
    let (_header, rest) = token.split_once('.').unwrap();
    for alg in ["none", "HS256", "ES256"] {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}"}}"#));
        assert!(why(&backend.verifier(), &format!("{header}.{rest}")).contains("EdDSA"));
    }
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA"}"#);
    assert!(why(&backend.verifier(), &format!("{header}.{rest}")).contains("signed by this backend"));
}

#[test]
fn claims_that_were_changed_are_refused() {
    let backend = Backend::new();
    let token = backend.token(10);
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let claims = URL_SAFE_NO_PAD.encode(text.replace("\"10\"", "\"9\"").replace("runtime:10", "runtime:9"));
    let forged = format!("{header}.{claims}.{signature}");
    assert!(why(&backend.verifier(), &forged).contains("signed by this backend"));
}

#[test]
fn the_environment_of_a_runtime_makes_a_verifier_if_it_has_ports() {
    let backend = Backend::new();
    let with = |key: Option<&str>, id: Option<&str>| {
        let (key, id) = (key.map(str::to_owned), id.map(str::to_owned));
        Verifier::from_variables(move |name| match name {
            CONNECT_KEY => key.clone(),
            RUNTIME_ID => id.clone(),
            _ => None,
        })
    };
    let verifier = with(Some(&backend.key.pem), Some("9")).unwrap().unwrap();
    verifier.verify(&backend.token(9)).unwrap();
    assert!(with(None, Some("9")).unwrap().is_none());
    assert!(with(Some(""), Some("9")).unwrap().is_none());
    let half = &backend.key.pem[..backend.key.pem.len() / 2];
    for (key, id) in [(backend.key.pem.as_str(), None), (half, Some("9")), ("key", Some("9"))] {
        assert!(with(Some(key), id).unwrap_err().is(ENVIRONMENT));
    }
}

proptest! {
    #[test]
    fn no_text_is_let_in_and_none_makes_the_verifier_panic(text in "[a-zA-Z0-9_.{}\":-]{0,200}", at in any::<prop::sample::Index>(), by in any::<char>()) {
        let backend = Backend::new();
        prop_assert!(backend.verifier().verify(&text).is_err());
        let token = backend.token(9);
        let mut changed: Vec<char> = token.chars().collect();
        let at = at.index(changed.len());
        if changed[at] != by {
            changed[at] = by;
            let changed: String = changed.into_iter().collect();
            prop_assert!(backend.verifier().verify(&changed).is_err(), "{changed}");
        }
    }
}
