//! The typical flows of the specification, literally, over raw HTTP and through the SDK.

use std::time::Duration;

use omgservers_client::Event;
use omgservers_tests::{Backend, DEADLINE, Docker, Game, Studio, eventually};
use serde_json::{Value, json};

/// `POST <base>/<role>/request/<verb>`, as the specification writes it.
pub(crate) async fn post(
    backend: &Backend,
    role: &str,
    verb: &str,
    token: Option<&str>,
    body: Value,
) -> Value {
    let url = format!("{}/service/v1/entrypoint/{role}/request/{verb}", backend.url());
    let mut request = reqwest::Client::new().post(url).json(&body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{role}/{verb}: {status} {text}");
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn the_specifications_guide_works_word_for_word() {
    let backend = Backend::start().await;

    // Create and configure a new tenant.
    let password = backend.password("support");
    let answer =
        post(&backend, "support", "create-token", None, json!({"user": "support", "password": password}))
            .await;
    let support = text(&answer["raw_token"]).to_owned();
    let tenant = post(&backend, "support", "create-tenant", Some(&support), json!({})).await["id"].clone();
    let alias = json!({"tenant_id": tenant, "alias": "acme"});
    post(&backend, "support", "create-tenant-alias", Some(&support), alias).await;
    let developer = post(&backend, "support", "create-developer", Some(&support), json!({})).await;
    let permissions = json!({
        "tenant": "acme", "user_id": developer["user_id"],
        "permissions_to_create": ["PROJECT_MANAGER", "TENANT_VIEWER"],
    });
    let granted = post(&backend, "support", "create-tenant-permissions", Some(&support), permissions).await;
    assert_eq!(granted["created_permissions"].as_array().unwrap().len(), 2);

    // Create a new game project.
    let credentials = json!({"user_id": developer["user_id"], "password": developer["password"]});
    let answer = post(&backend, "developer", "create-token", None, credentials).await;
    let token = text(&answer["raw_token"]).to_owned();
    let project =
        post(&backend, "developer", "create-project", Some(&token), json!({"tenant": "acme"})).await;
    let alias = json!({"tenant": "acme", "project_id": project["project_id"], "alias": "dash"});
    post(&backend, "developer", "create-project-alias", Some(&token), alias).await;

    // Deploy a new project version.
    let config = json!({"modes": [], "user_data": {"map": "desert"}});
    let version = json!({"tenant": "acme", "project": "dash", "config": config});
    let version =
        post(&backend, "developer", "create-version", Some(&token), version).await["version_id"].clone();
    let image = format!(
        "{}/omgservers/{}/{}/universal:{}",
        backend.registry(),
        text(&tenant),
        text(&project["project_id"]),
        text(&version)
    );
    let (registry, user, password) =
        (backend.registry(), text(&developer["user_id"]).to_owned(), text(&developer["password"]).to_owned());
    tokio::task::spawn_blocking(move || {
        let docker = Docker::new();
        docker.login(&registry, &user, &password);
        docker.push(Game::Sample, &image);
    })
    .await
    .unwrap();
    let deploy =
        json!({"tenant": "acme", "project": "dash", "stage": project["stage_id"], "version_id": version});
    let deployment = post(&backend, "developer", "deploy-version", Some(&token), deploy).await;
    assert!(deployment["deployment_id"].is_string());

    // Player message interchange.
    let user = post(&backend, "player", "create-user", None, json!({})).await;
    let answer = post(&backend, "player", "create-token", None, user.clone()).await;
    let player = text(&answer["raw_token"]).to_owned();
    let stage_body = json!({"tenant": "acme", "project": "dash", "stage": project["stage_id"]});
    let client =
        post(&backend, "player", "create-client", Some(&player), stage_body).await["client_id"].clone();
    let mut consumed: Vec<Value> = Vec::new();
    let mut seen: Vec<Value> = Vec::new();
    let mut sent = json!([{"id": 0, "qualifier": "CLIENT_OUTGOING_MESSAGE", "body": {"data": "{\"n\": 12345678901234567890}"}}]);
    let end = tokio::time::Instant::now() + DEADLINE;
    while !seen.iter().any(|it| it["body"]["message"]["echo"].is_string()) {
        assert!(tokio::time::Instant::now() < end, "{seen:#?}");
        let exchange = json!({"client_id": client, "outgoing_messages": sent, "consumed_messages": consumed});
        let answer = post(&backend, "player", "interchange", Some(&player), exchange).await;
        sent = json!([]);
        let incoming = answer["incoming_messages"].as_array().unwrap().clone();
        consumed = incoming.iter().map(|it| it["id"].clone()).collect();
        seen.extend(incoming);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let qualifiers: Vec<&str> = seen.iter().map(|it| text(&it["qualifier"])).collect();
    assert_eq!(
        qualifiers[..3],
        ["SERVER_WELCOME_MESSAGE", "MATCHMAKER_ASSIGNMENT_MESSAGE", "RUNTIME_ASSIGNMENT_MESSAGE"]
    );
    let assigned = &seen[2]["body"];
    assert_eq!(assigned["runtime_qualifier"], "LOBBY");
    assert!(assigned["runtime_config"]["lobby_config"]["lobby_id"].is_string());
    assert!(assigned["runtime_config"]["match_config"].is_null());
    let echoed = seen.iter().find(|it| it["body"]["message"]["echo"].is_string()).unwrap();
    assert_eq!(
        echoed["body"]["message"]["echo"], "{\"n\": 12345678901234567890}",
        "what was said before the lobby came"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn two_players_meet_and_a_deleted_tenant_takes_everything_with_it() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let version = studio.push(&backend, r#"{"modes":[]}"#).await;
    let deployment = studio.deploy(version).await;
    let (mut one, mut two) = tokio::join!(studio.player(), studio.player());
    wait_for(&mut one, |it| matches!(it, Event::Assigned { .. })).await;
    wait_for(&mut two, |it| matches!(it, Event::Assigned { .. })).await;
    one.send("all: hello").unwrap();
    one.exchange(Duration::ZERO).await.unwrap();
    let received =
        wait_for(&mut two, |it| matches!(it, Event::Message(raw) if raw.get().contains("\"all\""))).await;
    assert!(format!("{received:?}").contains("hello"));
    let details = studio.details(deployment).await;
    assert_eq!((details.lobby_refs.len(), details.runtimes.len()), (1, 1), "both are in one lobby");
    assert_eq!(details.runtimes[0].clients, 2);
    assert_eq!(backend.containers().len(), 1);

    studio.close().await;
    let ended = wait_for(&mut one, |it| matches!(it, Event::Disconnected { .. })).await;
    assert!(format!("{ended:?}").contains("InternalFailure"), "{ended:?}");
    eventually("the container goes with its tenant", async || backend.containers().is_empty()).await;
}

/// The first event of a kind; the session is polled until it comes.
pub(crate) async fn wait_for(
    session: &mut omgservers_client::Session,
    wanted: impl Fn(&Event) -> bool,
) -> Event {
    let (client, mut passed) = (session.client_id(), Vec::new());
    let found = async {
        loop {
            match session.next().await.unwrap() {
                Some(event) if wanted(&event) => return event,
                Some(event) => passed.push(format!("{event:?}")),
                None => panic!("client {client}: the session ended after {passed:?}"),
            }
        }
    };
    let found = tokio::time::timeout(DEADLINE, found).await;
    found.unwrap_or_else(|_| panic!("client {client}: nothing of the kind within {DEADLINE:?}"))
}
