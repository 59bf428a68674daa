use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use omgservers_client::{
    Client, Event, Player, Session,
    api::{Kind, interchange::Reason},
    fake::{FakeBackend, ReceivedRequest, Reply},
};
use serde_json::{Value, json};

use crate::QUICK;

/// A session whose interchanges are answered by `answer`, which gets their number, from 0.
async fn session(answer: impl Fn(&Value, usize) -> Reply + Send + Sync + 'static) -> (FakeBackend, Session) {
    let count = Mutex::new(0);
    let fake = FakeBackend::start(move |request: &ReceivedRequest, _| match request.verb() {
        "create-token" => Reply::ok(&json!({"raw_token": "t"})),
        "create-client" => Reply::ok(&json!({"client_id": "20"})),
        _ => {
            let number = {
                let mut count = count.lock().unwrap();
                *count += 1;
                *count - 1
            };
            answer(&serde_json::from_str(&request.body).unwrap(), number)
        }
    })
    .await
    .unwrap();
    let player = Player::sign_in(&Client::new(&fake.url).unwrap(), "5", "pw").await.unwrap();
    let session = player.create_client("acme", "game", "main").await.unwrap().with_retry(QUICK);
    (fake, session)
}

fn interchanges(fake: &FakeBackend) -> Vec<String> {
    fake.received().into_iter().filter(|it| it.verb() == "interchange").map(|it| it.body).collect()
}

fn messages(of: &[(&str, &str, Value)]) -> Reply {
    let list: Vec<_> = of
        .iter()
        .map(|(id, qualifier, body)| json!({"id": id, "qualifier": qualifier, "body": body}))
        .collect();
    Reply::ok(&json!({"incoming_messages": list}))
}

fn message(id: &str, text: &str) -> (&'static str, &'static str, Value) {
    (Box::leak(id.to_owned().into_boxed_str()), "SERVER_OUTGOING_MESSAGE", json!({"message": text}))
}

fn texts(events: Vec<Event>) -> Vec<String> {
    events
        .into_iter()
        .map(|event| match event {
            Event::Message(message) => message.get().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn a_request_that_failed_is_repeated_as_it_was() {
    let (fake, mut session) = session(|_, number| match number {
        0 => Reply::Close,
        1 => Reply::problem(500, "INTERNAL_EXCEPTION_OCCURRED", "internal", ""),
        2 => Reply::Body(503, "<html>".into()),
        3 => Reply::With(429, "Retry-After: 0", r#"{"qualifier":"TOO_MANY_REQUESTS"}"#.into()),
        _ => messages(&[]),
    })
    .await;
    session.send("hi").unwrap();
    session.send(&json!({"x": 1})).unwrap();
    session.exchange(Duration::ZERO).await.unwrap();
    let bodies = interchanges(&fake);
    assert_eq!(bodies.len(), 5);
    assert_eq!(
        bodies[0],
        concat!(
            r#"{"client_id":"20","outgoing_messages":["#,
            r#"{"id":0,"qualifier":"CLIENT_OUTGOING_MESSAGE","body":{"data":"hi"}},"#,
            r#"{"id":1,"qualifier":"CLIENT_OUTGOING_MESSAGE","body":{"data":{"x":1}}}],"consumed_messages":[]}"#
        )
    );
    assert!(bodies.iter().all(|it| *it == bodies[0]), "{bodies:?}");
    session.send("again").unwrap();
    session.exchange(Duration::ZERO).await.unwrap();
    assert!(interchanges(&fake)[5].contains(r#"{"id":2,"#), "the counter goes on");
}

#[tokio::test]
async fn what_was_received_is_acknowledged_once_and_handed_on_once() {
    let (fake, mut session) = session(|_, number| match number {
        0 => messages(&[message("31", "a"), message("32", "b")]),
        1 => messages(&[message("32", "b"), message("33", "c")]),
        _ => messages(&[]),
    })
    .await;
    assert_eq!(texts(session.exchange(Duration::ZERO).await.unwrap()), [r#""a""#, r#""b""#]);
    assert_eq!(texts(session.exchange(Duration::ZERO).await.unwrap()), [r#""c""#]);
    session.exchange(Duration::ZERO).await.unwrap();
    session.exchange(Duration::ZERO).await.unwrap();
    let consumed: Vec<_> = interchanges(&fake)
        .iter()
        .map(|it| serde_json::from_str::<Value>(it).unwrap()["consumed_messages"].clone())
        .collect();
    assert_eq!(consumed, [json!([]), json!(["31", "32"]), json!(["32", "33"]), json!([])]);
}

#[tokio::test]
async fn events_have_types_and_unknown_ones_are_kept() {
    let config = json!({"lobby_config": {"lobby_id": "6"}, "match_config": null, "version_config": {"modes": [], "user_data": null}});
    let (_fake, mut session) = session(move |_, _| {
        messages(&[
            (
                "1",
                "SERVER_WELCOME_MESSAGE",
                json!({"tenant_id": "1", "version_id": "2", "version_created": "2025-01-25T10:00:00.123Z"}),
            ),
            ("2", "MATCHMAKER_ASSIGNMENT_MESSAGE", json!({"matchmaker_id": "9"})),
            (
                "3",
                "RUNTIME_ASSIGNMENT_MESSAGE",
                json!({
                    "runtime_id": "5", "runtime_qualifier": "LOBBY", "runtime_config": config,
                    "direct": {"address": "play.example", "token": "d", "ports": [{"name": "game", "protocol": "UDP", "port": 7777}]},
                }),
            ),
            (
                "4",
                "CONNECTION_UPGRADE_MESSAGE",
                json!({"client_id": "20", "protocol": "DISPATCHER", "web_socket_config": {"ws_token": "w"}}),
            ),
            ("5", "SERVER_OUTGOING_MESSAGE", json!({"message": {"big": 12_345_678_901_234_567_u64}})),
            ("6", "A_LATER_MESSAGE", json!({"x": 1})),
            (
                "8",
                "MATCHMAKING_FAILURE_MESSAGE",
                json!({"mode": "duel", "reason": "TIMEOUT", "detail": "nobody came"}),
            ),
            ("7", "DISCONNECTION_REASON_MESSAGE", json!({"reason": "CLIENT_INACTIVITY"})),
        ])
    })
    .await;
    let mut events = Vec::new();
    while let Some(event) = session.next().await.unwrap() {
        events.push(event);
    }
    assert!(matches!(&events[0], Event::Welcome(it) if it.version_id.to_string() == "2"));
    assert!(matches!(&events[1], Event::MatchmakerAssigned(it) if it.to_string() == "9"));
    assert!(matches!(&events[2], Event::Assigned { runtime_id, config, direct: Some(direct), .. }
        if runtime_id.to_string() == "5" && config.lobby_config.is_some() && direct.ports[0].port == 7777));
    assert!(matches!(&events[3], Event::ConnectionUpgrade(it) if it.web_socket_config.ws_token == "w"));
    assert!(matches!(&events[4], Event::Message(it) if it.get() == r#"{"big":12345678901234567}"#));
    assert!(matches!(&events[5], Event::Unknown { qualifier, .. } if qualifier == "A_LATER_MESSAGE"));
    assert!(matches!(&events[6], Event::MatchmakingFailed(it) if it.mode == "duel"));
    assert!(matches!(&events[7], Event::Disconnected { reason: Reason::ClientInactivity }));
    assert_eq!(events.len(), 8, "after the disconnection there is nothing more");
}

#[tokio::test]
async fn retries_end_and_the_message_is_kept() {
    let works = Arc::new(Mutex::new(false));
    let answer = works.clone();
    let (fake, mut session) =
        session(move |_, _| if *answer.lock().unwrap() { messages(&[]) } else { Reply::Close }).await;
    session.send("hi").unwrap();
    assert_eq!(session.exchange(Duration::ZERO).await.unwrap_err().kind(), Kind::Unavailable);
    *works.lock().unwrap() = true;
    session.exchange(Duration::ZERO).await.unwrap();
    let bodies = interchanges(&fake);
    assert!(bodies.len() > 3);
    assert!(bodies.iter().all(|it| *it == bodies[0]));
}

#[tokio::test]
async fn a_refused_message_does_not_block_the_ones_after_it() {
    let (fake, mut session) = session(|request, _| {
        if request["outgoing_messages"][0]["body"]["data"] == "bad" {
            Reply::problem(400, "WRONG_REQUEST", "request.malformed", "no")
        } else {
            messages(&[])
        }
    })
    .await;
    session.send("bad").unwrap();
    assert_eq!(session.exchange(Duration::ZERO).await.unwrap_err().kind(), Kind::Invalid);
    session.send("good").unwrap();
    session.exchange(Duration::ZERO).await.unwrap();
    let bodies = interchanges(&fake);
    assert_eq!(bodies.len(), 2, "a refusal is not repeated");
    assert!(bodies[1].contains("good") && !bodies[1].contains("bad"));
}

#[tokio::test]
async fn a_message_sent_during_a_long_poll_goes_out_at_once() {
    let (fake, mut session) =
        session(|request, _| match request["outgoing_messages"][0]["body"]["data"].as_str() {
            Some(text) => messages(&[message("40", text)]),
            None => Reply::Hang,
        })
        .await;
    let sender = session.sender();
    let begun = Instant::now();
    let (event, ()) = tokio::join!(session.next(), async {
        while interchanges(&fake).is_empty() {
            tokio::task::yield_now().await;
        }
        sender.send("now").unwrap();
    });
    assert_eq!(texts(vec![event.unwrap().unwrap()]), [r#""now""#]);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(interchanges(&fake)[0].contains(r#""wait":25000"#));
    assert!(!interchanges(&fake)[1].contains("wait"), "who speaks doesn't wait");
}

#[tokio::test]
async fn an_expired_token_is_renewed() {
    let (fake, mut session) =
        session(
            |_, number| {
                if number == 0 { Reply::Body(401, String::new()) } else { messages(&[message("31", "a")]) }
            },
        )
        .await;
    assert_eq!(session.exchange(Duration::ZERO).await.unwrap().len(), 1);
    let verbs: Vec<_> = fake.received().iter().map(|it| it.verb().to_owned()).collect();
    assert_eq!(verbs, ["create-token", "create-client", "interchange", "create-token", "interchange"]);
}

#[tokio::test]
async fn a_token_that_is_refused_again_ends_it() {
    let (fake, mut session) =
        session(|_, _| Reply::problem(401, "WRONG_CREDENTIALS", "auth.token", "no")).await;
    assert_eq!(session.exchange(Duration::ZERO).await.unwrap_err().kind(), Kind::Unauthenticated);
    assert_eq!(interchanges(&fake).len(), 2);
}
