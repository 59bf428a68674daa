use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use omgservers_client::fake::{FakeBackend, Reply};
use serde_json::json;

fn lobby(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lobby-echo"));
    command
        .env_clear()
        .env("OMGSERVERS_SERVICE_URL", url)
        .env("OMGSERVERS_RUNTIME_ID", "5")
        .env("OMGSERVERS_PASSWORD", "pw")
        .env("OMGSERVERS_RUNTIME_QUALIFIER", "LOBBY")
        .stdout(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_well() {
    let fake = FakeBackend::start(|_, _| Reply::Hang).await.unwrap();
    let mut child = lobby(&fake.url).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains(r#""event":"started""#));
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(lines.next().unwrap().unwrap().contains(r#""event":"terminated""#));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_and_a_refusal_have_their_exit_codes() {
    let fake = FakeBackend::start(|request, _| match request.verb() {
        "create-token" => Reply::ok(&json!({"api_token": "a", "ws_token": "w"})),
        _ => Reply::ok(&json!({"incoming_commands": [
            {"id": "1", "qualifier": "HANDLE_MESSAGE", "body": {"client_id": "9", "message": "crash"}}]})),
    })
    .await
    .unwrap();
    assert_eq!(lobby(&fake.url).output().unwrap().status.code(), Some(7));
    let fake = FakeBackend::start(|_, _| Reply::problem(401, "WRONG_CREDENTIALS", "auth.credentials", "no"))
        .await
        .unwrap();
    assert_eq!(lobby(&fake.url).output().unwrap().status.code(), Some(4));
}

#[test]
fn a_missing_variable_is_named() {
    let output = lobby("http://127.0.0.1:1").env_remove("OMGSERVERS_PASSWORD").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("OMGSERVERS_PASSWORD isn't set"));
}
