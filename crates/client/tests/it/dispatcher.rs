//! Both sides of the dispatcher.

use std::time::Duration;

use omgservers_client::{
    Client, DispatcherConnection, DispatcherEvent, Event, Frame, Player, Runtime, Session,
    api::{Kind, RuntimeQualifier},
    fake::{ReceivedRequest, Reply},
    problems::NOT_CONNECTED,
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    QUICK,
    dial::{Call, Dial},
};

const LONG: Duration = Duration::from_secs(10);

fn answer(request: &ReceivedRequest, number: usize) -> Reply {
    match request.verb() {
        "create-token" if request.path.contains("runtime") => {
            Reply::ok(&json!({"api_token": "a", "ws_token": format!("ws-{number}")}))
        }
        "create-token" => Reply::ok(&json!({"raw_token": "t"})),
        "create-client" => Reply::ok(&json!({"client_id": "20"})),
        _ => Reply::Hang,
    }
}

/// A session with its open stream.
async fn playing() -> (Dial, Session, Call) {
    let mut dial = Dial::start(answer, |_| None).await;
    let player = Player::sign_in(&Client::new(&dial.url).unwrap(), "5", "pw").await.unwrap();
    let mut session = player.create_client("acme", "game", "main").await.unwrap().with_retry(QUICK);
    let stream = tokio::select! {
        event = session.next() => panic!("{event:?}"),
        call = dial.call() => call,
    };
    (dial, session, stream)
}

async fn event(session: &mut Session) -> Event {
    timeout(LONG, session.next()).await.expect("no event").unwrap().unwrap()
}

fn upgrade(id: u64, token: &str) -> Value {
    let body = json!({"client_id": "20", "protocol": "DISPATCHER", "web_socket_config": {"ws_token": token}});
    json!({"incoming_messages": [{"id": id.to_string(), "qualifier": "CONNECTION_UPGRADE_MESSAGE", "body": body}]})
}

fn assignment(id: u64) -> Value {
    let config = json!({"lobby_config": {"lobby_id": "6"}, "match_config": null, "version_config": {"modes": [], "user_data": null}});
    let body = json!({"runtime_id": "5", "runtime_qualifier": "LOBBY", "runtime_config": config});
    json!({"incoming_messages": [{"id": id.to_string(), "qualifier": "RUNTIME_ASSIGNMENT_MESSAGE", "body": body}]})
}

#[tokio::test]
async fn a_player_follows_an_invitation_and_leaves_with_its_next_assignment() {
    let (mut dial, mut session, mut stream) = playing().await;
    assert!(session.send_unreliable("early").unwrap_err().is(NOT_CONNECTED));
    stream.send(&upgrade(1, "secret")).await;
    assert!(matches!(event(&mut session).await, Event::ConnectionUpgrade(_)));
    let mut room = dial.call().await;
    assert_eq!(room.path, "/dispatcher/v1/entrypoint/websocket/endpoint");
    assert_eq!((room.token.as_deref(), room.protocol.as_str()), (Some("secret"), "omgservers"));
    assert!(matches!(event(&mut session).await, Event::DispatcherConnected));

    session.send_unreliable("ä text").unwrap();
    session.send_unreliable(vec![0_u8, 255]).unwrap();
    assert_eq!(room.message().await, Some(Message::text("ä text")));
    assert_eq!(room.message().await, Some(Message::binary(vec![0_u8, 255])));
    room.send_message(Message::text("hi")).await;
    room.send_message(Message::binary(vec![1_u8])).await;
    assert!(matches!(event(&mut session).await, Event::Frame(Frame::Text(it)) if it == "hi"));
    assert!(matches!(event(&mut session).await, Event::Frame(Frame::Binary(it)) if *it == [1]));

    stream.send(&assignment(2)).await;
    assert!(matches!(event(&mut session).await, Event::Assigned { .. }));
    assert!(room.message().await.is_none(), "it has left");
    assert!(session.send_unreliable("late").unwrap_err().is(NOT_CONNECTED));
    assert!(timeout(Duration::from_millis(150), session.next()).await.is_err(), "and that isn't told");
}

#[tokio::test]
async fn a_closed_dispatcher_connection_is_an_event_and_the_session_goes_on() {
    let (mut dial, mut session, mut stream) = playing().await;
    stream.send(&upgrade(1, "w")).await;
    event(&mut session).await;
    let room = dial.call().await;
    assert!(matches!(event(&mut session).await, Event::DispatcherConnected));
    let (ended, ()) = tokio::join!(event(&mut session), room.close(1001, "Room was removed"));
    assert!(
        matches!(&ended, Event::DispatcherDisconnected { reason } if reason.contains("1001") && reason.contains("Room was removed")),
        "{ended:?}"
    );
    stream.send(&upgrade(2, "another")).await;
    assert!(matches!(event(&mut session).await, Event::ConnectionUpgrade(_)));
    assert_eq!(dial.call().await.token.as_deref(), Some("another"));
}

#[tokio::test]
async fn large_messages_go_in_pieces_and_too_large_ones_do_not_go() {
    let (mut dial, mut session, mut stream) = playing().await;
    stream.send(&upgrade(1, "w")).await;
    event(&mut session).await;
    let mut room = dial.call().await;
    event(&mut session).await;
    for length in [0, 1, 60 * 1024, 60 * 1024 + 1, 256 * 1024] {
        let text = "ä".repeat(length / 2) + &"x".repeat(length % 2);
        session.send_unreliable(text.as_str()).unwrap();
        assert_eq!(room.message().await, Some(Message::text(text)));
    }
    let problem = session.send_unreliable(vec![0_u8; 256 * 1024 + 1]).unwrap_err();
    assert_eq!(problem.kind(), Kind::Invalid);
}

async fn hosting() -> (Dial, DispatcherConnection) {
    let dial = Dial::start(answer, |_| None).await;
    let client = Client::new(&dial.url).unwrap();
    let runtime = Runtime::new(client, "5".parse().unwrap(), "pw", RuntimeQualifier::Match).with_retry(QUICK);
    (dial, runtime.open_dispatcher())
}

async fn happens(room: &mut DispatcherConnection) -> DispatcherEvent {
    timeout(LONG, room.next()).await.expect("nothing happens").unwrap()
}

#[tokio::test]
async fn a_runtime_sends_to_one_to_some_and_to_all() {
    let (mut dial, mut room) = hosting().await;
    assert!(room.broadcast_unreliable("early").unwrap_err().is(NOT_CONNECTED));
    let mut call = dial.call().await;
    assert_eq!((call.token.as_deref(), call.protocol.as_str()), (Some("ws-0"), "omgservers"));
    assert_eq!(happens(&mut room).await, DispatcherEvent::Opened);
    let (one, other) = ("8".parse().unwrap(), "9".parse().unwrap());
    room.send_unreliable(one, "a").unwrap();
    room.multicast_unreliable([one, other], vec![0_u8, 255]).unwrap();
    room.broadcast_unreliable("all").unwrap();
    for expected in [
        json!({"clients": ["8"], "encoding": "TXT", "message": "a"}),
        json!({"clients": ["8", "9"], "encoding": "B64", "message": "AP8="}),
        json!({"encoding": "TXT", "message": "all"}),
    ] {
        assert_eq!(call.frame().await, expected);
    }
    call.send(&json!({"client_id": "8", "encoding": "TXT", "message": "hi"})).await;
    call.send(&json!({"something": "else"})).await;
    call.send(&json!({"client_id": "9", "encoding": "B64", "message": "no base64"})).await;
    call.send(&json!({"client_id": "9", "encoding": "B64", "message": "AQ=="})).await;
    assert_eq!(happens(&mut room).await, DispatcherEvent::Frame { client_id: one, frame: "hi".into() });
    assert_eq!(
        happens(&mut room).await,
        DispatcherEvent::Frame { client_id: other, frame: vec![1_u8].into() }
    );
}

#[tokio::test]
async fn a_room_that_is_lost_is_opened_again_with_a_fresh_token() {
    let (mut dial, mut room) = hosting().await;
    dial.call().await.close(1012, "restart").await;
    assert_eq!(happens(&mut room).await, DispatcherEvent::Opened);
    assert!(matches!(happens(&mut room).await, DispatcherEvent::Lost { reason } if reason.contains("1012")));
    let mut call = dial.call().await;
    assert_ne!(call.token.as_deref(), Some("ws-0"));
    assert_eq!(happens(&mut room).await, DispatcherEvent::Opened);
    room.broadcast_unreliable("again").unwrap();
    assert_eq!(call.frame().await["message"], "again");
}

#[tokio::test]
async fn a_runtime_that_is_stopped_has_no_room() {
    let dial =
        Dial::start(|_, _| Reply::problem(404, "RUNTIME_NOT_FOUND", "runtimes.not_found", "gone"), |_| None)
            .await;
    let runtime =
        Runtime::new(Client::new(&dial.url).unwrap(), "5".parse().unwrap(), "pw", RuntimeQualifier::Lobby);
    let mut room = runtime.open_dispatcher();
    assert_eq!(timeout(LONG, room.next()).await.unwrap().unwrap_err().kind(), Kind::NotFound);
}
