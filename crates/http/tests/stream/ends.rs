//! How streams end.

use std::time::{Duration, Instant};

use omgservers_api::{interchange::message, stream::close};
use omgservers_messaging::{Mailbox, Op};
use serde_json::json;

use crate::house::{House, eventually, push, says};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stream_takes_the_place_of_the_first() {
    let house = House::new().await;
    let (client, runtime) = house.pair().await;
    house.respond(runtime, client, "1").await;
    let mut first = house.stream(client).await;
    first.entries(1).await;
    let mut second = house.stream(client).await;
    assert_eq!(first.closed().await, close::REPLACED);
    assert_eq!(second.entries(1).await[0].1, r#"{"message":1}"#);
    eventually("the first is gone", || house.streams.count() == 1).await;
    second.send(&says(0, &["still here"], 1)).await;
    assert_eq!(second.frame().await["accepted"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_over_tells_its_reason_and_then_that_it_is_over() {
    let house = House::new().await;
    let client = house.client().await;
    let mut stream = house.stream(client).await;
    let reason = push(client, message::DISCONNECTION_REASON, r#"{"reason":"CLIENT_INACTIVITY"}"#);
    house.apply(vec![reason, Op::Close(Mailbox::Client(client))]).await;
    stream.entries(1).await;
    assert_eq!(stream.closed().await, close::OVER);
    // A later one gets the reason as well, until the client is forgotten.
    let mut stream = house.stream(client).await;
    stream.entries(1).await;
    assert_eq!(stream.closed().await, close::OVER);
    house.apply(vec![Op::Remove(Mailbox::Client(client))]).await;
    assert_eq!(house.stream(client).await.closed().await, close::UNKNOWN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_forgotten_ends_its_stream() {
    let house = House::new().await;
    let client = house.client().await;
    let mut stream = house.stream(client).await;
    house.apply(vec![Op::Remove(Mailbox::Client(client))]).await;
    assert_eq!(stream.closed().await, close::UNKNOWN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_tells_what_is_durable_and_sends_its_clients_away_at_once() {
    let mut house = House::new().await;
    let (client, _) = house.pair().await;
    let mut streams = vec![house.stream(client).await];
    for _ in 0..5 {
        streams.push(house.stream(house.client().await).await);
    }
    streams[0].send(&says(0, &["a"], 1)).await;
    assert_eq!(streams[0].frame().await, json!({"accepted": 0, "request": 1}));
    let begun = Instant::now();
    let closing = async {
        let mut codes = Vec::new();
        for stream in &mut streams {
            codes.push(stream.closed().await);
        }
        codes
    };
    let (codes, ()) = tokio::join!(closing, house.stop());
    assert_eq!(codes, [close::GOING_AWAY; 6]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(house.streams.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_does_not_hold_up_a_stop() {
    let mut house = House::new().await;
    let (client, runtime) = house.pair().await;
    let stream = house.stream(client).await;
    let large = format!("\"{}\"", "x".repeat(900_000));
    for _ in 0..5 {
        house.respond(runtime, client, &large).await;
    }
    let begun = Instant::now();
    house.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(stream);
}
