//! How streams end.

use std::time::{Duration, Instant};

use omgservers_api::{interchange::message, stream::close};
use omgservers_messaging::{Mailbox, Op};
use serde_json::json;

use crate::fixture::{StreamFixture, eventually, frame_of, push};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stream_takes_the_place_of_the_first() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.respond(runtime, client, "1").await;
    let mut first = fixture.stream(client).await;
    first.entries(1).await;
    let mut second = fixture.stream(client).await;
    assert_eq!(first.closed().await, close::REPLACED);
    assert_eq!(second.entries(1).await[0].1, r#"{"message":1}"#);
    eventually("the first is gone", || fixture.streams.count() == 1).await;
    second.send(&frame_of(0, &["still here"], 1)).await;
    assert_eq!(second.frame().await["accepted"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_sends_its_reason_and_then_that_it_is_over() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    let mut stream = fixture.stream(client).await;
    let reason = push(client, message::DISCONNECTION_REASON, r#"{"reason":"CLIENT_INACTIVITY"}"#);
    fixture.apply(vec![reason, Op::Close(Mailbox::Client(client))]).await;
    stream.entries(1).await;
    assert_eq!(stream.closed().await, close::OVER);
    // A later one gets the reason as well, until the client is forgotten.
    let mut stream = fixture.stream(client).await;
    stream.entries(1).await;
    assert_eq!(stream.closed().await, close::OVER);
    fixture.apply(vec![Op::Remove(Mailbox::Client(client))]).await;
    assert_eq!(fixture.stream(client).await.closed().await, close::UNKNOWN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_forgotten_ends_its_stream() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    let mut stream = fixture.stream(client).await;
    fixture.apply(vec![Op::Remove(Mailbox::Client(client))]).await;
    assert_eq!(stream.closed().await, close::UNKNOWN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_reports_what_is_durable_and_sends_its_clients_away_at_once() {
    let mut fixture = StreamFixture::new().await;
    let (client, _) = fixture.pair().await;
    let mut streams = vec![fixture.stream(client).await];
    for _ in 0..5 {
        streams.push(fixture.stream(fixture.client().await).await);
    }
    streams[0].send(&frame_of(0, &["a"], 1)).await;
    assert_eq!(streams[0].frame().await, json!({"accepted": 0, "request": 1}));
    let begun = Instant::now();
    let closing = async {
        let mut codes = Vec::new();
        for stream in &mut streams {
            codes.push(stream.closed().await);
        }
        codes
    };
    let (codes, ()) = tokio::join!(closing, fixture.stop());
    assert_eq!(codes, [close::GOING_AWAY; 6]);
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(fixture.streams.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_does_not_hold_up_a_stop() {
    let mut fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let stream = fixture.stream(client).await;
    let large = format!("\"{}\"", "x".repeat(900_000));
    for _ in 0..5 {
        fixture.respond(runtime, client, &large).await;
    }
    let begun = Instant::now();
    fixture.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    drop(stream);
}
