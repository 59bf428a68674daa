//! Lists as long as they may be, and one entry longer; numbers as large as they come.

use serde_json::{Value, json};

use crate::{
    fixture::{ContractFixture, assert_error},
    studio::Studio,
};

const MOST: usize = 10_000;

/// Lists of `count` entries that are good by themselves.
fn consumed(count: usize) -> Vec<String> {
    (1..=count).map(|it| it.to_string()).collect()
}

fn messages(count: usize) -> Vec<Value> {
    let message = |id| json!({"id": id, "qualifier": "CLIENT_OUTGOING_MESSAGE", "body": {"data": id}});
    (0..count).map(message).collect()
}

fn commands(count: usize) -> Vec<Value> {
    (0..count).map(|id| json!({"id": id, "qualifier": "NOT_YET_INVENTED", "body": {}})).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_entries_are_taken_and_one_more_is_refused() {
    let fixture = ContractFixture::start().await;
    let studio = Studio::open(&fixture).await;
    let (player, client) = studio.player(&fixture).await;
    let runtime = fixture.tokens(Default::default()).runtime(studio.runtime().parse().unwrap()).unwrap();
    let (_, user) = studio.developer(&fixture).await;
    let sent = |outgoing, consumed| json!({"client_id": client, "outgoing_messages": outgoing, "consumed_messages": consumed});
    let wanted = |outgoing, consumed| json!({"outgoing_commands": outgoing, "consumed_commands": consumed});
    let permissions = |name: &str, count| {
        let list = vec!["TENANT_VIEWER"; count];
        json!({"tenant": studio.tenant, "user_id": user, name: list})
    };
    let none = Vec::<Value>::new;
    let calls = |count| {
        [
            (
                "player",
                "interchange",
                &player,
                "outgoing_messages",
                sent(json!(messages(count)), json!(none())),
            ),
            (
                "player",
                "interchange",
                &player,
                "consumed_messages",
                sent(json!(none()), json!(consumed(count))),
            ),
            (
                "runtime",
                "interchange",
                &runtime,
                "outgoing_commands",
                wanted(json!(commands(count)), json!(none())),
            ),
            (
                "runtime",
                "interchange",
                &runtime,
                "consumed_commands",
                wanted(json!(none()), json!(consumed(count))),
            ),
            (
                "support",
                "create-tenant-permissions",
                &studio.support,
                "permissions_to_create",
                permissions("permissions_to_create", count),
            ),
            (
                "support",
                "delete-tenant-permissions",
                &studio.support,
                "permissions_to_delete",
                permissions("permissions_to_delete", count),
            ),
        ]
    };
    let before = fixture.rows().await;
    for (role, verb, token, field, body) in calls(MOST + 1) {
        let (status, answer) = fixture.post(role, verb, Some(token), body).await;
        assert_error(status, &answer, 400, "WRONG_REQUEST");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(field) && detail.contains("at most 10000 entries"), "{field}: {detail}");
    }
    assert_eq!(fixture.rows().await, before, "nothing of them was stored");
    for (role, verb, token, field, body) in calls(MOST) {
        if field == "outgoing_messages" {
            // They are read, and too many for a client that has no lobby yet.
            let (status, answer) = fixture.post(role, verb, Some(token), body).await;
            assert_error(status, &answer, 429, "MAILBOX_FULL");
            continue;
        }
        let answer = fixture.ok(role, verb, Some(token), body).await;
        match field {
            "outgoing_commands" => {
                assert_eq!(answer["rejected_commands"].as_array().unwrap().len(), MOST, "unknown, not fatal");
            }
            "permissions_to_create" => assert_eq!(answer["created_permissions"], json!(["TENANT_VIEWER"])),
            "permissions_to_delete" => assert_eq!(answer["deleted_permissions"], json!(["TENANT_VIEWER"])),
            _ => {}
        }
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_no_machine_could_run_is_refused_by_its_field() {
    let fixture = ContractFixture::start().await;
    let studio = Studio::open(&fixture).await;
    let (token, user) = studio.developer(&fixture).await;
    studio.grant(&fixture, &user, "project", "VERSION_MANAGER").await;
    studio.grant(&fixture, &user, "stage", "DEPLOYMENT_MANAGER").await;
    let mode = |more: &str| {
        let text = format!(
            r#"{{"name":"m","min_players":1,"max_players":2,"groups":[{{"name":"g","min_players":1,"max_players":2}}],{more}}}"#
        );
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let before = fixture.rows().await;
    let most = u32::MAX;
    for (deployment, field) in [
        (json!({"min_lobbies": most}), "min_lobbies"),
        (json!({"min_lobbies": 1_001}), "min_lobbies"),
        (json!({"max_lobbies": most}), "max_lobbies"),
        (json!({"lobby": {"cpu_limit": most}}), "lobby.cpu_limit"),
        (json!({"lobby": {"memory_limit": 5}}), "lobby.memory_limit"),
        (json!({"match": {"memory_limit": most}}), "match.memory_limit"),
    ] {
        let mut body = studio.stage_body();
        body["config"] = json!({"modes": [], "deployment": deployment});
        refused(&fixture, "create-version", &token, &body, &format!("`config.deployment.{field}`")).await;
        // The same beside the version.
        body["config"] = deployment;
        refused(&fixture, "deploy-version", &token, &body, &format!("`config.{field}`")).await;
    }
    for (more, field) in [
        (format!(r#""min_matches":{most}"#), "modes[0].min_matches"),
        (format!(r#""max_matches":{most}"#), "modes[0].max_matches"),
    ] {
        let mut body = studio.stage_body();
        body["config"] = json!({"modes": [mode(&more)]});
        refused(&fixture, "create-version", &token, &body, &format!("`config.{field}`")).await;
    }
    assert_eq!(fixture.rows().await, before, "nothing of them was stored");
    fixture.stop().await;
}

async fn refused(fixture: &ContractFixture, verb: &str, token: &str, body: &Value, field: &str) {
    let (status, answer) = fixture.post("developer", verb, Some(token), body.clone()).await;
    assert_error(status, &answer, 400, "VALIDATION_CONSTRAINT_VIOLATED");
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.starts_with(field), "{verb} {field}: {detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_walks_through_the_projects_of_a_tenant_page_by_page() {
    let fixture = ContractFixture::start().await;
    let studio = Studio::open(&fixture).await;
    let (token, user) = studio.developer(&fixture).await;
    studio.grant(&fixture, &user, "tenant", "TENANT_VIEWER").await;
    for _ in 0..4 {
        fixture
            .ok("support", "create-project", Some(&studio.support), json!({"tenant": studio.tenant}))
            .await;
    }
    let list = async |more: Value| {
        let mut body = more;
        body["tenant"] = studio.tenant.clone();
        fixture.post("developer", "list-projects", Some(&token), body).await
    };
    let (status, all) = list(json!({})).await;
    assert_eq!((status.as_u16(), &all["next"]), (200, &json!(null)), "{all}");
    let (mut walked, mut after) = (Vec::new(), json!(null));
    loop {
        let (_, page) = list(json!({"page_size": 2, "after": after})).await;
        walked.extend(page["projects"].as_array().unwrap().iter().cloned());
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!((walked.len(), json!(walked)), (5, all["projects"].clone()));
    for size in [0, 101] {
        let (status, answer) = list(json!({"page_size": size})).await;
        assert_error(status, &answer, 400, "VALIDATION_CONSTRAINT_VIOLATED");
        assert_eq!(answer["detail"], "`page_size` must be 1 to 100");
    }
    fixture.stop().await;
}
