//! Connections that last, replace each other, and outlive a runtime's.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use omgservers_dispatcher::Bounds;
use omgservers_http::dispatcher::Times;
use tokio_tungstenite::tungstenite::Message;

use crate::fixture::{DispatcherFixture, envelope_of, eventually, order};

const SOON: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_player_may_come_before_its_runtime_and_stays_when_it_goes() {
    let fixture = DispatcherFixture::new().await;
    let runtime = fixture.runtime().await;
    let one = fixture.client(runtime).await;
    let mut player = fixture.player(one).await;
    player.send("first").await;
    player.is_silent(SOON).await;
    let mut game = fixture.game(runtime).await;
    assert_eq!(game.text().await, envelope_of(one, "first"));
    drop(game);
    eventually("the runtime is out", || fixture.dispatcher.open() == 1).await;
    player.send("second").await;
    player.is_silent(SOON).await;
    let mut game = fixture.game(runtime).await;
    assert_eq!(game.text().await, envelope_of(one, "second"));
    game.send(&order(None, "TXT", "back")).await;
    assert_eq!(player.text().await, "back");
}

#[tokio::test]
async fn a_second_connection_replaces_the_first_and_the_room_stays() {
    let fixture = DispatcherFixture::new().await;
    let runtime = fixture.runtime().await;
    let (one, two) = (fixture.client(runtime).await, fixture.client(runtime).await);
    let (mut game, mut first, mut other) =
        (fixture.game(runtime).await, fixture.player(one).await, fixture.player(two).await);
    let mut second = fixture.player(one).await;
    assert_eq!(first.closed().await, 1000);
    let mut later = fixture.game(runtime).await;
    assert_eq!(game.closed().await, 1000);
    eventually("both first ones are out", || fixture.dispatcher.open() == 3).await;
    second.send("hello").await;
    assert_eq!(later.text().await, envelope_of(one, "hello"));
    later.send(&order(None, "TXT", "to all")).await;
    assert_eq!((second.text().await, other.text().await), ("to all".to_owned(), "to all".to_owned()));
}

#[tokio::test]
async fn quiet_but_living_connections_are_kept_and_dead_ones_are_not() {
    let times =
        Times { ping: Duration::from_millis(200), max_idle: Duration::from_secs(2), ..Times::default() };
    let fixture = DispatcherFixture::with(Bounds::default(), times).await;
    let runtime = fixture.runtime().await;
    let (one, two) = (fixture.client(runtime).await, fixture.client(runtime).await);
    let (mut game, mut quiet) = (fixture.game(runtime).await, fixture.player(one).await);
    // It is open, and nobody reads from it or answers pings.
    let mut dead = fixture.player(two).await;
    let begun = Instant::now();
    // Reading answers pings.
    let keep =
        async { tokio::join!(game.is_silent(2 * times.max_idle), quiet.is_silent(2 * times.max_idle)) };
    keep.await;
    assert!(begun.elapsed() >= 2 * times.max_idle);
    eventually("the dead one is out", || fixture.dispatcher.open() == 2).await;
    quiet.send("still here").await;
    assert_eq!(game.text().await, envelope_of(one, "still here"));
    assert_eq!(dead.closed_unanswered().await, 1002);
}

#[tokio::test]
async fn who_only_sends_is_alive_too() {
    let times = Times { ping: Duration::from_secs(60), max_idle: Duration::from_secs(2), ..Times::default() };
    let fixture = DispatcherFixture::with(Bounds::default(), times).await;
    let runtime = fixture.runtime().await;
    let one = fixture.client(runtime).await;
    let (mut game, mut player) = (fixture.game(runtime).await, fixture.player(one).await);
    for number in 0..25 {
        player.send(&number.to_string()).await;
        assert_eq!(game.text().await, envelope_of(one, &number.to_string()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn pings_of_a_peer_are_answered() {
    use futures_util::SinkExt as _;
    let fixture = DispatcherFixture::new().await;
    let runtime = fixture.runtime().await;
    let mut game = fixture.game(runtime).await;
    game.0.send(Message::Ping("you".into())).await.unwrap();
    assert_eq!(game.0.next().await.unwrap().unwrap(), Message::Pong("you".into()));
    game.0.close(None).await.unwrap();
    while let Some(Ok(_)) = game.0.next().await {}
    eventually("it is out", || fixture.dispatcher.open() == 0).await;
}
