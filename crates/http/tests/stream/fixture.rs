//! Mailboxes on a database of their own, an HTTP server with streams in front of them, and a raw
//! client.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use omgservers_api::{ClientId, EntryId, Role, RuntimeId, interchange::message, stream::PATH};
use omgservers_core::remote::{Loopback, MAX_CALL_BYTES, RouterMode};
use omgservers_http::stream::{StreamParts, Streams, routes};
use omgservers_messaging::{Bounds, Entry, MailHandler, Mailbox, Messaging as _, Op, RoutedMail, To};
use omgservers_testkit::protocol::assert_valid;
use serde_json::{Value, json, value::RawValue};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, handshake::client::Response, http::StatusCode, protocol::frame::coding::CloseCode,
    },
};
use tokio_util::sync::CancellationToken;

pub(crate) use crate::messaging::{LONG, MessagingFixture, eventually};

/// The largest frame.
pub(crate) const LIMIT: usize = 100_000;

/// Streams in front of mailboxes.
pub(crate) struct StreamFixture {
    mailboxes: MessagingFixture,
    pub(crate) streams: Streams,
    pub(crate) draining: CancellationToken,
}

impl Deref for StreamFixture {
    type Target = MessagingFixture;

    fn deref(&self) -> &MessagingFixture {
        &self.mailboxes
    }
}

impl DerefMut for StreamFixture {
    fn deref_mut(&mut self) -> &mut MessagingFixture {
        &mut self.mailboxes
    }
}

impl StreamFixture {
    pub(crate) async fn new() -> Self {
        Self::with(Bounds::default()).await
    }

    pub(crate) async fn with(bounds: Bounds) -> Self {
        let mailboxes = MessagingFixture::new(bounds).await;
        let (streams, draining) = (Streams::default(), CancellationToken::new());
        let mut fixture = Self { mailboxes, streams, draining };
        fixture.start();
        fixture
    }

    fn start(&mut self) {
        self.draining = CancellationToken::new();
        let parts = StreamParts {
            tokens: Arc::clone(&self.tokens),
            mail: self.mail(),
            open: self.streams.clone(),
            frame_limit: LIMIT,
            draining: self.draining.clone(),
        };
        self.mailboxes.serve(move |it| routes(&parts, it));
    }

    /// The mailboxes as the server's routes take them: behind a router when the test run asks for
    /// one.
    fn mail(&self) -> Arc<dyn omgservers_messaging::Mail> {
        let mail: Arc<dyn omgservers_messaging::Mail> = self.mailboxes.mailboxes.clone().unwrap();
        match RouterMode::from_environment() {
            RouterMode::Direct => mail,
            RouterMode::Loopback => {
                let (handler, ownership) = (MailHandler::new(mail), self.foundation.ownership.clone());
                let router = Loopback::new(Arc::new(handler), ownership, MAX_CALL_BYTES);
                Arc::new(RoutedMail::new(Arc::new(router)))
            }
        }
    }

    /// Kills the process and starts it again.
    pub(crate) async fn crash(&mut self) {
        self.mailboxes.crash().await;
        self.start();
    }

    /// Stops as a server does.
    pub(crate) async fn stop(&mut self) {
        self.draining.cancel();
        self.mailboxes.stop_server().await;
    }

    /// A client that has no runtime yet.
    pub(crate) async fn client(&self) -> ClientId {
        self.unassigned_client().await
    }

    /// A client that is with a runtime.
    pub(crate) async fn pair(&self) -> (ClientId, RuntimeId) {
        let runtime = self.runtime().await;
        (self.assigned_client(runtime).await, runtime)
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

    /// The clients' messages in a runtime's mailbox, as JSON.
    pub(crate) async fn received(&self, runtime: RuntimeId) -> Vec<Value> {
        let entries = self.messaging().runtime_receive(runtime, Duration::ZERO).await.unwrap();
        let message = |it: &Entry| serde_json::from_str::<Value>(&it.body).unwrap()["message"].clone();
        entries.iter().map(message).collect()
    }

    pub(crate) fn token(&self) -> String {
        self.tokens.user(self.user, Role::Player).unwrap()
    }

    /// A stream of a client.
    pub(crate) async fn stream(&self, client: ClientId) -> Stream {
        let query = format!("?client_id={client}");
        self.shake(&query, Some(&self.token()), &[]).await.unwrap().0
    }

    /// Shakes hands with any query and token.
    pub(crate) async fn shake(
        &self,
        query: &str,
        token: Option<&str>,
        protocols: &[&str],
    ) -> Result<(Stream, Response), (StatusCode, Value)> {
        let bearer = token.map(|it| format!("Bearer {it}"));
        let mut headers: Vec<(&'static str, &str)> =
            bearer.iter().map(|it| ("Authorization", it.as_str())).collect();
        headers.extend(protocols.iter().map(|it| ("Sec-WebSocket-Protocol", *it)));
        let open = self.shake_hands(&format!("{PATH}{query}"), &headers).await;
        open.map(|(stream, response)| (Stream(stream), response))
    }

    /// A connection of the test's own to the database.
    pub(crate) async fn sql(&self) -> tokio_postgres::Client {
        let url = self.foundation.test_db.url();
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

/// A message of the backend for a client.
pub(crate) fn push(client: ClientId, qualifier: &'static str, body: &str) -> Op {
    Op::Push { to: Mailbox::Client(client), qualifier, body: body.into() }
}

/// A frame that says these texts, with counters from `first` on.
pub(crate) fn frame_of(first: u64, texts: &[&str], request: u64) -> Value {
    let message_of = |(text, id): (&&str, u64)| json!({"id": id, "qualifier": message::CLIENT_OUTGOING, "body": {"data": text}});
    let messages: Vec<Value> = texts.iter().zip(first..).map(message_of).collect();
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
