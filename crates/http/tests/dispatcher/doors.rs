//! Who may in.

use std::time::Duration;

use omgservers_api::dispatcher::PATH;
use omgservers_api::{Role, ids::Id as _};
use omgservers_messaging::{Mailbox, Op};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::house::{House, order, said};

/// Every refusal is an answer of HTTP with our body.
fn is_401(refused: &(u16, Value)) {
    let (status, answer) = refused;
    assert_eq!((*status, answer["qualifier"].as_str()), (401, Some("WRONG_CREDENTIALS")), "{answer}");
    for field in ["code", "detail", "request_id"] {
        assert!(answer[field].as_str().is_some_and(|it| !it.is_empty()), "no {field}: {answer}");
    }
}

#[tokio::test]
async fn the_answer_to_the_handshake_is_what_the_engine_of_the_sdk_wants() {
    let house = House::new().await;
    let token = house.runtime_token(house.runtime().await);
    let mut socket = TcpStream::connect(&house.host).await.unwrap();
    let request = format!(
        "GET {PATH}?ws_token={token} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: omgservers\r\n\r\n",
        house.host
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    for line in [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Protocol: omgservers",
    ] {
        // Names in whatever case, values exactly.
        let (name, value) = line.split_once(": ").unwrap();
        let mut found = answer.lines().filter_map(|it| it.split_once(": "));
        let found = found.find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1);
        assert_eq!(found, Some(value), "{answer}");
    }
    assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
}

#[tokio::test]
async fn a_token_comes_in_the_query_as_a_header_or_in_a_sub_protocol() {
    let house = House::new().await;
    let runtime = house.runtime().await;
    let protocol = |it: &tokio_tungstenite::tungstenite::handshake::client::Response| {
        it.headers().get("Sec-WebSocket-Protocol").map(|it| it.to_str().unwrap().to_owned())
    };
    let (_game, response) = house.shake(&house.runtime_token(runtime)).await.unwrap();
    assert_eq!(protocol(&response).as_deref(), Some("omgservers"));
    let query = format!("?ws_token={}", house.runtime_token(runtime));
    let (_game, response) = house.shake_with(&query, &[]).await.unwrap();
    assert_eq!(protocol(&response), None);
    let bearer = format!("Bearer {}", house.runtime_token(runtime));
    let (_game, response) = house.shake_with("", &[("Authorization", &bearer)]).await.unwrap();
    assert_eq!(protocol(&response), None);
    let carrier = format!(
        "bearer-token-carrier, quarkus-http-upgrade%23Authorization%23Bearer%20{}",
        house.runtime_token(runtime)
    );
    let (mut game, response) = house.shake_with("", &[("Sec-WebSocket-Protocol", &carrier)]).await.unwrap();
    assert_eq!(protocol(&response).as_deref(), Some("bearer-token-carrier"));
    let client = house.client(runtime).await;
    house.player(client).await.send("hello").await;
    assert_eq!(game.text().await, said(client, "hello"));
}

#[tokio::test]
async fn without_a_good_token_there_is_an_answer_of_http() {
    let house = House::new().await;
    let runtime = house.runtime().await;
    let client = house.client(runtime).await;
    let user = house.tokens.user(house.user, Role::Player).unwrap();
    for token in ["", "nonsense", "a.b.c", &user, &house.tokens.runtime(runtime).unwrap()] {
        is_401(&house.refused(token).await);
    }
    let (status, answer) = house.shake_with("", &[]).await.map(drop).unwrap_err();
    is_401(&(status.as_u16(), answer));
    let token = house.player_token(client);
    house.ground.clock.advance(Duration::from_secs(60));
    is_401(&house.refused(&token).await);
    let good = house.player_token(client);
    let url = format!("http://{}{PATH}?ws_token={good}", house.host);
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.status(), 400, "no handshake");
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["qualifier"], "WRONG_REQUEST");
    let answer = reqwest::Client::new().post(&url).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    house.shake(&good).await.unwrap();
}

#[tokio::test]
async fn a_token_is_good_for_one_use() {
    let house = House::new().await;
    let runtime = house.runtime().await;
    let client = house.client(runtime).await;
    for token in [house.runtime_token(runtime), house.player_token(client)] {
        let (socket, _) = house.shake(&token).await.unwrap();
        is_401(&house.refused(&token).await);
        drop(socket);
        is_401(&house.refused(&token).await);
    }
    house.game(runtime).await;
    house.player(client).await;
}

#[tokio::test]
async fn a_token_is_void_after_a_kick_or_a_reassignment_also_back_to_the_same_runtime() {
    let mut house = House::new().await;
    let (lobby, game) = (house.runtime().await, house.runtime().await);
    let client = house.client(lobby).await;
    let token = house.player_token(client);
    house.assign(client, game).await;
    is_401(&house.refused(&token).await);
    let token = house.player_token(client);
    house.assign(client, lobby).await;
    house.assign(client, game).await;
    is_401(&house.refused(&token).await);
    let token = house.player_token(client);
    house.apply(vec![Op::Close(Mailbox::Client(client))]).await;
    is_401(&house.refused(&token).await);

    let other = house.client(game).await;
    let (player, runtime) = (house.player_token(other), house.runtime_token(game));
    house.crash().await;
    is_401(&house.refused(&player).await);
    is_401(&house.refused(&runtime).await);
    house.player(other).await;
    let token = house.runtime_token(game);
    house.apply(vec![Op::Close(Mailbox::Runtime(game))]).await;
    is_401(&house.refused(&token).await);
    let stranger = omgservers_api::ClientId::from_i64(77).unwrap();
    is_401(&house.refused(&house.tokens.ws_player(stranger, lobby, 0).unwrap()).await);
}

#[tokio::test]
async fn a_runtime_connects_before_it_has_asked_for_anything() {
    let house = House::new().await;
    let runtime = house.runtime().await;
    let mut game = house.game(runtime).await;
    let client = house.client(runtime).await;
    let mut player = house.player(client).await;
    game.send(&order(None, "TXT", "welcome")).await;
    assert_eq!(player.text().await, "welcome");
}
