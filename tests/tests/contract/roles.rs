//! What each permission opens, and nothing else does.

use std::collections::BTreeSet;

use omgservers_http::endpoints;
use serde_json::{Value, json};

use crate::{
    fixture::{ContractFixture, assert_error},
    studio::Studio,
};

/// A call that a permission opens.
struct Call {
    verb: &'static str,
    level: &'static str,
    permission: &'static str,
    body: Value,
    /// The answer to whoever has the permission.
    status: u16,
}

/// Each gated call. What deletes comes late.
fn calls(it: &Studio) -> Vec<Call> {
    let (tenant, deployment) = (&it.tenant, &it.deployment);
    let call = |verb, level, permission, body| Call { verb, level, permission, body, status: 200 };
    let with = |name: &str, value: Value| {
        let mut body = it.place();
        body[name] = value;
        body
    };
    let of_deployment = || json!({"tenant": tenant, "deployment_id": deployment});
    let viewed = |verb, body| call(verb, "project", "PROJECT_VIEWER", body);
    // Nobody waits, and nobody plays.
    let missed = |verb, body| Call { status: 404, ..viewed(verb, body) };
    let deployed = |verb, body| call(verb, "stage", "DEPLOYMENT_MANAGER", body);
    let lobby = &it.details["lobby_refs"][0]["lobby_id"];
    let matchmaker = &it.details["matchmaker_refs"][0]["matchmaker_id"];
    let alias = |mut body: Value, name: &str| {
        body["alias"] = json!(name);
        body
    };
    vec![
        call("get-tenant-details", "tenant", "TENANT_VIEWER", it.place()),
        call("create-project", "tenant", "PROJECT_MANAGER", it.place()),
        call(
            "create-project-alias",
            "tenant",
            "PROJECT_MANAGER",
            alias(json!({"tenant": tenant, "project_id": it.project}), "p"),
        ),
        viewed("get-project-details", it.place()),
        call("create-stage", "project", "STAGE_MANAGER", it.place()),
        call(
            "create-stage-alias",
            "project",
            "STAGE_MANAGER",
            alias(json!({"tenant": tenant, "stage_id": it.stage}), "s"),
        ),
        viewed("get-stage-details", it.place()),
        viewed("get-version-details", it.place()),
        call("create-version", "project", "VERSION_MANAGER", with("config", json!({"modes": []}))),
        viewed("get-deployment-details", of_deployment()),
        missed(
            "get-ticket-details",
            json!({"tenant": tenant, "deployment_id": deployment, "client_id": "42"}),
        ),
        missed("get-match-details", json!({"tenant": tenant, "deployment_id": deployment, "match_id": "42"})),
        deployed("create-lobby-request", of_deployment()),
        deployed("delete-lobby", json!({"lobby_id": lobby})),
        deployed("create-matchmaker-request", of_deployment()),
        deployed("delete-matchmaker", json!({"matchmaker_id": matchmaker})),
        deployed("delete-deployment", json!({"tenant": tenant, "id": deployment})),
        deployed("deploy-version", it.place()),
        deployed("create-deployment", it.place()),
        call("delete-version", "project", "VERSION_MANAGER", json!({"tenant": tenant, "id": it.version})),
        call("delete-stage", "project", "STAGE_MANAGER", it.place()),
        call("delete-project", "tenant", "PROJECT_MANAGER", it.place()),
    ]
}

const EVERYTHING: [(&str, &str); 7] = [
    ("tenant", "PROJECT_MANAGER"),
    ("tenant", "TENANT_VIEWER"),
    ("project", "STAGE_MANAGER"),
    ("project", "VERSION_MANAGER"),
    ("project", "PROJECT_VIEWER"),
    ("stage", "DEPLOYMENT_MANAGER"),
    ("stage", "STAGE_VIEWER"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_call_needs_its_permission_and_every_other_one_does_not_open_it() {
    let fixture = ContractFixture::start().await;
    let it = Studio::open(&fixture).await;
    let calls = calls(&it);
    let gated: BTreeSet<&str> = calls.iter().map(|it| it.verb).collect();
    let endpoints = endpoints();
    let all: BTreeSet<&str> =
        endpoints.iter().filter(|it| it.role == "developer" && it.bearer).map(|it| it.verb).collect();
    assert_eq!(gated, all, "every call of a developer's");

    // Everybody gets all the other permissions first: later there is no stage to give them in.
    let mut developers = Vec::new();
    for call in &calls {
        let (token, user) = it.developer(&fixture).await;
        for (level, other) in EVERYTHING.iter().filter(|other| **other != (call.level, call.permission)) {
            it.grant(&fixture, &user, level, other).await;
        }
        developers.push((token, user));
    }
    for (call, (token, user)) in calls.iter().zip(developers) {
        let ask = async || fixture.post("developer", call.verb, Some(&token), call.body.clone()).await;
        let (status, answer) = ask().await;
        assert_error(status, &answer, 403, "PERMISSION_NOT_FOUND");
        it.grant(&fixture, &user, call.level, call.permission).await;
        let (status, answer) = ask().await;
        assert_eq!(status, call.status, "{} with {}: {answer}", call.verb, call.permission);
        assert!(answer.get("deleted").is_none_or(|it| *it == true), "{}: {answer}", call.verb);
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_an_image_is_refused_before_anybody_is_asked_for_a_permission() {
    let fixture = ContractFixture::start().await;
    let it = Studio::open(&fixture).await;
    let (token, user) = it.developer(&fixture).await;
    it.grant(&fixture, &user, "project", "VERSION_MANAGER").await;
    let mut body = it.place();
    body["config"] = json!({"modes": []});
    let made = fixture.ok("developer", "create-version", Some(&token), body).await;
    let mut body = it.place();
    body["version_id"] = made["version_id"].clone();
    let (status, answer) = fixture.post("developer", "deploy-version", Some(&token), body).await;
    assert_error(status, &answer, 409, "WRONG_VERSION_STATE");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_developers_token_is_worth_nothing_at_once() {
    let fixture = ContractFixture::start().await;
    let it = Studio::open(&fixture).await;
    let (token, user) = it.developer(&fixture).await;
    it.grant(&fixture, &user, "tenant", "TENANT_VIEWER").await;
    fixture.ok("developer", "get-tenant-details", Some(&token), json!({"tenant": it.tenant})).await;
    fixture.ok("support", "delete-developer", Some(&it.support), json!({"user_id": user})).await;
    let (status, answer) =
        fixture.post("developer", "get-tenant-details", Some(&token), json!({"tenant": it.tenant})).await;
    assert_error(status, &answer, 401, "WRONG_CREDENTIALS");
    let admin = json!({"user": "admin"});
    let deleted = fixture.ok("support", "delete-developer", Some(&it.support), admin).await;
    assert_eq!(deleted["deleted"], false, "support deletes developers only");
    fixture.stop().await;
}
