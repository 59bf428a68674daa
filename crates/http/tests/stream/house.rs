//! Mailboxes on a database of their own, an HTTP server with streams in front of them, and a raw client.

use std::{sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::ServerHandle, middleware::from_fn};
use futures_util::{SinkExt as _, StreamExt as _};
use omgservers_api::{
    ClientId, DeploymentId, EntryId, Role, RuntimeId, UserId, interchange::message, roles::Delivery,
    stream::PATH,
};
use omgservers_auth::{Keys, TokenConfig, Tokens};
use omgservers_core::{Mint, Ownership};
use omgservers_http::stream::{Parts, Streams, routes};
use omgservers_messaging::{Bounds, Entry, Mailbox, Mailboxes, Messaging as _, Op, SCHEMA, To};
use omgservers_testkit::{Ground, protocol::assert_valid};
use serde_json::{Value, json, value::RawValue};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        handshake::client::Response,
        http::{HeaderValue, StatusCode},
        protocol::frame::coding::CloseCode,
    },
};
use tokio_util::sync::CancellationToken;

/// The largest frame.
pub(crate) const LIMIT: usize = 100_000;
/// Nothing takes so long.
const LONG: Duration = Duration::from_secs(20);

pub(crate) struct House {
    pub(crate) ground: Ground,
    pub(crate) mailboxes: Option<Arc<Mailboxes>>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) user: UserId,
    pub(crate) streams: Streams,
    pub(crate) draining: CancellationToken,
    pub(crate) host: String,
    deployment: DeploymentId,
    bounds: Bounds,
    server: Option<ServerHandle>,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(Bounds::default()).await
    }

    pub(crate) async fn with(bounds: Bounds) -> Self {
        let ground = Ground::new(&[SCHEMA]).await;
        let tokens =
            Arc::new(Tokens::new(Arc::new(Keys::ephemeral()), ground.clock(), TokenConfig::default()));
        let (user, deployment) = (ground.mint.root().unwrap(), ground.mint.root().unwrap());
        let mut house = Self {
            ground,
            mailboxes: None,
            tokens,
            user,
            streams: Streams::default(),
            draining: CancellationToken::new(),
            host: String::new(),
            deployment,
            bounds,
            server: None,
        };
        house.start().await;
        house
    }

    async fn start(&mut self) {
        let ground = &self.ground;
        let (mint, ownership) = (ground.mint.clone(), ground.ownership.clone());
        let mailboxes =
            Mailboxes::open(&ground.db, ground.clock(), mint, ownership, self.bounds).await.unwrap();
        self.draining = CancellationToken::new();
        let parts = Parts {
            tokens: Arc::clone(&self.tokens),
            messaging: mailboxes.clone(),
            open: self.streams.clone(),
            frame_limit: LIMIT,
            draining: self.draining.clone(),
        };
        let app = move || {
            let parts = parts.clone();
            App::new()
                .wrap(from_fn(async |request, next: actix_web::middleware::Next<_>| {
                    Ok(omgservers_http::finish(next.call(request).await?))
                }))
                .configure(move |it| routes(&parts, it))
        };
        let server = HttpServer::new(app).workers(2).disable_signals().shutdown_timeout(10);
        let server = server.h1_allow_half_closed(false).bind(("127.0.0.1", 0)).unwrap();
        self.host = server.addrs()[0].to_string();
        let server = server.run();
        self.server = Some(server.handle());
        tokio::spawn(server);
        self.mailboxes = Some(mailboxes);
    }

    /// What a kill and a new start of the process are: nothing is flushed, slots and ids are taken again.
    pub(crate) async fn crash(&mut self) {
        self.server.take().unwrap().stop(false).await;
        self.mailboxes = None;
        self.ground.ownership = Ownership::take(&self.ground.db, "test").await.unwrap();
        self.ground.mint = Mint::take(&self.ground.db).await.unwrap();
        self.start().await;
    }

    /// Stops as a server does.
    pub(crate) async fn stop(&mut self) {
        self.draining.cancel();
        self.server.take().unwrap().stop(true).await;
    }

    pub(crate) fn messaging(&self) -> &Mailboxes {
        self.mailboxes.as_ref().unwrap()
    }

    pub(crate) async fn apply(&self, ops: Vec<Op>) {
        self.messaging().apply(ops).unwrap().wait().await.unwrap();
    }

    /// A client that has no runtime yet.
    pub(crate) async fn client(&self) -> ClientId {
        let client = self.ground.mint.child(self.user).unwrap();
        let (user, deployment, delivery) = (self.user, self.deployment, Delivery::Durable);
        self.apply(vec![Op::OpenClient { client, user, deployment, delivery }]).await;
        client
    }

    /// A client that is with a runtime.
    pub(crate) async fn pair(&self) -> (ClientId, RuntimeId) {
        let (client, runtime) = (self.client().await, self.ground.mint.root().unwrap());
        let (deployment, delivery) = (self.deployment, Delivery::Durable);
        let open = Op::OpenRuntime { runtime, deployment, delivery };
        self.apply(vec![open, Op::Route { client, to: Some(runtime) }]).await;
        (client, runtime)
    }

    /// The backend says something to a client.
    pub(crate) async fn push(&self, client: ClientId, qualifier: &'static str, body: &str) {
        self.apply(vec![push(client, qualifier, body)]).await;
    }

    /// A runtime says something to a client.
    pub(crate) async fn respond(&self, runtime: RuntimeId, client: ClientId, json: &str) {
        let message = RawValue::from_string(json.to_owned()).unwrap();
        let (commit, missed) =
            self.messaging().runtime_send(runtime, None, To::One(client), &message).unwrap();
        commit.wait().await.unwrap();
        assert!(missed.is_empty());
    }

    /// What the interchange would answer.
    pub(crate) async fn polled(&self, client: ClientId) -> Vec<Entry> {
        let received = self.messaging().client_receive(self.user, client, None, &[], Duration::ZERO).await;
        received.unwrap().unwrap_or_default()
    }

    /// What a runtime was told by clients, as JSON.
    pub(crate) async fn heard(&self, runtime: RuntimeId) -> Vec<Value> {
        let entries = self.messaging().runtime_receive(runtime, Duration::ZERO).await.unwrap();
        let message = |it: &Entry| serde_json::from_str::<Value>(&it.body).unwrap()["message"].clone();
        entries.iter().map(message).collect()
    }

    pub(crate) fn token(&self) -> String {
        self.tokens.user(self.user, Role::Player).unwrap()
    }

    /// A stream of a client of the house.
    pub(crate) async fn stream(&self, client: ClientId) -> Stream {
        let query = format!("?client_id={client}");
        self.shake(&query, Some(&self.token()), &[]).await.unwrap().0
    }

    /// Shakes hands in whatever way.
    pub(crate) async fn shake(
        &self,
        query: &str,
        token: Option<&str>,
        protocols: &[&str],
    ) -> Result<(Stream, Response), (StatusCode, Value)> {
        let mut request = format!("ws://{}{PATH}{query}", self.host).into_client_request().unwrap();
        let headers = request.headers_mut();
        if let Some(token) = token {
            headers.insert("Authorization", format!("Bearer {token}").parse().unwrap());
        }
        for protocol in protocols {
            headers.append("Sec-WebSocket-Protocol", HeaderValue::from_str(protocol).unwrap());
        }
        let socket = TcpStream::connect(&self.host).await.unwrap();
        match client_async(request, socket).await {
            Ok((stream, response)) => Ok((Stream(stream), response)),
            Err(Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err((answer.status(), serde_json::from_slice(body).unwrap_or_default()))
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// A connection of the test's own to the database.
    pub(crate) async fn sql(&self) -> tokio_postgres::Client {
        let url = self.ground.test_db.url();
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Not awaited: the server ends with its worker thread.
        drop(self.server.take().map(|it| it.stop(false)));
    }
}

pub(crate) fn push(client: ClientId, qualifier: &'static str, body: &str) -> Op {
    Op::Push { to: Mailbox::Client(client), qualifier, body: body.into() }
}

/// A frame that says these texts, with counters from `first` on.
pub(crate) fn says(first: u64, texts: &[&str], request: u64) -> Value {
    let say = |(text, id): (&&str, u64)| json!({"id": id, "qualifier": message::CLIENT_OUTGOING, "body": {"data": text}});
    let messages: Vec<Value> = texts.iter().zip(first..).map(say).collect();
    json!({"outgoing_messages": messages, "request": request})
}

/// The raw client.
pub(crate) struct Stream(pub(crate) WebSocketStream<TcpStream>);

impl Stream {
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn consume(&mut self, ids: &[EntryId]) {
        self.send(&json!({"consumed_messages": ids})).await;
    }

    /// The next text.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match timeout(LONG, self.0.next()).await.unwrap().unwrap().unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> Value {
        let frame = serde_json::from_str(&self.text().await).unwrap();
        assert_valid("ServerFrame", &frame);
        frame
    }

    /// The next entries, as many as these.
    pub(crate) async fn entries(&mut self, count: usize) -> Vec<(EntryId, String)> {
        let mut entries = Vec::new();
        while entries.len() < count {
            let text = self.text().await;
            assert_valid("ServerFrame", &serde_json::from_str(&text).unwrap());
            let frame: omgservers_api::stream::ServerFrame = serde_json::from_str(&text).unwrap();
            assert!(!frame.incoming_messages.is_empty(), "{frame:?}");
            entries.extend(frame.incoming_messages.into_iter().map(|it| (it.id, it.body.get().to_owned())));
        }
        assert_eq!(entries.len(), count);
        entries
    }

    /// Nothing comes for a while.
    pub(crate) async fn is_silent(&mut self) {
        let came = timeout(Duration::from_millis(200), self.0.next()).await;
        assert!(came.is_err(), "{came:?}");
    }

    /// The code that the backend closes with; what comes before it is passed over.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match timeout(LONG, self.0.next()).await.unwrap() {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(Message::Close(None))) => return CloseCode::Status.into(),
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }
}

/// Asks until it is so; a test that waits too long fails.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(LONG, waiting).await.is_ok(), "{what}");
}
