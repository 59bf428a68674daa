//! Messages both ways: the same as over the interchange.

use std::time::Duration;

use omgservers_api::interchange::message;
use omgservers_messaging::{Bounds, Mailbox, Messaging as _, Op};
use serde_json::{Value, json};

use crate::fixture::{StreamFixture, eventually, frame_of, push};

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_is_what_the_interchange_answers_in_its_order_and_byte_for_byte() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let text =
        "{ \"z\":123456789012345678901234567890, \"a\" : 1.10, \"a\":[ ],\"\\u00e4\":\"ä🎮\\ud83c\\udfae\" }";
    fixture.push(client, message::SERVER_OUTGOING, "{\"message\":1}").await;
    fixture.respond(runtime, client, text).await;
    let mut stream = fixture.stream(client).await;
    let first = stream.entries(2).await;
    fixture.respond(runtime, client, "3").await;
    let second = stream.entries(1).await;
    let streamed: Vec<_> = first.into_iter().chain(second).collect();
    let polled: Vec<_> =
        fixture.polled(client).await.into_iter().map(|it| (it.id, it.body.to_string())).collect();
    assert_eq!(streamed, polled, "and nothing is consumed by being sent");
    assert_eq!(streamed[1].1, format!("{{\"message\":{text}}}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_reaches_the_runtime_in_order_and_is_accepted() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let mut stream = fixture.stream(client).await;
    for (first, texts, request) in [(0, vec!["a", "b"], 10), (2, vec!["c"], 11), (3, vec!["d", "e", "f"], 12)]
    {
        stream.send(&frame_of(first, &texts, request)).await;
    }
    for (accepted, request) in [(1, 10), (2, 11), (5, 12)] {
        assert_eq!(stream.frame().await, json!({"accepted": accepted, "request": request}));
    }
    assert_eq!(fixture.received(runtime).await, ["a", "b", "c", "d", "e", "f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_accepted_when_it_is_durable_and_others_are_taken_meanwhile() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let mut stream = fixture.stream(client).await;
    let sql = fixture.sql().await;
    sql.batch_execute("begin; lock table messaging.entry in access exclusive mode").await.unwrap();
    for number in 0..3 {
        stream.send(&frame_of(number, &["x"], number)).await;
    }
    // They are in the runtime's mailbox, though the database stands still: none waited for the one
    // before it.
    while fixture.received(runtime).await.len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stream.is_silent().await;
    sql.batch_execute("rollback").await.unwrap();
    for number in 0..3 {
        assert_eq!(stream.frame().await, json!({"accepted": number, "request": number}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_frame_is_accepted_again_and_delivered_once() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let mut stream = fixture.stream(client).await;
    for frame in [frame_of(0, &["a", "b"], 1), frame_of(0, &["a", "b"], 2), frame_of(1, &["b", "c"], 3)] {
        stream.send(&frame).await;
    }
    for (accepted, request) in [(1, 1), (1, 2), (2, 3)] {
        assert_eq!(stream.frame().await, json!({"accepted": accepted, "request": request}));
    }
    assert_eq!(fixture.received(runtime).await, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stream_repeats_what_was_not_consumed_and_only_that() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    for text in ["1", "2", "3"] {
        fixture.respond(runtime, client, text).await;
    }
    let mut stream = fixture.stream(client).await;
    let sent = stream.entries(3).await;
    stream.consume(&[sent[0].0, sent[2].0]).await;
    stream.send(&json!({"request": 5})).await;
    assert_eq!(stream.frame().await, json!({"accepted": null, "request": 5}), "the consumption came first");
    drop(stream);
    let mut again = fixture.stream(client).await;
    assert_eq!(again.entries(1).await, sent[1..2]);
    fixture.respond(runtime, client, "4").await;
    assert_eq!(again.entries(1).await[0].1, r#"{"message":4}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_consume_is_sent_no_more_than_an_answer() {
    let fixture = StreamFixture::with(Bounds { most_entries_per_answer: 2, ..Bounds::default() }).await;
    let (client, runtime) = fixture.pair().await;
    for number in 0..7 {
        fixture.respond(runtime, client, &number.to_string()).await;
    }
    let mut stream = fixture.stream(client).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let sent = stream.entries(2).await;
        stream.is_silent().await;
        stream.consume(&[sent[0].0, sent[1].0]).await;
        seen.extend(sent);
    }
    seen.extend(stream.entries(1).await);
    let bodies: Vec<_> = seen.into_iter().map(|it| it.1).collect();
    assert_eq!(bodies, (0..7).map(|it| format!("{{\"message\":{it}}}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_and_an_upgrade_never_share_a_frame() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    fixture
        .apply(vec![
            push(client, message::RUNTIME_ASSIGNMENT, "{\"a\":1}"),
            push(client, message::SERVER_OUTGOING, "{\"message\":1}"),
            push(client, message::CONNECTION_UPGRADE, "{\"u\":1}"),
        ])
        .await;
    let mut stream = fixture.stream(client).await;
    // The bodies are made up, so no schema describes these frames.
    let first: Value = serde_json::from_str(&stream.text().await).unwrap();
    assert_eq!(first["incoming_messages"].as_array().unwrap().len(), 2);
    let second: Value = serde_json::from_str(&stream.text().await).unwrap();
    assert_eq!(second["incoming_messages"][0]["qualifier"], message::CONNECTION_UPGRADE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_before_there_is_a_runtime_waits_for_it() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    let mut stream = fixture.stream(client).await;
    stream.send(&frame_of(0, &["early"], 1)).await;
    assert_eq!(stream.frame().await["accepted"], 0);
    let (_, runtime) = fixture.pair().await;
    fixture.apply(vec![Op::Route { client, to: Some(runtime) }]).await;
    assert_eq!(fixture.received(runtime).await, ["early"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_is_a_sign_of_life() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    let stream = fixture.stream(client).await;
    let seen = || fixture.messaging().client(client).unwrap().last_seen;
    let before = seen();
    fixture.foundation.clock.advance(Duration::from_secs(60));
    eventually("it was heard of again", || seen() > before).await;
    drop(stream);
    eventually("the stream ends with its client", || fixture.streams.count() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_survives_a_kill_and_what_was_not_is_taken_once_when_it_is_repeated() {
    let mut fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.respond(runtime, client, "1").await;
    let mut stream = fixture.stream(client).await;
    stream.entries(1).await;
    stream.send(&frame_of(0, &["a"], 1)).await;
    assert_eq!(stream.frame().await["accepted"], 0);
    stream.send(&frame_of(1, &["b"], 2)).await;
    fixture.crash().await;
    let mut stream = fixture.stream(client).await;
    assert_eq!(stream.entries(1).await[0].1, r#"{"message":1}"#);
    stream.send(&frame_of(0, &["a", "b"], 3)).await;
    assert_eq!(stream.frame().await, json!({"accepted": 1, "request": 3}));
    assert_eq!(fixture.received(runtime).await, ["a", "b"]);
    fixture.apply(vec![Op::Close(Mailbox::Client(client))]).await;
}
