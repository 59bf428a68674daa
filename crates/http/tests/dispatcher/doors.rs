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

use crate::fixture::{DispatcherFixture, envelope_of, order};

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
    let fixture = DispatcherFixture::new().await;
    let token = fixture.runtime_token(fixture.runtime().await);
    let mut socket = TcpStream::connect(&fixture.host).await.unwrap();
    let request = format!(
        "GET {PATH}?ws_token={token} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: omgservers\r\n\r\n",
        fixture.host
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
        // Names in any case, values exactly.
        let (name, value) = line.split_once(": ").unwrap();
        let mut found = answer.lines().filter_map(|it| it.split_once(": "));
        let found = found.find(|it| it.0.eq_ignore_ascii_case(name)).map(|it| it.1);
        assert_eq!(found, Some(value), "{answer}");
    }
    assert!(!answer.to_lowercase().contains("transfer-encoding"), "{answer}");
}

#[tokio::test]
async fn a_token_comes_in_the_query_as_a_header_or_in_a_sub_protocol() {
    let fixture = DispatcherFixture::new().await;
    let runtime = fixture.runtime().await;
    let protocol = |response: &tokio_tungstenite::tungstenite::handshake::client::Response| {
        response.headers().get("Sec-WebSocket-Protocol").map(|it| it.to_str().unwrap().to_owned())
    };
    let (_game, response) = fixture.shake(&fixture.runtime_token(runtime)).await.unwrap();
    assert_eq!(protocol(&response).as_deref(), Some("omgservers"));
    let query = format!("?ws_token={}", fixture.runtime_token(runtime));
    let (_game, response) = fixture.shake_with(&query, &[]).await.unwrap();
    assert_eq!(protocol(&response), None);
    let bearer = format!("Bearer {}", fixture.runtime_token(runtime));
    let (_game, response) = fixture.shake_with("", &[("Authorization", &bearer)]).await.unwrap();
    assert_eq!(protocol(&response), None);
    let carrier = format!(
        "bearer-token-carrier, quarkus-http-upgrade%23Authorization%23Bearer%20{}",
        fixture.runtime_token(runtime)
    );
    let (mut game, response) = fixture.shake_with("", &[("Sec-WebSocket-Protocol", &carrier)]).await.unwrap();
    assert_eq!(protocol(&response).as_deref(), Some("bearer-token-carrier"));
    let client = fixture.client(runtime).await;
    fixture.player(client).await.send("hello").await;
    assert_eq!(game.text().await, envelope_of(client, "hello"));
}

#[tokio::test]
async fn without_a_good_token_there_is_an_answer_of_http() {
    let fixture = DispatcherFixture::new().await;
    let runtime = fixture.runtime().await;
    let client = fixture.client(runtime).await;
    let user = fixture.tokens.user(fixture.user, Role::Player).unwrap();
    for token in ["", "nonsense", "a.b.c", &user, &fixture.tokens.runtime(runtime).unwrap()] {
        is_401(&fixture.refused(token).await);
    }
    let (status, answer) = fixture.shake_with("", &[]).await.map(drop).unwrap_err();
    is_401(&(status.as_u16(), answer));
    let token = fixture.player_token(client);
    fixture.foundation.clock.advance(Duration::from_secs(60));
    is_401(&fixture.refused(&token).await);
    let good = fixture.player_token(client);
    let url = format!("http://{}{PATH}?ws_token={good}", fixture.host);
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.status(), 400, "no handshake");
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["qualifier"], "WRONG_REQUEST");
    let answer = reqwest::Client::new().post(&url).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    fixture.shake(&good).await.unwrap();
}

#[tokio::test]
async fn a_token_is_good_for_one_use() {
    let fixture = DispatcherFixture::new().await;
    let runtime = fixture.runtime().await;
    let client = fixture.client(runtime).await;
    for token in [fixture.runtime_token(runtime), fixture.player_token(client)] {
        let (socket, _) = fixture.shake(&token).await.unwrap();
        is_401(&fixture.refused(&token).await);
        drop(socket);
        is_401(&fixture.refused(&token).await);
    }
    fixture.game(runtime).await;
    fixture.player(client).await;
}

#[tokio::test]
async fn a_token_is_void_after_a_kick_or_a_reassignment_also_back_to_the_same_runtime() {
    let mut fixture = DispatcherFixture::new().await;
    let (lobby, game) = (fixture.runtime().await, fixture.runtime().await);
    let client = fixture.client(lobby).await;
    let token = fixture.player_token(client);
    fixture.assign(client, game).await;
    is_401(&fixture.refused(&token).await);
    let token = fixture.player_token(client);
    fixture.assign(client, lobby).await;
    fixture.assign(client, game).await;
    is_401(&fixture.refused(&token).await);
    let token = fixture.player_token(client);
    fixture.apply(vec![Op::Close(Mailbox::Client(client))]).await;
    is_401(&fixture.refused(&token).await);

    let other = fixture.client(game).await;
    let (player, runtime) = (fixture.player_token(other), fixture.runtime_token(game));
    fixture.crash().await;
    // A restart is no decision: a token that nobody has used is still good.
    drop(fixture.shake(&player).await.unwrap());
    drop(fixture.shake(&runtime).await.unwrap());
    fixture.player(other).await;
    let token = fixture.runtime_token(game);
    fixture.apply(vec![Op::Close(Mailbox::Runtime(game))]).await;
    is_401(&fixture.refused(&token).await);
    let stranger = omgservers_api::ClientId::from_i64(77).unwrap();
    is_401(&fixture.refused(&fixture.tokens.ws_player(stranger, lobby, 0).unwrap()).await);
}

#[tokio::test]
async fn a_runtime_connects_before_it_has_asked_for_anything() {
    let fixture = DispatcherFixture::new().await;
    let runtime = fixture.runtime().await;
    let mut game = fixture.game(runtime).await;
    let client = fixture.client(runtime).await;
    let mut player = fixture.player(client).await;
    game.send(&order(None, "TXT", "welcome")).await;
    assert_eq!(player.text().await, "welcome");
}
