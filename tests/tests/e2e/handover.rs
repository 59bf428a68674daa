//! From the room of a lobby to that of a match and back, with open connections.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use omgservers_api::RuntimeQualifier;
use omgservers_tests::{Backend, Studio};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    dispatcher::{Poller, Socket, closed, connect, next},
    flows::{post, text},
};

const CONFIG: &str = r#"{"modes":[{"name":"duel","min_players":2,"max_players":2,
    "groups":[{"name":"all","min_players":2,"max_players":2}]}],
    "deployment":{"lobby":{"cpu_limit":10},"match":{"cpu_limit":10}}}"#;

/// The game server's side of the room of the only runtime of a kind.
async fn game(backend: &Backend, kind: RuntimeQualifier) -> Socket {
    let runtime = backend.idle_runtimes().into_iter().find(|it| it.qualifier == kind).unwrap();
    let credentials = json!({"runtime_id": runtime.id, "password": runtime.password});
    let answer = post(backend, "runtime", "create-token", None, credentials).await;
    connect(backend, text(&answer["ws_token"])).await.unwrap()
}

async fn send(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
}

/// Says something to everybody in the room.
async fn broadcast(game: &mut Socket, text: &str) {
    send(game, &json!({"encoding": "TXT", "message": text}).to_string()).await;
}

/// Whether a connection is there: it answers pings, and nothing else comes.
async fn is_silent(socket: &mut Socket) {
    socket.send(Message::Ping("there".into())).await.unwrap();
    let pong = async {
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Pong(payload) => return payload,
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(timeout(Duration::from_secs(60), pong).await.unwrap(), "there");
}

fn from_player(player: &Poller<'_>, message: &str) -> Option<Message> {
    let client = text(&player.client);
    Some(Message::text(format!(r#"{{"client_id":"{client}","encoding":"TXT","message":"{message}"}}"#)))
}

async fn assigned(player: &mut Poller<'_>, kind: &str) -> Value {
    let body = player.wait_for("RUNTIME_ASSIGNMENT_MESSAGE").await;
    assert_eq!(body["runtime_qualifier"], kind);
    body["runtime_id"].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn an_open_room_is_handed_over_from_lobby_to_match_and_back() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    studio.deploy(studio.push(&backend, CONFIG).await).await;
    let (mut one, mut two) = tokio::join!(Poller::new(&backend, &studio), Poller::new(&backend, &studio));
    let home = assigned(&mut one, "LOBBY").await;
    assert_eq!(assigned(&mut two, "LOBBY").await, home);
    let mut lobby = game(&backend, RuntimeQualifier::Lobby).await;
    let mut old = connect(&backend, &one.upgrade().await).await.unwrap();
    send(&mut old, "in the lobby").await;
    assert_eq!(next(&mut lobby).await, from_player(&one, "in the lobby"));
    let unused = one.upgrade().await;

    one.send("match: duel").await;
    two.send("match: duel").await;
    let played = assigned(&mut one, "MATCH").await;
    assert_eq!(assigned(&mut two, "MATCH").await, played);
    assert_eq!(connect(&backend, &unused).await.unwrap_err(), 401, "a token for the lobby is void");
    // It hasn't consumed the news yet: its connection is there, and nothing goes over it any more.
    broadcast(&mut lobby, "you don't hear this").await;
    send(&mut old, "nor do you").await;
    is_silent(&mut old).await;

    let mut arena = game(&backend, RuntimeQualifier::Match).await;
    let mut hers = connect(&backend, &one.upgrade().await).await.unwrap();
    assert_eq!(closed(&mut old).await, 1000, "the new connection takes its place");
    let mut his = connect(&backend, &two.upgrade().await).await.unwrap();
    send(&mut hers, "en garde").await;
    assert_eq!(next(&mut arena).await, from_player(&one, "en garde"));
    broadcast(&mut arena, "fight").await;
    for socket in [&mut hers, &mut his] {
        assert_eq!(next(socket).await, Some(Message::text("fight")));
    }

    // Kicked out of the match: the token is void, the connection silent, and the lobby's room is
    // open again.
    let unused = one.upgrade().await;
    one.send("kick me").await;
    assert_eq!(assigned(&mut one, "LOBBY").await, home);
    assert_eq!(connect(&backend, &unused).await.unwrap_err(), 401, "a token for the match is void");
    broadcast(&mut arena, "who is left?").await;
    assert_eq!(next(&mut his).await, Some(Message::text("who is left?")));
    is_silent(&mut hers).await;
    let mut back = connect(&backend, &one.upgrade().await).await.unwrap();
    assert_eq!(closed(&mut hers).await, 1000);
    broadcast(&mut lobby, "welcome back").await;
    assert_eq!(next(&mut back).await, Some(Message::text("welcome back")));
    send(&mut back, "here I am").await;
    assert_eq!(next(&mut lobby).await, from_player(&one, "here I am"), "the lobby heard nothing in between");
}
