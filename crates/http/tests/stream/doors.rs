//! Who may open a stream.

use omgservers_api::{
    Role, UserId,
    ids::Id as _,
    stream::{PATH, SUB_PROTOCOL, close},
};

use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_token_of_a_player_no_hands_are_shaken() {
    let house = House::new().await;
    let client = house.client().await;
    let query = format!("?client_id={client}");
    let developer = house.tokens.user(house.user, Role::Developer).unwrap();
    let socket = house.tokens.ws_runtime(omgservers_api::RuntimeId::from_i64(5).unwrap(), 1).unwrap();
    for (token, status, code) in [
        (None, 401, "auth.missing"),
        (Some("nonsense"), 401, "auth.token"),
        (Some(developer.as_str()), 403, "auth.role"),
        (Some(socket.as_str()), 401, "auth.token"),
    ] {
        let (refused, body) = house.shake(&query, token, &[]).await.err().unwrap();
        assert_eq!((refused.as_u16(), body["code"].as_str()), (status, Some(code)), "{body}");
        assert!(!body["request_id"].as_str().unwrap().is_empty());
    }
    let with_query = format!("{query}&token={}", house.token());
    assert!(house.shake(&with_query, None, &[]).await.is_err(), "a token in the URL is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_protocol_carries_the_token_of_who_can_not_set_headers() {
    let house = House::new().await;
    let client = house.client().await;
    let (query, token) = (format!("?client_id={client}"), house.token());
    let carrier = format!("{SUB_PROTOCOL}, bearer.{token}");
    let (_stream, answer) = house.shake(&query, None, &[&carrier]).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], SUB_PROTOCOL);
    let (_stream, answer) = house.shake(&query, Some(&token), &[SUB_PROTOCOL]).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], SUB_PROTOCOL);
    let (_stream, answer) = house.shake(&query, Some(&token), &[]).await.unwrap();
    assert!(answer.headers().get("sec-websocket-protocol").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_is_answered_as_any_bad_request() {
    let house = House::new().await;
    let client = house.client().await;
    for query in ["", "?client_id=x", "?client_id=-1", "?client=1"] {
        let (status, body) = house.shake(query, Some(&house.token()), &[]).await.err().unwrap();
        assert_eq!(status.as_u16(), 400);
        assert!(body["detail"].as_str().unwrap().contains("client_id"), "{body}");
    }
    let url = format!("http://{}{PATH}?client_id={client}", house.host);
    let http = reqwest::Client::new();
    let plain = http.get(&url).bearer_auth(house.token()).send().await.unwrap();
    assert_eq!(plain.status(), 400);
    assert!(plain.text().await.unwrap().contains("WebSocket"));
    assert_eq!(http.post(&url).bearer_auth(house.token()).send().await.unwrap().status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_or_unknown_client_is_told_so_and_the_owner_notices_nothing() {
    let house = House::new().await;
    let client = house.client().await;
    let mut own = house.stream(client).await;
    let stranger = house.tokens.user(UserId::from_i64(77).unwrap(), Role::Player).unwrap();
    let query = format!("?client_id={client}");
    let (mut foreign, _) = house.shake(&query, Some(&stranger), &[]).await.unwrap();
    let frame = foreign.frame().await;
    assert_eq!(
        (&frame["error"]["status"], &frame["error"]["qualifier"]),
        (&400.into(), &"WRONG_CLIENT_ID".into())
    );
    assert_eq!(foreign.closed().await, close::FOREIGN);
    let (mut unknown, _) = house.shake("?client_id=5", Some(&stranger), &[]).await.unwrap();
    assert_eq!(unknown.frame().await["error"]["code"], "messaging.client_not_found");
    assert_eq!(unknown.closed().await, close::UNKNOWN);
    own.is_silent().await;
}
