//! Rooms: a player's way from a lobby's UPGRADE_CONNECTION to frames both ways. The lobby is a real
//! container; its side of the room is taken by the test, with the credentials that the container
//! has.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use futures_util::{SinkExt as _, StreamExt as _};
use omgservers_tests::{Backend, DEADLINE, Studio, eventually, run};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use crate::flows::{post, text};

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// A player that polls as the SDK does: what it got is consumed with the next poll.
pub(crate) struct Poller<'a> {
    backend: &'a Backend,
    token: String,
    pub(crate) client: Value,
    consumed: Vec<Value>,
    sent: u64,
}

impl<'a> Poller<'a> {
    pub(crate) async fn new(backend: &'a Backend, studio: &Studio) -> Self {
        let user = post(backend, "player", "create-user", None, json!({})).await;
        let answer = post(backend, "player", "create-token", None, user).await;
        let token = text(&answer["raw_token"]).to_owned();
        let stage_body = json!({"tenant": studio.tenant, "project": studio.project, "stage": studio.stage});
        let client =
            post(backend, "player", "create-client", Some(&token), stage_body).await["client_id"].clone();
        Self { backend, token, client, consumed: Vec::new(), sent: 0 }
    }

    fn request(&self, outgoing: &Value) -> Value {
        json!({
            "client_id": self.client, "outgoing_messages": outgoing, "consumed_messages": self.consumed, "wait": 2000,
        })
    }

    /// Consumes why the session has ended. Then it is unknown, and takes no message.
    async fn ends(&mut self) {
        let url = format!("{}/service/v1/entrypoint/player/request/interchange", self.backend.url());
        for _ in 0..2 {
            let message =
                json!([{"qualifier": "CLIENT_OUTGOING_MESSAGE", "body": {"data": "after the end"}}]);
            let request = reqwest::Client::new().post(&url).bearer_auth(&self.token);
            let answer = request.json(&self.request(&message)).send().await.unwrap();
            assert_eq!(answer.status(), 404, "{}", answer.text().await.unwrap());
        }
    }

    async fn poll(&mut self, outgoing: Value) -> Vec<Value> {
        let request = self.request(&outgoing);
        let answer = post(self.backend, "player", "interchange", Some(&self.token), request).await;
        let incoming = answer["incoming_messages"].as_array().unwrap().clone();
        let qualifiers: Vec<&str> = incoming.iter().map(|it| text(&it["qualifier"])).collect();
        let both = ["RUNTIME_ASSIGNMENT_MESSAGE", "CONNECTION_UPGRADE_MESSAGE"];
        assert!(!both.iter().all(|it| qualifiers.contains(it)), "in one answer: {qualifiers:?}");
        self.consumed = incoming.iter().map(|it| it["id"].clone()).collect();
        incoming
    }

    pub(crate) async fn send(&mut self, data: &str) {
        let message =
            json!([{"id": self.sent, "qualifier": "CLIENT_OUTGOING_MESSAGE", "body": {"data": data}}]);
        self.sent += 1;
        self.poll(message).await;
        // What came with it is answered again.
        self.consumed.clear();
    }

    /// The body of the next message of a kind.
    pub(crate) async fn wait_for(&mut self, qualifier: &str) -> Value {
        let begun = Instant::now();
        loop {
            let incoming = self.poll(json!([])).await;
            if let Some(found) = incoming.iter().find(|it| it["qualifier"] == qualifier) {
                return found["body"].clone();
            }
            assert!(begun.elapsed() < DEADLINE, "no {qualifier}");
        }
    }

    /// Asks the lobby for the way to the room.
    pub(crate) async fn upgrade(&mut self) -> String {
        self.send("upgrade").await;
        let body = self.wait_for("CONNECTION_UPGRADE_MESSAGE").await;
        assert_eq!((&body["client_id"], text(&body["protocol"])), (&self.client, "DISPATCHER"));
        text(&body["web_socket_config"]["ws_token"]).to_owned()
    }
}

pub(crate) async fn connect(backend: &Backend, token: &str) -> Result<Socket, u16> {
    let path = omgservers_api::dispatcher::PATH;
    let mut request =
        format!("ws://{}{path}?ws_token={token}", backend.address()).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "omgservers".parse().unwrap());
    let socket = TcpStream::connect(backend.address()).await.unwrap();
    match client_async(request, socket).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(other) => panic!("{other:?}"),
    }
}

/// The next message; `None` when the connection is over.
pub(crate) async fn next(socket: &mut Socket) -> Option<Message> {
    loop {
        match timeout(DEADLINE, socket.next()).await.unwrap()?.unwrap() {
            Message::Ping(_) | Message::Pong(_) => {}
            other => return Some(other),
        }
    }
}

/// The code that the backend closes with.
pub(crate) async fn closed(socket: &mut Socket) -> u16 {
    match next(socket).await {
        Some(Message::Close(Some(frame))) => frame.code.into(),
        other => panic!("{other:?}"),
    }
}

/// A WebSocket token for the only container's runtime, from the credentials in its environment.
async fn runtime_token(backend: &Backend) -> String {
    let container = backend.containers().pop().unwrap();
    let format = "{{range .Config.Env}}{{println .}}{{end}}";
    let environment = run(Command::new("docker").args(["inspect", "--format", format, &container]));
    let of = |name: &str| {
        environment.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned()
    };
    let credentials =
        json!({"runtime_id": of("OMGSERVERS_RUNTIME_ID"), "password": of("OMGSERVERS_PASSWORD")});
    let answer = post(backend, "runtime", "create-token", None, credentials).await;
    text(&answer["ws_token"]).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_lobby_upgrades_its_players_and_frames_go_both_ways() {
    let mut backend = Backend::with(&[("OMGSERVERS__LOG__FILTER", "debug")]).await;
    let studio = Studio::open(&backend).await;
    let version = studio.push(&backend, r#"{"modes":[]}"#).await;
    studio.deploy(version).await;
    let mut tokens = Vec::new();
    let (mut game, mut room) = {
        let (mut one, mut two) = tokio::join!(Poller::new(&backend, &studio), Poller::new(&backend, &studio));
        let lobby = one.wait_for("RUNTIME_ASSIGNMENT_MESSAGE").await["runtime_id"].clone();
        assert_eq!(two.wait_for("RUNTIME_ASSIGNMENT_MESSAGE").await["runtime_id"], lobby);

        let token = runtime_token(&backend).await;
        let mut game = connect(&backend, &token).await.unwrap();
        assert_eq!(connect(&backend, &token).await.unwrap_err(), 401, "used up");
        tokens.push(token);
        let mut room = Vec::new();
        for player in [&mut one, &mut two] {
            let token = player.upgrade().await;
            room.push(connect(&backend, &token).await.unwrap());
            assert_eq!(connect(&backend, &token).await.unwrap_err(), 401, "used up");
            tokens.push(token);
        }
        room[0].send(Message::text("hello")).await.unwrap();
        let id = text(&one.client);
        let expected = format!(r#"{{"client_id":"{id}","encoding":"TXT","message":"hello"}}"#);
        assert_eq!(next(&mut game).await, Some(Message::text(expected)));
        room[1].send(Message::binary(vec![1, 2, 3])).await.unwrap();
        let other = text(&two.client);
        let expected = format!(r#"{{"client_id":"{other}","encoding":"B64","message":"AQID"}}"#);
        assert_eq!(next(&mut game).await, Some(Message::text(expected)));
        let order = format!(r#"{{"clients":["{id}"],"encoding":"B64","message":"AQID"}}"#);
        game.send(Message::text(order)).await.unwrap();
        game.send(Message::text(r#"{"encoding":"TXT","message":"all"}"#)).await.unwrap();
        assert_eq!(next(&mut room[0]).await, Some(Message::binary(vec![1, 2, 3])));
        for socket in &mut room {
            assert_eq!(next(socket).await, Some(Message::text("all")));
        }

        // A kick: the token is void, the connection is silent and ends when the player knows.
        let token = two.upgrade().await;
        two.send("kick me").await;
        let kicked = async || {
            game.send(Message::text(r#"{"encoding":"TXT","message":"who hears me"}"#)).await.is_ok()
                && metric(&backend, "omgservers_dispatcher_dropped_total{reason=\"moved\"}").await > 0
        };
        eventually("the kicked one hears nothing", kicked).await;
        assert_eq!(connect(&backend, &token).await.unwrap_err(), 401, "void");
        tokens.push(token);
        assert_eq!(two.wait_for("DISCONNECTION_REASON_MESSAGE").await["reason"], "CLIENT_KICKED");
        two.ends().await;
        let mut last = room.pop().unwrap();
        while let Some(message) = next(&mut last).await {
            if let Message::Close(frame) = message {
                assert_eq!(u16::from(frame.unwrap().code), 1000);
                break;
            }
            assert_eq!(message, Message::text("who hears me"), "said before the kick was done");
        }
        while next(&mut room[0]).await != Some(Message::text("who hears me")) {}
        (game, room)
    };

    // Connections end last when the server stops, and hold it up no longer than they have to.
    let reading = tokio::spawn(async move {
        let mut first = room.remove(0);
        let code = loop {
            match next(&mut first).await.unwrap() {
                Message::Close(frame) => break u16::from(frame.unwrap().code),
                other => assert_eq!(other, Message::text("who hears me")),
            }
        };
        (closed(&mut game).await, code)
    });
    let begun = Instant::now();
    let backend = tokio::task::spawn_blocking(move || {
        backend.stop();
        backend
    });
    let backend = backend.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(reading.await.unwrap(), (1001, 1001));
    let log = backend.log();
    for token in tokens {
        assert!(!log.contains(&token), "a token is in the log");
        assert!(!log.contains(token.rsplit('.').next().unwrap()), "a signature is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker; scripts/test.sh runs it"]
async fn a_lobby_that_dies_takes_no_connection_of_its_players_with_it() {
    let backend = Backend::start().await;
    let studio = Studio::open(&backend).await;
    let version = studio.push(&backend, r#"{"modes":[]}"#).await;
    studio.deploy(version).await;
    let mut player = Poller::new(&backend, &studio).await;
    let first = player.wait_for("RUNTIME_ASSIGNMENT_MESSAGE").await["runtime_id"].clone();
    let game = connect(&backend, &runtime_token(&backend).await).await.unwrap();
    let mut old = connect(&backend, &player.upgrade().await).await.unwrap();
    player.send("crash").await;
    drop(game);
    let second = player.wait_for("RUNTIME_ASSIGNMENT_MESSAGE").await["runtime_id"].clone();
    assert_ne!(first, second);
    // Not yet consumed, so it must still be there.
    old.send(Message::Ping("there".into())).await.unwrap();
    let pong = timeout(DEADLINE, async {
        loop {
            match old.next().await.unwrap().unwrap() {
                Message::Pong(payload) => return payload,
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!(pong.await.unwrap(), "there");
    let mut new = connect(&backend, &player.upgrade().await).await.unwrap();
    assert_eq!(closed(&mut old).await, 1000, "the new connection takes its place");
    eventually("the new lobby runs", async || backend.containers().len() == 1).await;
    let mut game = connect(&backend, &runtime_token(&backend).await).await.unwrap();
    game.send(Message::text(r#"{"encoding":"TXT","message":"welcome back"}"#)).await.unwrap();
    assert_eq!(next(&mut new).await, Some(Message::text("welcome back")));
}

/// A figure of `/metrics`, 0 when it isn't there.
async fn metric(backend: &Backend, name: &str) -> u64 {
    let url = format!("{}/metrics", backend.url());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|it| it.strip_prefix(name)).unwrap_or("0");
    value.trim().parse().unwrap()
}
