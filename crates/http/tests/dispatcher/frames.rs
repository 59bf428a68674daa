//! What goes from whom to whom.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::SinkExt as _;
use omgservers_dispatcher::{Bounds, QueueLimit};
use omgservers_http::dispatcher::Times;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::fixture::{DispatcherFixture, LONG, envelope_of, order};

#[tokio::test]
async fn text_and_binary_go_both_ways() {
    let fixture = DispatcherFixture::new().await;
    let runtime = fixture.runtime().await;
    let (one, two) = (fixture.client(runtime).await, fixture.client(runtime).await);
    let mut game = fixture.game(runtime).await;
    let (mut first, mut second) = (fixture.player(one).await, fixture.player(two).await);
    first.send("héllo \u{1F600}").await;
    assert_eq!(game.text().await, envelope_of(one, "héllo \u{1F600}"));
    second.send_bytes(&[0, 255, 7]).await;
    assert_eq!(game.text().await, format!(r#"{{"client_id":"{two}","encoding":"B64","message":"AP8H"}}"#));

    game.send(&order(Some(&[one]), "TXT", "to one")).await;
    game.send(&order(Some(&[one, two]), "B64", "AP8H")).await;
    game.send(&order(None, "TXT", "to all")).await;
    assert_eq!(first.text().await, "to one");
    for player in [&mut first, &mut second] {
        assert_eq!(player.next().await, Message::binary(vec![0, 255, 7]));
        assert_eq!(player.text().await, "to all");
    }
}

#[tokio::test]
async fn an_empty_list_is_nobody_and_unknown_clients_are_skipped() {
    let fixture = DispatcherFixture::new().await;
    let (runtime, elsewhere) = (fixture.runtime().await, fixture.runtime().await);
    let (one, foreign) = (fixture.client(runtime).await, fixture.client(elsewhere).await);
    let mut game = fixture.game(runtime).await;
    let (mut first, mut other) = (fixture.player(one).await, fixture.player(foreign).await);
    game.send(&order(Some(&[]), "TXT", "to nobody")).await;
    game.send(&order(Some(&[foreign, one]), "TXT", "to one")).await;
    game.send(&format!(r#"{{"clients":[5,{one}],"encoding":"TXT","message":"by number"}}"#)).await;
    assert_eq!(first.text().await, "to one");
    assert_eq!(first.text().await, "by number");
    other.is_silent(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn garbage_of_a_runtime_disturbs_nobody() {
    let fixture = DispatcherFixture::new().await;
    let runtime = fixture.runtime().await;
    let one = fixture.client(runtime).await;
    let (mut game, mut player) = (fixture.game(runtime).await, fixture.player(one).await);
    for garbage in ["", "{", "null", r#"{"clients":"all"}"#, r#"{"encoding":"B64","message":"%"}"#] {
        game.send(garbage).await;
    }
    game.send_bytes(b"bytes").await;
    game.send(&order(None, "TXT", "and now")).await;
    assert_eq!(player.text().await, "and now");
    player.send("still there?").await;
    assert_eq!(game.text().await, envelope_of(one, "still there?"));
}

#[tokio::test]
async fn a_player_that_breaks_the_protocol_is_cut_and_nobody_else() {
    let fixture = DispatcherFixture::new().await;
    let runtime = fixture.runtime().await;
    let (bad, good) = (fixture.client(runtime).await, fixture.client(runtime).await);
    let (mut game, mut player) = (fixture.game(runtime).await, fixture.player(good).await);
    let frame = |data, opcode| Message::Frame(Frame::message(data, OpCode::Data(opcode), true));
    for (broken, code) in [
        (frame(vec![0xff], Data::Text), 1007),
        (frame(vec![7; 65_537], Data::Binary), 1009),
        (frame(vec![7; 5], Data::Continue), 1002),
    ] {
        let mut socket = fixture.player(bad).await;
        // The server may be quicker than the rest of the frame.
        let _cut = socket.0.send(broken).await;
        assert_eq!(socket.closed().await, code);
    }
    player.send("hello").await;
    assert_eq!(game.text().await, envelope_of(good, "hello"));
    game.send(&order(None, "TXT", "hello")).await;
    assert_eq!(player.text().await, "hello");
}

#[tokio::test]
async fn a_large_message_comes_in_several_frames() {
    let fixture = DispatcherFixture::new().await;
    let runtime = fixture.runtime().await;
    let one = fixture.client(runtime).await;
    let (mut game, mut player) = (fixture.game(runtime).await, fixture.player(one).await);
    let text = "x".repeat(65_536);
    for (opcode, is_final) in [(Data::Text, false), (Data::Continue, false), (Data::Continue, true)] {
        let frame = Frame::message(text.clone(), OpCode::Data(opcode), is_final);
        player.0.send(Message::Frame(frame)).await.unwrap();
    }
    assert_eq!(game.text().await, envelope_of(one, &text.repeat(3)));
}

/// A slow player: it doesn't read at all.
#[tokio::test]
async fn who_does_not_read_holds_nobody_up_and_is_cut_when_text_finds_no_room() {
    let bounds = Bounds { player: QueueLimit { frames: 64, bytes: 1 << 20 }, ..Bounds::default() };
    let fixture = DispatcherFixture::with(bounds, Times::default()).await;
    let runtime = fixture.runtime().await;
    let (one, two) = (fixture.client(runtime).await, fixture.client(runtime).await);
    let (mut game, _slow, mut quick) =
        (fixture.game(runtime).await, fixture.player(one).await, fixture.player(two).await);
    let large = "x".repeat(60_000);
    // 60 MB: more than the buffers of sockets take.
    let sent = async {
        for _ in 0..1_000 {
            game.send(&order(None, "TXT", &large)).await;
        }
        game.send(&order(None, "TXT", "end")).await;
        game
    };
    let received = async {
        let mut count = 0;
        while quick.text().await != "end" {
            count += 1;
        }
        (count, quick)
    };
    let both = async { tokio::join!(sent, received) };
    let (mut game, (count, mut quick)) = timeout(LONG, both).await.unwrap();
    assert_eq!(count, 1_000, "the quick one got everything");
    quick.send("still there").await;
    assert_eq!(game.text().await, envelope_of(two, "still there"));
    crate::fixture::eventually("the slow one is out of the room", || fixture.dispatcher.open() == 2).await;
}

#[tokio::test]
async fn a_runtime_that_does_not_read_holds_none_of_its_players_up() {
    let bounds = Bounds { runtime: QueueLimit { frames: 64, bytes: 1 << 20 }, ..Bounds::default() };
    let fixture = DispatcherFixture::with(bounds, Times::default()).await;
    let runtime = fixture.runtime().await;
    let (one, two) = (fixture.client(runtime).await, fixture.client(runtime).await);
    let (mut game, mut flood, mut other) =
        (fixture.game(runtime).await, fixture.player(one).await, fixture.player(two).await);
    let large = vec![7; 60_000];
    let flooding = async {
        for _ in 0..1_000 {
            flood.send_bytes(&large).await;
        }
        flood.0.send(Message::Ping("done".into())).await.unwrap();
    };
    timeout(LONG, flooding).await.unwrap();
    game.send(&order(None, "TXT", "hear me")).await;
    assert_eq!(other.text().await, "hear me", "what it says still goes");
    assert_eq!(flood.text().await, "hear me", "nobody was cut");
    other.send_bytes(b"latest").await;
    let latest = format!(r#"{{"client_id":"{two}","encoding":"B64","message":"bGF0ZXN0"}}"#);
    let mut count = 0;
    while game.text().await != latest {
        count += 1;
    }
    assert!(count < 1_000, "old ones gave way: {count}");
}

#[tokio::test]
async fn a_runtime_that_stalls_costs_nobody_the_connection_and_no_text() {
    let runtime = QueueLimit { frames: 64, bytes: 1 << 20 };
    let client_quota = QueueLimit { frames: 16, bytes: 1 << 20 };
    let fixture =
        DispatcherFixture::with(Bounds { runtime, client_quota, ..Bounds::default() }, Times::default())
            .await;
    let runtime = fixture.runtime().await;
    let (one, two) = (fixture.client(runtime).await, fixture.client(runtime).await);
    let (mut game, mut flood, mut other) =
        (fixture.game(runtime).await, fixture.player(one).await, fixture.player(two).await);
    // 30 MB: more than the buffers of sockets take, so that the player is held up before it has
    // said all of it.
    let large = "x".repeat(60_000);
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let flooding = tokio::spawn(async move {
        for number in 0..500 {
            flood.send(&format!("{number:03}{large}")).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
        flood
    });
    other.send("hear me").await;
    game.send(&order(None, "TXT", "go on")).await;
    assert_eq!(other.text().await, "go on", "the other one isn't held up");
    stalls(&sent).await;
    assert!(sent.load(Ordering::SeqCst) < 500, "the one that floods is");

    let (mut numbers, mut got_other) = (0, false);
    while numbers < 500 || !got_other {
        let text = game.text().await;
        match text.strip_prefix(&format!(r#"{{"client_id":"{one}","encoding":"TXT","message":""#)) {
            Some(message) => {
                assert_eq!(message[..3].parse(), Ok(numbers));
                numbers += 1;
            }
            None => {
                assert_eq!(text, envelope_of(two, "hear me"));
                got_other = true;
            }
        }
    }
    let mut flood = flooding.await.unwrap();
    assert_eq!(flood.text().await, "go on", "nobody was cut");
    flood.send("still here").await;
    assert_eq!(game.text().await, envelope_of(one, "still here"));
}

#[tokio::test]
async fn a_text_that_finds_no_room_for_too_long_ends_its_players_connection() {
    let client_quota = QueueLimit { frames: 3, bytes: 1 << 20 };
    let max_text_wait = Duration::from_millis(300);
    let fixture = DispatcherFixture::with(
        Bounds { client_quota, max_text_wait, ..Bounds::default() },
        Times::default(),
    )
    .await;
    let runtime = fixture.runtime().await;
    let (one, two) = (fixture.client(runtime).await, fixture.client(runtime).await);
    let (mut player, mut other) = (fixture.player(one).await, fixture.player(two).await);
    let begun = Instant::now();
    for number in 0..4 {
        player.send(&number.to_string()).await;
        other.send_bytes(b"x").await;
    }
    assert_eq!(player.closed().await, 1013);
    assert!(begun.elapsed() >= max_text_wait);
    let mut game = fixture.game(runtime).await;
    let mut texts = Vec::new();
    for _ in 0..6 {
        texts.push(game.text().await);
    }
    assert_eq!(texts.iter().filter(|it| it.contains("TXT")).count(), 3, "{texts:?}");
    game.send(&order(None, "TXT", "hello")).await;
    assert_eq!(other.text().await, "hello", "binary frames just go");
}

/// Waits until a count has begun and hasn't changed for a while. A machine whose cores are busy
/// makes it return too early, which the caller doesn't mind.
async fn stalls(count: &AtomicUsize) {
    let (mut last, mut unchanged) = (0, 0);
    while unchanged < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = count.load(Ordering::SeqCst);
        unchanged = if now == last && now > 0 { unchanged + 1 } else { 0 };
        last = now;
    }
}
