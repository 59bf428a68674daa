use std::{collections::HashMap, time::Duration};

use omgservers_client::{
    Client, Command, Runtime,
    api::{Kind, RuntimeQualifier},
    fake::{FakeBackend, ReceivedRequest, Reply},
    problems::ENVIRONMENT,
};
use serde_json::{Value, json};

use crate::QUICK;

/// A runtime whose requests of `verb` interchange are answered by `answer`.
async fn runtime(
    answer: impl Fn(&ReceivedRequest, usize) -> Reply + Send + Sync + 'static,
) -> (FakeBackend, Runtime) {
    let fake = FakeBackend::start(move |request, number| match request.verb() {
        "create-token" => Reply::ok(&json!({"api_token": format!("api-{number}"), "ws_token": "ws"})),
        _ => answer(request, number),
    })
    .await
    .unwrap();
    let client = Client::new(&fake.url).unwrap();
    let runtime = Runtime::new(client, "5".parse().unwrap(), "pw", RuntimeQualifier::Lobby).with_retry(QUICK);
    (fake, runtime)
}

fn nothing() -> Reply {
    Reply::ok(&json!({"incoming_commands": []}))
}

fn requests(fake: &FakeBackend) -> Vec<Value> {
    fake.received()
        .iter()
        .filter(|it| it.verb() == "interchange")
        .map(|it| serde_json::from_str(&it.body).unwrap())
        .collect()
}

#[tokio::test]
async fn every_command_has_the_contracts_shape_and_a_number() {
    let (fake, mut runtime) = runtime(|_, _| nothing()).await;
    let client = "9".parse().unwrap();
    let first = runtime.respond(client, "hi").unwrap();
    runtime.multicast([client], &json!([1])).unwrap();
    runtime.broadcast(&json!({"a": 1})).unwrap();
    runtime.set_profile(client, &json!({"n": 1})).unwrap();
    runtime.kick(client).unwrap();
    runtime.request_matchmaking(client, "duel").unwrap();
    let ticket = runtime.matchmaking(client, "duel").party(["10".parse().unwrap()]);
    ticket.number("skill", 5.5).text("region", "eu").flag("ranked", true).request().unwrap();
    runtime.cancel_matchmaking(client).unwrap();
    runtime.stop_matchmaking().unwrap();
    runtime.upgrade_connection(client).unwrap();
    runtime.exchange(Duration::from_secs(60)).await.unwrap();
    assert!(!runtime.has_unsent());

    let request = requests(&fake).remove(0);
    assert_eq!(request["wait"], 25_000, "no longer than the backend allows");
    let sent: Vec<(String, Value)> = request["outgoing_commands"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["qualifier"].as_str().unwrap().to_owned(), it["body"].clone()))
        .collect();
    let expected = [
        ("RESPOND_CLIENT", json!({"client_id": "9", "message": "hi"})),
        ("MULTICAST_MESSAGE", json!({"clients": ["9"], "message": [1]})),
        ("BROADCAST_MESSAGE", json!({"message": {"a": 1}})),
        ("SET_PROFILE", json!({"client_id": "9", "profile": {"n": 1}})),
        ("KICK_CLIENT", json!({"client_id": "9"})),
        ("REQUEST_MATCHMAKING", json!({"client_id": "9", "mode": "duel"})),
        (
            "REQUEST_MATCHMAKING",
            json!({
                "client_id": "9", "mode": "duel", "clients": ["10"],
                "attributes": {"ranked": true, "region": "eu", "skill": 5.5},
            }),
        ),
        ("CANCEL_MATCHMAKING", json!({"client_id": "9"})),
        ("STOP_MATCHMAKING", json!({})),
        ("UPGRADE_CONNECTION", json!({"client_id": "9", "protocol": "DISPATCHER"})),
    ];
    assert_eq!(sent, expected.map(|(qualifier, body)| (qualifier.to_owned(), body)));
    let numbers: Vec<_> = request["outgoing_commands"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (first.0..first.0 + 10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_later_process_of_the_same_runtime_counts_on() {
    let (_fake, mut before) = runtime(|_, _| nothing()).await;
    let numbers: Vec<_> = (0..50).map(|_| before.broadcast("x").unwrap().0).collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (_fake, mut after) = runtime(|_, _| nothing()).await;
    assert!(after.broadcast("x").unwrap().0 > *numbers.last().unwrap());
}

#[tokio::test]
async fn commands_of_the_backend_have_types() {
    let (_fake, mut runtime) = runtime(|_, _| {
        let config = json!({"lobby_config": {"lobby_id": "6"}, "match_config": null, "version_config": {"modes": [], "user_data": {"any": "json"}}});
        Reply::ok(&json!({"incoming_commands": [
            {"id": "1", "idempotency_key": "k", "qualifier": "INIT_RUNTIME", "body": {"runtime_config": config}, "deleted": false},
            {"id": "2", "qualifier": "ADD_CLIENT", "body": {"user_id": "8", "client_id": "9", "profile": {}}},
            {"id": "3", "qualifier": "ADD_MATCH_CLIENT", "body": {"user_id": "8", "client_id": "9", "group_name": "red", "profile": {"n": 1}}},
            {"id": "4", "qualifier": "HANDLE_MESSAGE", "body": {"client_id": "9", "message": "hello"}},
            {"id": "5", "qualifier": "DELETE_CLIENT", "body": {"client_id": "9"}},
            {"id": "6", "qualifier": "LATER", "body": {}},
            {"id": "5", "qualifier": "DELETE_CLIENT", "body": {"client_id": "9"}},
        ]}))
    })
    .await;
    let commands = runtime.exchange(Duration::ZERO).await.unwrap().commands;
    assert!(matches!(&commands[0], Command::Init { config } if config.version_config.user_data.is_some()));
    assert!(
        matches!(&commands[1], Command::AddClient(it) if it.group_name.is_none() && it.profile.get() == "{}")
    );
    assert!(matches!(&commands[2], Command::AddClient(it) if it.group_name.as_deref() == Some("red")));
    assert!(matches!(&commands[3], Command::HandleMessage { message, .. } if message.get() == r#""hello""#));
    assert!(matches!(&commands[4], Command::DeleteClient { client_id } if client_id.to_string() == "9"));
    assert!(matches!(&commands[5], Command::Unknown { qualifier, .. } if qualifier == "LATER"));
    assert_eq!(commands.len(), 6, "the repeated one is left out");
    assert_eq!(runtime.websocket_token(), Some("ws"));
}

#[tokio::test]
async fn the_backend_may_go_and_come_back() {
    let (fake, mut runtime) = runtime(|_, number| match number {
        1 | 2 => Reply::Close,
        3 => Reply::Body(502, "proxy".into()),
        4 => Reply::problem(401, "WRONG_CREDENTIALS", "auth.token", "keys were changed"),
        _ => Reply::ok(&json!({"incoming_commands": [{"id": "1", "qualifier": "DELETE_CLIENT", "body": {"client_id": "9"}}]})),
    })
    .await;
    runtime.broadcast("still here").unwrap();
    assert_eq!(runtime.exchange(Duration::from_secs(1)).await.unwrap().commands.len(), 1);
    let requests = requests(&fake);
    assert_eq!(requests.len(), 5);
    assert!(requests.iter().all(|it| *it == requests[0]), "the same command with the same number");
    let tokens: Vec<_> = fake
        .received()
        .into_iter()
        .filter(|it| it.verb() == "interchange")
        .map(|it| it.token.unwrap())
        .collect();
    assert_eq!(tokens, ["api-0", "api-0", "api-0", "api-0", "api-5"]);
}

#[tokio::test]
async fn a_dropped_exchange_is_repeated() {
    let (fake, mut runtime) = runtime(|_, number| if number == 1 { Reply::Hang } else { nothing() }).await;
    runtime.broadcast("x").unwrap();
    tokio::select! {
        _ = runtime.exchange(Duration::from_secs(20)) => panic!("it hangs"),
        () = async { while requests(&fake).is_empty() { tokio::task::yield_now().await; } } => {}
    }
    assert!(runtime.has_unsent());
    runtime.exchange(Duration::ZERO).await.unwrap();
    let requests = requests(&fake);
    assert_eq!(requests[0]["outgoing_commands"], requests[1]["outgoing_commands"]);
}

#[tokio::test]
async fn a_rejected_command_has_the_number_of_the_call() {
    let (_fake, mut runtime) = runtime(|_, _| {
        Reply::ok(&json!({"incoming_commands": [], "rejected_commands": [
            {"index": 1, "qualifier": "KICK_CLIENT", "code": "messaging.not_here", "detail": "the client isn't here"}]}))
    })
    .await;
    runtime.broadcast("x").unwrap();
    let kick = runtime.kick("9".parse().unwrap()).unwrap();
    let rejected = runtime.exchange(Duration::ZERO).await.unwrap().rejected;
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].seq, Some(kick));
    assert_eq!(rejected[0].command.code, "messaging.not_here");
}

#[tokio::test]
async fn a_stopped_runtime_gets_a_problem_and_sends_nothing_more() {
    let (fake, mut runtime) =
        runtime(|_, _| Reply::problem(404, "RUNTIME_NOT_FOUND", "runtimes.stopped", "it is stopped")).await;
    let problem = runtime.exchange(Duration::ZERO).await.unwrap_err();
    assert_eq!((problem.kind(), problem.qualifier()), (Kind::NotFound, "RUNTIME_NOT_FOUND"));
    assert_eq!(requests(&fake).len(), 1);
}

#[tokio::test]
async fn wrong_credentials_end_it() {
    let fake = FakeBackend::start(|_, _| Reply::problem(401, "WRONG_CREDENTIALS", "auth.credentials", "no"))
        .await
        .unwrap();
    let client = Client::new(&fake.url).unwrap();
    let mut runtime =
        Runtime::new(client, "5".parse().unwrap(), "pw", RuntimeQualifier::Match).with_retry(QUICK);
    assert_eq!(runtime.exchange(Duration::ZERO).await.unwrap_err().kind(), Kind::Unauthenticated);
    assert_eq!(fake.received().len(), 1);
}

#[tokio::test]
async fn a_sign_in_is_in_the_trace_of_the_containers_start_and_a_poll_is_not() {
    let fake = FakeBackend::start(|request, _| match request.verb() {
        "create-token" => Reply::ok(&json!({"api_token": "api", "ws_token": "ws"})),
        _ => nothing(),
    })
    .await
    .unwrap();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let variables = HashMap::from([
        ("OMGSERVERS_SERVICE_URL", fake.url.as_str()),
        ("OMGSERVERS_RUNTIME_ID", "5"),
        ("OMGSERVERS_PASSWORD", "pw"),
        ("OMGSERVERS_RUNTIME_QUALIFIER", "LOBBY"),
        ("TRACEPARENT", trace),
    ]);
    let mut runtime =
        Runtime::from_variables(|name| variables.get(name).map(|value| (*value).to_owned())).unwrap();
    runtime.exchange(Duration::ZERO).await.unwrap();
    let traced: Vec<_> = fake
        .received()
        .into_iter()
        .map(|request| (request.verb().to_owned(), request.trace_parent))
        .collect();
    assert_eq!(
        traced,
        [("create-token".to_owned(), Some(trace.to_owned())), ("interchange".to_owned(), None)]
    );
}

#[test]
fn the_environment_of_a_container_is_read_and_a_wrong_one_is_named() {
    let whole = [
        ("OMGSERVERS_SERVICE_URL", "http://backend:8080"),
        ("OMGSERVERS_RUNTIME_ID", "5"),
        ("OMGSERVERS_PASSWORD", "pw"),
        ("OMGSERVERS_RUNTIME_QUALIFIER", "MATCH"),
    ];
    let read = |variables: &HashMap<&str, &str>| {
        Runtime::from_variables(|name| variables.get(name).map(|it| (*it).to_owned()))
    };
    let runtime = read(&whole.into()).unwrap();
    assert_eq!((runtime.id().to_string().as_str(), runtime.qualifier()), ("5", RuntimeQualifier::Match));
    for (name, _) in whole {
        let mut variables = HashMap::from(whole);
        variables.remove(name);
        let problem = read(&variables).unwrap_err();
        assert!(problem.is(ENVIRONMENT) && problem.sentence().contains(name), "{problem}");
    }
    let mut variables = HashMap::from(whole);
    variables.insert("OMGSERVERS_RUNTIME_QUALIFIER", "lobby");
    assert!(read(&variables).unwrap_err().sentence().contains("OMGSERVERS_RUNTIME_QUALIFIER"));
}

#[tokio::test]
async fn a_request_without_a_finite_number_is_refused_before_it_is_queued() {
    let (_fake, mut runtime) = runtime(|_, _| nothing()).await;
    let ticket = runtime.matchmaking("9".parse().unwrap(), "duel").number("skill", f64::NAN);
    let problem = ticket.request().unwrap_err();
    assert!(problem.sentence().contains("`skill`"), "{problem:?}");
    assert!(!runtime.has_unsent());
}
