//! What each permission opens, and nothing else does.

use omgservers_api::entrypoint::{Descriptor, EntrypointRole, RequiredPermission};
use serde_json::{Value, json};

use crate::{
    fixture::{ContractFixture, assert_error},
    studio::Studio,
};

/// A call that a permission opens.
struct Call {
    verb: &'static str,
    permission: RequiredPermission,
    body: Value,
    /// The answer to whoever has the permission.
    status: u16,
}

/// Each call that needs a permission, in an order in which nothing is deleted before the calls that
/// need it.
fn calls(studio: &Studio) -> Vec<Call> {
    // One body for all: the server ignores fields that it doesn't know.
    let mut body = studio.stage_body();
    for (field, value) in [
        ("project_id", studio.project.clone()),
        ("stage_id", studio.stage.clone()),
        ("deployment_id", studio.deployment.clone()),
        ("lobby_id", studio.details["lobby_refs"][0]["lobby_id"].clone()),
        ("matchmaker_id", studio.details["matchmaker_refs"][0]["matchmaker_id"].clone()),
        ("alias", json!("x")),
        ("client_id", json!("42")),
        ("match_id", json!("42")),
        ("config", json!({"modes": []})),
    ] {
        body[field] = value;
    }
    let call = |endpoint: &'static Descriptor| {
        // Nobody waits, and nobody plays.
        let status =
            if matches!(endpoint.verb, "get-ticket-details" | "get-match-details") { 404 } else { 200 };
        Some(Call { verb: endpoint.verb, permission: endpoint.permission?, body: body.clone(), status })
    };
    let mut calls: Vec<_> = EntrypointRole::Developer.endpoints().iter().filter_map(call).collect();
    calls.sort_by_key(|call| match call.verb {
        "delete-lobby" | "delete-matchmaker" => 1,
        "delete-deployment" => 2,
        // They retire what was deployed before.
        "deploy-version" | "create-deployment" => 3,
        "delete-version" => 4,
        "delete-stage" => 5,
        "delete-project" => 6,
        _ => 0,
    });
    calls
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
    let studio = Studio::open(&fixture).await;
    let calls = calls(&studio);
    let unguarded = EntrypointRole::Developer.endpoints().iter().filter(|it| it.permission.is_none());
    assert_eq!(unguarded.map(|it| it.verb).collect::<Vec<_>>(), ["create-token"]);

    // Everybody gets all the other permissions first: later there is no stage to give them in.
    let mut developers = Vec::new();
    for call in &calls {
        let (token, user) = studio.developer(&fixture).await;
        for (level, other) in
            EVERYTHING.iter().filter(|other| **other != (call.permission.level, call.permission.name))
        {
            studio.grant(&fixture, &user, level, other).await;
        }
        developers.push((token, user));
    }
    for (call, (token, user)) in calls.iter().zip(developers) {
        let post = async || fixture.post("developer", call.verb, Some(&token), call.body.clone()).await;
        let (status, answer) = post().await;
        assert_error(status, &answer, 403, "PERMISSION_NOT_FOUND");
        studio.grant(&fixture, &user, call.permission.level, call.permission.name).await;
        let (status, answer) = post().await;
        assert_eq!(status, call.status, "{} with {}: {answer}", call.verb, call.permission.name);
        assert!(answer.get("deleted").is_none_or(|it| *it == true), "{}: {answer}", call.verb);
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_an_image_is_refused_before_anybody_is_asked_for_a_permission() {
    let fixture = ContractFixture::start().await;
    let studio = Studio::open(&fixture).await;
    let (token, user) = studio.developer(&fixture).await;
    studio.grant(&fixture, &user, "project", "VERSION_MANAGER").await;
    let mut body = studio.stage_body();
    body["config"] = json!({"modes": []});
    let made = fixture.ok("developer", "create-version", Some(&token), body).await;
    let mut body = studio.stage_body();
    body["version_id"] = made["version_id"].clone();
    let (status, answer) = fixture.post("developer", "deploy-version", Some(&token), body).await;
    assert_error(status, &answer, 409, "WRONG_VERSION_STATE");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_developers_token_is_worth_nothing_at_once() {
    let fixture = ContractFixture::start().await;
    let studio = Studio::open(&fixture).await;
    let (token, user) = studio.developer(&fixture).await;
    studio.grant(&fixture, &user, "tenant", "TENANT_VIEWER").await;
    fixture.ok("developer", "get-tenant-details", Some(&token), json!({"tenant": studio.tenant})).await;
    fixture.ok("support", "delete-developer", Some(&studio.support), json!({"user_id": user})).await;
    let (status, answer) =
        fixture.post("developer", "get-tenant-details", Some(&token), json!({"tenant": studio.tenant})).await;
    assert_error(status, &answer, 401, "WRONG_CREDENTIALS");
    let admin = json!({"user": "admin"});
    let deleted = fixture.ok("support", "delete-developer", Some(&studio.support), admin).await;
    assert_eq!(deleted["deleted"], false, "support deletes developers only");
    fixture.stop().await;
}
