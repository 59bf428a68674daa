//! What each permission opens, and nothing else does.

use serde_json::{Value, json};

use crate::bench::{Bench, assert_error};

struct Studio {
    support: String,
    tenant: Value,
    project: Value,
    stage: Value,
    version: Value,
}

async fn studio(bench: &Bench) -> Studio {
    let support = bench.token("support").await;
    let tenant = bench.ok("support", "create-tenant", Some(&support), json!({})).await["id"].clone();
    let made = bench.ok("support", "create-project", Some(&support), json!({"tenant": tenant})).await;
    let (project, stage) = (made["project_id"].clone(), made["stage_id"].clone());
    let (owner, user) = developer(bench, &support).await;
    let grant = json!({"tenant": tenant, "project": project, "user_id": user, "permissions_to_create": ["VERSION_MANAGER"]});
    bench.ok("support", "create-project-permissions", Some(&support), grant).await;
    let version = json!({"tenant": tenant, "project": project, "config": {"modes": []}});
    let version = bench.ok("developer", "create-version", Some(&owner), version).await["version_id"].clone();
    Studio { support, tenant, project, stage, version }
}

async fn developer(bench: &Bench, support: &str) -> (String, Value) {
    let made = bench.ok("support", "create-developer", Some(support), json!({})).await;
    let answer = bench.ok("developer", "create-token", None, made.clone()).await;
    (answer["raw_token"].as_str().unwrap().to_owned(), made["user_id"].clone())
}

/// Each gated call, and the permission that opens it.
fn calls(it: &Studio) -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let (tenant, project, stage, version) = (&it.tenant, &it.project, &it.stage, &it.version);
    let whole = json!({"tenant": tenant, "project": project, "stage": stage});
    let version_of = json!({"tenant": tenant, "version_id": version});
    let deploy = json!({"tenant": tenant, "project": project, "stage": stage, "version_id": version});
    let alias = |more: Value, name: &str| {
        let mut body = more;
        body["alias"] = json!(name);
        body
    };
    vec![
        ("get-tenant-details", "tenant", "TENANT_VIEWER", whole.clone()),
        ("create-project", "tenant", "PROJECT_MANAGER", whole.clone()),
        (
            "create-project-alias",
            "tenant",
            "PROJECT_MANAGER",
            alias(json!({"tenant": tenant, "project_id": project}), "p"),
        ),
        ("get-project-details", "project", "PROJECT_VIEWER", whole.clone()),
        ("create-stage", "project", "STAGE_MANAGER", whole.clone()),
        (
            "create-stage-alias",
            "project",
            "STAGE_MANAGER",
            alias(json!({"tenant": tenant, "stage_id": stage}), "s"),
        ),
        ("get-stage-details", "project", "PROJECT_VIEWER", whole.clone()),
        ("get-version-details", "project", "PROJECT_VIEWER", version_of.clone()),
        (
            "create-version",
            "project",
            "VERSION_MANAGER",
            json!({"tenant": tenant, "project": project, "config": {"modes": []}}),
        ),
        ("deploy-version", "stage", "DEPLOYMENT_MANAGER", deploy),
        ("delete-version", "project", "VERSION_MANAGER", json!({"tenant": tenant, "id": version})),
        ("delete-stage", "project", "STAGE_MANAGER", whole.clone()),
        ("delete-project", "tenant", "PROJECT_MANAGER", whole),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_needs_its_permission_and_every_other_one_does_not_open_it() {
    let bench = Bench::start().await;
    let it = studio(&bench).await;
    let everything = [
        ("tenant", "PROJECT_MANAGER"),
        ("tenant", "TENANT_VIEWER"),
        ("project", "STAGE_MANAGER"),
        ("project", "VERSION_MANAGER"),
        ("project", "PROJECT_VIEWER"),
        ("stage", "DEPLOYMENT_MANAGER"),
        ("stage", "STAGE_VIEWER"),
    ];
    for (verb, level, permission, body) in calls(&it) {
        let (token, user) = developer(&bench, &it.support).await;
        for (other_level, other) in everything.iter().filter(|other| **other != (level, permission)) {
            grant(&bench, &it, &user, other_level, other).await;
        }
        // Without an image the version is refused before anything else, as the contract has it.
        let (status, answer) = bench.post("developer", verb, Some(&token), body.clone()).await;
        if verb == "deploy-version" {
            assert_error(status, &answer, 409, "WRONG_VERSION_STATE");
            continue;
        }
        assert_error(status, &answer, 403, "PERMISSION_NOT_FOUND");
        grant(&bench, &it, &user, level, permission).await;
        let (status, answer) = bench.post("developer", verb, Some(&token), body).await;
        assert_eq!(status, 200, "{verb} with {permission}: {answer}");
    }
    bench.stop().await;
}

async fn grant(bench: &Bench, it: &Studio, user: &Value, level: &str, permission: &str) {
    let body = json!({
        "tenant": it.tenant, "project": it.project, "stage": it.stage,
        "user_id": user, "permissions_to_create": [permission],
    });
    // The stage and the project go in the course of the test; then there is nothing to give.
    let _given = bench.post("support", &format!("create-{level}-permissions"), Some(&it.support), body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_developers_token_is_worth_nothing_at_once() {
    let bench = Bench::start().await;
    let it = studio(&bench).await;
    let (token, user) = developer(&bench, &it.support).await;
    grant(&bench, &it, &user, "tenant", "TENANT_VIEWER").await;
    bench.ok("developer", "get-tenant-details", Some(&token), json!({"tenant": it.tenant})).await;
    bench.ok("support", "delete-developer", Some(&it.support), json!({"user_id": user})).await;
    let (status, answer) =
        bench.post("developer", "get-tenant-details", Some(&token), json!({"tenant": it.tenant})).await;
    assert_error(status, &answer, 401, "WRONG_CREDENTIALS");
    let admin = json!({"user": "admin"});
    let deleted = bench.ok("support", "delete-developer", Some(&it.support), admin).await;
    assert_eq!(deleted["deleted"], false, "support deletes developers only");
    bench.stop().await;
}
