//! The contract of this crate with the others.

use std::time::Duration;

use bytestring::ByteString;
use omgservers_api::{
    ClientId, DeploymentId, EntryId, Problem, RuntimeId, UserId, ids::SenderSeq, roles::Delivery,
};
use omgservers_core::Ticks;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::Commit;

/// Raw JSON, shared by all mailboxes that it is in.
pub type Body = ByteString;

/// What waits in a mailbox.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Grows within a mailbox, for ever.
    pub id: EntryId,
    /// One of the constants of `omgservers_api::interchange::{message, command}`.
    pub qualifier: &'static str,
    /// Its fields, byte for byte as they came.
    pub body: Body,
}

/// A mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mailbox {
    /// A player's.
    Client(ClientId),
    /// A game server's.
    Runtime(RuntimeId),
}

/// A change of mailboxes and routes. `matchmaking` makes them.
#[derive(Debug, Clone)]
pub enum Op {
    /// Opens the mailbox of a client that has no runtime yet. Opening one that is there, open or closed, changes
    /// nothing.
    OpenClient {
        /// The session.
        client: ClientId,
        /// Whose it is.
        user: UserId,
        /// What it plays.
        deployment: DeploymentId,
        /// How long its messages live.
        delivery: Delivery,
    },
    /// Opens the mailbox of a runtime. Opening one that is there, open or closed, changes nothing.
    OpenRuntime {
        /// The runtime.
        runtime: RuntimeId,
        /// What it runs.
        deployment: DeploymentId,
        /// How long its messages live.
        delivery: Delivery,
    },
    /// Puts an entry into a mailbox, whatever its bounds: what the backend itself says is never refused, and it is
    /// durable whatever the mailbox's delivery. Into a closed or unknown one nothing is put.
    Push {
        /// Where to.
        to: Mailbox,
        /// What it is.
        qualifier: &'static str,
        /// Its fields.
        body: Body,
    },
    /// Puts an entry into a client's mailbox if the client's [assignment](ClientInfo::assigned) is still this one
    /// when the ops are checked; else nothing is put.
    PushAssigned {
        /// Where to.
        client: ClientId,
        /// What the entry is about.
        assigned: u64,
        /// What it is.
        qualifier: &'static str,
        /// Its fields.
        body: Body,
    },
    /// Sets the runtime that a client's messages go to. Messages that waited for one go to it, in order. Both must be
    /// open; only clearing a route is always possible.
    Route {
        /// The session.
        client: ClientId,
        /// Where to; `None` lets messages wait again.
        to: Option<RuntimeId>,
    },
    /// Closes a mailbox: nothing is taken or delivered any more. A client may still fetch what waits for it. Its
    /// route is cleared. What clients said to a runtime that is closed, and what it never got, waits for their
    /// next runtime.
    Close(Mailbox),
    /// Forgets a mailbox with everything in it.
    Remove(Mailbox),
}

/// What a client says.
#[derive(Debug, Clone, Copy)]
pub struct FromClient<'a> {
    /// The client's own counter.
    pub seq: Option<SenderSeq>,
    /// The `data` of the message.
    pub data: &'a RawValue,
}

/// Whom a runtime speaks to.
#[derive(Debug, Clone, Copy)]
pub enum To<'a> {
    /// One client.
    One(ClientId),
    /// Some clients.
    Some(&'a [ClientId]),
    /// Every client that is with the runtime.
    All,
}

/// A client's mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientInfo {
    /// Whose it is.
    pub user: UserId,
    /// What it plays.
    pub deployment: DeploymentId,
    /// The runtime that it is with.
    pub route: Option<RuntimeId>,
    /// Which assignment that is: grows with each change of the route, also with one back to the same runtime, and
    /// from one life of the server to the next. Below 2^53 for the first two million lives.
    pub assigned: u64,
    /// Nothing is delivered any more.
    pub closed: bool,
    /// When the client was last heard of; the start of this process if it wasn't since, and when it was closed if it
    /// wasn't since.
    pub last_seen: Ticks,
}

/// Where a client stands, for whoever keeps a connection to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// As [`ClientInfo::assigned`].
    pub assigned: u64,
    /// The client knows: it is with a runtime or closed, and has consumed the entry that told it so.
    pub told: bool,
}

/// A runtime's mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// What it runs.
    pub deployment: DeploymentId,
    /// How many clients are with it.
    pub clients: usize,
    /// The life of the server that it was opened or loaded in: grows from one to the next.
    pub epoch: u64,
    /// When the runtime last exchanged; `None` if it didn't since this process started.
    pub last_seen: Option<Ticks>,
    /// Its own counter of the last command that was [accepted](Messaging::accept).
    pub last_seq: Option<SenderSeq>,
}

/// How many mailboxes there are, and how much waits in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depths {
    /// Mailboxes of clients, also of closed ones that aren't forgotten yet.
    pub clients: usize,
    /// Mailboxes of runtimes.
    pub runtimes: usize,
    /// Messages that clients haven't consumed.
    pub to_clients: usize,
    /// Commands that runtimes haven't consumed.
    pub to_runtimes: usize,
    /// Messages of clients that wait for their first runtime.
    pub pending: usize,
}

/// What other crates may ask of mailboxes.
///
/// What changes a mailbox does so in memory at once, in the order of the calls, and answers a [`Commit`]: only
/// when that is waited for is the change safe. Nothing may be acknowledged to anybody before.
#[async_trait::async_trait]
pub trait Messaging: Send + Sync {
    /// Carries `ops` out in order: all of them or, when there is a problem, none. Nobody sees a part, and they become
    /// durable in one commit. Problems: `messaging.runtime_not_found` and `messaging.client_not_found` for a route
    /// whose ends aren't open, `core.no_ids`, `core.not_owner`.
    fn apply(&self, ops: Vec<Op>) -> Result<Commit, Problem>;

    /// A player's exchange: drops what was consumed, takes what the player says, waits for the commit, and
    /// answers what waits, oldest first, bounded; when nothing waits, up to `wait` for something to arrive. A
    /// repeated counter is answered and not delivered again. A message to a client without a runtime waits for
    /// its first one. Of a closed mailbox the messages are not taken, and the answer is what still waits.
    /// Problems: `messaging.client_not_found`, `messaging.foreign_client` (400 WRONG_CLIENT_ID),
    /// `messaging.mailbox_full` (nothing of the request was taken, but the consumption), `messaging.backlog`,
    /// `unavailable` (it was taken and becomes durable later; repeat it), `core.not_owner`.
    async fn exchange_client(
        &self,
        user: UserId,
        client: ClientId,
        outgoing: &[FromClient<'_>],
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Vec<Entry>, Problem>;

    /// The first half of [`exchange_client`](Self::exchange_client) alone: drops what was consumed and takes what
    /// the player says, in the order of the calls; the player may be told so after the commit. `None` when the
    /// mailbox is closed, and then nothing was taken. Problems: those of `exchange_client`, but `unavailable`.
    fn speak(
        &self,
        user: UserId,
        client: ClientId,
        outgoing: &[FromClient<'_>],
        consumed: &[EntryId],
    ) -> Result<Option<Commit>, Problem>;

    /// The other half, for who has been shown everything up to `after`: what comes next, oldest first. What was
    /// shown and isn't consumed yet counts into the bounds of an answer, so that who doesn't consume gets no more.
    /// When there is nothing, waits up to `wait` for something to arrive; consumption doesn't end the wait. `None`
    /// when the mailbox is closed and nothing comes after `after`. A call is a sign of life, its wait isn't.
    /// Problems: `messaging.client_not_found`, `messaging.foreign_client`, `core.not_owner`.
    async fn follow_client(
        &self,
        user: UserId,
        client: ClientId,
        after: Option<EntryId>,
        wait: Duration,
    ) -> Result<Option<Vec<Entry>>, Problem>;

    /// The first half of [`exchange_runtime`](Self::exchange_runtime) alone: drops what was consumed, so that who said
    /// it hears at once that it is safe. Problems: `messaging.runtime_not_found`, `core.not_owner`.
    fn consume(&self, runtime: RuntimeId, consumed: &[EntryId]) -> Result<(), Problem>;

    /// The runtime's half of an exchange: drops what was consumed and answers what waits, like
    /// [`exchange_client`](Self::exchange_client). Problems: `messaging.runtime_not_found` (404
    /// RUNTIME_NOT_FOUND).
    async fn exchange_runtime(
        &self,
        runtime: RuntimeId,
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Vec<Entry>, Problem>;

    /// A runtime speaks to clients that are with it: one SERVER_OUTGOING_MESSAGE each, one payload for all, 512 MiB
    /// in all at most. Answers the clients that got none because they aren't with it or their mailbox is full. With
    /// the runtime's own counter: a command whose counter, or a later one, was seen before isn't said again, nobody
    /// is missed, and the commit is that of the original; counter and messages become durable together, and when
    /// there is a problem neither is taken. Problems: `messaging.runtime_not_found`, `messaging.backlog`,
    /// `core.not_owner`.
    fn say(
        &self,
        runtime: RuntimeId,
        seq: Option<SenderSeq>,
        to: To<'_>,
        message: &RawValue,
    ) -> Result<(Commit, Vec<ClientId>), Problem>;

    /// Whether a runtime's command that says nothing is a fresh one: `false` when this counter of the runtime, or a later one, was
    /// seen before. The commit is then that of the original. Problems: `messaging.runtime_not_found`,
    /// `core.not_owner`.
    fn accept(&self, runtime: RuntimeId, seq: SenderSeq) -> Result<(Commit, bool), Problem>;

    /// Follows where a client stands; ends when the mailbox is removed. `None` for an unknown client.
    fn watch_client(&self, client: ClientId) -> Option<watch::Receiver<Standing>>;
    /// A client's mailbox.
    fn client(&self, client: ClientId) -> Option<ClientInfo>;
    /// A runtime's mailbox; `None` also when it is closed.
    fn runtime(&self, runtime: RuntimeId) -> Option<RuntimeInfo>;
    /// The clients that are with a runtime, by id.
    fn clients_of(&self, runtime: RuntimeId) -> Vec<ClientId>;
    /// All clients' mailboxes, by id; for the start and for sweeps.
    fn clients(&self) -> Vec<(ClientId, ClientInfo)>;
    /// All open runtimes' mailboxes, by id; for the start and for sweeps.
    fn runtimes(&self) -> Vec<(RuntimeId, RuntimeInfo)>;

    /// Open clients that were not heard of since `before`, at most `most`. Its cost grows with what it answers
    /// and with what was heard of since, not with the number of mailboxes. It may name a client again.
    fn silent_clients(&self, before: Ticks, most: usize) -> Vec<ClientId>;
    /// Closed clients' mailboxes that were not fetched from since `before`, at most `most`.
    fn abandoned_clients(&self, before: Ticks, most: usize) -> Vec<ClientId>;

    /// Waits until everything that was changed so far is durable, consumption included. For a clean stop. Problems:
    /// `unavailable`, `core.not_owner`.
    async fn flush(&self) -> Result<(), Problem>;
    /// How much there is, for operators. Looks at every mailbox, shard by shard.
    fn depths(&self) -> Depths;
}
