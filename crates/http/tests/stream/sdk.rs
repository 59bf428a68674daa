//! Our own client over streams: nothing is lost and nothing comes twice, with any fault of the
//! connection.

use std::{sync::Arc, time::Duration};

use omgservers_api::{
    ClientId, RuntimeId,
    ids::SenderSeq,
    interchange::{ToClient, message},
};
use omgservers_client::{Client, Event, Player, Retry, Session, Transport, problems::REPLACED};
use omgservers_messaging::{Mailbox, Mailboxes, Messaging as _, Op, To};
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::{
    fixture::{StreamFixture, eventually, push},
    wire::Wire,
};

const LONG: Duration = Duration::from_secs(20);
const QUICK: Retry = Retry {
    initial_backoff: Duration::from_millis(2),
    max_backoff: Duration::from_millis(20),
    give_up_after: Some(LONG),
};

/// A client of the fixture over a wire.
fn session(fixture: &StreamFixture, wire: &Wire, client: ClientId) -> Session {
    let player = Player::with_token(&Client::new(&wire.url).unwrap(), &fixture.token());
    player.resume(client).with_retry(QUICK)
}

/// A runtime that sends everything back, in order; numbers once, also after a restart.
async fn echo(mailboxes: Arc<Mailboxes>, runtime: RuntimeId) {
    let mut consumed = Vec::new();
    // The mailboxes may be gone: the process crashes.
    while mailboxes.runtime_ack(runtime, &consumed).is_ok()
        && let Ok(entries) = mailboxes.runtime_receive(runtime, LONG).await
    {
        for entry in &entries {
            let sent: ToClient<'_> = serde_json::from_str(&entry.body).unwrap();
            let seq = sent.message.get().parse().ok().map(SenderSeq);
            let Ok((commit, _)) = mailboxes.runtime_send(runtime, seq, To::One(sent.client_id), sent.message)
            else {
                return;
            };
            if commit.wait().await.is_err() {
                return;
            }
        }
        consumed = entries.iter().map(|it| it.id).collect();
    }
}

async fn message(session: &mut Session) -> String {
    match timeout(LONG, session.next()).await.unwrap().unwrap().unwrap() {
        Event::Message(message) => message.get().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_over_one_stream() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let echo = tokio::spawn(echo(fixture.mailboxes.clone().unwrap(), runtime));
    let wire = Wire::to(&fixture.host).await;
    let mut session = session(&fixture, &wire, client);
    let raw = RawValue::from_string("{ \"a\":1.10,\"a\":12345678901234567890123 }".to_owned()).unwrap();
    session.send(&*raw).unwrap();
    assert_eq!(message(&mut session).await, raw.get(), "byte for byte");
    for number in 0..100 {
        session.send(&number).unwrap();
    }
    for number in 0..100 {
        assert_eq!(message(&mut session).await, number.to_string());
    }
    assert_eq!(fixture.streams.count(), 1);
    assert!(session.exchange(Duration::ZERO).await.unwrap().is_empty());
    // What was handed on is acknowledged without a further call.
    let deadline = tokio::time::Instant::now() + LONG;
    while !fixture.polled(client).await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    echo.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_lose_nothing_and_double_nothing() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let echo = tokio::spawn(echo(fixture.mailboxes.clone().unwrap(), runtime));
    let wire = Wire::to(&fixture.host).await;
    let mut session = session(&fixture, &wire, client);
    let sender = session.sender();
    let cuts = async {
        for round in 0..25_u64 {
            for number in 0..20 {
                sender.send(&(round * 20 + number)).unwrap();
                tokio::time::sleep(Duration::from_millis(number % 3)).await;
            }
            wire.cut();
        }
    };
    let received = async {
        let mut received = Vec::new();
        while received.len() < 500 {
            received.push(message(&mut session).await);
        }
        received
    };
    let (received, ()) = tokio::join!(received, cuts);
    assert_eq!(received, (0..500).map(|it| it.to_string()).collect::<Vec<_>>());
    let more = timeout(Duration::from_millis(300), session.next()).await;
    assert!(more.is_err(), "{more:?}");
    echo.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_survives_stops_and_kills_of_the_server() {
    let mut fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let wire = Wire::to(&fixture.host).await;
    let mut session = session(&fixture, &wire, client);
    let (mut sent, mut received) = (0, Vec::new());
    // The echo doesn't know any more what it said just before a kill, and may say it again.
    let receive = async |session: &mut Session, received: &mut Vec<String>| {
        let message = message(session).await;
        if !received.contains(&message) {
            received.push(message);
        }
    };
    for round in 0..4 {
        let echo = tokio::spawn(echo(fixture.mailboxes.clone().unwrap(), runtime));
        for _ in 0..10 {
            session.send(&sent).unwrap();
            sent += 1;
        }
        while received.len() + 5 < sent {
            receive(&mut session, &mut received).await;
        }
        echo.abort();
        let _ended = echo.await;
        wire.lead(None);
        if round % 2 == 0 {
            fixture.draining.cancel();
        }
        fixture.crash().await;
        wire.lead(Some(&fixture.host));
    }
    let echo = tokio::spawn(echo(fixture.mailboxes.clone().unwrap(), runtime));
    while received.len() < sent {
        receive(&mut session, &mut received).await;
    }
    assert_eq!(received, (0..sent).map(|it| it.to_string()).collect::<Vec<_>>());
    echo.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_returns_when_what_was_sent_is_durable() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let wire = Wire::to(&fixture.host).await;
    let mut session = session(&fixture, &wire, client);
    let sql = fixture.sql().await;
    sql.batch_execute("begin; lock table messaging.entry in access exclusive mode").await.unwrap();
    session.send("x").unwrap();
    assert!(timeout(Duration::from_millis(300), session.exchange(Duration::ZERO)).await.is_err());
    assert_eq!(fixture.received(runtime).await, ["x"], "the stream went on when the exchange was dropped");
    sql.batch_execute("rollback").await.unwrap();
    timeout(LONG, session.exchange(Duration::ZERO)).await.unwrap().unwrap();
    assert_eq!(fixture.received(runtime).await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_reported_and_does_not_hold_up_the_others() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let wire = Wire::to(&fixture.host).await;
    let mut session = session(&fixture, &wire, client);
    session.send("first").unwrap();
    session.exchange(Duration::ZERO).await.unwrap();
    session.send(&"x".repeat(crate::fixture::LIMIT)).unwrap();
    session.send("later").unwrap();
    let problem = timeout(LONG, session.exchange(Duration::ZERO)).await.unwrap().unwrap_err();
    assert_eq!(problem.kind(), omgservers_api::Kind::TooLarge, "{problem:?}");
    session.send("last").unwrap();
    timeout(LONG, session.exchange(Duration::ZERO)).await.unwrap().unwrap();
    let received = fixture.received(runtime).await;
    assert_eq!((&received[0], received.last().unwrap()), (&"first".into(), &"last".into()));
    assert!(received.iter().all(|it| it.as_str().unwrap().len() < 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_ends_after_its_reason() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    let wire = Wire::to(&fixture.host).await;
    let mut session = session(&fixture, &wire, client);
    let reason = push(client, message::DISCONNECTION_REASON, r#"{"reason":"CLIENT_KICKED"}"#);
    fixture.apply(vec![reason, Op::Close(Mailbox::Client(client))]).await;
    let event = timeout(LONG, session.next()).await.unwrap().unwrap();
    assert!(matches!(event, Some(Event::Disconnected { .. })), "{event:?}");
    assert!(session.next().await.unwrap().is_none());
    eventually("the stream ended", || fixture.streams.count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_player_of_the_same_session_is_reported_to_the_first() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let wire = Wire::to(&fixture.host).await;
    let (mut first, mut second) = (session(&fixture, &wire, client), session(&fixture, &wire, client));
    first.exchange(Duration::ZERO).await.unwrap();
    eventually("the first is there", || fixture.streams.count() == 1).await;
    second.send("mine").unwrap();
    second.exchange(Duration::ZERO).await.unwrap();
    let replaced = timeout(LONG, first.next()).await.unwrap().unwrap_err();
    assert!(replaced.is(REPLACED), "{replaced:?}");
    assert_eq!(fixture.received(runtime).await, ["mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_polls_opens_no_stream() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    let wire = Wire::to(&fixture.host).await;
    let impatient = Retry { give_up_after: Some(Duration::from_millis(50)), ..QUICK };
    let mut session =
        session(&fixture, &wire, client).with_retry(impatient).with_transport(Transport::Polling);
    // This fixture has no interchange.
    assert!(timeout(LONG, session.exchange(Duration::ZERO)).await.unwrap().is_err());
    assert_eq!(fixture.streams.count(), 0);
}
