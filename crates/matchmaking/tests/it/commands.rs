//! A runtime's turn: its commands, their counters, and the wait for an answer.

use std::time::Duration;

use omgservers_api::interchange::Outgoing;
use omgservers_core::Caller;
use omgservers_matchmaking::{Matchmaking as _, RuntimeTurn};
use omgservers_messaging::Messaging as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, about, command, numbered, qualifiers, request};

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn each_command_that_can_not_be_carried_out_is_in_the_answer_and_stops_no_other() {
    let mut fixture = Fixture::new().await;
    let [session] = fixture.sessions_in_lobby().await;
    let client = session.client;
    let rejected = fixture
        .send(
            fixture.lobby(),
            &[
                command("DANCE", "{}"),
                command("KICK_CLIENT", r#"{"who":"7"}"#),
                command("RESPOND_CLIENT", r#"{"client_id":"7","message":1}"#),
                request(session, "nothing"),
                command("UPGRADE_CONNECTION", &format!(r#"{{"client_id":"{client}","protocol":"TCP"}}"#)),
                command("BROADCAST_MESSAGE", r#"{"message":{"n":1}}"#),
            ],
        )
        .await;
    let codes: Vec<&str> = rejected.iter().map(|it| it.1.as_str()).collect();
    let expected = ["unknown_command", "wrong_body", "client_not_here", "unknown_mode", "wrong_body"]
        .map(|it| format!("matchmaking.{it}"));
    assert_eq!(codes, expected);
    let received = fixture.receive(session).await;
    assert_eq!(qualifiers(&received), ["MATCHMAKING_FAILURE_MESSAGE", "SERVER_OUTGOING_MESSAGE"]);
    assert_eq!(received[1].1, json!({"message": {"n": 1}}));
}

#[tokio::test]
async fn commands_with_a_counter_are_carried_out_once() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.sessions_in_lobby().await;
    let lobby = fixture.lobby();
    let commands = [
        numbered(1, &command("BROADCAST_MESSAGE", r#"{"message":1}"#)),
        numbered(2, &request(first, "crowd")),
        numbered(3, &about("CANCEL_MATCHMAKING", first)),
        numbered(4, &about("KICK_CLIENT", second)),
    ];
    for _ in 0..2 {
        assert_eq!(fixture.send(lobby, &commands).await, []);
    }
    let received = fixture.receive(first).await;
    assert_eq!(qualifiers(&received), ["SERVER_OUTGOING_MESSAGE", "MATCHMAKING_FAILURE_MESSAGE"]);
    assert!(fixture.info(second).closed);
    assert_eq!(fixture.node().messaging.runtime(lobby).unwrap().last_seq.unwrap().0, 4);
}

#[tokio::test]
async fn profiles_of_one_turn_are_saved_and_the_last_one_of_a_player_stays() {
    let mut fixture = Fixture::new().await;
    let [session] = fixture.sessions_in_lobby().await;
    let profile = |level: u32| {
        let body = format!(r#"{{"client_id":"{}","profile":{{"level":{level}}}}}"#, session.client);
        command("SET_PROFILE", &body)
    };
    let broken = command("SET_PROFILE", r#"{"client_id":"7","profile":{}}"#);
    let commands = [profile(1), command("BROADCAST_MESSAGE", r#"{"message":1}"#), broken, profile(2)];
    let rejected = fixture.send(fixture.lobby(), &commands).await;
    assert_eq!(rejected, [(2, "matchmaking.client_not_here".to_owned())]);
    fixture.crash(fixture.lobby());
    fixture.settle().await;
    let lobby = fixture.lobby();
    fixture.poll(lobby).await;
    fixture.settle().await;
    let added = fixture.poll(lobby).await;
    assert_eq!(added[0].1["profile"], json!({"level": 2}));
}

#[tokio::test]
async fn the_end_of_the_wait_keeps_what_the_commands_have_done() {
    let mut fixture = Fixture::new().await;
    let [session] = fixture.sessions_in_lobby().await;
    let (lobby, stop) = (fixture.lobby(), CancellationToken::new());
    let text = format!("[{},{}]", command("DANCE", "{}"), command("BROADCAST_MESSAGE", r#"{"message":1}"#));
    let commands: Vec<Outgoing<'_>> = serde_json::from_str(&text).unwrap();
    let turn = RuntimeTurn { commands: &commands, consumed: &[], wait: LONG };
    // The server drains before the call comes.
    stop.cancel();
    let answer = fixture.node().matchmaking.exchange(&Caller::Runtime(lobby), turn, &stop).await.unwrap();
    assert!(answer.incoming.is_empty());
    assert_eq!(answer.rejected.len(), 1);
    assert_eq!(qualifiers(&fixture.receive(session).await), ["SERVER_OUTGOING_MESSAGE"]);
}

#[tokio::test]
async fn a_turn_waits_until_an_entry_arrives() {
    let mut fixture = Fixture::new().await;
    let [first, second] = fixture.sessions_in_lobby().await;
    let (lobby, matchmaking) = (fixture.lobby(), fixture.node().matchmaking.clone());
    let waiting = tokio::spawn(async move {
        let turn = RuntimeTurn { wait: LONG, ..RuntimeTurn::default() };
        matchmaking.exchange(&Caller::Runtime(lobby), turn, &CancellationToken::new()).await.unwrap()
    });
    let data = serde_json::value::to_raw_value("hello").unwrap();
    let message = omgservers_messaging::ClientMessage { seq: None, data: &data };
    let messaging = &fixture.node().messaging;
    let sent = messaging.client_send(first.user, first.client, &[message], &[]).unwrap();
    sent.unwrap().wait().await.unwrap();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.incoming[0].qualifier, "HANDLE_MESSAGE");
    assert!(!fixture.info(second).closed);
}

#[tokio::test]
async fn only_runtimes_take_turns() {
    let fixture = Fixture::new().await;
    let stop = CancellationToken::new();
    let exchange = |caller| {
        let (matchmaking, stop) = (fixture.node().matchmaking.clone(), stop.clone());
        async move { matchmaking.exchange(&caller, RuntimeTurn::default(), &stop).await.unwrap_err() }
    };
    let wrong = exchange(omgservers_fixtures::support()).await;
    assert!(wrong.is(omgservers_api::problem::codes::WRONG_ROLE));
    let unknown = exchange(Caller::Runtime(omgservers_fixtures::missing())).await;
    assert!(unknown.is(omgservers_messaging::problems::RUNTIME_NOT_FOUND));
}
