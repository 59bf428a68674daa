//! "Runtime command interchange" of the specification, literally: raw HTTP, with what is in the
//! container's environment.

use omgservers_api::VersionId;
use omgservers_tests::{Backend, Game, Studio};
use serde_json::{Value, json};

use crate::{
    flows::{post, text},
    raw::{Player, Server, idle_runtimes},
};

const CONFIG: &str = r#"{"modes":[{"name":"duel","min_players":1,"max_players":2,"groups":[{"name":"all","min_players":1,"max_players":2}]}],
    "user_data":{"map":"desert","seed":12345678901234567890},"deployment":{"min_lobbies":1}}"#;

/// A backend with a game whose servers the test plays, and its first lobby.
async fn lobby() -> (Backend, Studio, VersionId, Server) {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let version = studio.push_game(&backend, Game::IdleRuntime, CONFIG).await;
    studio.deploy(version).await;
    let lobby = idle_runtimes(&backend, "LOBBY", 1).await.remove(0);
    let server = Server::of(&backend, &lobby).await;
    (backend, studio, version, server)
}

async fn only_its_password_opens(backend: &Backend) {
    let runtime = backend.idle_runtimes().remove(0);
    // A player's credentials are none of a runtime's.
    let player = post(backend, "player", "create-user", None, json!({})).await;
    let url = format!("{}/service/v1/entrypoint/runtime/request/create-token", backend.url());
    for credentials in [
        json!({"runtime_id": runtime.id, "password": "wrong"}),
        json!({"runtime_id": "42", "password": runtime.password}),
        json!({"runtime_id": player["user_id"], "password": player["password"]}),
    ] {
        let answer = reqwest::Client::new().post(&url).json(&credentials).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{credentials}");
        assert_eq!(answer.json::<Value>().await.unwrap()["qualifier"], "WRONG_CREDENTIALS");
    }
}

fn is(client: &Value) -> impl Fn(&Value) -> bool + use<'_> {
    move |body| body["client_id"] == *client
}

/// `(index, code)` of what was not carried out.
fn rejected(answer: &Value) -> Vec<(u64, &str)> {
    let rejected = answer["rejected_commands"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |it: &Value| assert!(!text(&it["detail"]).is_empty(), "{it}");
    rejected.iter().for_each(of);
    rejected.iter().map(|it| (it["index"].as_u64().unwrap(), text(&it["code"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_lobby_gets_its_players_and_sends_to_them_and_learns_what_it_may_not() {
    let (backend, studio, _, mut lobby) = lobby().await;
    only_its_password_opens(&backend).await;

    // What isn't consumed comes again; what was consumed may be said to be so twice.
    let nothing = || json!({"outgoing_commands": [], "consumed_commands": []});
    let (first, again) = (lobby.send(nothing()).await.unwrap(), lobby.send(nothing()).await.unwrap());
    assert_eq!(first, again);
    let init = &first["incoming_commands"][0];
    assert_eq!(init["qualifier"], "INIT_RUNTIME");
    let config = &init["body"]["runtime_config"];
    assert!(config["lobby_config"]["lobby_id"].is_string() && config["match_config"].is_null(), "{config}");
    assert_eq!(config["version_config"]["user_data"]["seed"], json!(12_345_678_901_234_567_890_u64));
    let consumed = json!({"outgoing_commands": [], "consumed_commands": [init["id"]]});
    for _ in 0..2 {
        assert_eq!(lobby.send(consumed.clone()).await.unwrap(), json!({"incoming_commands": []}));
    }

    let mut one = Player::join(&backend, &studio).await;
    let mut two = Player::join(&backend, &studio).await;
    one.send_message(0, "hello").await;
    for client in [&one.client, &two.client] {
        let added = lobby.receives("ADD_CLIENT", is(client)).await;
        assert!(added["user_id"].is_string() && added["profile"] == json!({}), "{added}");
    }
    assert_eq!(lobby.receives("HANDLE_MESSAGE", is(&one.client)).await["message"], "hello");

    let (a, b) = (one.client.clone(), two.client.clone());
    let both = json!([a, b]);
    let large = "x".repeat(256 * 1024);
    let commands = json!([
        {"qualifier": "RESPOND_CLIENT", "body": {"client_id": a, "message": {"n": 12_345_678_901_234_567_890_u64}}},
        {"qualifier": "MULTICAST_MESSAGE", "body": {"clients": both, "message": "clients"}},
        {"qualifier": "MULTICAST_MESSAGE", "body": {"client": both, "message": "client"}},
        {"qualifier": "MULTICAST_MESSAGE", "body": {"client": a, "message": "one"}},
        {"qualifier": "BROADCAST_MESSAGE", "body": {"message": "all"}},
        {"qualifier": "SET_PROFILE", "body": {"client_id": a, "profile": {"level": 7}}},
        {"qualifier": "UPGRADE_CONNECTION", "body": {"client_id": b, "protocol": "DISPATCHER"}},
        // What a lobby can't do, what nobody can, and what isn't right.
        {"qualifier": "STOP_MATCHMAKING", "body": []},
        {"qualifier": "SET_ATTRIBUTES", "body": {"client_id": a, "attributes": []}},
        {"qualifier": "RESPOND_CLIENT", "body": {"client_id": "42", "message": "nobody"}},
        {"qualifier": "SET_PROFILE", "body": {"client_id": a, "profile": large}},
        {"qualifier": "RESPOND_CLIENT"},
        {"qualifier": "UPGRADE_CONNECTION", "body": {"client_id": b, "protocol": "PIGEON"}},
        {"qualifier": "REQUEST_MATCHMAKING", "body": {"client_id": a, "mode": "chess"}},
        {"qualifier": "BROADCAST_MESSAGE", "body": {"message": "last"}},
    ]);
    let answer = lobby.exchange(commands).await;
    assert_eq!(
        rejected(&answer),
        [
            (7, "matchmaking.not_for_lobbies"),
            (8, "matchmaking.unknown_command"),
            (9, "matchmaking.client_not_here"),
            (10, "players.profile_too_large"),
            (11, "matchmaking.wrong_body"),
            (12, "matchmaking.wrong_body"),
            (13, "matchmaking.unknown_mode"),
        ],
    );
    let last = |body: &Value| body["message"] == "last";
    one.receives("SERVER_OUTGOING_MESSAGE", last).await;
    let number = json!({"n": 12_345_678_901_234_567_890_u64});
    assert_eq!(
        one.received(),
        [&number, &json!("clients"), &json!("client"), &json!("one"), &json!("all"), &json!("last")]
    );
    two.receives("SERVER_OUTGOING_MESSAGE", last).await;
    assert_eq!(two.received(), ["clients", "client", "all", "last"]);
    let upgrade = two.receives("CONNECTION_UPGRADE_MESSAGE", |_| true).await;
    assert!(upgrade["web_socket_config"]["ws_token"].is_string(), "{upgrade}");

    // The profile is there in the player's next session; the one that was too large has changed
    // nothing.
    let third = one.rejoin(&backend, &studio).await;
    assert_eq!(lobby.receives("ADD_CLIENT", is(&third.client)).await["profile"], json!({"level": 7}));

    // A kick ends the session, and the lobby gets DELETE_CLIENT.
    let answer = lobby.exchange(json!([{"qualifier": "KICK_CLIENT", "body": {"client_id": b}}])).await;
    assert!(rejected(&answer).is_empty(), "{answer}");
    assert_eq!(two.receives("DISCONNECTION_REASON_MESSAGE", |_| true).await["reason"], "CLIENT_KICKED");
    lobby.receives("DELETE_CLIENT", is(&b)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_runtime_has_no_power_over_clients_of_another_one_and_a_repeat_is_not_carried_out_twice() {
    let (backend, studio, version, mut lobby) = lobby().await;
    let mut player = Player::join(&backend, &studio).await;
    lobby.receives("ADD_CLIENT", is(&player.client)).await;

    studio.deploy(version).await;
    let both = idle_runtimes(&backend, "LOBBY", 2).await;
    let mut other = Server::of(&backend, both.iter().find(|it| it.id != lobby.id).unwrap()).await;
    let client = player.client.clone();
    let foreign = json!([
        {"qualifier": "RESPOND_CLIENT", "body": {"client_id": client, "message": "foreign"}},
        {"qualifier": "MULTICAST_MESSAGE", "body": {"clients": [client], "message": "foreign"}},
        {"qualifier": "BROADCAST_MESSAGE", "body": {"message": "foreign"}},
        {"qualifier": "SET_PROFILE", "body": {"client_id": client, "profile": {"foreign": true}}},
        {"qualifier": "KICK_CLIENT", "body": {"client_id": client}},
        {"qualifier": "UPGRADE_CONNECTION", "body": {"client_id": client, "protocol": "DISPATCHER"}},
        {"qualifier": "REQUEST_MATCHMAKING", "body": {"client_id": client, "mode": "duel"}},
        {"qualifier": "CANCEL_MATCHMAKING", "body": {"client_id": client}},
    ]);
    let answer = other.exchange(foreign).await;
    let not_here = |index| (index, "matchmaking.client_not_here");
    // A broadcast reaches all present clients: none.
    assert_eq!(rejected(&answer), [0, 1, 3, 4, 5, 6, 7].map(not_here));

    // The same request twice, as after an answer that was lost.
    let own = json!([
        {"id": 0, "qualifier": "RESPOND_CLIENT", "body": {"client_id": client, "message": "once"}},
        {"id": 1, "qualifier": "BROADCAST_MESSAGE", "body": {"message": "and for all"}},
    ]);
    for _ in 0..2 {
        assert!(rejected(&lobby.exchange(own.clone()).await).is_empty());
    }
    lobby.exchange(json!([{"id": 2, "qualifier": "BROADCAST_MESSAGE", "body": {"message": "end"}}])).await;
    player.receives("SERVER_OUTGOING_MESSAGE", |it| it["message"] == "end").await;
    assert_eq!(player.received(), ["once", "and for all", "end"]);
    assert!(!player.seen.iter().any(|it| it["qualifier"] == "DISCONNECTION_REASON_MESSAGE"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn ten_thousand_messages_of_one_request_reach_the_lobby_in_order() {
    let (backend, studio, _, mut lobby) = lobby().await;
    let mut player = Player::join(&backend, &studio).await;
    lobby.receives("ADD_CLIENT", is(&player.client)).await;
    let messages = |count: u32| -> Value {
        let message = |id| json!({"id": id, "qualifier": "CLIENT_OUTGOING_MESSAGE", "body": {"data": id}});
        (0..count).map(message).collect()
    };
    let refused = player.exchange(messages(10_001), 0).await.unwrap_err();
    assert!(refused.starts_with("400") && refused.contains("WRONG_REQUEST"), "{refused}");
    // Nothing else may be in the lobby's mailbox, which has room for just as many.
    lobby.exchange(json!([])).await;
    player.exchange(messages(10_000), 0).await.unwrap();
    lobby.receives("HANDLE_MESSAGE", |it| it["message"] == 9_999).await;
    let received = lobby.seen.iter().filter(|it| it["qualifier"] == "HANDLE_MESSAGE");
    let received: Vec<u64> = received.map(|it| it["body"]["message"].as_u64().unwrap()).collect();
    assert_eq!(received, (0..10_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_match_gets_its_players_takes_an_empty_lua_table_and_sends_a_player_back_to_the_lobby() {
    let (backend, studio, _, mut lobby) = lobby().await;
    let mut player = Player::join(&backend, &studio).await;
    let client = player.client.clone();
    lobby.receives("ADD_CLIENT", is(&client)).await;
    let request =
        json!([{"qualifier": "REQUEST_MATCHMAKING", "body": {"client_id": client, "mode": "duel"}}]);
    assert!(rejected(&lobby.exchange(request).await).is_empty());

    let found = idle_runtimes(&backend, "MATCH", 1).await.remove(0);
    let mut server = Server::of(&backend, &found).await;
    let init = server.receives("INIT_RUNTIME", |_| true).await["runtime_config"].clone();
    assert_eq!((&init["match_config"]["mode"], &init["lobby_config"]), (&json!("duel"), &json!(null)));
    let added = server.receives("ADD_MATCH_CLIENT", is(&client)).await;
    assert_eq!((&added["group_name"], &added["profile"]), (&json!("all"), &json!({})));
    lobby.receives("DELETE_CLIENT", is(&client)).await;

    let commands = json!([
        {"qualifier": "STOP_MATCHMAKING", "body": []},
        {"qualifier": "STOP_MATCHMAKING", "body": {"__object": true}},
        {"qualifier": "STOP_MATCHMAKING"},
        {"qualifier": "RESPOND_CLIENT", "body": {"client_id": client, "message": "begin"}},
    ]);
    assert!(rejected(&server.exchange(commands).await).is_empty());
    player.receives("SERVER_OUTGOING_MESSAGE", |it| it["message"] == "begin").await;

    lobby.seen.clear();
    let kick = json!([{"qualifier": "KICK_CLIENT", "body": {"client_id": client}}]);
    assert!(rejected(&server.exchange(kick).await).is_empty());
    server.receives("DELETE_CLIENT", is(&client)).await;
    lobby.receives("ADD_CLIENT", is(&client)).await;
    let in_lobby = |it: &Value| it["runtime_qualifier"] == "LOBBY";
    player.receives("RUNTIME_ASSIGNMENT_MESSAGE", in_lobby).await;
}
