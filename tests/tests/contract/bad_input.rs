//! Malformed, truncated, nested, oversized and wrongly typed bodies at every endpoint: each answers
//! its error, nothing is stored, and the server goes on.

use std::collections::HashMap;

use omgservers_api::entrypoint::{Descriptor, EndpointAccess, endpoint};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fixture::{ContractFixture, assert_error},
    studio::Studio,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_of_the_right_kind_is_refused_everywhere_and_nothing_is_stored() {
    let fixture = ContractFixture::with(|config| config.server.body_limit_bytes = 100_000).await;
    let mut tokens = HashMap::new();
    for role in ["admin", "support", "developer", "player", "runtime"] {
        tokens.insert(role, fixture.token(role).await);
    }
    let before = fixture.rows().await;
    for endpoint in endpoint::all() {
        let token =
            (endpoint.access == EndpointAccess::Bearer).then(|| tokens[endpoint.role.as_str()].as_str());
        refuses(&fixture, endpoint, token).await;
    }
    let (status, answer) = fixture.send(Method::POST, "/nowhere", None, "application/json", "{}").await;
    assert_error(status, &answer, 404, "OBJECT_NOT_FOUND");
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"] {
        let (status, answer) = fixture.send(Method::POST, path, None, "application/json", "{}").await;
        assert_error(status, &answer, 405, "WRONG_REQUEST");
    }
    assert_eq!(fixture.rows().await, before);
    fixture.ok("player", "ping-service", None, json!({"message": "ping"})).await;
    fixture.stop().await;
}

async fn refuses(fixture: &ContractFixture, endpoint: &Descriptor, token: Option<&str>) {
    let path = endpoint.path();
    let at = async |method, kind: &str, body: Vec<u8>| fixture.send(method, &path, token, kind, body).await;
    let json = "application/json";
    // PUT is POST, everywhere.
    for method in [Method::POST, Method::PUT] {
        for body in ["{", "{\"a\":", "nonsense", "\"text\"", "5", "[1]", "{\"a\":\u{1}}", "\u{feff}{}"] {
            let (status, answer) = at(method.clone(), json, body.into()).await;
            assert_error(status, &answer, 400, "WRONG_REQUEST");
        }
        let (status, answer) = at(method, "text/plain", b"{}".to_vec()).await;
        assert_error(status, &answer, 400, "WRONG_MEDIA_TYPE");
    }
    let nested = format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let (status, answer) = at(Method::POST, json, nested.into()).await;
    assert_error(status, &answer, 400, "WRONG_REQUEST");
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(200_000));
    let (status, answer) = at(Method::POST, json, large.into()).await;
    assert_error(status, &answer, 413, "WRONG_REQUEST");
    let (status, answer) = at(Method::POST, json, b"{\"a\":\"not UTF-8: \xff\"}".to_vec()).await;
    assert_error(status, &answer, 400, "WRONG_REQUEST");
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let (status, answer) = at(method, json, Vec::new()).await;
        assert_error(status, &answer, 405, "WRONG_REQUEST");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn put_does_what_post_does_and_ids_are_strings_out_and_either_in() {
    let fixture = ContractFixture::start().await;
    let support = fixture.token("support").await;
    let path = "/service/v1/entrypoint/support/request/create-tenant";
    let (status, tenant) = fixture.send(Method::PUT, path, Some(&support), "application/json", "[]").await;
    assert_eq!(status, 200);
    let id: i64 = tenant["id"].as_str().unwrap().parse().unwrap();
    fixture
        .ok("support", "create-tenant-alias", Some(&support), json!({"tenant_id": id, "alias": "a"}))
        .await;
    let again = json!({"tenant_id": id.to_string(), "alias": "a"});
    let (status, answer) = fixture.post("support", "create-tenant-alias", Some(&support), again).await;
    assert_error(status, &answer, 400, "DB_CONSTRAINT_VIOLATED");
    let deleted = fixture.ok("support", "delete-tenant", Some(&support), json!({"tenant": id})).await;
    assert_eq!(deleted["deleted"], true);
    let deleted = fixture.ok("support", "delete-tenant", Some(&support), json!({"tenant": id})).await;
    assert_eq!(deleted["deleted"], false);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_metacharacters_are_names() {
    let fixture = ContractFixture::start().await;
    let support = fixture.token("support").await;
    for name in
        ["'; drop table tenants.tenant; --", "$(reboot)", "`id`", "a\\\"b", "ünïcødé ✓", "../../etc", "%00"]
    {
        let tenant = fixture.ok("support", "create-tenant", Some(&support), json!({})).await;
        let alias = json!({"tenant_id": tenant["id"], "alias": name});
        fixture.ok("support", "create-tenant-alias", Some(&support), alias).await;
        let made = fixture.ok("support", "create-project", Some(&support), json!({"tenant": name})).await;
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
        let tenant = fixture.ok("support", "create-tenant", Some(&support), json!({})).await;
        let alias = json!({"tenant_id": tenant["id"], "alias": bad});
        let (status, answer) = fixture.post("support", "create-tenant-alias", Some(&support), alias).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("alias"), "the field is named: {answer}");
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_can_not_touch_anothers_client_nor_send_what_only_the_backend_sends() {
    let fixture = ContractFixture::start().await;
    let studio = Studio::open(&fixture).await;
    let (player, client) = studio.player(&fixture).await;
    let (other, theirs) = studio.player(&fixture).await;
    let exchange = |id: &Value, outgoing: Value| json!({"client_id": id, "outgoing_messages": outgoing, "consumed_messages": []});
    let hello = || json!([{"id": 0, "qualifier": "CLIENT_OUTGOING_MESSAGE", "body": {"data": "hello"}}]);
    let post = async |id: &Value, outgoing| {
        fixture.post("player", "interchange", Some(&player), exchange(id, outgoing)).await
    };
    let before = fixture.rows().await;
    let (status, answer) = post(&json!("42"), hello()).await;
    assert_error(status, &answer, 404, "OBJECT_NOT_FOUND");
    let (status, answer) = post(&theirs, hello()).await;
    assert_error(status, &answer, 400, "WRONG_CLIENT_ID");
    for verb in ["get-ticket-details", "cancel-matchmaking"] {
        let (status, answer) =
            fixture.post("player", verb, Some(&player), json!({"client_id": theirs})).await;
        assert_error(status, &answer, 400, "WRONG_CLIENT_ID");
    }
    // What was waiting for the other one is still there.
    let theirs = fixture.ok("player", "interchange", Some(&other), exchange(&theirs, json!([]))).await;
    assert_eq!(theirs["incoming_messages"][0]["qualifier"], "SERVER_WELCOME_MESSAGE");
    let welcome = json!([{"id": 0, "qualifier": "SERVER_WELCOME_MESSAGE", "body": {}}]);
    let (status, answer) = post(&client, welcome).await;
    assert_error(status, &answer, 400, "WRONG_CLIENT_MESSAGE_BODY_TYPE");
    // A good one before a bad one isn't taken either.
    for bad in [
        json!({"id": 1, "qualifier": "NONSENSE", "body": {}}),
        json!({"id": 1, "qualifier": "CLIENT_OUTGOING_MESSAGE", "body": {}}),
        json!({"id": 1, "qualifier": "CLIENT_OUTGOING_MESSAGE", "body": 5}),
        json!({"id": -1, "qualifier": "CLIENT_OUTGOING_MESSAGE", "body": {"data": 1}}),
    ] {
        let mut outgoing = hello();
        outgoing.as_array_mut().unwrap().push(bad);
        let (status, answer) = post(&client, outgoing).await;
        assert_error(status, &answer, 400, "WRONG_REQUEST");
    }
    assert_eq!(fixture.rows().await, before);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_too_long_to_hash_is_blamed_on_its_own_field() {
    let fixture = ContractFixture::start().await;
    let admin = fixture.token("admin").await;
    let hash = async |value: String| {
        fixture.post("admin", "bcrypt-hash", Some(&admin), json!({"value": value})).await
    };
    let (status, answer) = hash("x".repeat(71)).await;
    assert_eq!(status, 200);
    assert!(answer["hash"].as_str().unwrap().starts_with("$2"));
    // Bytes count: the last one has 37 characters.
    for value in ["x".repeat(72), "x".repeat(100_000), format!("{}x", "ä".repeat(36))] {
        let (status, answer) = hash(value).await;
        assert_error(status, &answer, 400, "VALIDATION_CONSTRAINT_VIOLATED");
        assert_eq!(answer["detail"], "`value` must have at most 71 bytes");
    }
    fixture.stop().await;
}
