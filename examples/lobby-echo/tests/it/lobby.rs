use std::sync::Arc;

use omgservers_client::{
    Client, Runtime,
    api::RuntimeQualifier,
    fake::{FakeBackend, Reply},
};
use omgservers_lobby_echo::{End, serve};
use serde_json::{Value, json};

/// Lets the lobby handle `commands` in one exchange and answers what it sent, and how it ended.
/// When it doesn't end by itself the backend stops it.
async fn play(commands: Value) -> (Vec<Value>, Option<End>) {
    let numbered: Vec<Value> = commands
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(index, it)| json!({"id": (index + 1).to_string(), "qualifier": it[0], "body": it[1]}))
        .collect();
    let numbered = Arc::new(numbered);
    let fake = FakeBackend::start(move |request, number| match (request.verb(), number) {
        ("create-token", _) => Reply::ok(&json!({"api_token": "a", "ws_token": "w"})),
        (_, 1) => Reply::ok(&json!({"incoming_commands": *numbered})),
        (_, 2) => Reply::ok(&json!({"incoming_commands": []})),
        _ => Reply::problem(404, "RUNTIME_NOT_FOUND", "runtimes.stopped", "stopped"),
    })
    .await
    .unwrap();
    let client = Client::new(&fake.url).unwrap();
    let runtime = Runtime::new(client, "5".parse().unwrap(), "pw", RuntimeQualifier::Lobby);
    let end = serve(runtime).await.ok();
    let sent = fake
        .received()
        .iter()
        .filter(|it| it.verb() == "interchange")
        .flat_map(|interchange| {
            let request: Value = serde_json::from_str(&interchange.body).unwrap();
            request["outgoing_commands"].as_array().unwrap().clone()
        })
        .map(|it| json!([it["qualifier"], it["body"]]))
        .collect();
    (sent, end)
}

fn add(client: &str, profile: Value) -> Value {
    json!(["ADD_CLIENT", {"user_id": "8", "client_id": client, "profile": profile}])
}
fn handle(client: &str, message: Value) -> Value {
    json!(["HANDLE_MESSAGE", {"client_id": client, "message": message}])
}

#[tokio::test]
async fn who_joins_is_greeted_and_announced() {
    let (sent, end) =
        play(json!([add("9", json!({"messages": 41})), ["DELETE_CLIENT", {"client_id": "9"}]])).await;
    assert_eq!(end, None);
    assert_eq!(
        sent,
        [
            json!(["RESPOND_CLIENT", {"client_id": "9", "message":
                {"hello": "9", "runtime": "5", "qualifier": "LOBBY", "count": 41, "players": 1}}]),
            json!(["BROADCAST_MESSAGE", {"message": {"joined": "9", "players": 1}}]),
            json!(["BROADCAST_MESSAGE", {"message": {"left": "9", "players": 0}}]),
        ]
    );
}

#[tokio::test]
async fn messages_are_echoed_and_counted_in_the_profile() {
    let big = json!({"id": 12_345_678_901_234_567_u64});
    let (sent, _) = play(json!([
        add("9", json!({"messages": 41, "skin": "red"})),
        handle("9", json!("hi")),
        handle("9", big)
    ]))
    .await;
    assert_eq!(
        sent[2..],
        [
            json!(["SET_PROFILE", {"client_id": "9", "profile": {"messages": 42, "skin": "red"}}]),
            json!(["RESPOND_CLIENT", {"client_id": "9", "message": {"echo": "hi", "count": 42}}]),
            json!(["SET_PROFILE", {"client_id": "9", "profile": {"messages": 43, "skin": "red"}}]),
            json!(["RESPOND_CLIENT", {"client_id": "9", "message": {"echo": {"id": 12_345_678_901_234_567_u64}, "count": 43}}]),
        ]
    );
}

#[tokio::test]
async fn a_profile_of_another_kind_is_no_obstacle() {
    for profile in [json!([]), json!("old"), json!({"messages": "many"})] {
        let (sent, _) = play(json!([add("9", profile), handle("9", json!(1))])).await;
        assert_eq!(
            sent[3],
            json!(["RESPOND_CLIENT", {"client_id": "9", "message": {"echo": 1, "count": 1}}])
        );
    }
}

#[tokio::test]
async fn texts_can_request_more() {
    let texts = ["all: hello", "kick me", "match: duel", "stop matchmaking", "upgrade"];
    let (sent, _) = play(texts.iter().map(|it| handle("9", json!(it))).collect()).await;
    assert_eq!(
        sent,
        [
            json!(["BROADCAST_MESSAGE", {"message": {"from": "9", "all": "hello"}}]),
            json!(["KICK_CLIENT", {"client_id": "9"}]),
            json!(["REQUEST_MATCHMAKING", {"client_id": "9", "mode": "duel"}]),
            json!(["STOP_MATCHMAKING", {}]),
            json!(["UPGRADE_CONNECTION", {"client_id": "9", "protocol": "DISPATCHER"}]),
        ]
    );
}

#[tokio::test]
async fn it_ends_as_it_is_asked_to() {
    let (sent, end) = play(json!([handle("9", json!("all: bye")), handle("9", json!("quit"))])).await;
    assert_eq!((sent.len(), end), (1, Some(End::Quit)), "what was said before still goes out");
    let (_, end) = play(json!([handle("9", json!("crash"))])).await;
    assert_eq!(end.map(End::code), Some(7));
}
