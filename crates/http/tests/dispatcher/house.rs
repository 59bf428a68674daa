//! Mailboxes on a database of their own, an HTTP server with rooms in front of them, and raw clients.

use std::{sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::ServerHandle, middleware::from_fn};
use futures_util::{SinkExt as _, StreamExt as _};
use omgservers_api::{
    ClientId, DeploymentId, RuntimeId, UserId, dispatcher::PATH, ids::Id as _, interchange::message,
    roles::Delivery,
};
use omgservers_auth::{Keys, TokenConfig, Tokens};
use omgservers_core::{Mint, Ownership};
use omgservers_dispatcher::{Bounds, Dispatcher};
use omgservers_http::dispatcher::{Parts, Times, routes};
use omgservers_messaging::{Bounds as MailboxBounds, Mailbox, Mailboxes, Messaging as _, Op, SCHEMA};
use omgservers_testkit::Ground;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        handshake::client::Response,
        http::{HeaderValue, StatusCode},
    },
};

/// Nothing takes so long.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) struct House {
    pub(crate) ground: Ground,
    mailboxes: Option<Arc<Mailboxes>>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) user: UserId,
    pub(crate) host: String,
    deployment: DeploymentId,
    bounds: Bounds,
    times: Times,
    server: Option<ServerHandle>,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(Bounds::default(), Times::default()).await
    }

    pub(crate) async fn with(bounds: Bounds, times: Times) -> Self {
        let ground = Ground::new(&[SCHEMA]).await;
        let tokens =
            Arc::new(Tokens::new(Arc::new(Keys::ephemeral()), ground.clock(), TokenConfig::default()));
        let (user, deployment) = (ground.mint.root().unwrap(), ground.mint.root().unwrap());
        let dispatcher = Dispatcher::new(bounds);
        let (mailboxes, host, server) = (None, String::new(), None);
        let mut house =
            Self { ground, mailboxes, dispatcher, tokens, user, host, deployment, bounds, times, server };
        house.start().await;
        house
    }

    async fn start(&mut self) {
        let (ground, bounds) = (&self.ground, MailboxBounds::default());
        let (mint, ownership) = (ground.mint.clone(), ground.ownership.clone());
        let mailboxes = Mailboxes::open(&ground.db, ground.clock(), mint, ownership, bounds).await.unwrap();
        let parts = Parts {
            dispatcher: Arc::clone(&self.dispatcher),
            messaging: mailboxes.clone(),
            tokens: Arc::clone(&self.tokens),
            times: self.times,
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
        self.dispatcher = Dispatcher::new(self.bounds);
        self.start().await;
    }

    /// Stops as a server does.
    pub(crate) async fn stop(&mut self) {
        self.dispatcher.stop();
        self.server.take().unwrap().stop(true).await;
    }

    pub(crate) fn messaging(&self) -> &Mailboxes {
        self.mailboxes.as_ref().unwrap()
    }

    pub(crate) async fn apply(&self, ops: Vec<Op>) {
        self.messaging().apply(ops).unwrap().wait().await.unwrap();
    }

    pub(crate) async fn runtime(&self) -> RuntimeId {
        let (runtime, deployment) = (self.ground.mint.root().unwrap(), self.deployment);
        self.apply(vec![Op::OpenRuntime { runtime, deployment, delivery: Delivery::Durable }]).await;
        runtime
    }

    /// A client that is with a runtime.
    pub(crate) async fn client(&self, runtime: RuntimeId) -> ClientId {
        let client = self.ground.mint.child(self.user).unwrap();
        let (user, deployment, delivery) = (self.user, self.deployment, Delivery::Durable);
        let open = Op::OpenClient { client, user, deployment, delivery };
        self.apply(vec![open, Op::Route { client, to: Some(runtime) }]).await;
        client
    }

    /// Moves a client and tells it so.
    pub(crate) async fn assign(&self, client: ClientId, runtime: RuntimeId) {
        let told = Op::Push {
            to: Mailbox::Client(client),
            qualifier: message::RUNTIME_ASSIGNMENT,
            body: "{}".into(),
        };
        self.apply(vec![Op::Route { client, to: Some(runtime) }, told]).await;
    }

    /// A client fetches all that waits and consumes it.
    pub(crate) async fn fetch(&self, client: ClientId) {
        let exchange = async |consumed: &[_]| {
            self.messaging()
                .client_receive(self.user, client, None, consumed, Duration::ZERO)
                .await
                .unwrap()
                .unwrap_or_default()
        };
        let ids: Vec<_> = exchange(&[]).await.into_iter().map(|it| it.id).collect();
        exchange(&ids).await;
    }

    pub(crate) fn runtime_token(&self, runtime: RuntimeId) -> String {
        self.tokens.ws_runtime(runtime, self.messaging().runtime(runtime).unwrap().epoch).unwrap()
    }

    /// As UPGRADE_CONNECTION makes it.
    pub(crate) fn player_token(&self, client: ClientId) -> String {
        let info = self.messaging().client(client).unwrap();
        self.tokens.ws_player(client, info.route.unwrap(), info.assignment).unwrap()
    }

    pub(crate) async fn game(&self, runtime: RuntimeId) -> Socket {
        self.shake(&self.runtime_token(runtime)).await.unwrap().0
    }

    pub(crate) async fn player(&self, client: ClientId) -> Socket {
        self.shake(&self.player_token(client)).await.unwrap().0
    }

    /// As the SDK does.
    pub(crate) async fn shake(&self, token: &str) -> Result<(Socket, Response), (StatusCode, Value)> {
        self.shake_with(&format!("?ws_token={token}"), &[("Sec-WebSocket-Protocol", "omgservers")]).await
    }

    /// Shakes hands in whatever way.
    pub(crate) async fn shake_with(
        &self,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Socket, Response), (StatusCode, Value)> {
        let mut request = format!("ws://{}{PATH}{query}", self.host).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
        }
        let socket = TcpStream::connect(&self.host).await.unwrap();
        match client_async(request, socket).await {
            Ok((stream, response)) => Ok((Socket(stream), response)),
            Err(Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err((answer.status(), serde_json::from_slice(body).unwrap_or_default()))
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// The error of a handshake.
    pub(crate) async fn refused(&self, token: &str) -> (u16, Value) {
        let (status, answer) = self.shake(token).await.map(drop).unwrap_err();
        (status.as_u16(), answer)
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Not awaited: the server ends with its worker thread.
        drop(self.server.take().map(|it| it.stop(false)));
    }
}

/// What a runtime gets of a text.
pub(crate) fn said(client: ClientId, text: &str) -> String {
    format!(r#"{{"client_id":"{client}","encoding":"TXT","message":"{text}"}}"#)
}

/// A frame of a runtime; without clients it is for everybody.
pub(crate) fn order(clients: Option<&[ClientId]>, encoding: &str, message: &str) -> String {
    let ids = |list: &[ClientId]| list.iter().map(|it| format!("\"{}\"", it.get())).collect::<Vec<_>>();
    let clients = clients.map(|it| format!(r#""clients":[{}],"#, ids(it).join(","))).unwrap_or_default();
    format!(r#"{{{clients}"encoding":"{encoding}","message":"{message}"}}"#)
}

/// A raw client.
pub(crate) struct Socket(pub(crate) WebSocketStream<TcpStream>);

impl Socket {
    pub(crate) async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Message {
        loop {
            match timeout(LONG, self.0.next()).await.unwrap().unwrap().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                other => return other,
            }
        }
    }

    /// The next one, which is a text.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// Nothing comes for a while.
    pub(crate) async fn is_silent(&mut self, time: Duration) {
        let silent = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => return other,
                }
            }
        };
        let came = timeout(time, silent).await;
        assert!(came.is_err(), "{came:?}");
    }

    /// The code that the backend closes with; what comes before it is passed over.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match timeout(LONG, self.0.next()).await.unwrap() {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
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
