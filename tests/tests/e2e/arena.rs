//! The game with duels: its matches by UDP, with connect tokens, and over the dispatcher.

use std::{net::Ipv4Addr, time::Duration};

use omgservers_api::{RuntimeQualifier, interchange::DirectConnection};
use omgservers_client::{Event, Frame, Session};
use omgservers_tests::{Backend, Game, Studio};
use serde_json::{Value, json};
use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};

use crate::flows::wait_for;

const CONFIG: &str = r#"{"modes":[
    {"name":"duel","min_players":2,"max_players":2,"groups":[
        {"name":"red","min_players":1,"max_players":1},{"name":"blue","min_players":1,"max_players":1}]},
    {"name":"duel-udp","min_players":2,"max_players":2,"groups":[
        {"name":"red","min_players":1,"max_players":1},{"name":"blue","min_players":1,"max_players":1}]}],
    "user_data":{"udp":["duel-udp"]},
    "deployment":{"lobby":{"cpu_limit":20,"memory_limit":64},
        "match":{"cpu_limit":20,"memory_limit":64,"ports":[{"name":"game","protocol":"UDP","port":7777}]}}}"#;

const LONG: Duration = Duration::from_secs(60);
/// For an answer that must not come: the state comes five times a second.
const A_WHILE: Duration = Duration::from_millis(600);

async fn assigned(player: &mut Session, kind: RuntimeQualifier) -> Option<DirectConnection> {
    let arrived = |it: &Event| matches!(it, Event::Assigned { qualifier, .. } if *qualifier == kind);
    let Event::Assigned { direct, .. } = wait_for(player, arrived).await else { unreachable!() };
    direct
}

/// Two who asked for a match of a mode, and how each connects to it.
async fn matched(studio: &Studio, mode: &str) -> [(Session, DirectConnection); 2] {
    let (mut one, mut two) = tokio::join!(studio.player(), studio.player());
    for player in [&mut one, &mut two] {
        assigned(player, RuntimeQualifier::Lobby).await;
        player.send(&json!({"play": mode})).unwrap();
    }
    let kind = RuntimeQualifier::Match;
    let (hers, his) = tokio::join!(assigned(&mut one, kind), assigned(&mut two, kind));
    [(one, hers.expect("a port is published")), (two, his.expect("a port is published"))]
}

async fn socket(direct: &DirectConnection) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    socket.connect((direct.address.as_str(), direct.ports[0].port)).await.unwrap();
    socket
}

/// The state of the bout that comes within so long.
async fn state(socket: &UdpSocket, limit: Duration) -> Option<Value> {
    let mut buffer = [0; 2048];
    // A datagram that is refused is as good as lost.
    let length = timeout(limit, socket.recv(&mut buffer)).await.ok()?.ok()?;
    serde_json::from_slice(&buffer[..length]).ok()
}

/// Says something by UDP until the state is as wanted.
async fn send_until(socket: &UdpSocket, text: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let _lost = socket.send(text.as_bytes()).await;
        let shown = state(socket, Duration::from_millis(300)).await;
        if let Some(shown) = shown.filter(&wanted) {
            return shown;
        }
        assert!(begun.elapsed() < LONG, "no answer to {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_match_lets_in_by_udp_who_has_a_token_for_it_and_shows_the_bout_over_the_dispatcher_too() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    studio.deploy(studio.push_game(&backend, Game::Arena, CONFIG).await).await;
    let [(one, mine), (_two, theirs)] = matched(&studio, "duel-udp").await;
    let (red, blue) = (socket(&mine).await, socket(&theirs).await);
    // The bout begins when both have shown their tokens.
    let begun = |it: &Value| it["round"] == 1;
    tokio::join!(send_until(&red, &mine.token, begun), send_until(&blue, &theirs.token, begun));

    // Nobody else gets in: not without a token, not with one that was used.
    let stranger = socket(&mine).await;
    for datagram in ["let me in", mine.token.as_str(), &theirs.token[1..]] {
        stranger.send(datagram.as_bytes()).await.unwrap();
    }
    assert_eq!(state(&stranger, A_WHILE).await, None);

    // From another address with another token: there it goes on, and the old address is heard no
    // more.
    let again = one.refresh_connect_token().await.unwrap();
    assert_eq!((&again.address, &again.ports), (&mine.address, &mine.ports));
    assert_ne!(again.token, mine.token);
    let moved = socket(&again).await;
    send_until(&moved, &again.token, |it| it["round"].is_u64()).await;
    let chosen = |round: u64| json!({"round": round, "move": "advance"}).to_string();
    let round = send_until(&moved, "", |it| it["round"].is_u64()).await["round"].as_u64().unwrap();
    blue.send(chosen(round).as_bytes()).await.unwrap();
    send_until(&moved, &chosen(round), |it| it["round"].as_u64() > Some(round)).await;

    let [(mut ann, _), (mut bob, _)] = matched(&studio, "duel").await;
    for player in [&mut ann, &mut bob] {
        wait_for(player, |it| matches!(it, Event::DispatcherConnected)).await;
        player.send_unreliable(r#"{"ready":true}"#).unwrap();
    }
    for player in [&mut ann, &mut bob] {
        let shown = |it: &Event| matches!(it, Event::Frame(Frame::Text(it)) if it.contains("\"round\":1"));
        wait_for(player, shown).await;
        wait_for(player, |it| matches!(it, Event::Frame(Frame::Binary(clock)) if clock.len() == 4)).await;
    }
}
