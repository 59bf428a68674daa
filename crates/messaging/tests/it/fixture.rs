//! Mailboxes on a database of their own.

use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use omgservers_api::{
    ClientId, DeploymentId, EntryId, Problem, RuntimeId, UserId,
    ids::SenderSeq,
    interchange::{command, message},
    roles::Delivery,
};
use omgservers_core::{Mint, Ownership};
use omgservers_messaging::{
    Bounds, ClientMessage, Entry, Mailbox, Mailboxes, Messaging as _, Op, SCHEMA, To,
};
use omgservers_testkit::Foundation;
use serde_json::value::RawValue;
use tokio_postgres::{Client, NoTls};

pub(crate) const NOW: Duration = Duration::ZERO;

pub(crate) struct Fixture {
    pub(crate) foundation: Foundation,
    pub(crate) mailboxes: Running,
    pub(crate) bounds: Bounds,
    pub(crate) user: UserId,
    pub(crate) deployment: DeploymentId,
}

/// Mailboxes that can be dropped before others are opened.
pub(crate) struct Running(Option<Arc<Mailboxes>>);

impl Deref for Running {
    type Target = Arc<Mailboxes>;
    fn deref(&self) -> &Arc<Mailboxes> {
        self.0.as_ref().unwrap()
    }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(Bounds::default()).await
    }

    pub(crate) async fn with(bounds: Bounds) -> Self {
        let foundation = Foundation::new(&[SCHEMA]).await;
        let mailboxes = Running(Some(open(&foundation, bounds).await));
        let (user, deployment) = (foundation.mint.root().unwrap(), foundation.mint.root().unwrap());
        Self { foundation, mailboxes, bounds, user, deployment }
    }

    /// Simulates a crash and a new start of the process: nothing is flushed, slots and ids are
    /// acquired again.
    pub(crate) async fn crash(&mut self) {
        self.mailboxes.0 = None;
        self.foundation.ownership = Ownership::take(&self.foundation.db, "test").await.unwrap();
        self.foundation.mint = Mint::take(&self.foundation.db).await.unwrap();
        self.mailboxes.0 = Some(open(&self.foundation, self.bounds).await);
    }

    pub(crate) async fn client(&self) -> ClientId {
        self.client_with(Delivery::Durable).await
    }

    pub(crate) async fn client_with(&self, delivery: Delivery) -> ClientId {
        let client = self.foundation.mint.child(self.user).unwrap();
        self.apply(vec![self.open_client(client, delivery)]).await;
        client
    }

    pub(crate) fn open_client(&self, client: ClientId, delivery: Delivery) -> Op {
        Op::OpenClient { client, user: self.user, deployment: self.deployment, delivery }
    }

    pub(crate) async fn runtime(&self) -> RuntimeId {
        self.runtime_with(Delivery::Durable).await
    }

    pub(crate) async fn runtime_with(&self, delivery: Delivery) -> RuntimeId {
        let runtime = self.foundation.mint.root().unwrap();
        self.apply(vec![Op::OpenRuntime { runtime, deployment: self.deployment, delivery }]).await;
        runtime
    }

    /// A client that is with a runtime.
    pub(crate) async fn pair(&self) -> (ClientId, RuntimeId) {
        let (client, runtime) = (self.client().await, self.runtime().await);
        self.apply(vec![Op::Route { client, to: Some(runtime) }]).await;
        (client, runtime)
    }

    pub(crate) async fn apply(&self, ops: Vec<Op>) {
        self.mailboxes.apply(ops).unwrap().wait().await.unwrap();
    }

    /// A client sends messages with counters from `first` on, waits for the ack, and receives.
    pub(crate) async fn send(
        &self,
        client: ClientId,
        first: u64,
        texts: &[&str],
    ) -> Result<Vec<Entry>, Problem> {
        send(&self.mailboxes, self.user, client, first, texts).await
    }

    pub(crate) async fn fetch(&self, client: ClientId) -> Vec<Entry> {
        self.consume(client, &[]).await
    }

    /// A client consumes, and receives what is left.
    pub(crate) async fn consume(&self, client: ClientId, consumed: &[EntryId]) -> Vec<Entry> {
        let received = self.mailboxes.client_receive(self.user, client, None, consumed, NOW).await;
        received.unwrap().unwrap_or_default()
    }

    pub(crate) async fn fetch_runtime(&self, runtime: RuntimeId) -> Vec<Entry> {
        self.mailboxes.runtime_receive(runtime, NOW).await.unwrap()
    }

    /// A runtime acknowledges, and receives what is left.
    pub(crate) async fn consume_runtime(&self, runtime: RuntimeId, consumed: &[EntryId]) -> Vec<Entry> {
        self.mailboxes.runtime_ack(runtime, consumed).unwrap();
        self.fetch_runtime(runtime).await
    }

    /// A runtime sends a message and waits until it is safe. Answers the clients that got none.
    pub(crate) async fn respond(&self, runtime: RuntimeId, to: To<'_>, text: &str) -> Vec<ClientId> {
        let (ack, missed) = self.mailboxes.runtime_send(runtime, None, to, &raw(text)).unwrap();
        ack.wait().await.unwrap();
        missed
    }

    /// A connection of the test's own to the database.
    pub(crate) async fn sql(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(self.foundation.test_db.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(crate) async fn count(&self, sql: &Client, table: &str) -> i64 {
        sql.query_one(&format!("select count(*) from messaging.{table}"), &[]).await.unwrap().get(0)
    }
}

pub(crate) async fn open(foundation: &Foundation, bounds: Bounds) -> Arc<Mailboxes> {
    Mailboxes::open(
        &foundation.db,
        foundation.clock(),
        foundation.mint.clone(),
        foundation.ownership.clone(),
        bounds,
    )
    .await
    .unwrap()
}

pub(crate) async fn send(
    mailboxes: &Mailboxes,
    user: UserId,
    client: ClientId,
    first: u64,
    texts: &[&str],
) -> Result<Vec<Entry>, Problem> {
    let data: Vec<Box<RawValue>> = texts.iter().map(|it| raw(it)).collect();
    let messages: Vec<ClientMessage<'_>> = data
        .iter()
        .zip(first..)
        .map(|(data, seq)| ClientMessage { seq: Some(SenderSeq(seq)), data })
        .collect();
    if let Some(ack) = mailboxes.client_send(user, client, &messages, &[])? {
        ack.wait().await?;
    }
    Ok(mailboxes.client_receive(user, client, None, &[], NOW).await?.unwrap_or_default())
}

pub(crate) fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

pub(crate) fn welcome(client: ClientId) -> Op {
    push(Mailbox::Client(client), message::SERVER_WELCOME, "{\"hello\":1}")
}

pub(crate) fn init(runtime: RuntimeId) -> Op {
    push(Mailbox::Runtime(runtime), command::INIT_RUNTIME, "{}")
}

pub(crate) fn push(to: Mailbox, qualifier: &'static str, body: &str) -> Op {
    Op::Push { to, qualifier, body: body.into() }
}

pub(crate) fn bodies(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|it| &*it.body).collect()
}

pub(crate) fn ids(entries: &[Entry]) -> Vec<EntryId> {
    entries.iter().map(|it| it.id).collect()
}

/// The body of a client's message at its runtime.
pub(crate) fn handled(client: ClientId, text: &str) -> String {
    format!("{{\"client_id\":\"{client}\",\"message\":{text}}}")
}

/// Waits until a condition holds; a test that waits too long fails.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
