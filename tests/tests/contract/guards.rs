//! Who may call what, for every endpoint of the table.

use std::time::Duration;

use omgservers_api::{
    Role,
    entrypoint::{EndpointAccess, endpoint},
};
use omgservers_auth::{Access, TokenConfig};
use serde_json::json;

use crate::fixture::{ContractFixture, assert_error};

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_that_needs_a_token_refuses_the_anonymous_the_forged_and_the_foreign() {
    let fixture = ContractFixture::start().await;
    let mut tokens = Vec::new();
    for role in ["admin", "support", "developer", "player", "runtime"] {
        tokens.push((role, fixture.token(role).await));
    }
    let worthless = worthless(&fixture);
    for endpoint in endpoint::all().filter(|it| it.access == EndpointAccess::Bearer) {
        let (role, verb) = (endpoint.role.as_str(), endpoint.verb);
        let (status, answer) = fixture.post(role, verb, None, json!({})).await;
        assert_error(status, &answer, 401, "WRONG_CREDENTIALS");
        for forged in forged(&tokens[0].1) {
            let (status, answer) = fixture.post(role, verb, Some(&forged), json!({})).await;
            assert_error(status, &answer, 401, "WRONG_CREDENTIALS");
        }
        for (what, token) in &worthless {
            let (status, answer) = fixture.post(role, verb, Some(token), json!({})).await;
            assert_eq!(status, 401, "{what} at {role}/{verb}: {answer}");
            assert_error(status, &answer, 401, "WRONG_CREDENTIALS");
        }
        for (other, token) in tokens.iter().filter(|it| it.0 != role) {
            let (status, answer) = fixture.post(role, verb, Some(token), json!({})).await;
            assert_eq!(status, 403, "{other} at {role}/{verb}: {answer}");
            assert_error(status, &answer, 403, "WRONG_CREDENTIALS");
        }
    }
    fixture.stop().await;
}

/// Tokens that are signed with the server's own keys and still are no good, for any role.
fn worthless(fixture: &ContractFixture) -> Vec<(String, String)> {
    let ours = fixture.tokens(TokenConfig::default());
    let nobody = "42".parse().unwrap();
    let everything = Access {
        r#type: "repository".to_owned(),
        name: "omgservers/1/2/universal".to_owned(),
        actions: vec!["pull".to_owned(), "push".to_owned(), "delete".to_owned()],
    };
    let mut tokens = vec![
        ("a registry token".to_owned(), ours.registry("42", &[everything]).unwrap()),
        ("a refresh token".to_owned(), ours.registry_refresh(nobody).unwrap()),
        ("a runtime's WebSocket token".to_owned(), ours.ws_runtime("42".parse().unwrap(), 1).unwrap()),
        (
            "a player's WebSocket token".to_owned(),
            ours.ws_player("42".parse().unwrap(), "42".parse().unwrap(), 1).unwrap(),
        ),
    ];
    let foreign =
        fixture.tokens(TokenConfig { issuer: "somebody-else".to_owned(), ..TokenConfig::default() });
    let expired = fixture.tokens(TokenConfig {
        user: Duration::ZERO,
        runtime: Duration::ZERO,
        ..TokenConfig::default()
    });
    for (why, tokens_of) in [("another issuer's", foreign), ("an expired", expired)] {
        for role in [Role::Admin, Role::Support, Role::Developer, Role::Player] {
            tokens.push((format!("{why} token of {role}"), tokens_of.user(nobody, role).unwrap()));
        }
        let runtime = tokens_of.runtime("42".parse().unwrap()).unwrap();
        tokens.push((format!("{why} token of a runtime"), runtime));
    }
    tokens
}

#[tokio::test(flavor = "multi_thread")]
async fn where_other_tokens_are_asked_for_those_of_the_api_are_worthless() {
    let fixture = ContractFixture::start().await;
    let http = reqwest::Client::new();
    let mut tokens = Vec::new();
    for role in ["admin", "support", "developer", "player", "runtime"] {
        tokens.push(fixture.token(role).await);
    }
    let worthless = worthless(&fixture);
    let of_api =
        tokens.iter().chain(worthless.iter().filter(|it| !it.0.contains("registry")).map(|it| &it.1));
    for token in of_api {
        let registry = http.get(format!("{}/v2/", fixture.url)).bearer_auth(token).send().await.unwrap();
        assert_eq!(registry.status(), 401);
    }
    // What is good at the registry or the dispatcher isn't at the token service, and the other way
    // round.
    let refresh = |it: &str| it == "a refresh token";
    let not_refresh = tokens.iter().chain(worthless.iter().filter(|it| !refresh(&it.0)).map(|it| &it.1));
    for token in not_refresh {
        let form = [("grant_type", "refresh_token"), ("service", "registry"), ("refresh_token", token)];
        let url = format!("{}/service/v1/entrypoint/docker/request/create-token", fixture.url);
        let answer = http.post(url).form(&form).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{}", answer.text().await.unwrap());
    }
    let not_ws =
        tokens.iter().chain(worthless.iter().filter(|it| !it.0.contains("WebSocket")).map(|it| &it.1));
    for token in not_ws {
        let url = format!("{}{}?ws_token={token}", fixture.url, omgservers_api::dispatcher::PATH);
        let request = http.get(url).header("Connection", "Upgrade").header("Upgrade", "websocket");
        let request = request.header("Sec-WebSocket-Version", "13");
        let answer = request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").send().await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    fixture.stop().await;
}

/// Tokens that nobody issued.
fn forged(token: &str) -> Vec<String> {
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let payload = rest.split('.').nth(1).unwrap();
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
    let turned: String = signature.chars().rev().collect();
    vec![
        unsigned,
        format!("{rest}.{turned}"),
        rest.to_owned(),
        "x".to_owned(),
        "ä.ö.ü".replace(|it: char| !it.is_ascii(), "y"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roles_create_token_takes_users_of_that_role_only_and_reveals_nothing() {
    let fixture = ContractFixture::start().await;
    let player = fixture.ok("player", "create-user", None, json!({})).await;
    let mut answers = Vec::new();
    for (role, body) in [
        ("admin", json!({"user": "support", "password": "support"})),
        ("support", json!({"user": "admin", "password": "admin"})),
        ("support", json!({"user": "nobody", "password": "x"})),
        ("support", json!({"user": "support", "password": "wrong"})),
        ("developer", json!({"user_id": player["user_id"], "password": player["password"]})),
        ("player", json!({"user_id": player["user_id"], "password": "wrong"})),
        ("player", json!({"user_id": "123456789", "password": "wrong"})),
    ] {
        let (status, mut answer) = fixture.post(role, "create-token", None, body).await;
        assert_error(status, &answer, 401, "WRONG_CREDENTIALS");
        answer["request_id"] = json!(null);
        answers.push(answer);
    }
    assert!(answers.windows(2).all(|it| it[0] == it[1]), "one answer for all: {answers:#?}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_can_not_ask_without_end() {
    let fixture = ContractFixture::with(|config| {
        config.limits.anonymous_per_second = 1;
        config.limits.anonymous_burst = 5;
    })
    .await;
    let mut refused = None;
    for _ in 0..10 {
        let (status, answer) = fixture.post("player", "ping-service", None, json!({"message": "ping"})).await;
        if status == 429 {
            refused = Some(answer);
        }
    }
    assert_eq!(refused.expect("refused in the end")["qualifier"], "TOO_MANY_REQUESTS");
    fixture.stop().await;
}
