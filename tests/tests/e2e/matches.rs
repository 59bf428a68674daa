//! Players are matched, play, and come back; with real containers.

use omgservers_client::{
    Event, Session,
    api::{
        RuntimeId, RuntimeQualifier,
        entrypoint::developer::{GetMatchDetailsRequest, GetTicketDetailsRequest},
        interchange::MatchmakingFailureReason,
    },
};
use omgservers_tests::{Backend, Studio, eventually};

use crate::flows::wait_for;

/// Several containers have to fit on a small machine.
const SMALL: &str = r#""deployment":{"lobby":{"cpu_limit":10},"match":{"cpu_limit":10}}"#;

/// A version with one mode.
fn version(mode: &str) -> String {
    format!("{{\"modes\":[{mode}],{SMALL}}}")
}

fn duel() -> String {
    version(
        r#"{"name":"duel","min_players":2,"max_players":2,"groups":[
            {"name":"red","min_players":1,"max_players":1},{"name":"blue","min_players":1,"max_players":1}]}"#,
    )
}

/// Waits until the player is with a runtime of this kind.
async fn arrives(player: &mut Session, kind: RuntimeQualifier) -> RuntimeId {
    let arrived = |it: &Event| matches!(it, Event::Assigned { qualifier, .. } if *qualifier == kind);
    let Event::Assigned { runtime_id, .. } = wait_for(player, arrived).await else { unreachable!() };
    runtime_id
}

async fn receives(player: &mut Session, text: &str) {
    wait_for(player, |it| matches!(it, Event::Message(raw) if raw.get().contains(text))).await;
}

async fn in_lobby(studio: &Studio) -> Session {
    let mut player = studio.player().await;
    arrives(&mut player, RuntimeQualifier::Lobby).await;
    player
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn two_players_are_matched_play_and_come_back_to_the_lobby() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let deployment = studio.deploy(studio.push(&backend, &duel()).await).await;
    let (mut one, mut two) = (in_lobby(&studio).await, in_lobby(&studio).await);
    one.send("match: duel").unwrap();
    two.send("match: duel").unwrap();
    let first = arrives(&mut one, RuntimeQualifier::Match).await;
    assert_eq!(arrives(&mut two, RuntimeQualifier::Match).await, first, "they play each other");
    receives(&mut one, "\"qualifier\":\"MATCH\"").await;
    receives(&mut two, "\"qualifier\":\"MATCH\"").await;
    one.send("all: en garde").unwrap();
    receives(&mut two, "en garde").await;

    let details = studio.details(deployment).await;
    let found = details.match_refs.first().expect("the match is shown");
    assert_eq!((found.players, found.mode.as_str(), found.runtime_id), (2, "duel", first));
    let request = GetMatchDetailsRequest {
        tenant: studio.tenant.into(),
        deployment_id: deployment,
        match_id: found.match_id,
    };
    let shown = studio.developer.get_match_details(&request).await.unwrap().details;
    let mut groups: Vec<&str> = shown.players.iter().map(|it| it.group_name.as_str()).collect();
    groups.sort_unstable();
    assert_eq!(groups, ["blue", "red"], "one in each group");
    assert!(shown.players.iter().all(|it| it.joined) && !shown.rationale.is_empty(), "{shown:?}");

    one.send("kick me").unwrap();
    arrives(&mut one, RuntimeQualifier::Lobby).await;
    one.send("back").unwrap();
    receives(&mut one, "back").await;
    two.send("kick me").unwrap();
    arrives(&mut two, RuntimeQualifier::Lobby).await;
    eventually("an empty match is closed with its container", async || {
        studio.details(deployment).await.match_refs.is_empty() && backend.containers().len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn players_of_a_match_that_crashes_or_ends_go_on_in_a_lobby() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let deployment = studio.deploy(studio.push(&backend, &duel()).await).await;
    let (mut one, mut two) = (in_lobby(&studio).await, in_lobby(&studio).await);
    for end in ["crash", "quit"] {
        one.send("match: duel").unwrap();
        two.send("match: duel").unwrap();
        arrives(&mut one, RuntimeQualifier::Match).await;
        arrives(&mut two, RuntimeQualifier::Match).await;
        two.send(end).unwrap();
        arrives(&mut one, RuntimeQualifier::Lobby).await;
        arrives(&mut two, RuntimeQualifier::Lobby).await;
    }
    one.send("alive").unwrap();
    receives(&mut one, "alive").await;
    let failures = studio.details(deployment).await.failures;
    assert!(failures.iter().any(|it| it.exit_code == Some(7)), "the crash is on record: {failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_match_is_filled_until_it_sends_stop() {
    let mode = version(
        r#"{"name":"open","min_players":1,"max_players":4,
            "groups":[{"name":"all","min_players":1,"max_players":4}]}"#,
    );
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    studio.deploy(studio.push(&backend, &mode).await).await;
    let mut players = [in_lobby(&studio).await, in_lobby(&studio).await, in_lobby(&studio).await];
    let mut matches = Vec::new();
    for (index, player) in players.iter_mut().enumerate() {
        player.send("match: open").unwrap();
        matches.push(arrives(player, RuntimeQualifier::Match).await);
        if index == 1 {
            player.send("stop matchmaking").unwrap();
            // What comes after it in the same game server is answered after it.
            player.send("stopped").unwrap();
            receives(player, "stopped").await;
        }
    }
    assert_eq!(matches[0], matches[1], "the second player joins the first");
    assert_ne!(matches[1], matches[2], "the third one comes too late");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_request_that_can_not_be_fulfilled_is_answered() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let deployment = studio.deploy(studio.push(&backend, &duel()).await).await;
    let mut player = in_lobby(&studio).await;
    let failed = |reason| move |it: &Event| matches!(it, Event::MatchmakingFailed(failure) if failure.reason == reason);
    player.send("match: chess").unwrap();
    wait_for(&mut player, failed(MatchmakingFailureReason::UnknownMode)).await;

    player.send("match: duel").unwrap();
    let request = GetTicketDetailsRequest {
        tenant: studio.tenant.into(),
        deployment_id: deployment,
        ticket_id: None,
        client_id: Some(player.client_id()),
    };
    // What comes after it in the same game server is answered after it.
    player.send("asked").unwrap();
    receives(&mut player, "asked").await;
    let shown = studio.developer.get_ticket_details(&request).await.unwrap().details;
    assert_eq!((shown.mode.as_str(), shown.state.as_str()), ("duel", "waiting"));
    let why = shown.explanation.expect("it says why it waits");
    assert_eq!(why["pool"]["tickets"], 1, "{why}");
    assert_eq!(player.ticket().await.unwrap().id, shown.id, "the player may ask as well");
    assert!(player.cancel_matchmaking().await.unwrap(), "it was open");
    wait_for(&mut player, failed(MatchmakingFailureReason::Cancelled)).await;
    assert!(!player.cancel_matchmaking().await.unwrap(), "and isn't any more");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_restart_keeps_tickets_and_matches() {
    let mut backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    studio.deploy(studio.push(&backend, &duel()).await).await;
    let mut players = Vec::new();
    for _ in 0..3 {
        players.push(in_lobby(&studio).await);
    }
    for player in &mut players {
        player.send("match: duel").unwrap();
        player.send("asked").unwrap();
        receives(player, "asked").await;
    }
    let playing = arrives(&mut players[0], RuntimeQualifier::Match).await;
    assert_eq!(arrives(&mut players[1], RuntimeQualifier::Match).await, playing);
    backend.kill();
    backend.launch().await;
    for player in &mut players {
        // A stream that broke is opened again by whoever asks for something.
        player.send("all: still there?").unwrap();
        receives(player, "still there?").await;
    }
    // The third one still waits: the next player plays with it.
    let mut fourth = in_lobby(&studio).await;
    fourth.send("match: duel").unwrap();
    let next = arrives(&mut players[2], RuntimeQualifier::Match).await;
    assert_eq!(arrives(&mut fourth, RuntimeQualifier::Match).await, next);
    assert_ne!(next, playing);
}
