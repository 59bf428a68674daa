//! Frames that are wrong, too large, or too many.

use futures_util::SinkExt as _;
use omgservers_api::stream::close;
use omgservers_messaging::Bounds;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::{
    Bytes, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::fixture::{LIMIT, StreamFixture, frame_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_frame_is_refused_by_its_number_and_the_next_one_is_taken() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let mut stream = fixture.stream(client).await;
    let nested = format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let bad = [
        ("{".to_owned(), None),
        ("[1]".to_owned(), None),
        ("\"text\"".to_owned(), None),
        (nested, None),
        (json!({"request": 7, "outgoing_messages": 5}).to_string(), Some(7)),
        (json!({"request": 8, "consumed_messages": ["x"]}).to_string(), Some(8)),
        (json!({"request": 9, "outgoing_messages": [{"id": 0, "qualifier": "SERVER_WELCOME_MESSAGE", "body": {}}]}).to_string(), Some(9)),
        (json!({"request": 10, "outgoing_messages": [{"id": 0, "qualifier": "CLIENT_OUTGOING_MESSAGE"}]}).to_string(), Some(10)),
    ];
    for (text, number) in bad {
        stream.send_text(&text).await;
        let frame = stream.frame().await;
        assert_eq!(frame["request"].as_u64(), number, "{text}: {frame}");
        assert_eq!(frame["error"]["status"], 400, "{text}: {frame}");
        for field in ["qualifier", "code", "detail", "request_id"] {
            assert!(!frame["error"][field].as_str().unwrap().is_empty(), "{frame}");
        }
    }
    // What clients send for nothing is nothing.
    for text in ["{}", "[]", "", "null"] {
        stream.send_text(text).await;
    }
    stream.send(&frame_of(0, &["fine"], 11)).await;
    assert_eq!(stream.frame().await, json!({"accepted": 0, "request": 11}));
    assert_eq!(fixture.received(runtime).await, ["fine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_in_the_order_of_the_frames_also_when_some_are_bad() {
    let fixture = StreamFixture::new().await;
    let (client, _) = fixture.pair().await;
    let mut stream = fixture.stream(client).await;
    for number in 0..20 {
        let frame = if number % 3 == 2 {
            json!({"request": number, "outgoing_messages": 1})
        } else {
            frame_of(number, &["x"], number)
        };
        stream.send(&frame).await;
    }
    for number in 0..20 {
        let frame = stream.frame().await;
        assert_eq!(frame["request"], number);
        assert_eq!(frame["error"].is_object(), number % 3 == 2, "{frame}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_no_text_ends_the_stream() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    let mut stream = fixture.stream(client).await;
    stream.0.send(Message::binary(b"{}".to_vec())).await.unwrap();
    assert_eq!(stream.closed().await, close::UNSUPPORTED);
    let mut stream = fixture.stream(client).await;
    let no_utf8 = Frame::message(Bytes::from_static(b"\xff\xfe"), OpCode::Data(Data::Text), true);
    stream.0.send(Message::Frame(no_utf8)).await.unwrap();
    assert_eq!(stream.closed().await, close::PROTOCOL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_large_is_refused_after_what_came_before_it() {
    let fixture = StreamFixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let fits = "x".repeat(LIMIT - 200);
    let mut stream = fixture.stream(client).await;
    stream.send(&frame_of(0, &[&fits], 1)).await;
    stream.send_text(&"x".repeat(LIMIT + 1)).await;
    assert_eq!(stream.frame().await, json!({"accepted": 0, "request": 1}));
    let frame = stream.frame().await;
    assert_eq!(frame["error"]["status"], 413, "{frame}");
    assert!(frame["error"]["detail"].as_str().unwrap().contains("100000"), "{frame}");
    assert_eq!(stream.closed().await, close::TOO_LARGE);
    assert_eq!(fixture.received(runtime).await, [fits]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_without_end_is_refused_when_it_is_announced() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    let mut stream = fixture.stream(client).await;
    let mut head = vec![0x81, 0xff];
    head.extend(u64::MAX.to_be_bytes());
    stream.0.get_mut().write_all(&head).await.unwrap();
    assert_eq!(stream.closed().await, close::TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_mailbox_is_full_nothing_overtakes_what_was_refused() {
    let fixture = StreamFixture::with(Bounds { most_entries: 2, ..Bounds::default() }).await;
    let (client, runtime) = fixture.pair().await;
    let mut stream = fixture.stream(client).await;
    for (first, texts, number) in [(0, vec!["a"], 1), (1, vec!["b", "c"], 2), (3, vec!["d"], 3)] {
        stream.send(&frame_of(first, &texts, number)).await;
    }
    assert_eq!(stream.frame().await, json!({"accepted": 0, "request": 1}));
    let frame = stream.frame().await;
    assert_eq!((&frame["request"], &frame["error"]["code"]), (&2.into(), &"messaging.mailbox_full".into()));
    assert_eq!(frame["error"]["status"], 429);
    assert_eq!(stream.closed().await, close::TRY_LATER);
    assert_eq!(fixture.received(runtime).await, ["a"], "the third frame had room, but it was not its turn");
}
