//! The backend goes away and comes back while players and game servers are connected.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use omgservers_client::Event;
use omgservers_tests::{Backend, Game, Studio};
use serde_json::{Value, json};

use crate::{
    flows::wait_for,
    raw::{Player, Server, idle_runtimes},
};

async fn playing(backend: &Backend) -> (Studio, omgservers_client::Session) {
    let studio = Studio::open(backend).await;
    let version = studio.push(backend, r#"{"modes":[]}"#).await;
    studio.deploy(version).await;
    let mut player = studio.player().await;
    wait_for(&mut player, |it| matches!(it, Event::Assigned { .. })).await;
    (studio, player)
}

/// A game whose lobby the test plays, without an SDK that would repeat what fails.
async fn played_lobby(backend: &Backend) -> (Studio, Server) {
    let studio = Studio::open(backend).await;
    let config = r#"{"modes":[],"deployment":{"min_lobbies":1}}"#;
    let version = studio.push_game(backend, Game::IdleRuntime, config).await;
    studio.deploy(version).await;
    let lobby = idle_runtimes(backend, "LOBBY", 1).await.remove(0);
    (studio, Server::of(backend, &lobby).await)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_planned_restart_keeps_players_lobbies_and_containers() {
    let mut backend = Backend::start().await;
    let (_studio, mut player) = playing(&backend).await;
    let before = backend.containers();
    backend.stop();
    assert_eq!(backend.containers(), before, "containers run on while the backend is away");
    backend.launch().await;
    player.send("back again").unwrap();
    wait_for(&mut player, |it| matches!(it, Event::Message(raw) if raw.get().contains("back again"))).await;
    assert_eq!(backend.containers(), before, "no lobby was lost, and none doubled");
}

/// Waits until everybody polls: a restart that nobody notices shows nothing.
async fn all_poll(pollers: &[Arc<AtomicU32>]) {
    let before: Vec<u32> = pollers.iter().map(|it| it.load(Ordering::Relaxed)).collect();
    let polled = || pollers.iter().zip(&before).all(|(now, before)| now.load(Ordering::Relaxed) > before + 2);
    while !polled() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_planned_restart_under_a_held_socket_fails_no_request_of_players_and_game_servers() {
    let mut backend = Backend::activated(&[]).await;
    let (studio, server) = played_lobby(&backend).await;
    let before = backend.containers();
    let stop = Arc::new(AtomicBool::new(false));
    let (mut pollers, mut rounds) = (Vec::new(), Vec::new());
    let mut count = || {
        let count = Arc::new(AtomicU32::new(0));
        rounds.push(Arc::clone(&count));
        count
    };
    pollers.push(tokio::spawn(server.echo(count(), Arc::clone(&stop))));
    let mut sender = Player::join(&backend, &studio).await;
    for _ in 0..8 {
        let player = Player::join(&backend, &studio).await;
        pollers.push(tokio::spawn(player.poll(count(), Arc::clone(&stop))));
    }
    let first = sender.receives("RUNTIME_ASSIGNMENT_MESSAGE", |_| true).await;
    for round in 0..2 {
        all_poll(&rounds).await;
        backend.stop();
        backend.launch().await;
        // The game server answers as before.
        let data = format!("back again {round}");
        sender.send_message(round, &data).await;
        sender.receives("SERVER_OUTGOING_MESSAGE", |it| it["message"] == *data).await;
    }
    all_poll(&rounds).await;
    stop.store(true, Ordering::Relaxed);
    for poller in pollers {
        let failures = poller.await.unwrap();
        assert!(failures.is_empty(), "{} failed: {failures:?}", failures.len());
    }
    let assigned = sender.seen.iter().filter(|it| it["qualifier"] == "RUNTIME_ASSIGNMENT_MESSAGE");
    assert!(assigned.map(|it| &it["body"]).all(|it| it["runtime_id"] == first["runtime_id"]));
    assert_eq!(backend.containers(), before, "the lobby didn't notice");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn what_a_game_server_was_acknowledged_before_a_kill_reaches_its_players_afterwards() {
    let mut backend = Backend::start().await;
    let (studio, mut server) = played_lobby(&backend).await;
    let (mut one, mut two) = (Player::join(&backend, &studio).await, Player::join(&backend, &studio).await);
    for player in [&one, &two] {
        server.receives("ADD_CLIENT", |it| it["client_id"] == player.client).await;
    }
    // Nobody fetches anything until after the kill.
    let commands: Vec<Value> = (0..50)
        .map(|number| match number % 2 {
            0 => json!({"id": number, "qualifier": "RESPOND_CLIENT", "body": {"client_id": one.client, "message": number}}),
            _ => json!({"id": number, "qualifier": "BROADCAST_MESSAGE", "body": {"message": number}}),
        })
        .collect();
    let answer = server.exchange(json!(commands)).await;
    assert!(answer.get("rejected_commands").is_none(), "{answer}");
    backend.kill();
    backend.launch().await;
    // As after an answer that was lost: the whole request again, and one command more.
    let mut again = commands.clone();
    again.push(json!({"id": 50, "qualifier": "BROADCAST_MESSAGE", "body": {"message": "end"}}));
    let answer = server.exchange(json!(again)).await;
    assert!(answer.get("rejected_commands").is_none(), "{answer}");
    let mut expected: Vec<Value> = (0..50).map(|it| json!(it)).collect();
    expected.push(json!("end"));
    one.receives("SERVER_OUTGOING_MESSAGE", |it| it["message"] == "end").await;
    assert_eq!(one.received(), expected.iter().collect::<Vec<_>>());
    two.receives("SERVER_OUTGOING_MESSAGE", |it| it["message"] == "end").await;
    expected.retain(|it| it.as_u64().is_none_or(|it| it % 2 == 1));
    assert_eq!(two.received(), expected.iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn what_was_acknowledged_before_a_kill_is_there_afterwards() {
    let mut backend = Backend::start().await;
    let (studio, mut player) = playing(&backend).await;
    // The player's messages wait: its lobby stands still and consumes nothing.
    backend.docker("pause");
    for number in 0..50 {
        player.send(&format!("number {number}")).unwrap();
    }
    player.exchange(Duration::ZERO).await.unwrap();
    backend.kill();
    backend.launch().await;
    backend.docker("unpause");
    let mut echoes = Vec::new();
    while echoes.len() < 50 {
        let event =
            wait_for(&mut player, |it| matches!(it, Event::Message(raw) if raw.get().contains("\"echo\"")))
                .await;
        let Event::Message(raw) = event else { unreachable!() };
        let value: serde_json::Value = serde_json::from_str(raw.get()).unwrap();
        echoes.push(value["echo"].as_str().unwrap().to_owned());
    }
    let expected: Vec<String> = (0..50).map(|it| format!("number {it}")).collect();
    assert_eq!(echoes, expected);
    drop(studio);
}
