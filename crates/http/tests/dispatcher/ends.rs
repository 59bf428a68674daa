//! Reassignments, kicks, and the end of the server.

use std::time::{Duration, Instant};

use omgservers_api::interchange::message;
use omgservers_dispatcher::Bounds;
use omgservers_http::dispatcher::Times;
use omgservers_messaging::{Mailbox, Op};

use crate::house::{House, eventually, order, said};

const GRACE: Duration = Duration::from_millis(400);

async fn house() -> House {
    House::with(Bounds::default(), Times { grace: GRACE, ..Times::default() }).await
}

#[tokio::test]
async fn a_player_that_is_moved_keeps_its_connection_silent_until_it_knows() {
    let house = house().await;
    let (lobby, match_) = (house.runtime().await, house.runtime().await);
    let client = house.client(lobby).await;
    let (mut old, mut new) = (house.game(lobby).await, house.game(match_).await);
    let mut player = house.player(client).await;
    player.send("to the lobby").await;
    assert_eq!(old.text().await, said(client, "to the lobby"));
    house.assign(client, match_).await;
    old.send(&order(None, "TXT", "you don't hear this")).await;
    old.send(&order(Some(&[client]), "B64", "eA==")).await;
    player.send("nor do you").await;
    player.is_silent(2 * GRACE).await;
    old.is_silent(GRACE / 4).await;
    new.is_silent(GRACE / 4).await;

    let begun = Instant::now();
    house.fetch(client).await;
    assert_eq!(player.closed().await, 1000);
    assert!(begun.elapsed() >= GRACE, "the player has the time to end it by itself");
    eventually("it is out", || house.dispatcher.open() == 2).await;
}

#[tokio::test]
async fn a_runtime_that_ends_takes_no_connection_of_a_player_with_it() {
    let house = house().await;
    let (lobby, next) = (house.runtime().await, house.runtime().await);
    let client = house.client(lobby).await;
    let game = house.game(lobby).await;
    let mut player = house.player(client).await;
    drop(game);
    house.apply(vec![Op::Close(Mailbox::Runtime(lobby))]).await;
    player.is_silent(2 * GRACE).await;
    house.assign(client, next).await;
    player.is_silent(2 * GRACE).await;
    house.fetch(client).await;
    assert_eq!(player.closed().await, 1000);
}

#[tokio::test]
async fn who_connects_to_its_new_runtime_is_out_of_the_old_room_at_once() {
    let house = house().await;
    let (lobby, match_) = (house.runtime().await, house.runtime().await);
    let client = house.client(lobby).await;
    let mut player = house.player(client).await;
    house.assign(client, match_).await;
    let mut game = house.game(match_).await;
    let mut again = house.player(client).await;
    assert_eq!(player.closed().await, 1000);
    again.send("here").await;
    assert_eq!(game.text().await, said(client, "here"));
}

#[tokio::test]
async fn who_is_kicked_may_fetch_the_reason_before_the_connection_ends() {
    let house = house().await;
    let lobby = house.runtime().await;
    let (client, other) = (house.client(lobby).await, house.client(lobby).await);
    let (mut game, mut player) = (house.game(lobby).await, house.player(client).await);
    let qualifier = message::DISCONNECTION_REASON;
    let reason = Op::Push { to: Mailbox::Client(client), qualifier, body: "{}".into() };
    house.apply(vec![reason, Op::Close(Mailbox::Client(client))]).await;
    player.send("after the end").await;
    player.is_silent(2 * GRACE).await;
    house.fetch(client).await;
    assert_eq!(player.closed().await, 1000);
    game.is_silent(GRACE / 4).await;

    let mut player = house.player(other).await;
    house.apply(vec![Op::Remove(Mailbox::Client(other))]).await;
    assert_eq!(player.closed().await, 1000, "without a mailbox there is nothing to wait for");
}

#[tokio::test]
async fn a_stop_says_goodbye_and_is_not_held_up() {
    let mut house = House::new().await;
    let lobby = house.runtime().await;
    let (client, dead) = (house.client(lobby).await, house.client(lobby).await);
    let (mut game, mut player) = (house.game(lobby).await, house.player(client).await);
    // Nobody reads from it.
    let _dead = house.player(dead).await;
    let begun = Instant::now();
    let (game, player, ()) = tokio::join!(game.closed(), player.closed(), house.stop());
    assert_eq!((game, player), (1001, 1001));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(house.dispatcher.open(), 0);
}
