use std::{
    sync::atomic::AtomicU64,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;

use super::*;
use crate::{Outgoing, bounds::Room as Space, wire::Message};

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

fn player(it: &Arc<Dispatcher>, number: i64) -> Connection {
    it.player(client(number), runtime(GAME), always()).unwrap()
}

fn game(it: &Arc<Dispatcher>) -> Connection {
    it.runtime(runtime(GAME)).unwrap()
}

fn say(it: &Connection, text: &str) {
    it.receive(&Message::Text(text.into()));
}

fn send(it: &Connection, bytes: &'static [u8]) {
    it.receive(&Message::Binary(Bytes::from_static(bytes)));
}

/// Everything that is to be written now, as opcode and payload. The heads are short in these tests.
fn written(outgoing: &Outgoing) -> Vec<(u8, String)> {
    let cx = Context::from_waker(Waker::noop());
    std::iter::from_fn(|| match outgoing.poll_next(&cx) {
        Poll::Ready(Some(bytes)) => {
            let head = if bytes[1] == 126 { 4 } else { 2 };
            Some((bytes[0] & 0x0F, String::from_utf8_lossy(&bytes[head..]).into_owned()))
        }
        _ => None,
    })
    .collect()
}

fn heard(it: &Connection) -> Vec<(u8, String)> {
    written(&it.outgoing())
}

fn text(text: &str) -> (u8, String) {
    (1, text.to_owned())
}

fn binary(text: &str) -> (u8, String) {
    (2, text.to_owned())
}

/// A close frame.
fn closed(it: &Connection) -> Option<u16> {
    let frame = heard(it).pop().filter(|it| it.0 == 8)?;
    // Codes below 1024 have a second byte that isn't UTF-8, so look at the reason.
    [Closing::Replaced, Closing::Moved, Closing::Stopping, Closing::TooSlow, Closing::TooFast, Closing::Asked]
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
    let it = Dispatcher::new(Bounds::default());
    let (game, one, two) = (game(&it), player(&it, 1), player(&it, 2));
    say(&one, "hello \"you\"");
    send(&two, b"hello");
    assert_eq!(heard(&game), [envelope(1, "TXT", "hello \\\"you\\\""), envelope(2, "B64", "aGVsbG8=")]);
    say(&game, &order(r#""clients":["1"],"#, "TXT", "to one"));
    say(&game, &order(r#""clients":[2,"77"],"#, "B64", "aGVsbG8="));
    say(&game, &order("", "TXT", "to all"));
    say(&game, &order(r#""clients":null,"#, "B64", "YWxs"));
    say(&game, &order(r#""clients":[],"#, "TXT", "to nobody"));
    assert_eq!(heard(&one), [text("to one"), text("to all"), binary("all")]);
    assert_eq!(heard(&two), [binary("hello"), text("to all"), binary("all")]);
}

#[tokio::test]
async fn garbage_of_a_runtime_disturbs_nobody() {
    let it = Dispatcher::new(Bounds { clients: 2, ..Bounds::default() });
    let (game, one) = (game(&it), player(&it, 1));
    for garbage in ["", "{", "[]", "hello", r#"{"encoding":"TXT"}"#, r#"{"encoding":"B64","message":"%"}"#] {
        say(&game, garbage);
    }
    say(&game, &order(r#""clients":[1,2,3],"#, "TXT", "too many"));
    send(&game, b"bytes");
    say(&game, &order("", "TXT", "and now"));
    assert_eq!(heard(&one), [text("and now")]);
    assert_eq!(heard(&game), []);
}

#[tokio::test]
async fn rooms_are_apart() {
    let it = Dispatcher::new(Bounds::default());
    let (game, one) = (game(&it), player(&it, 1));
    let other = it.runtime(runtime(6)).unwrap();
    let two = it.player(client(2), runtime(6), always()).unwrap();
    say(&other, &order("", "TXT", "x"));
    say(&other, &order(r#""clients":[1],"#, "TXT", "y"));
    say(&two, "z");
    assert_eq!((heard(&one), heard(&game)), (vec![], vec![]));
    assert_eq!((heard(&two), heard(&other)), (vec![text("x")], vec![envelope(2, "TXT", "z")]));
}

#[tokio::test(start_paused = true)]
async fn a_player_may_come_before_its_runtime_and_what_it_says_waits_for_a_while() {
    let it = Dispatcher::new(Bounds::default());
    let one = player(&it, 1);
    say(&one, "long ago");
    tokio::time::advance(Duration::from_secs(6)).await;
    say(&one, "lately");
    send(&one, b"x");
    tokio::time::advance(Duration::from_secs(6)).await;
    let first = game(&it);
    assert_eq!(heard(&first), [envelope(1, "TXT", "lately"), envelope(1, "B64", "eA==")]);
    drop(first);
    assert_eq!(heard(&one), [], "it stays when the runtime goes");
    say(&one, "come back");
    let second = game(&it);
    assert_eq!(heard(&second), [envelope(1, "TXT", "come back")]);
    say(&second, &order("", "TXT", "here"));
    assert_eq!(heard(&one), [text("here")]);
}

#[tokio::test]
async fn what_waits_for_a_runtime_is_bounded_for_each_player() {
    let it = Dispatcher::new(Bounds { share: 3, ..Bounds::default() });
    let (flood, one) = (player(&it, 1), player(&it, 2));
    for _ in 0..9 {
        send(&flood, b"x");
    }
    say(&one, "hello");
    let game = game(&it);
    assert_eq!(heard(&game).len(), 4, "three of the one, one of the other");
    for _ in 0..3 {
        say(&flood, "a");
    }
    assert_eq!(closed(&flood), None, "what was sent has given its share back");
    say(&flood, "b");
    assert_eq!(closed(&flood), Some(1013));
    say(&one, "still here");
    assert_eq!(heard(&game).pop(), Some(envelope(2, "TXT", "still here")));
}

#[tokio::test]
async fn a_second_connection_takes_the_place_of_the_first() {
    let it = Dispatcher::new(Bounds::default());
    let (game, one, two) = (game(&it), player(&it, 1), player(&it, 2));
    let again = player(&it, 1);
    assert_eq!(closed(&one), Some(1000));
    say(&one, "from the past");
    drop(one);
    say(&game, &order("", "TXT", "x"));
    assert_eq!((heard(&again), heard(&two)), (vec![text("x")], vec![text("x")]));
    assert_eq!(heard(&game), []);

    let later = self::game(&it);
    assert_eq!(closed(&game), Some(1000));
    say(&game, &order("", "TXT", "from the past"));
    drop(game);
    say(&again, "hello");
    assert_eq!(heard(&later), [envelope(1, "TXT", "hello")], "the room is still there");
    assert_eq!(heard(&two), []);

    let elsewhere = it.player(client(1), runtime(6), always()).unwrap();
    assert_eq!(closed(&again), Some(1000), "also in another room");
    drop((again, two, later, elsewhere));
    assert_eq!((it.count(), it.open()), ((0, 0), 0), "nothing is left behind");
}

#[tokio::test]
async fn who_was_moved_hears_and_says_nothing_and_stays_connected() {
    let it = Dispatcher::new(Bounds::default());
    let assigned = Arc::new(AtomicU64::new(3));
    let game = game(&it);
    let bound = Box::new(Number(Arc::clone(&assigned), 3));
    let one = it.player(client(1), runtime(GAME), bound).unwrap();
    say(&one, "a");
    assigned.store(4, Ordering::SeqCst);
    say(&one, "b");
    send(&one, b"c");
    say(&game, &order("", "TXT", "d"));
    say(&game, &order(r#""clients":["1"],"#, "TXT", "e"));
    assert_eq!(heard(&game), [envelope(1, "TXT", "a")]);
    assert_eq!(heard(&one), []);
    one.receive(&Message::Ping(Bytes::from_static(b"p")));
    assert_eq!(heard(&one), [(10, "p".to_owned())]);
    one.close(Closing::Moved);
    assert_eq!(closed(&one), Some(1000));
}

#[tokio::test]
async fn a_slow_player_loses_old_binary_frames_keeps_text_and_holds_nobody_up() {
    let space = Space { frames: 4, bytes: 1 << 20 };
    let it = Dispatcher::new(Bounds { player: space, ..Bounds::default() });
    let (game, slow, quick) = (game(&it), player(&it, 1), player(&it, 2));
    let mut got = Vec::new();
    for number in 0..100 {
        let kind = if number % 50 == 0 { "TXT" } else { "B64" };
        say(&game, &order("", kind, &format!("{number:04}")));
        got.extend(heard(&quick));
    }
    assert_eq!(got.len(), 100, "the quick one got everything");
    let late: Vec<u8> = heard(&slow).iter().map(|it| it.0).collect();
    assert_eq!(late, [1, 1, 2, 2], "both texts, and the latest binary frames");
    for number in 0..5 {
        say(&game, &order("", "TXT", &number.to_string()));
        got.extend(heard(&quick));
    }
    assert_eq!(got.len(), 105);
    assert_eq!(closed(&slow), Some(1013));
    slow.ended().await;
    say(&game, &order("", "TXT", "still"));
    assert_eq!(heard(&quick), [text("still")]);
}

#[tokio::test]
async fn a_slow_runtime_costs_it_frames_of_its_players_and_never_its_connection() {
    let space = Space { frames: 5, bytes: 1 << 20 };
    let it = Dispatcher::new(Bounds { runtime: space, ..Bounds::default() });
    let (game, one, two) = (game(&it), player(&it, 1), player(&it, 2));
    for _ in 0..20 {
        send(&one, b"x");
    }
    for _ in 0..5 {
        say(&two, "a");
    }
    send(&one, b"x");
    assert_eq!(closed(&one), None, "binary frames just go");
    say(&one, "b");
    assert_eq!(closed(&one), Some(1013), "a text that finds no room is not lost in silence");
    assert_eq!(heard(&game), vec![envelope(2, "TXT", "a"); 5]);
    say(&two, "c");
    assert_eq!(heard(&game), [envelope(2, "TXT", "c")]);
}

#[tokio::test]
async fn control_frames_are_bounded_and_go_first() {
    let it = Dispatcher::new(Bounds::default());
    let (game, one) = (game(&it), player(&it, 1));
    say(&game, &order("", "TXT", "x"));
    for number in 0..50 {
        one.receive(&Message::Ping(Bytes::from(format!("{number}"))));
        one.ping();
    }
    let got = heard(&one);
    assert_eq!(got, [(10, "49".to_owned()), (9, String::new()), text("x")]);
    one.receive(&Message::Close);
    assert_eq!(heard(&one), [(8, "\u{3}\u{fffd}".to_owned())]);
    let outgoing = one.outgoing();
    drop(one);
    let cx = Context::from_waker(Waker::noop());
    assert!(matches!(outgoing.poll_next(&cx), Poll::Ready(None)));
}

#[tokio::test]
async fn a_stop_ends_everybody_and_lets_nobody_in() {
    let it = Dispatcher::new(Bounds::default());
    let (game, one) = (game(&it), player(&it, 1));
    assert_eq!(it.open(), 2);
    it.stop();
    assert_eq!((closed(&game), closed(&one)), (Some(1001), Some(1001)));
    assert_eq!(it.runtime(runtime(7)).unwrap_err(), Refused);
    assert_eq!(it.player(client(7), runtime(7), always()).unwrap_err(), Refused);
    drop((game, one));
    assert_eq!((it.count(), it.open()), ((0, 0), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_come_and_go_from_several_threads_leave_nothing_behind() {
    let it = Dispatcher::new(Bounds::default());
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let it = Arc::clone(&it);
            tokio::spawn(async move {
                for round in 0..500 {
                    let game = if (round + task) % 3 == 0 { Some(game(&it)) } else { None };
                    let one = player(&it, round % 7 + 1);
                    say(&one, "x");
                    if let Some(game) = &game {
                        say(game, &order("", "B64", "eA=="));
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
    assert_eq!((it.count(), it.open()), ((0, 0), 0));
}
