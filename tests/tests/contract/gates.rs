//! Who may call what, for every endpoint of the table.

use omgservers_http::endpoints;
use serde_json::json;

use crate::bench::{Bench, assert_error};

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_that_needs_a_token_refuses_the_anonymous_the_forged_and_the_foreign() {
    let bench = Bench::start().await;
    let mut tokens = Vec::new();
    for role in ["admin", "support", "developer", "player"] {
        tokens.push((role, bench.token(role).await));
    }
    for endpoint in endpoints().iter().filter(|it| it.bearer) {
        let (role, verb) = (endpoint.role, endpoint.verb);
        let (status, answer) = bench.post(role, verb, None, json!({})).await;
        assert_error(status, &answer, 401, "WRONG_CREDENTIALS");
        for forged in forged(&tokens[0].1) {
            let (status, answer) = bench.post(role, verb, Some(&forged), json!({})).await;
            assert_error(status, &answer, 401, "WRONG_CREDENTIALS");
        }
        for (other, token) in tokens.iter().filter(|it| it.0 != role) {
            let (status, answer) = bench.post(role, verb, Some(token), json!({})).await;
            assert_eq!(status, 403, "{other} at {role}/{verb}: {answer}");
            assert_error(status, &answer, 403, "WRONG_CREDENTIALS");
        }
    }
    bench.stop().await;
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
async fn a_roles_create_token_takes_users_of_that_role_only_and_tells_nothing() {
    let bench = Bench::start().await;
    let player = bench.ok("player", "create-user", None, json!({})).await;
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
        let (status, mut answer) = bench.post(role, "create-token", None, body).await;
        assert_error(status, &answer, 401, "WRONG_CREDENTIALS");
        answer["request_id"] = json!(null);
        answers.push(answer);
    }
    assert!(answers.windows(2).all(|it| it[0] == it[1]), "one answer for all: {answers:#?}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_can_not_ask_without_end() {
    let bench = Bench::with(|config| {
        config.limits.anonymous_per_second = 1;
        config.limits.anonymous_burst = 5;
    })
    .await;
    let mut refused = None;
    for _ in 0..10 {
        let (status, answer) = bench.post("player", "ping-service", None, json!({"message": "ping"})).await;
        if status == 429 {
            refused = Some(answer);
        }
    }
    assert_eq!(refused.expect("refused in the end")["qualifier"], "TOO_MANY_REQUESTS");
    bench.stop().await;
}
