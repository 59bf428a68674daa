//! Reassignments, kicks, and the end of the server.

use std::time::{Duration, Instant};

use omgservers_api::interchange::message;
use omgservers_dispatcher::Bounds;
use omgservers_http::dispatcher::Times;
use omgservers_messaging::{Mailbox, Op};

use crate::fixture::{DispatcherFixture, envelope_of, eventually, order};

const GRACE: Duration = Duration::from_millis(400);

async fn fixture() -> DispatcherFixture {
    DispatcherFixture::with(Bounds::default(), Times { grace: GRACE, ..Times::default() }).await
}

#[tokio::test]
async fn a_player_that_is_moved_keeps_its_connection_silent_until_it_knows() {
    let fixture = fixture().await;
    let (lobby, match_) = (fixture.runtime().await, fixture.runtime().await);
    let client = fixture.client(lobby).await;
    let (mut old, mut new) = (fixture.game(lobby).await, fixture.game(match_).await);
    let mut player = fixture.player(client).await;
    player.send("to the lobby").await;
    assert_eq!(old.text().await, envelope_of(client, "to the lobby"));
    fixture.assign(client, match_).await;
    old.send(&order(None, "TXT", "you don't hear this")).await;
    old.send(&order(Some(&[client]), "B64", "eA==")).await;
    player.send("nor do you").await;
    player.is_silent(2 * GRACE).await;
    old.is_silent(GRACE / 4).await;
    new.is_silent(GRACE / 4).await;

    let begun = Instant::now();
    fixture.fetch(client).await;
    assert_eq!(player.closed().await, 1000);
    assert!(begun.elapsed() >= GRACE, "the player has the time to end it by itself");
    eventually("it is out", || fixture.dispatcher.open() == 2).await;
}

#[tokio::test]
async fn a_runtime_that_ends_takes_no_connection_of_a_player_with_it() {
    let fixture = fixture().await;
    let (lobby, next) = (fixture.runtime().await, fixture.runtime().await);
    let client = fixture.client(lobby).await;
    let game = fixture.game(lobby).await;
    let mut player = fixture.player(client).await;
    drop(game);
    fixture.apply(vec![Op::Close(Mailbox::Runtime(lobby))]).await;
    player.is_silent(2 * GRACE).await;
    fixture.assign(client, next).await;
    player.is_silent(2 * GRACE).await;
    fixture.fetch(client).await;
    assert_eq!(player.closed().await, 1000);
}

#[tokio::test]
async fn who_connects_to_its_new_runtime_is_out_of_the_old_room_at_once() {
    let fixture = fixture().await;
    let (lobby, match_) = (fixture.runtime().await, fixture.runtime().await);
    let client = fixture.client(lobby).await;
    let mut player = fixture.player(client).await;
    fixture.assign(client, match_).await;
    let mut game = fixture.game(match_).await;
    let mut again = fixture.player(client).await;
    assert_eq!(player.closed().await, 1000);
    again.send("here").await;
    assert_eq!(game.text().await, envelope_of(client, "here"));
}

#[tokio::test]
async fn who_is_kicked_may_fetch_the_reason_before_the_connection_ends() {
    let fixture = fixture().await;
    let lobby = fixture.runtime().await;
    let (client, other) = (fixture.client(lobby).await, fixture.client(lobby).await);
    let (mut game, mut player) = (fixture.game(lobby).await, fixture.player(client).await);
    let qualifier = message::DISCONNECTION_REASON;
    let reason = Op::Push { to: Mailbox::Client(client), qualifier, body: "{}".into() };
    fixture.apply(vec![reason, Op::Close(Mailbox::Client(client))]).await;
    player.send("after the end").await;
    player.is_silent(2 * GRACE).await;
    fixture.fetch(client).await;
    assert_eq!(player.closed().await, 1000);
    game.is_silent(GRACE / 4).await;

    let mut player = fixture.player(other).await;
    fixture.apply(vec![Op::Remove(Mailbox::Client(other))]).await;
    assert_eq!(player.closed().await, 1000, "without a mailbox there is nothing to wait for");
}

#[tokio::test]
async fn a_stop_closes_all_connections_and_is_not_held_up() {
    let mut fixture = DispatcherFixture::new().await;
    let lobby = fixture.runtime().await;
    let (client, dead) = (fixture.client(lobby).await, fixture.client(lobby).await);
    let (mut game, mut player) = (fixture.game(lobby).await, fixture.player(client).await);
    // Nobody reads from it.
    let _dead = fixture.player(dead).await;
    let begun = Instant::now();
    let (game, player, ()) = tokio::join!(game.closed(), player.closed(), fixture.stop());
    assert_eq!((game, player), (1001, 1001));
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(fixture.dispatcher.open(), 0);
}
