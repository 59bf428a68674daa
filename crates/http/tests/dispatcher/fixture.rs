//! Mailboxes on a database of their own, an HTTP server with rooms in front of them, and raw
//! clients.

use std::{ops::Deref, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use omgservers_api::{ClientId, RuntimeId, dispatcher::PATH, ids::Id as _, interchange::message};
use omgservers_dispatcher::{Bounds, Dispatcher};
use omgservers_http::dispatcher::{DispatcherParts, Times, routes};
use omgservers_messaging::{Bounds as MailboxBounds, Mailbox, Messaging as _, Op};
use serde_json::Value;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::client::Response, http::StatusCode},
};

pub(crate) use crate::messaging::{LONG, MessagingFixture, eventually};

/// A dispatcher in front of mailboxes.
pub(crate) struct DispatcherFixture {
    mailboxes: MessagingFixture,
    pub(crate) dispatcher: Arc<Dispatcher>,
    bounds: Bounds,
    times: Times,
}

impl Deref for DispatcherFixture {
    type Target = MessagingFixture;

    fn deref(&self) -> &MessagingFixture {
        &self.mailboxes
    }
}

impl DispatcherFixture {
    pub(crate) async fn new() -> Self {
        Self::with(Bounds::default(), Times::default()).await
    }

    pub(crate) async fn with(bounds: Bounds, times: Times) -> Self {
        let mailboxes = MessagingFixture::new(MailboxBounds::default()).await;
        let mut fixture = Self { mailboxes, dispatcher: Dispatcher::new(bounds), bounds, times };
        fixture.start();
        fixture
    }

    fn start(&mut self) {
        let parts = DispatcherParts {
            dispatcher: Arc::clone(&self.dispatcher),
            messaging: self.mailboxes.mailboxes.clone().unwrap(),
            tokens: Arc::clone(&self.tokens),
            times: self.times,
        };
        self.mailboxes.serve(move |it| routes(&parts, it));
    }

    /// Kills the process and starts it again.
    pub(crate) async fn crash(&mut self) {
        self.mailboxes.crash().await;
        self.dispatcher = Dispatcher::new(self.bounds);
        self.start();
    }

    /// Stops as a server does.
    pub(crate) async fn stop(&mut self) {
        self.dispatcher.stop();
        self.mailboxes.stop_server().await;
    }

    /// A client that is with a runtime.
    pub(crate) async fn client(&self, runtime: RuntimeId) -> ClientId {
        self.assigned_client(runtime).await
    }

    /// Moves a client and sends it the assignment.
    pub(crate) async fn assign(&self, client: ClientId, runtime: RuntimeId) {
        let assignment = Op::Push {
            to: Mailbox::Client(client),
            qualifier: message::RUNTIME_ASSIGNMENT,
            body: "{}".into(),
        };
        self.apply(vec![Op::Route { client, to: Some(runtime) }, assignment]).await;
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
        self.tokens.ws_runtime(runtime, self.messaging().runtime(runtime).unwrap().opened).unwrap()
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

    /// Shakes hands with any query and headers.
    pub(crate) async fn shake_with(
        &self,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Socket, Response), (StatusCode, Value)> {
        let open = self.shake_hands(&format!("{PATH}{query}"), headers).await;
        open.map(|(stream, response)| (Socket(stream), response))
    }

    /// The error of a handshake.
    pub(crate) async fn refused(&self, token: &str) -> (u16, Value) {
        let (status, answer) = self.shake(token).await.map(drop).unwrap_err();
        (status.as_u16(), answer)
    }
}

/// What a runtime gets of a text.
pub(crate) fn envelope_of(client: ClientId, text: &str) -> String {
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

    /// The code that the backend closes with, read without answering its pings. An answer to a
    /// closed socket would reset the connection and lose the close frame.
    pub(crate) async fn closed_unanswered(&mut self) -> u16 {
        let mut bytes = Vec::new();
        timeout(LONG, self.0.get_mut().read_to_end(&mut bytes)).await.unwrap().unwrap();
        let mut rest = &bytes[..];
        while let [head, length, tail @ ..] = rest {
            let (payload, next) = tail.split_at(usize::from(*length));
            if head & 0xf == 8 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
            rest = next;
        }
        panic!("no close frame in {bytes:?}");
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
