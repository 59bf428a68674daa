//! [`Messaging`] in memory, with a journal in PostgreSQL.

use std::{sync::Arc, time::Duration};

use omgservers_api::{
    ClientId, DeploymentId, EntryId, Problem, RuntimeId, Slot, UserId,
    ids::{Id, SenderSeq},
};
use omgservers_core::{Clock, Db, Mint, Ownership, Tenure, Ticks, ownership::NOT_OWNER};
use serde_json::value::RawValue;
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    AckHandle, AssignmentStatus, Bounds, ClientInfo, ClientMessage, Entry, MailboxDepths, Messaging, Op,
    RuntimeInfo, To,
    ack::BatchOutcome,
    client_box::ClientBox,
    deployments::{ClientsByDeployment, Membership},
    idle::IdleTracker,
    journal::{Journal, JournalSession, Record, Writer, connect},
    load::{self, IdRange},
    meters::Meters,
    runtime_box::RuntimeBox,
    shard::{ClientShards, RuntimeShards},
};

/// The mailboxes of this process's slots.
///
/// The order of locks: shards of clients by number, shards of runtimes by number, the journal. No
/// lock is held across an await.
pub struct Mailboxes {
    pub(crate) clients: ClientShards,
    pub(crate) runtimes: RuntimeShards,
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
    /// The database that slots are loaded from.
    url: String,
}

impl Mailboxes {
    /// Starts the writer on the current runtime, with a connection of its own to `db`. A process
    /// that owns all slots loads them first; elsewhere [`load`](Self::load) each slot. Dropping the
    /// mailboxes ends the writer at once; [`flush`] before. Problems: `unavailable`, `internal`.
    ///
    /// [`flush`]: Messaging::flush
    pub async fn open(
        db: &Db,
        clock: Arc<dyn Clock>,
        mint: Mint,
        ownership: Ownership,
        bounds: Bounds,
    ) -> Result<Arc<Self>, Problem> {
        let session = JournalSession::open(db.url(), None).await?;
        let (clients, runtimes) = (ClientShards::new(), RuntimeShards::new());
        let orphans = if ownership.by_slot() {
            Vec::new()
        } else {
            load::load(&session.client, IdRange::ALL, clock.ticks(), &clients, &runtimes).await?
        };
        let meters = Meters::new();
        let journal = Arc::new(Journal::new(&bounds, ownership.clone()));
        let writer = Writer::new(db.url(), Arc::clone(&journal), ownership.clone(), meters.clone(), session);
        let writer = tokio::spawn(writer.run()).abort_handle();
        let mailboxes = Self {
            clients,
            runtimes,
            deployments: ClientsByDeployment::default(),
            journal,
            idle: IdleTracker::default(),
            abandoned: IdleTracker::default(),
            clock,
            mint,
            ownership,
            bounds,
            meters,
            writer,
            url: db.url().to_owned(),
        };
        mailboxes.track(mailboxes.clients.collect(|it| Some(Tracked::of(it))));
        mailboxes.forget_orphans(None, orphans);
        Ok(Arc::new(mailboxes))
    }

    /// Loads the mailboxes of a slot that this process acquired, on a connection of its own.
    /// Forgets what is in memory of an earlier tenure first. Serve the tenure afterwards. Problems:
    /// `unavailable`, `internal`; then nothing of the slot is loaded.
    pub async fn load(&self, tenure: &Arc<Tenure>) -> Result<(), Problem> {
        let slot = tenure.slot();
        self.unload(slot);
        let now = self.clock.ticks();
        let loaded = async {
            let database = connect(&self.url).await?;
            load::load(&database, IdRange::of(slot), now, &self.clients, &self.runtimes).await
        };
        match loaded.await {
            Ok(orphans) => {
                self.track(self.clients.collect_slot(slot, |it| Some(Tracked::of(it))));
                self.forget_orphans(Some(tenure), orphans);
                Ok(())
            }
            Err(problem) => {
                self.unload(slot);
                Err(problem)
            }
        }
    }

    /// How long the oldest sender waits that waits for a commit.
    pub fn commit_delay(&self) -> Duration {
        self.journal.delay()
    }

    /// Stops serving a slot and writes all its changes. When this returns, the database has all of
    /// the slot, and no call changes it any more. Problems:
    ///
    /// * `unavailable`: the database doesn't answer in time. The changes are written as soon as it
    ///   does.
    /// * `core.not_owner`: the slot was lost before.
    pub async fn freeze(&self, tenure: &Arc<Tenure>) -> Result<(), Problem> {
        self.ownership.drain(tenure);
        // A call that held a lock before has written before the flush. A later call finds the slot
        // draining.
        self.clients.pass();
        self.runtimes.pass();
        let ack = {
            let mut deferred = self.journal.deferred();
            self.journal.so_far(&mut deferred).within(std::slice::from_ref(tenure))
        };
        ack.wait().await
    }

    /// Forgets a slot that this process doesn't serve any more, with its unwritten changes.
    /// Receivers that wait in the slot answer `core.not_owner`.
    pub fn unload(&self, slot: Slot) {
        let mut deferred = self.journal.deferred();
        let mut memberships = Vec::new();
        for (client, mut mailbox) in self.clients.remove_slot(slot) {
            mailbox.inbox.wake(&mut deferred);
            memberships.push(Membership::Removed(mailbox.deployment, client));
        }
        for (_, mut mailbox) in self.runtimes.remove_slot(slot) {
            mailbox.inbox.wake(&mut deferred);
        }
        self.deployments.apply(memberships);
        self.journal.forget(slot);
    }

    /// Puts loaded clients into the indexes.
    fn track(&self, clients: Vec<(ClientId, Tracked)>) {
        self.deployments.extend(clients.iter().map(|(client, it)| (it.deployment, *client)));
        let seen = |closed| {
            let tracked = clients.iter().filter(move |it| it.1.closed == closed);
            tracked.map(|(client, it)| (*client, it.last_seen))
        };
        self.idle.watch_all(seen(false));
        self.abandoned.watch_all(seen(true));
    }

    fn forget_orphans(&self, tenure: Option<&Arc<Tenure>>, orphans: Vec<load::Orphan>) {
        if orphans.is_empty() {
            return;
        }
        tracing::warn!(count = orphans.len(), "entries without a mailbox are deleted");
        let mut deferred = self.journal.deferred();
        let mut writing = self.journal.write();
        tenure.into_iter().for_each(|it| writing.adopt(it));
        for load::Orphan { mailbox, id } in orphans {
            writing.add(Record::Consumed { mailbox, id });
        }
        writing.lazily(&mut deferred);
    }

    /// Checks that this process serves a mailbox's slot: a process that lost it must not answer
    /// with stale data. Call this under the lock of the mailbox: then the call ends before the slot
    /// is unloaded. Problems: `core.not_owner`.
    pub(crate) fn must_serve(&self, mailbox: impl Id) -> Result<(), Problem> {
        if self.ownership.serving(mailbox.slot()) { Ok(()) } else { Err(NOT_OWNER.into()) }
    }
}

/// The part of a client that the indexes need.
struct Tracked {
    deployment: DeploymentId,
    closed: bool,
    last_seen: Ticks,
}

impl Tracked {
    fn of(mailbox: &ClientBox) -> Self {
        Self { deployment: mailbox.deployment, closed: mailbox.inbox.closed, last_seen: mailbox.last_seen }
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
        self.client_send(user, client, messages, consumed, None)
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

    fn depths(&self) -> MailboxDepths {
        let mut depths = MailboxDepths::default();
        self.clients.each(|mailbox| {
            depths.clients += 1;
            depths.to_clients += mailbox.inbox.queue.len();
            depths.pending += mailbox.pending.as_ref().map_or(0, |it| it.len());
        });
        self.runtimes.each(|mailbox| {
            depths.runtimes += 1;
            depths.to_runtimes += mailbox.inbox.queue.len();
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
