//! [`Messaging`] in memory, with a journal in PostgreSQL.

use std::{sync::Arc, time::Duration};

use omgservers_api::{ClientId, DeploymentId, EntryId, Problem, RuntimeId, UserId, ids::SenderSeq};
use omgservers_core::{Clock, Db, Mint, Ownership, Ticks, ownership::NOT_OWNER};
use serde_json::value::RawValue;
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    AckHandle, AssignmentStatus, Bounds, ClientInfo, ClientMessage, Depths, Entry, Messaging, Op,
    RuntimeInfo, To,
    ack::BatchOutcome,
    client_box::ClientBox,
    deployments::ClientsByDeployment,
    idle::IdleTracker,
    journal::{Failure, Journal, Record, Session, Writer},
    load,
    meters::Meters,
    runtime_box::RuntimeBox,
    shard::{Clients, Runtimes},
};

/// The mailboxes of this process's slots.
///
/// Locks are taken in this order: shards of clients by number, shards of runtimes by number, the journal; and
/// never across an await.
pub struct Mailboxes {
    pub(crate) clients: Clients,
    pub(crate) runtimes: Runtimes,
    pub(crate) deployments: ClientsByDeployment,
    pub(crate) journal: Arc<Journal>,
    /// Open clients.
    pub(crate) idle: IdleTracker,
    /// Closed clients.
    pub(crate) abandoned: IdleTracker,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mint: Mint,
    pub(crate) ownership: Ownership,
    pub(crate) bounds: Bounds,
    pub(crate) meters: Meters,
    pub(crate) writer: AbortHandle,
}

impl Mailboxes {
    /// Reads what waits in `db` and starts the writer on the current runtime, with a connection of its own. The
    /// slots must have been taken before. Dropping the mailboxes ends the writer at once; [`flush`] before.
    /// Problems: `unavailable`, `internal`.
    ///
    /// [`flush`]: Messaging::flush
    pub async fn open(
        db: &Db,
        clock: Arc<dyn Clock>,
        mint: Mint,
        ownership: Ownership,
        bounds: Bounds,
    ) -> Result<Arc<Self>, Problem> {
        let session = Session::open(db.url(), None).await.map_err(|it| match it {
            Failure::Lost => NOT_OWNER.into(),
            Failure::Database(reason) => Problem::unavailable(reason),
        })?;
        let (clients, runtimes) = (Clients::new(), Runtimes::new());
        let now = clock.ticks();
        let orphans = load::load(&session.client, &ownership, now, &clients, &runtimes).await?;
        let deployments = ClientsByDeployment::default();
        deployments.extend(clients.collect(|it| Some(it.deployment)).into_iter().map(|it| (it.1, it.0)));
        let meters = Meters::new();
        let journal = Arc::new(Journal::new(&bounds));
        let writer = Writer::new(db.url(), Arc::clone(&journal), ownership.clone(), meters.clone(), session);
        let writer = tokio::spawn(writer.run()).abort_handle();
        let (idle, abandoned) = (IdleTracker::default(), IdleTracker::default());
        idle.watch_all(clients.collect(|it| (!it.inbox.closed).then_some(it.last_seen)));
        abandoned.watch_all(clients.collect(|it| it.inbox.closed.then_some(it.last_seen)));
        let it = Self {
            clients,
            runtimes,
            deployments,
            journal,
            idle,
            abandoned,
            clock,
            mint,
            ownership,
            bounds,
            meters,
            writer,
        };
        it.forget_orphans(orphans);
        Ok(Arc::new(it))
    }

    fn forget_orphans(&self, orphans: Vec<load::Orphan>) {
        if orphans.is_empty() {
            return;
        }
        tracing::warn!(count = orphans.len(), "entries without a mailbox are deleted");
        let mut deferred = self.journal.deferred();
        let mut writing = self.journal.write();
        for load::Orphan { mailbox, id } in orphans {
            writing.add(Record::Consumed { mailbox, id });
        }
        writing.lazily(&mut deferred);
    }

    /// A process that lost its slots answers nothing that others may take for the truth.
    pub(crate) fn must_own(&self) -> Result<(), Problem> {
        if self.journal.is_lost() { Err(NOT_OWNER.into()) } else { Ok(()) }
    }
}

impl Drop for Mailboxes {
    fn drop(&mut self) {
        self.writer.abort();
        self.journal.stop(BatchOutcome::Closed);
    }
}

#[async_trait::async_trait]
impl Messaging for Mailboxes {
    fn apply(&self, ops: Vec<Op>) -> Result<AckHandle, Problem> {
        self.apply(ops)
    }

    fn client_send(
        &self,
        user: UserId,
        client: ClientId,
        messages: &[ClientMessage<'_>],
        consumed: &[EntryId],
    ) -> Result<Option<AckHandle>, Problem> {
        self.client_send(user, client, messages, consumed)
    }

    async fn client_receive(
        &self,
        user: UserId,
        client: ClientId,
        after: Option<EntryId>,
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Option<Vec<Entry>>, Problem> {
        self.client_receive(user, client, after, consumed, wait).await
    }

    fn client_watch(&self, client: ClientId) -> Option<watch::Receiver<AssignmentStatus>> {
        self.clients.lock(client).get_mut(&client).map(ClientBox::watch)
    }

    fn runtime_send(
        &self,
        runtime: RuntimeId,
        seq: Option<SenderSeq>,
        to: To<'_>,
        message: &RawValue,
    ) -> Result<(AckHandle, Vec<ClientId>), Problem> {
        self.runtime_send(runtime, seq, to, message)
    }

    fn runtime_accept(&self, runtime: RuntimeId, seq: SenderSeq) -> Result<(AckHandle, bool), Problem> {
        self.runtime_accept(runtime, seq)
    }

    fn runtime_ack(&self, runtime: RuntimeId, consumed: &[EntryId]) -> Result<(), Problem> {
        self.runtime_ack(runtime, consumed)
    }

    async fn runtime_receive(&self, runtime: RuntimeId, wait: Duration) -> Result<Vec<Entry>, Problem> {
        self.runtime_receive(runtime, wait).await
    }

    fn client(&self, client: ClientId) -> Option<ClientInfo> {
        self.clients.lock(client).get(&client).map(ClientBox::info)
    }

    fn runtime(&self, runtime: RuntimeId) -> Option<RuntimeInfo> {
        self.runtimes.lock(runtime).get(&runtime).filter(|it| !it.inbox.closed).map(RuntimeBox::info)
    }

    fn clients_of(&self, runtime: RuntimeId) -> Vec<ClientId> {
        let shard = self.runtimes.lock(runtime);
        shard.get(&runtime).map(|it| it.clients.iter().copied().collect()).unwrap_or_default()
    }

    fn clients_in(&self, deployment: DeploymentId) -> Vec<(ClientId, ClientInfo)> {
        let clients = self.deployments.clients(deployment).into_iter();
        clients.filter_map(|it| Some((it, self.client(it)?))).collect()
    }

    fn deployments(&self) -> Vec<DeploymentId> {
        self.deployments.deployments()
    }

    fn runtimes(&self) -> Vec<(RuntimeId, RuntimeInfo)> {
        self.runtimes.collect(|it| (!it.inbox.closed).then(|| it.info()))
    }

    fn idle_clients(&self, before: Ticks, most: usize) -> Vec<ClientId> {
        self.idle.since(before, most, |client| self.last_seen(client, false))
    }

    fn abandoned_clients(&self, before: Ticks, most: usize) -> Vec<ClientId> {
        self.abandoned.since(before, most, |client| self.last_seen(client, true))
    }

    async fn flush(&self) -> Result<(), Problem> {
        let commit = {
            let mut deferred = self.journal.deferred();
            self.journal.so_far(&mut deferred)
        };
        commit.wait().await
    }

    fn depths(&self) -> Depths {
        let mut depths = Depths::default();
        self.clients.each(|it| {
            depths.clients += 1;
            depths.to_clients += it.inbox.queue.len();
            depths.pending += it.pending.as_ref().map_or(0, |it| it.len());
        });
        self.runtimes.each(|it| {
            depths.runtimes += 1;
            depths.to_runtimes += it.inbox.queue.len();
        });
        depths
    }
}

impl Mailboxes {
    fn last_seen(&self, client: ClientId, closed: bool) -> Option<Ticks> {
        let shard = self.clients.lock(client);
        shard.get(&client).filter(|it| it.inbox.closed == closed).map(|it| it.last_seen)
    }
}
