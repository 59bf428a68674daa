use std::{
    sync::atomic::AtomicU64,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use omgservers_ws::Message;

use crate::{FrameOutcome, OutgoingFrames, QueueLimit};

/// Holds while the number is the same.
struct Number(Arc<AtomicU64>, u64);

impl Assignment for Number {
    fn holds(&self) -> bool {
        self.0.load(Ordering::SeqCst) == self.1
    }
}

fn always() -> Box<dyn Assignment> {
    Box::new(Number(Arc::default(), 0))
}

fn client(number: i64) -> ClientId {
    ClientId::from_i64(number).unwrap()
}

fn runtime(number: i64) -> RuntimeId {
    RuntimeId::from_i64(number).unwrap()
}

const GAME: i64 = 5;

fn player(dispatcher: &Arc<Dispatcher>, number: i64) -> RoomConnection {
    dispatcher.player(client(number), runtime(GAME), always()).unwrap()
}

fn game(dispatcher: &Arc<Dispatcher>) -> RoomConnection {
    dispatcher.runtime(runtime(GAME)).unwrap()
}

/// For what is taken.
fn send_text(connection: &RoomConnection, text: &str) {
    assert_eq!(try_send_text(connection, text), FrameOutcome::Done);
}

fn try_send_text(connection: &RoomConnection, text: &str) -> FrameOutcome {
    connection.receive(&Message::Text(text.into()))
}

fn send(connection: &RoomConnection, bytes: &'static [u8]) {
    assert_eq!(connection.receive(&Message::Binary(Bytes::from_static(bytes))), FrameOutcome::Done);
}

/// Whether a connection with a blocked text is woken to try again.
fn is_woken(connection: &RoomConnection) -> bool {
    let mut room = std::pin::pin!(connection.released());
    room.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// What is to be written next, as opcode and payload. The heads are short in these tests.
fn one_or_none(outgoing: &OutgoingFrames) -> Option<(u8, String)> {
    match outgoing.poll_next(&Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(bytes)) => {
            let head = if bytes[1] == 126 { 4 } else { 2 };
            Some((bytes[0] & 0x0F, String::from_utf8_lossy(&bytes[head..]).into_owned()))
        }
        _ => None,
    }
}

/// Everything that is to be written now.
fn written(outgoing: &OutgoingFrames) -> Vec<(u8, String)> {
    std::iter::from_fn(|| one_or_none(outgoing)).collect()
}

fn received(connection: &RoomConnection) -> Vec<(u8, String)> {
    written(&connection.outgoing())
}

fn text(text: &str) -> (u8, String) {
    (1, text.to_owned())
}

fn binary(text: &str) -> (u8, String) {
    (2, text.to_owned())
}

/// A close frame.
fn closed(connection: &RoomConnection) -> Option<u16> {
    let frame = received(connection).pop().filter(|it| it.0 == 8)?;
    // Codes below 1024 have a second byte that isn't UTF-8, so look at the reason.
    [
        Closing::Replaced,
        Closing::Moved,
        Closing::Stopping,
        Closing::TooSlow,
        Closing::TooFast,
        Closing::Requested,
    ]
    .into_iter()
    .find(|it| frame.1.ends_with(it.reason()))
    .map(Closing::code)
}

fn envelope(client: i64, encoding: &str, message: &str) -> (u8, String) {
    text(&format!(r#"{{"client_id":"{client}","encoding":"{encoding}","message":"{message}"}}"#))
}

fn order(clients: &str, encoding: &str, message: &str) -> String {
    format!(r#"{{{clients}"encoding":"{encoding}","message":"{message}"}}"#)
}

#[tokio::test]
async fn text_and_binary_go_both_ways() {
    let dispatcher = Dispatcher::new(Bounds::default());
    let (game, one, two) = (game(&dispatcher), player(&dispatcher, 1), player(&dispatcher, 2));
    send_text(&one, "hello \"you\"");
    send(&two, b"hello");
    assert_eq!(received(&game), [envelope(1, "TXT", "hello \\\"you\\\""), envelope(2, "B64", "aGVsbG8=")]);
    send_text(&game, &order(r#""clients":["1"],"#, "TXT", "to one"));
    send_text(&game, &order(r#""clients":[2,"77"],"#, "B64", "aGVsbG8="));
    send_text(&game, &order("", "TXT", "to all"));
    send_text(&game, &order(r#""clients":null,"#, "B64", "YWxs"));
    send_text(&game, &order(r#""clients":[],"#, "TXT", "to nobody"));
    assert_eq!(received(&one), [text("to one"), text("to all"), binary("all")]);
    assert_eq!(received(&two), [binary("hello"), text("to all"), binary("all")]);
}

#[tokio::test]
async fn garbage_of_a_runtime_disturbs_nobody() {
    let dispatcher = Dispatcher::new(Bounds { clients: 2, ..Bounds::default() });
    let (game, one) = (game(&dispatcher), player(&dispatcher, 1));
    for garbage in ["", "{", "[]", "hello", r#"{"encoding":"TXT"}"#, r#"{"encoding":"B64","message":"%"}"#] {
        send_text(&game, garbage);
    }
    send_text(&game, &order(r#""clients":[1,2,3],"#, "TXT", "too many"));
    send(&game, b"bytes");
    send_text(&game, &order("", "TXT", "and now"));
    assert_eq!(received(&one), [text("and now")]);
    assert_eq!(received(&game), []);
}

#[tokio::test]
async fn rooms_are_apart() {
    let dispatcher = Dispatcher::new(Bounds::default());
    let (game, one) = (game(&dispatcher), player(&dispatcher, 1));
    let other = dispatcher.runtime(runtime(6)).unwrap();
    let two = dispatcher.player(client(2), runtime(6), always()).unwrap();
    send_text(&other, &order("", "TXT", "x"));
    send_text(&other, &order(r#""clients":[1],"#, "TXT", "y"));
    send_text(&two, "z");
    assert_eq!((received(&one), received(&game)), (vec![], vec![]));
    assert_eq!((received(&two), received(&other)), (vec![text("x")], vec![envelope(2, "TXT", "z")]));
}

#[tokio::test(start_paused = true)]
async fn a_player_may_come_before_its_runtime_and_its_frames_wait_for_a_while() {
    let dispatcher = Dispatcher::new(Bounds::default());
    let one = player(&dispatcher, 1);
    send_text(&one, "long ago");
    tokio::time::advance(Duration::from_secs(6)).await;
    send_text(&one, "lately");
    send(&one, b"x");
    tokio::time::advance(Duration::from_secs(6)).await;
    let first = game(&dispatcher);
    assert_eq!(received(&first), [envelope(1, "TXT", "lately"), envelope(1, "B64", "eA==")]);
    drop(first);
    assert_eq!(received(&one), [], "it stays when the runtime goes");
    send_text(&one, "come back");
    let second = game(&dispatcher);
    assert_eq!(received(&second), [envelope(1, "TXT", "come back")]);
    send_text(&second, &order("", "TXT", "here"));
    assert_eq!(received(&one), [text("here")]);
}

#[tokio::test]
async fn what_waits_for_a_runtime_is_bounded_for_each_player() {
    let client_quota = QueueLimit { frames: 3, bytes: 1 << 20 };
    let dispatcher = Dispatcher::new(Bounds { client_quota, ..Bounds::default() });
    let (flood, one) = (player(&dispatcher, 1), player(&dispatcher, 2));
    for _ in 0..9 {
        send(&flood, b"x");
    }
    send_text(&one, "hello");
    let game = game(&dispatcher);
    assert_eq!(received(&game).len(), 4, "three of the one, one of the other");
    for _ in 0..3 {
        send_text(&flood, "a");
    }
    assert_eq!(try_send_text(&flood, "b"), FrameOutcome::Full);
    assert!(!is_woken(&flood) && closed(&flood).is_none(), "it waits");
    send_text(&one, "still here");
    assert_eq!(received(&game).len(), 4);
    assert!(is_woken(&flood), "there is room");
    send_text(&flood, "b");
    assert_eq!(received(&game), [envelope(1, "TXT", "b")]);
    flood.give_up();
    assert_eq!(closed(&flood), Some(1013));
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes_for_each_client_whatever_its_connections() {
    let client_quota = QueueLimit { frames: 256, bytes: 1_000 };
    let dispatcher = Dispatcher::new(Bounds { client_quota, ..Bounds::default() });
    // Somebody who keeps the room.
    let _other = player(&dispatcher, 2);
    let text = "x".repeat(200);
    for round in 0..5 {
        let flood = player(&dispatcher, 1);
        while try_send_text(&flood, &text) == FrameOutcome::Done {
            assert_eq!(round, 0, "a new connection has no room of its own");
        }
        send(&flood, &[0; 200]);
    }
    let (frames, bytes) = dispatcher.backlog_size(runtime(GAME));
    assert!(frames == 3 && bytes <= 1_000, "{frames} frames, {bytes} bytes");
    let game = game(&dispatcher);
    assert_eq!(received(&game).len(), 3);
    let flood = player(&dispatcher, 1);
    send_text(&flood, &text);
    drop(flood);
    assert_eq!(dispatcher.quotas(runtime(GAME)), 2, "of who is here, and of whose frame is on the way");
    assert_eq!(received(&game).len(), 1);
    drop(player(&dispatcher, 1));
    assert_eq!(dispatcher.quotas(runtime(GAME)), 1);
}

#[tokio::test]
async fn what_all_players_let_wait_for_a_runtime_is_bounded_too() {
    let space = QueueLimit { frames: 5, bytes: 1 << 20 };
    let dispatcher = Dispatcher::new(Bounds { runtime: space, ..Bounds::default() });
    let players: Vec<_> = (1..=4).map(|number| player(&dispatcher, number)).collect();
    for (number, one) in players.iter().enumerate() {
        send(one, b"x");
        let taken =
            try_send_text(one, "a") == FrameOutcome::Done && try_send_text(one, "b") == FrameOutcome::Done;
        assert_eq!(taken, number < 2, "texts: 4, and the fifth, so that no binary frame is left");
    }
    assert_eq!(dispatcher.backlog_size(runtime(GAME)).0, 5);
    assert!(!is_woken(&players[2]) && !is_woken(&players[3]));
    let game = game(&dispatcher);
    assert!(is_woken(&players[2]) && is_woken(&players[3]));
    assert_eq!(received(&game).len(), 5);
    send_text(&players[3], "b");
    assert_eq!(received(&game), [envelope(4, "TXT", "b")]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_runtime_that_does_not_come_is_dropped_in_time() {
    let client_quota = QueueLimit { frames: 2, bytes: 1 << 20 };
    let dispatcher = Dispatcher::new(Bounds { client_quota, ..Bounds::default() });
    let (one, two) = (player(&dispatcher, 1), player(&dispatcher, 2));
    send_text(&one, "a");
    tokio::time::advance(Duration::from_secs(4)).await;
    send_text(&one, "b");
    send_text(&two, "c");
    assert_eq!(try_send_text(&one, "d"), FrameOutcome::Full);
    // Time alone makes room for it, at the very moment.
    let begun = tokio::time::Instant::now();
    one.released().await;
    assert_eq!(begun.elapsed().as_secs(), 6);
    send_text(&one, "d");
    tokio::time::advance(Duration::from_secs(4)).await;
    two.ping();
    assert_eq!(dispatcher.backlog_size(runtime(GAME)).0, 1, "nobody has said anything since");
    tokio::time::advance(Duration::from_secs(6)).await;
    two.ping();
    assert_eq!(dispatcher.backlog_size(runtime(GAME)), (0, 0));
}

#[tokio::test]
async fn a_frame_that_comes_while_a_runtime_is_about_to_leave_waits_for_the_next_one() {
    let dispatcher = Dispatcher::new(Bounds::default());
    let (first, one) = (game(&dispatcher), player(&dispatcher, 1));
    first.close(Closing::Requested);
    send_text(&one, "a");
    send(&one, b"b");
    assert_eq!(dispatcher.backlog_size(runtime(GAME)).0, 2);
    drop(first);
    assert_eq!(received(&game(&dispatcher)), [envelope(1, "TXT", "a"), envelope(1, "B64", "Yg==")]);
}

#[tokio::test]
async fn a_second_connection_takes_the_place_of_the_first() {
    let dispatcher = Dispatcher::new(Bounds::default());
    let (game, one, two) = (game(&dispatcher), player(&dispatcher, 1), player(&dispatcher, 2));
    let again = player(&dispatcher, 1);
    assert_eq!(closed(&one), Some(1000));
    send_text(&one, "from the past");
    drop(one);
    send_text(&game, &order("", "TXT", "x"));
    assert_eq!((received(&again), received(&two)), (vec![text("x")], vec![text("x")]));
    assert_eq!(received(&game), []);

    let later = self::game(&dispatcher);
    assert_eq!(closed(&game), Some(1000));
    send_text(&game, &order("", "TXT", "from the past"));
    drop(game);
    send_text(&again, "hello");
    assert_eq!(received(&later), [envelope(1, "TXT", "hello")], "the room is still there");
    assert_eq!(received(&two), []);

    let elsewhere = dispatcher.player(client(1), runtime(6), always()).unwrap();
    assert_eq!(closed(&again), Some(1000), "also in another room");
    drop((again, two, later, elsewhere));
    assert_eq!((dispatcher.count(), dispatcher.open()), ((0, 0), 0), "nothing is left behind");
}

#[tokio::test]
async fn a_moved_player_receives_and_sends_nothing_and_stays_connected() {
    let dispatcher = Dispatcher::new(Bounds::default());
    let assigned = Arc::new(AtomicU64::new(3));
    let game = game(&dispatcher);
    let bound = Box::new(Number(Arc::clone(&assigned), 3));
    let one = dispatcher.player(client(1), runtime(GAME), bound).unwrap();
    send_text(&one, "a");
    assigned.store(4, Ordering::SeqCst);
    send_text(&one, "b");
    send(&one, b"c");
    send_text(&game, &order("", "TXT", "d"));
    send_text(&game, &order(r#""clients":["1"],"#, "TXT", "e"));
    assert_eq!(received(&game), [envelope(1, "TXT", "a")]);
    assert_eq!(received(&one), []);
    let _done = one.receive(&Message::Ping(Bytes::from_static(b"p")));
    assert_eq!(received(&one), [(10, "p".to_owned())]);
    one.close(Closing::Moved);
    assert_eq!(closed(&one), Some(1000));
}

#[tokio::test]
async fn a_slow_player_loses_old_binary_frames_keeps_text_and_holds_nobody_up() {
    let space = QueueLimit { frames: 4, bytes: 1 << 20 };
    let dispatcher = Dispatcher::new(Bounds { player: space, ..Bounds::default() });
    let (game, slow, quick) = (game(&dispatcher), player(&dispatcher, 1), player(&dispatcher, 2));
    let mut got = Vec::new();
    for number in 0..100 {
        let kind = if number % 50 == 0 { "TXT" } else { "B64" };
        send_text(&game, &order("", kind, &format!("{number:04}")));
        got.extend(received(&quick));
    }
    assert_eq!(got.len(), 100, "the quick one got everything");
    let late: Vec<u8> = received(&slow).iter().map(|it| it.0).collect();
    assert_eq!(late, [1, 1, 2, 2], "both texts, and the latest binary frames");
    for number in 0..5 {
        send_text(&game, &order("", "TXT", &number.to_string()));
        got.extend(received(&quick));
    }
    assert_eq!(got.len(), 105);
    assert_eq!(closed(&slow), Some(1013));
    slow.ended().await;
    send_text(&game, &order("", "TXT", "still"));
    assert_eq!(received(&quick), [text("still")]);
}

#[tokio::test]
async fn a_slow_runtime_costs_binary_frames_lets_texts_wait_and_cuts_nobody() {
    let space = QueueLimit { frames: 5, bytes: 1 << 20 };
    let dispatcher = Dispatcher::new(Bounds { runtime: space, ..Bounds::default() });
    let (game, one, two) = (game(&dispatcher), player(&dispatcher, 1), player(&dispatcher, 2));
    for _ in 0..20 {
        send(&one, b"x");
    }
    for _ in 0..5 {
        send_text(&two, "a");
    }
    send(&one, b"x");
    assert_eq!(try_send_text(&one, "b"), FrameOutcome::Full, "a text that finds no room is not lost");
    assert_eq!((closed(&one), closed(&two)), (None, None));
    let outgoing = game.outgoing();
    for left in (2..5).rev() {
        assert!(!is_woken(&one), "half of the room isn't free yet");
        assert_eq!(one_or_none(&outgoing).unwrap(), envelope(2, "TXT", "a"), "{left} are left");
    }
    assert!(is_woken(&one) && !is_woken(&two));
    send_text(&one, "b");
    let rest = [envelope(2, "TXT", "a"), envelope(2, "TXT", "a"), envelope(1, "TXT", "b")];
    assert_eq!(received(&game), rest);
}

#[tokio::test]
async fn who_waits_for_room_is_woken_when_the_runtime_goes() {
    let space = QueueLimit { frames: 1, bytes: 1 << 20 };
    for closes in [true, false] {
        let dispatcher = Dispatcher::new(Bounds { runtime: space, ..Bounds::default() });
        let (game, one, two) = (game(&dispatcher), player(&dispatcher, 1), player(&dispatcher, 2));
        send_text(&one, "a");
        assert_eq!((try_send_text(&two, "b"), is_woken(&two)), (FrameOutcome::Full, false));
        if closes {
            game.close(Closing::Requested);
        } else {
            drop(game);
        }
        assert!(is_woken(&two));
        send_text(&two, "b");
        assert_eq!(received(&self::game(&dispatcher)), [envelope(2, "TXT", "b")]);
    }
}

proptest! {
    /// With any frames in any order: the limits hold, no text is lost or overtaken, and blocked
    /// connections are woken.
    #[test]
    fn texts_wait_and_are_never_lost(
        steps in prop::collection::vec((0..6_u8, 1..4_i64, 0..90_usize), 1..150),
        frames in 1..8_usize,
        client_quota in 1..5_usize,
    ) {
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _clock = clock.enter();
        let (space, client_quota) = (QueueLimit { frames, bytes: 1_500 }, QueueLimit { frames: client_quota, bytes: 600 });
        let dispatcher = Dispatcher::new(Bounds { runtime: space, client_quota, ..Bounds::default() });
        let players: Vec<_> = (1..4).map(|number| player(&dispatcher, number)).collect();
        let mut game = Some(game(&dispatcher));
        // By player: the sent texts, and the text that is blocked.
        let (mut sent, mut stuck, mut got) = (vec![0_usize; 3], vec![None::<String>; 3], Vec::new());
        for (what, number, size) in steps {
            let index = usize::try_from(number - 1).unwrap();
            let retries = |stuck: &mut Vec<Option<String>>| {
                for (player, text) in players.iter().zip(stuck.iter_mut()).filter(|it| it.1.is_some()) {
                    if is_woken(player) && try_send_text(player, text.as_ref().unwrap()) == FrameOutcome::Done {
                        *text = None;
                    }
                }
            };
            match what {
                0..=2 if stuck[index].is_none() => {
                    let text = format!("{:05}{}", sent[index], "-".repeat(size));
                    sent[index] += 1;
                    if try_send_text(&players[index], &text) == FrameOutcome::Full {
                        stuck[index] = Some(text);
                    }
                }
                3 if stuck[index].is_none() => send(&players[index], &[0; 60]),
                4 => got.extend(game.as_ref().map(|it| one_or_none(&it.outgoing())).into_iter().flatten()),
                5 => match game.take() {
                    Some(game) => {
                        // A runtime that takes all that there is for it loses nothing when it goes.
                        got.extend(received(&game));
                    }
                    None => game = Some(self::game(&dispatcher)),
                },
                _ => {}
            }
            retries(&mut stuck);
            let (waits, bytes) = dispatcher.backlog_size(runtime(GAME));
            prop_assert!(waits <= 1 || (waits <= space.frames && bytes <= space.bytes));
        }
        let game = game.take().unwrap_or_else(|| self::game(&dispatcher));
        for (player, text) in players.iter().zip(&stuck).filter_map(|it| Some((it.0, it.1.as_ref()?))) {
            got.extend(received(&game));
            prop_assert!(is_woken(player), "somebody waits though there is room");
            send_text(player, text);
        }
        got.extend(received(&game));
        for (index, count) in sent.iter().enumerate() {
            let mine = format!(r#"{{"client_id":"{}","encoding":"TXT","message":""#, index + 1);
            let numbers: Vec<usize> =
                got.iter().filter_map(|it| it.1.strip_prefix(&mine)?.get(..5)?.parse().ok()).collect();
            prop_assert_eq!(numbers, (0..*count).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn control_frames_are_bounded_and_go_first() {
    let dispatcher = Dispatcher::new(Bounds::default());
    let (game, one) = (game(&dispatcher), player(&dispatcher, 1));
    send_text(&game, &order("", "TXT", "x"));
    for number in 0..50 {
        let _done = one.receive(&Message::Ping(Bytes::from(format!("{number}"))));
        one.ping();
    }
    let got = received(&one);
    assert_eq!(got, [(10, "49".to_owned()), (9, String::new()), text("x")]);
    let _done = one.receive(&Message::Close);
    assert_eq!(received(&one), [(8, "\u{3}\u{fffd}".to_owned())]);
    let outgoing = one.outgoing();
    drop(one);
    let cx = Context::from_waker(Waker::noop());
    assert!(matches!(outgoing.poll_next(&cx), Poll::Ready(None)));
}

#[tokio::test]
async fn a_stop_ends_everybody_and_lets_nobody_in() {
    let dispatcher = Dispatcher::new(Bounds::default());
    let (game, one) = (game(&dispatcher), player(&dispatcher, 1));
    assert_eq!(dispatcher.open(), 2);
    dispatcher.stop();
    assert_eq!((closed(&game), closed(&one)), (Some(1001), Some(1001)));
    assert_eq!(dispatcher.runtime(runtime(7)).unwrap_err(), Stopped);
    assert_eq!(dispatcher.player(client(7), runtime(7), always()).unwrap_err(), Stopped);
    drop((game, one));
    assert_eq!((dispatcher.count(), dispatcher.open()), ((0, 0), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_come_and_go_from_several_threads_leave_nothing_behind() {
    let dispatcher = Dispatcher::new(Bounds::default());
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let dispatcher = Arc::clone(&dispatcher);
            tokio::spawn(async move {
                for round in 0..500 {
                    let game = if (round + task) % 3 == 0 { Some(game(&dispatcher)) } else { None };
                    let one = player(&dispatcher, round % 7 + 1);
                    // Nobody may take it for a while.
                    let _full = try_send_text(&one, "x");
                    if let Some(game) = &game {
                        send_text(game, &order("", "B64", "eA=="));
                    }
                    drop(one);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((dispatcher.count(), dispatcher.open()), ((0, 0), 0));
}
