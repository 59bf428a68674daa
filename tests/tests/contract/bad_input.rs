//! Malformed, truncated, nested, oversized and wrongly typed bodies at every endpoint: each answers its error, and
//! the server goes on.

use omgservers_http::endpoints;
use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{Bench, assert_error};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_of_the_right_kind_is_refused_everywhere() {
    let bench = Bench::with(|config| config.server.body_limit_bytes = 100_000).await;
    let mut tokens = std::collections::HashMap::new();
    for role in ["admin", "support", "developer", "player"] {
        tokens.insert(role, bench.token(role).await);
    }
    let nested = format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let many = format!("{{\"outgoing_messages\":[{}]}}", vec!["{}"; 10_001].join(","));
    for endpoint in endpoints().iter().filter(|it| it.role != "runtime") {
        let token = endpoint.bearer.then(|| tokens[endpoint.role].as_str());
        let path = endpoint.path();
        let at = |body: String| bench.send(Method::POST, &path, token, "application/json", body);
        for body in ["{", "{\"a\":", "nonsense", "\"text\"", "5", "[1]", "{\"a\":\u{1}}", "\u{feff}{}"] {
            let (status, answer) = at(body.to_owned()).await;
            assert_error(status, &answer, 400, "WRONG_REQUEST");
        }
        let (status, answer) = at(nested.clone()).await;
        assert_error(status, &answer, 400, "WRONG_REQUEST");
        let (status, answer) = at(format!("{{\"a\":\"{}\"}}", "x".repeat(200_000))).await;
        assert_error(status, &answer, 413, "WRONG_REQUEST");
        let (status, answer) = bench.send(Method::POST, &path, token, "text/plain", "{}").await;
        assert_error(status, &answer, 400, "WRONG_MEDIA_TYPE");
        let (status, answer) = bench.send(Method::GET, &path, token, "application/json", "").await;
        assert_error(status, &answer, 405, "WRONG_REQUEST");
        // Not UTF-8.
        let (status, answer) =
            bench.send(Method::POST, &path, token, "application/json", b"{\"a\":\"\xff\"}".to_vec()).await;
        assert!(status.is_client_error() || status.is_success(), "{path}: {status} {answer}");
    }
    let player = tokens["player"].as_str();
    let (status, answer) = bench
        .send(
            Method::POST,
            "/service/v1/entrypoint/player/request/interchange",
            Some(player),
            "application/json",
            many,
        )
        .await;
    assert_error(status, &answer, 400, "WRONG_REQUEST");
    let (status, answer) = bench.send(Method::POST, "/nowhere", None, "application/json", "{}").await;
    assert_error(status, &answer, 404, "OBJECT_NOT_FOUND");
    bench.ok("player", "ping-service", None, json!({"message": "ping"})).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_is_post_and_ids_are_strings_out_and_either_in() {
    let bench = Bench::start().await;
    let support = bench.token("support").await;
    let path = "/service/v1/entrypoint/support/request/create-tenant";
    let (status, tenant) = bench.send(Method::PUT, path, Some(&support), "application/json", "[]").await;
    assert_eq!(status, 200);
    let id: i64 = tenant["id"].as_str().unwrap().parse().unwrap();
    bench.ok("support", "create-tenant-alias", Some(&support), json!({"tenant_id": id, "alias": "a"})).await;
    let again = json!({"tenant_id": id.to_string(), "alias": "a"});
    let (status, answer) = bench.post("support", "create-tenant-alias", Some(&support), again).await;
    assert_error(status, &answer, 400, "DB_CONSTRAINT_VIOLATED");
    let deleted = bench.ok("support", "delete-tenant", Some(&support), json!({"tenant": id})).await;
    assert_eq!(deleted["deleted"], true);
    let deleted = bench.ok("support", "delete-tenant", Some(&support), json!({"tenant": id})).await;
    assert_eq!(deleted["deleted"], false);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_metacharacters_are_names() {
    let bench = Bench::start().await;
    let support = bench.token("support").await;
    for name in
        ["'; drop table tenants.tenant; --", "$(reboot)", "`id`", "a\\\"b", "ünïcødé ✓", "../../etc", "%00"]
    {
        let tenant = bench.ok("support", "create-tenant", Some(&support), json!({})).await;
        let alias = json!({"tenant_id": tenant["id"], "alias": name});
        bench.ok("support", "create-tenant-alias", Some(&support), alias).await;
        let made = bench.ok("support", "create-project", Some(&support), json!({"tenant": name})).await;
        assert!(made["project_id"].is_string(), "{name}");
    }
    for bad in [
        json!(""),
        json!("   "),
        json!("x".repeat(65)),
        json!("12345"),
        json!("a\u{0}b"),
        json!(null),
        json!({}),
    ] {
        let tenant = bench.ok("support", "create-tenant", Some(&support), json!({})).await;
        let alias = json!({"tenant_id": tenant["id"], "alias": bad});
        let (status, answer) = bench.post("support", "create-tenant-alias", Some(&support), alias).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("alias"), "the field is named: {answer}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_can_not_touch_anothers_client_nor_send_what_only_the_backend_sends() {
    let bench = Bench::start().await;
    let player = bench.token("player").await;
    let exchange = |id: &str, outgoing: Value| json!({"client_id": id, "outgoing_messages": outgoing, "consumed_messages": []});
    let (status, answer) =
        bench.post("player", "interchange", Some(&player), exchange("42", json!([]))).await;
    assert_error(status, &answer, 404, "OBJECT_NOT_FOUND");
    let welcome = json!([{"id": 0, "qualifier": "SERVER_WELCOME_MESSAGE", "body": {}}]);
    let (status, answer) = bench.post("player", "interchange", Some(&player), exchange("42", welcome)).await;
    assert_error(status, &answer, 400, "WRONG_CLIENT_MESSAGE_BODY_TYPE");
    let unknown = json!([{"id": 0, "qualifier": "NONSENSE", "body": {}}]);
    let (status, answer) = bench.post("player", "interchange", Some(&player), exchange("42", unknown)).await;
    assert_error(status, &answer, 400, "WRONG_REQUEST");
    bench.stop().await;
}
