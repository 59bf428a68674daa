use std::process::Command;

use omgservers_client::fake::{FakeBackend, Reply};
use serde_json::{Value, json};

fn arena(url: &str, qualifier: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arena"));
    command
        .env_clear()
        .env("OMGSERVERS_SERVICE_URL", url)
        .env("OMGSERVERS_RUNTIME_ID", "5")
        .env("OMGSERVERS_PASSWORD", "pw")
        .env("OMGSERVERS_RUNTIME_QUALIFIER", qualifier);
    command
}

/// Two join a match, begin by way of the mailbox, and one leaves.
fn script(exchange: usize) -> Value {
    let add = |client: &str| json!({"user_id": "1", "client_id": client, "group_name": "red", "profile": {}});
    let ready = |client: &str| json!({"client_id": client, "message": {"ready": true}});
    match exchange {
        0 => json!([
            {"id": "1", "qualifier": "ADD_MATCH_CLIENT", "body": add("7")},
            {"id": "2", "qualifier": "ADD_MATCH_CLIENT", "body": add("8")},
            {"id": "3", "qualifier": "HANDLE_MESSAGE", "body": ready("7")},
            {"id": "4", "qualifier": "HANDLE_MESSAGE", "body": ready("8")},
            {"id": "5", "qualifier": "DELETE_CLIENT", "body": {"client_id": "7"}}]),
        _ => json!([]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_match_that_is_over_has_sent_everything_and_ends_with_0() {
    let exchanges = std::sync::atomic::AtomicUsize::new(0);
    let fake = FakeBackend::start(move |request, _| match request.verb() {
        "create-token" => Reply::ok(&json!({"api_token": "a", "ws_token": "w"})),
        _ => {
            let number = exchanges.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Reply::ok(&json!({"incoming_commands": script(number)}))
        }
    })
    .await
    .unwrap();
    let output = arena(&fake.url, "MATCH").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let mut queued: Vec<String> = Vec::new();
    for interchange in fake.received().iter().filter(|it| it.verb() == "interchange") {
        let request: Value = serde_json::from_str(&interchange.body).unwrap();
        let commands = request["outgoing_commands"].as_array().unwrap();
        queued.extend(commands.iter().map(|it| it["qualifier"].as_str().unwrap().to_owned()));
    }
    assert_eq!(
        queued,
        [
            "UPGRADE_CONNECTION",
            "UPGRADE_CONNECTION",
            "STOP_MATCHMAKING",
            "STOP_MATCHMAKING",
            "BROADCAST_MESSAGE",
            "SET_PROFILE",
            "KICK_CLIENT"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_and_a_wrong_environment_have_their_exit_codes() {
    let fake = FakeBackend::start(|_, _| Reply::problem(401, "WRONG_CREDENTIALS", "auth.credentials", "no"))
        .await
        .unwrap();
    for qualifier in ["LOBBY", "MATCH"] {
        assert_eq!(arena(&fake.url, qualifier).output().unwrap().status.code(), Some(4), "{qualifier}");
    }
    assert_eq!(arena(&fake.url, "ARENA").output().unwrap().status.code(), Some(1));
}
