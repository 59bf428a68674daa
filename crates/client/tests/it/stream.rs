//! A session over streams whose other end the test holds.

use std::{sync::atomic::Ordering, time::Duration};

use omgservers_client::{
    Client, Event, Player, Retry, Session,
    api::Kind,
    fake::{ReceivedRequest, Reply},
    problems::REPLACED,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{QUICK, dial::Dial};

const LONG: Duration = Duration::from_secs(10);

/// Everybody may sign in, and who polls gets one message.
fn answer(request: &ReceivedRequest, number: usize) -> Reply {
    match request.verb() {
        "create-token" => Reply::ok(&json!({"raw_token": format!("t-{number}")})),
        "create-client" => Reply::ok(&json!({"client_id": "20"})),
        _ => Reply::ok(&json!({"incoming_messages": [
            {"id": "9", "qualifier": "SERVER_OUTGOING_MESSAGE", "body": {"message": "polled"}}
        ]})),
    }
}

async fn session(dial: &Dial) -> Session {
    let client = Client::new(&dial.url).unwrap();
    let player = Player::sign_in(&client, "5", "pw").await.unwrap();
    player.create_client("acme", "game", "main").await.unwrap().with_retry(QUICK)
}

async fn dial() -> (Dial, Session) {
    let dial = Dial::start(answer, |_| None).await;
    let session = session(&dial).await;
    (dial, session)
}

fn incoming(id: u64, text: &str) -> Value {
    json!({"incoming_messages": [{"id": id.to_string(), "qualifier": "SERVER_OUTGOING_MESSAGE", "body": {"message": text}}]})
}

fn sent(frame: &Value) -> Vec<(u64, String)> {
    let messages = frame["outgoing_messages"].as_array().cloned().unwrap_or_default();
    let one = |it: &Value| (it["id"].as_u64().unwrap(), it["body"]["data"].as_str().unwrap().to_owned());
    messages.iter().map(one).collect()
}

async fn next(session: &mut Session) -> String {
    match timeout(LONG, session.next()).await.expect("no event").unwrap() {
        Some(Event::Message(message)) => serde_json::from_str(message.get()).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Drives a session while something else goes on.
async fn while_next<T>(session: &mut Session, other: impl Future<Output = T>) -> T {
    tokio::select! {
        event = session.next() => panic!("{event:?}"),
        done = other => done,
    }
}

#[tokio::test]
async fn the_token_travels_in_a_header_and_the_sub_protocol_is_offered() {
    let (mut dial, mut session) = dial().await;
    let call = while_next(&mut session, dial.call()).await;
    assert_eq!(call.path, "/service/v1/entrypoint/player/stream?client_id=20");
    assert_eq!(call.token.as_deref(), Some("t-0"));
    assert_eq!(call.protocol, "omgservers.stream.v1");
}

#[tokio::test]
async fn frames_are_sent_without_waiting_for_each_other_and_repeated_when_they_were_not_accepted() {
    let (mut dial, mut session) = dial().await;
    let sender = session.sender();
    let mut call = while_next(&mut session, dial.call()).await;
    for (number, text) in ["a", "b", "c"].into_iter().enumerate() {
        sender.send(text).unwrap();
        let frame = call.frame().await;
        assert_eq!(sent(&frame), [(u64::try_from(number).unwrap(), text.to_owned())], "before any answer");
        assert_eq!(frame["request"], number);
    }
    call.send(&json!({"accepted": 0, "request": 0})).await;
    call.send(&incoming(31, "so that the answer was read")).await;
    next(&mut session).await;
    drop(call);
    let mut call = while_next(&mut session, dial.call()).await;
    let frame = while_next(&mut session, call.frame()).await;
    assert_eq!(sent(&frame), [(1, "b".to_owned()), (2, "c".to_owned())]);
    call.send(&json!({"accepted": 2, "request": 2})).await;
    timeout(LONG, session.exchange(Duration::ZERO)).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_came_is_acknowledged_when_the_game_has_it_and_is_not_handed_on_twice() {
    let (mut dial, mut session) = dial().await;
    let mut call = while_next(&mut session, dial.call()).await;
    call.send(&incoming(31, "a")).await;
    call.send(&incoming(32, "b")).await;
    assert_eq!(next(&mut session).await, "a");
    assert_eq!(call.frame().await, json!({"consumed_messages": ["31"]}));
    drop(call);
    // The game has the second one from before; the backend doesn't know of the first
    // acknowledgement.
    assert_eq!(next(&mut session).await, "b");
    let mut call = while_next(&mut session, dial.call()).await;
    for (id, text) in [(31, "a"), (32, "b"), (33, "c")] {
        call.send(&incoming(id, text)).await;
    }
    assert_eq!(next(&mut session).await, "c");
    // Some of it may have been acknowledged before.
    let mut consumed = std::collections::BTreeSet::new();
    while consumed.len() < 3 {
        let frame = call.frame().await;
        consumed.extend(
            frame["consumed_messages"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(consumed.into_iter().collect::<Vec<_>>(), ["31", "32", "33"]);
}

#[tokio::test]
async fn an_expired_token_is_renewed_for_the_next_stream() {
    let (mut dial, mut session) = dial().await;
    let mut call = while_next(&mut session, dial.call()).await;
    call.send(&json!({"error": {"status": 401, "qualifier": "WRONG_CREDENTIALS", "code": "auth.token", "detail": "expired"}})).await;
    while_next(&mut session, call.close(4401, "")).await;
    let call = while_next(&mut session, dial.call()).await;
    assert_ne!(call.token.as_deref(), Some("t-0"));
}

#[tokio::test]
async fn a_handshake_that_is_refused_for_its_token_is_repeated_once_with_another() {
    let body = r#"{"qualifier":"WRONG_CREDENTIALS","code":"auth.token","detail":"no"}"#;
    let refusal = format!("HTTP/1.1 401 No\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let dial = Dial::start(answer, move |_| Some(refusal.clone())).await;
    let mut session = session(&dial).await;
    let problem = timeout(LONG, session.next()).await.unwrap().unwrap_err();
    assert_eq!(problem.kind(), Kind::Unauthenticated, "{problem:?}");
    assert_eq!(dial.refused.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn where_something_on_the_way_lets_no_web_socket_pass_it_polls() {
    for refusal in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>",
        "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
    ] {
        let dial = Dial::start(answer, |_| Some(refusal.to_owned())).await;
        let mut session = session(&dial).await;
        session.send("hi").unwrap();
        assert_eq!(next(&mut session).await, "polled", "{refusal}");
        let sent = dial.fake.received();
        assert!(sent.last().unwrap().body.contains(r#""data":"hi""#), "{sent:?}");
        assert_eq!(dial.refused.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn streams_that_carry_nothing_give_way_to_polling_and_what_was_sent_over_them_is_sent_again() {
    let (mut dial, mut session) = dial().await;
    session.send("hi").unwrap();
    let breaks = async {
        for _ in 0..3 {
            let mut call = dial.call().await;
            assert_eq!(sent(&call.frame().await), [(0, "hi".to_owned())]);
        }
    };
    while_next(&mut session, breaks).await;
    assert_eq!(next(&mut session).await, "polled");
    assert!(dial.fake.received().last().unwrap().body.contains(r#"{"id":0,"#));
    dial.is_silent().await;
}

#[tokio::test]
async fn a_backend_that_asks_to_come_later_gets_the_same_again_after_a_pause() {
    let (mut dial, mut session) = dial().await;
    session.send("a").unwrap();
    for _ in 0..5 {
        let later = async {
            let mut call = dial.call().await;
            let frame = call.frame().await;
            assert_eq!(sent(&frame), [(0, "a".to_owned())]);
            call.send(&json!({"request": 0, "error": {"status": 429, "qualifier": "MAILBOX_FULL", "code": "messaging.mailbox_full", "detail": "full"}})).await;
            call.close(1013, "").await;
        };
        while_next(&mut session, later).await;
    }
    let mut call = while_next(&mut session, dial.call()).await;
    assert_eq!(sent(&call.frame().await), [(0, "a".to_owned())]);
    call.send(&json!({"accepted": 0, "request": 0})).await;
    timeout(LONG, session.exchange(Duration::ZERO)).await.unwrap().unwrap();
}

#[tokio::test]
async fn retries_end_when_the_backend_is_away_and_messages_are_kept() {
    let (dial, session) = dial().await;
    let impatient = Retry { give_up_after: Some(Duration::from_millis(60)), ..QUICK };
    let mut session = session.with_retry(impatient);
    session.send("a").unwrap();
    let url = dial.url.clone();
    drop(dial);
    for _ in 0..2 {
        let problem = timeout(LONG, session.exchange(Duration::ZERO)).await.unwrap().unwrap_err();
        assert_eq!(problem.kind(), Kind::Unavailable, "{url}: {problem:?}");
    }
}

#[tokio::test]
async fn final_ends_are_problems() {
    for (code, error, kind) in [
        (4403, Some((400, "messaging.foreign_client")), Kind::Invalid),
        (4404, Some((404, "messaging.client_not_found")), Kind::NotFound),
        (4001, None, Kind::Conflict),
    ] {
        let (mut dial, mut session) = dial().await;
        let ends = async {
            let mut call = dial.call().await;
            if let Some((status, code)) = error {
                call.send(
                    &json!({"error": {"status": status, "qualifier": "Q", "code": code, "detail": "d"}}),
                )
                .await;
            }
            call.close(code, "").await;
        };
        let (event, ()) = tokio::join!(timeout(LONG, session.next()), ends);
        let problem = event.unwrap().unwrap_err();
        assert_eq!(problem.kind(), kind, "{problem:?}");
        assert_eq!(problem.is(REPLACED), code == 4001);
    }
    let (mut dial, mut session) = dial().await;
    let ends = async { dial.call().await.close(4000, "").await };
    let (over, ()) = tokio::join!(timeout(LONG, session.next()), ends);
    assert!(over.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn a_refused_frame_is_reported_once_and_the_next_ones_go_on() {
    let (mut dial, mut session) = dial().await;
    let sender = session.sender();
    let mut call = while_next(&mut session, dial.call()).await;
    for text in ["bad", "good"] {
        sender.send(text).unwrap();
        call.frame().await;
    }
    call.send(&json!({"request": 0, "error": {"status": 400, "qualifier": "WRONG_REQUEST", "code": "request.malformed", "detail": "no"}})).await;
    call.send(&json!({"accepted": 1, "request": 1})).await;
    let problem = timeout(LONG, session.exchange(Duration::ZERO)).await.unwrap().unwrap_err();
    assert_eq!(problem.kind(), Kind::Invalid);
    timeout(LONG, session.exchange(Duration::ZERO)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_session_that_is_dropped_ends_its_stream() {
    let (mut dial, mut session) = dial().await;
    let mut call = while_next(&mut session, dial.call()).await;
    drop(session);
    assert!(call.message().await.is_none());
}
