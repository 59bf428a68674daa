//! The backend goes away and comes back while players and game servers are connected.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use omgservers_client::Event;
use omgservers_tests::{Backend, Studio};
use serde_json::{Value, json};

use crate::flows::wait_for;

async fn playing(backend: &Backend) -> (Studio, omgservers_client::Session) {
    let studio = Studio::open(backend).await;
    let version = studio.push(backend, r#"{"modes":[]}"#).await;
    studio.deploy(version).await;
    let mut player = studio.player().await;
    wait_for(&mut player, |it| matches!(it, Event::Assigned { .. })).await;
    (studio, player)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_restart_keeps_players_lobbies_and_containers() {
    let mut backend = Backend::start().await;
    let (_studio, mut player) = playing(&backend).await;
    let before = backend.containers();
    backend.stop();
    assert_eq!(backend.containers(), before, "containers run on while the backend is away");
    backend.launch().await;
    player.say("back again").unwrap();
    wait_for(&mut player, |it| matches!(it, Event::Message(raw) if raw.get().contains("back again"))).await;
    assert_eq!(backend.containers(), before, "no lobby was lost, and none doubled");
}

/// Polls as the Defold SDK does, and counts what fails: one failed request ends such a player for good.
async fn poll(
    url: String,
    token: String,
    client: String,
    rounds: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let http = reqwest::Client::new();
    let (mut failures, mut consumed) = (Vec::new(), Vec::<Value>::new());
    while !stop.load(Ordering::Relaxed) {
        let body = json!({"client_id": client, "outgoing_messages": [], "consumed_messages": consumed});
        let sent = http.post(&url).bearer_auth(&token).json(&body).send().await;
        match sent {
            Ok(answer) if answer.status().is_success() => {
                let answer: Value = answer.json().await.unwrap();
                let incoming = answer["incoming_messages"].as_array().unwrap();
                consumed = incoming.iter().map(|it| it["id"].clone()).collect();
            }
            Ok(answer) => failures.push(format!("{}", answer.status())),
            Err(error) => failures.push(format!("{error:?}")),
        }
        rounds.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    failures
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
async fn a_planned_restart_under_a_held_socket_fails_no_request_of_players_and_game_servers() {
    let mut backend = Backend::activated(&[]).await;
    let (studio, mut player) = playing(&backend).await;
    let before = backend.containers();
    let base = format!("{}/service/v1/entrypoint/player/request", backend.url());
    let stop = Arc::new(AtomicBool::new(false));
    let (mut pollers, mut rounds) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let http = reqwest::Client::new();
        let user: Value =
            http.post(format!("{base}/create-user")).send().await.unwrap().json().await.unwrap();
        let token = http.post(format!("{base}/create-token")).json(&user).send().await.unwrap();
        let token = token.json::<Value>().await.unwrap()["raw_token"].as_str().unwrap().to_owned();
        let place = json!({"tenant": studio.tenant, "project": studio.project, "stage": studio.stage});
        let client =
            http.post(format!("{base}/create-client")).bearer_auth(&token).json(&place).send().await.unwrap();
        let client = client.json::<Value>().await.unwrap()["client_id"].as_str().unwrap().to_owned();
        let count = Arc::new(AtomicU32::new(0));
        let polling =
            poll(format!("{base}/interchange"), token, client, Arc::clone(&count), Arc::clone(&stop));
        pollers.push(tokio::spawn(polling));
        rounds.push(count);
    }
    for _ in 0..2 {
        all_poll(&rounds).await;
        backend.stop();
        backend.launch().await;
    }
    all_poll(&rounds).await;
    player.say("back again").unwrap();
    wait_for(&mut player, |it| matches!(it, Event::Message(raw) if raw.get().contains("back again"))).await;
    stop.store(true, Ordering::Relaxed);
    for poller in pollers {
        let failures = poller.await.unwrap();
        assert!(failures.is_empty(), "{} failed: {failures:?}", failures.len());
    }
    assert_eq!(backend.containers(), before, "the lobby didn't notice");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_a_kill_is_there_afterwards() {
    let mut backend = Backend::start().await;
    let (studio, mut player) = playing(&backend).await;
    // The player's messages wait: its lobby stands still and consumes nothing.
    backend.docker("pause");
    for number in 0..50 {
        player.say(&format!("number {number}")).unwrap();
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
