//! Who may open a stream.

use omgservers_api::{
    Role, UserId,
    ids::Id as _,
    stream::{PATH, SUB_PROTOCOL, close},
};

use crate::fixture::StreamFixture;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_token_of_a_player_no_hands_are_shaken() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    let query = format!("?client_id={client}");
    let developer = fixture.tokens.user(fixture.user, Role::Developer).unwrap();
    let socket = fixture.tokens.ws_runtime(omgservers_api::RuntimeId::from_i64(5).unwrap(), 1).unwrap();
    for (token, status, code) in [
        (None, 401, "auth.missing"),
        (Some("nonsense"), 401, "auth.token"),
        (Some(developer.as_str()), 403, "auth.role"),
        (Some(socket.as_str()), 401, "auth.token"),
    ] {
        let (refused, body) = fixture.shake(&query, token, &[]).await.err().unwrap();
        assert_eq!((refused.as_u16(), body["code"].as_str()), (status, Some(code)), "{body}");
        assert!(!body["request_id"].as_str().unwrap().is_empty());
    }
    let with_query = format!("{query}&token={}", fixture.token());
    assert!(fixture.shake(&with_query, None, &[]).await.is_err(), "a token in the URL is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_protocol_carries_the_token_of_who_can_not_set_headers() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    let (query, token) = (format!("?client_id={client}"), fixture.token());
    let carrier = format!("{SUB_PROTOCOL}, bearer.{token}");
    let (_stream, answer) = fixture.shake(&query, None, &[&carrier]).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], SUB_PROTOCOL);
    let (_stream, answer) = fixture.shake(&query, Some(&token), &[SUB_PROTOCOL]).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], SUB_PROTOCOL);
    let (_stream, answer) = fixture.shake(&query, Some(&token), &[]).await.unwrap();
    assert!(answer.headers().get("sec-websocket-protocol").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_is_answered_as_any_bad_request() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    for query in ["", "?client_id=x", "?client_id=-1", "?client=1"] {
        let (status, body) = fixture.shake(query, Some(&fixture.token()), &[]).await.err().unwrap();
        assert_eq!(status.as_u16(), 400);
        assert!(body["detail"].as_str().unwrap().contains("client_id"), "{body}");
    }
    let url = format!("http://{}{PATH}?client_id={client}", fixture.host);
    let http = reqwest::Client::new();
    let plain = http.get(&url).bearer_auth(fixture.token()).send().await.unwrap();
    assert_eq!(plain.status(), 400);
    assert!(plain.text().await.unwrap().contains("WebSocket"));
    assert_eq!(http.post(&url).bearer_auth(fixture.token()).send().await.unwrap().status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_or_unknown_client_is_refused_and_the_owner_notices_nothing() {
    let fixture = StreamFixture::new().await;
    let client = fixture.client().await;
    let mut own = fixture.stream(client).await;
    let stranger = fixture.tokens.user(UserId::from_i64(77).unwrap(), Role::Player).unwrap();
    let query = format!("?client_id={client}");
    let (mut foreign, _) = fixture.shake(&query, Some(&stranger), &[]).await.unwrap();
    let frame = foreign.frame().await;
    assert_eq!(
        (&frame["error"]["status"], &frame["error"]["qualifier"]),
        (&400.into(), &"WRONG_CLIENT_ID".into())
    );
    assert_eq!(foreign.closed().await, close::FOREIGN);
    let (mut unknown, _) = fixture.shake("?client_id=5", Some(&stranger), &[]).await.unwrap();
    assert_eq!(unknown.frame().await["error"]["code"], "messaging.client_not_found");
    assert_eq!(unknown.closed().await, close::UNKNOWN);
    own.is_silent().await;
}
