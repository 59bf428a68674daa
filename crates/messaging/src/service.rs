//! The service of the mailboxes, which the other crates call.

use std::time::Duration;

use bytestring::ByteString;
use omgservers_api::{
    ClientId, DeploymentId, EntryId, Problem, RuntimeId, UserId, ids::SenderSeq, roles::Delivery,
};
use omgservers_core::Ticks;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::AckHandle;

/// Raw JSON, shared by all mailboxes that it is in.
pub type Body = ByteString;

/// An entry of a mailbox.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Grows within a mailbox, for ever.
    pub id: EntryId,
    /// One of the constants of `omgservers_api::interchange::{message, command}`.
    pub qualifier: &'static str,
    /// Its fields, byte for byte as the sender sent them.
    pub body: Body,
}

/// A mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mailbox {
    /// The mailbox of a client.
    Client(ClientId),
    /// The mailbox of a runtime.
    Runtime(RuntimeId),
}

/// A change of mailboxes and routes. `matchmaking` makes them.
#[derive(Debug, Clone)]
pub enum Op {
    /// Opens the mailbox of a client that has no runtime yet. Opening one that is there, open or
    /// closed, changes nothing.
    OpenClient {
        /// The session.
        client: ClientId,
        /// The user that it belongs to.
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
    /// Puts an entry of the backend itself into a mailbox. It is never refused by the mailbox's
    /// bounds, and it is durable also in an ephemeral mailbox. Nothing is put into a closed or
    /// unknown mailbox.
    Push {
        /// Where to.
        to: Mailbox,
        /// What it is.
        qualifier: &'static str,
        /// Its fields.
        body: Body,
    },
    /// Puts an entry into a client's mailbox if the mailbox is open and has capacity; else nothing
    /// is put. For what a client may miss.
    Inform {
        /// Where to.
        client: ClientId,
        /// What it is.
        qualifier: &'static str,
        /// Its fields.
        body: Body,
    },
    /// Puts an entry into a client's mailbox if the client's [assignment](ClientInfo::assignment)
    /// is still this one when the ops are checked; else nothing is put. The mailbox must have
    /// capacity.
    PushAssigned {
        /// Where to.
        client: ClientId,
        /// What the entry is about.
        assignment: u64,
        /// What it is.
        qualifier: &'static str,
        /// Its fields.
        body: Body,
    },
    /// Sets the runtime that receives a client's messages. Messages that waited for a runtime move
    /// to it, in order. Both mailboxes must be open; only clearing a route is always possible.
    Route {
        /// The session.
        client: ClientId,
        /// Where to; `None` lets messages wait again.
        to: Option<RuntimeId>,
    },
    /// Closes a mailbox: nothing is accepted or delivered any more. A closed client may still
    /// receive the entries that wait for it; its route is cleared. Messages that a closed runtime
    /// never received wait for the next runtime of their senders.
    Close(Mailbox),
    /// Removes a mailbox with all its entries.
    Remove(Mailbox),
}

/// One message that a client sends.
#[derive(Debug, Clone, Copy)]
pub struct ClientMessage<'a> {
    /// The client's own counter.
    pub seq: Option<SenderSeq>,
    /// The `data` of the message.
    pub data: &'a RawValue,
}

/// The receivers of a runtime's message.
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
    /// The user that it belongs to.
    pub user: UserId,
    /// What it plays.
    pub deployment: DeploymentId,
    /// The runtime that it is with.
    pub route: Option<RuntimeId>,
    /// The durable number of its newest assignment. It grows by one with each change of the route,
    /// also with one back to the same runtime. A restart of the server is no change.
    pub assignment: u64,
    /// Nothing is delivered any more.
    pub closed: bool,
    /// The client's last sign of life. The start of this process counts as one, and so does the
    /// close of the client.
    pub last_seen: Ticks,
    /// The bytes of the messages that it hasn't consumed.
    pub unconsumed_bytes: usize,
    /// The bytes of its own messages that wait for its next runtime.
    pub pending_bytes: usize,
}

/// The assignment of a client, and whether the client knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssignmentStatus {
    /// As [`ClientInfo::assignment`].
    pub assignment: u64,
    /// The client has a runtime or is closed, and has consumed the entry that informed it of that.
    pub acknowledged: bool,
}

/// A runtime's mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// What it runs.
    pub deployment: DeploymentId,
    /// How many clients are with it.
    pub clients: usize,
    /// The epoch of its slot when the mailbox was opened. A restart doesn't change it, so a game
    /// server's token stays valid. A mailbox that is opened again after another process owned the
    /// slot has another epoch.
    pub opened: u64,
    /// The runtime's last interchange; `None` if there was none since this process started.
    pub last_seen: Option<Ticks>,
    /// Its own counter of the last command that was [accepted](Messaging::runtime_accept).
    pub last_seq: Option<SenderSeq>,
    /// The bytes of the commands that it hasn't consumed.
    pub unconsumed_bytes: usize,
}

/// The number of mailboxes, and of the entries in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MailboxDepths {
    /// Mailboxes of clients, closed ones included.
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

/// Most bytes of bodies in one call of [`Messaging::apply`]. One commit writes them.
pub const MOST_BYTES_OF_OPS: usize = 64 << 20;

/// Mailboxes of the slots that this node serves.
///
/// A method that changes a mailbox does so in memory at once, in the order of the calls, and
/// answers an [`AckHandle`]. The change is safe only after [`AckHandle::wait`]: don't acknowledge
/// it before.
///
/// Every mailbox that a call names must be in a slot that this node serves. Otherwise the call
/// answers `core.not_owner`, or treats the mailbox as unknown where it can't answer a problem.
/// Messages of clients pass `client_send` and `client_receive`, those of runtimes `runtime_send`,
/// `runtime_accept`, `runtime_ack` and `runtime_receive`.
#[async_trait::async_trait]
pub trait Messaging: Send + Sync {
    /// Applies `ops` in order: all of them or, when there is a problem, none. They become visible
    /// together, and durable in one commit. Problems: `messaging.runtime_not_found` and
    /// `messaging.client_not_found` for a route whose ends aren't open, `messaging.mailbox_full`
    /// for a [`PushAssigned`](Op::PushAssigned), `internal` for more than
    /// [`MOST_BYTES_OF_OPS`] of bodies, `core.no_ids`, `core.not_owner`.
    fn apply(&self, ops: Vec<Op>) -> Result<AckHandle, Problem>;

    /// Drops the entries that the client has consumed and enqueues its messages, in the order of
    /// the calls. Acknowledge the messages after [`AckHandle::wait`]. A repeated counter is
    /// acknowledged and not delivered again. A message of a client without a runtime is queued for
    /// its first one. `None`: the mailbox is closed, and nothing was enqueued. Problems:
    /// `messaging.client_not_found`, `messaging.foreign_client` (400 WRONG_CLIENT_ID),
    /// `messaging.mailbox_full` and `messaging.backlog` (only the consumption was accepted),
    /// `core.not_owner`.
    fn client_send(
        &self,
        user: UserId,
        client: ClientId,
        messages: &[ClientMessage<'_>],
        consumed: &[EntryId],
    ) -> Result<Option<AckHandle>, Problem>;

    /// Drops the entries that the client has consumed and answers the others, oldest first, within
    /// the bounds of an answer. When there are none, waits up to `wait` for one to arrive.
    ///
    /// Without `after` it answers everything that isn't consumed; an assignment and an upgrade
    /// never share that answer. With `after` it answers only later entries. Entries up to `after`
    /// that aren't consumed count into the bounds: a client that doesn't consume receives no more.
    /// `None`: the mailbox is closed, and the client has received everything. The call and the end
    /// of its wait are signs of life. Cancel-safe: a dropped future loses nothing. Problems:
    /// `messaging.client_not_found`, `messaging.foreign_client`, `core.not_owner`.
    async fn client_receive(
        &self,
        user: UserId,
        client: ClientId,
        after: Option<EntryId>,
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Option<Vec<Entry>>, Problem>;

    /// Watches a client's assignment; the receiver ends when the mailbox is removed. `None` for an
    /// unknown client.
    fn client_watch(&self, client: ClientId) -> Option<watch::Receiver<AssignmentStatus>>;

    /// Sends one message of a runtime to clients that are with it. Each client gets one
    /// SERVER_OUTGOING_MESSAGE; they share one payload, and have 512 MiB in all at most. Answers
    /// the clients that got no message: they aren't with the runtime, or their mailbox is full.
    ///
    /// `seq` is the runtime's own counter. A command is not sent again when its counter, or a later
    /// one, was accepted before. The answer then names no client, and has the handle of the
    /// original. Counter and messages become durable together; when there is a problem, neither is
    /// accepted. Problems: `messaging.runtime_not_found`, `messaging.backlog`, `core.not_owner`.
    fn runtime_send(
        &self,
        runtime: RuntimeId,
        seq: Option<SenderSeq>,
        to: To<'_>,
        message: &RawValue,
    ) -> Result<(AckHandle, Vec<ClientId>), Problem>;

    /// Accepts the counter of a runtime's command that sends nothing. `false` when this counter, or
    /// a later one, was accepted before; the handle is then that of the original. Problems:
    /// `messaging.runtime_not_found`, `core.not_owner`.
    fn runtime_accept(&self, runtime: RuntimeId, seq: SenderSeq) -> Result<(AckHandle, bool), Problem>;

    /// Drops the entries that the runtime has consumed. A sender is acknowledged at once when all
    /// recipients have consumed its messages. Problems: `messaging.runtime_not_found`,
    /// `core.not_owner`.
    fn runtime_ack(&self, runtime: RuntimeId, consumed: &[EntryId]) -> Result<(), Problem>;

    /// Answers the entries that the runtime hasn't consumed, oldest first, within the bounds of an
    /// answer. When there is nothing, waits up to `wait` for an entry to arrive. The call and the
    /// end of its wait are signs of life. Cancel-safe. Problems: `messaging.runtime_not_found` (404
    /// RUNTIME_NOT_FOUND), `core.not_owner`.
    async fn runtime_receive(&self, runtime: RuntimeId, wait: Duration) -> Result<Vec<Entry>, Problem>;

    /// A client's mailbox.
    fn client(&self, client: ClientId) -> Option<ClientInfo>;
    /// A runtime's mailbox; `None` also when it is closed.
    fn runtime(&self, runtime: RuntimeId) -> Option<RuntimeInfo>;
    /// The clients that are with a runtime, by id.
    fn clients_of(&self, runtime: RuntimeId) -> Vec<ClientId>;
    /// The clients' mailboxes of a deployment, by id, closed ones included. Its cost grows with
    /// what it answers.
    fn clients_in(&self, deployment: DeploymentId) -> Vec<(ClientId, ClientInfo)>;
    /// The deployments that have clients' mailboxes, by id.
    fn deployments(&self) -> Vec<DeploymentId>;
    /// All open runtimes' mailboxes, by id; for the start and for sweeps.
    fn runtimes(&self) -> Vec<(RuntimeId, RuntimeInfo)>;

    /// Open clients without a sign of life since `before`, at most `most`. Its cost grows with what
    /// it answers and with the clients that were active since, not with the number of mailboxes. It
    /// may name a client again.
    fn idle_clients(&self, before: Ticks, most: usize) -> Vec<ClientId>;
    /// Closed clients that have not received since `before`, at most `most`.
    fn abandoned_clients(&self, before: Ticks, most: usize) -> Vec<ClientId>;

    /// Waits until every change so far is durable, consumption included. For a clean stop.
    /// Problems: `unavailable`, `core.not_owner`.
    async fn flush(&self) -> Result<(), Problem>;
    /// The number of mailboxes and entries, for operators. Visits every mailbox, shard by shard.
    fn depths(&self) -> MailboxDepths;
}
