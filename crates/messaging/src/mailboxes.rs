//! [`Messaging`] in memory, with a journal in PostgreSQL.

use std::{sync::Arc, time::Duration};

use omgservers_api::{ClientId, EntryId, Problem, RuntimeId, UserId, ids::SenderSeq};
use omgservers_core::{Clock, Db, Mint, Ownership, Ticks, ownership::NOT_OWNER};
use serde_json::value::RawValue;
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    Bounds, ClientInfo, Commit, Depths, Entry, FromClient, Messaging, Op, RuntimeInfo, Standing, To,
    client_box::ClientBox,
    commit::Fate,
    journal::{Failure, Journal, Record, Session, Writer},
    load,
    meters::Meters,
    runtime_box::RuntimeBox,
    shard::Shards,
    silence::Silence,
    wakes::Wakes,
};

pub(crate) type Clients = Shards<ClientId, ClientBox>;
pub(crate) type Runtimes = Shards<RuntimeId, RuntimeBox>;

/// The mailboxes of this process's slots.
///
/// Locks are taken in this order: shards of clients by number, shards of runtimes by number, the journal; and
/// never across an await.
pub struct Mailboxes {
    pub(crate) clients: Clients,
    pub(crate) runtimes: Runtimes,
    pub(crate) journal: Arc<Journal>,
    /// Open clients.
    pub(crate) silence: Silence,
    /// Closed clients.
    pub(crate) abandoned: Silence,
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
        let meters = Meters::new();
        let journal = Arc::new(Journal::new(&bounds));
        let writer = Writer::new(db.url(), Arc::clone(&journal), ownership.clone(), meters.clone(), session);
        let writer = tokio::spawn(writer.run()).abort_handle();
        let (silence, abandoned) = (Silence::default(), Silence::default());
        silence.watch_all(clients.collect(|it| (!it.inbox.closed).then_some(it.last_seen)));
        abandoned.watch_all(clients.collect(|it| it.inbox.closed.then_some(it.last_seen)));
        let it = Self {
            clients,
            runtimes,
            journal,
            silence,
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
        let mut wakes = Wakes::new(&self.journal);
        let mut writing = self.journal.write();
        for load::Orphan { mailbox, id } in orphans {
            writing.add(Record::Consumed { mailbox, id });
        }
        writing.lazily(&mut wakes);
    }

    /// A process that lost its slots answers nothing that others may take for the truth.
    pub(crate) fn must_own(&self) -> Result<(), Problem> {
        if self.journal.is_lost() { Err(NOT_OWNER.into()) } else { Ok(()) }
    }
}

impl Drop for Mailboxes {
    fn drop(&mut self) {
        self.writer.abort();
        self.journal.stop(Fate::Closed);
    }
}

#[async_trait::async_trait]
impl Messaging for Mailboxes {
    fn apply(&self, ops: Vec<Op>) -> Result<Commit, Problem> {
        self.apply_ops(ops)
    }

    async fn exchange_client(
        &self,
        user: UserId,
        client: ClientId,
        outgoing: &[FromClient<'_>],
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Vec<Entry>, Problem> {
        self.client_exchanges(user, client, outgoing, consumed, wait).await
    }

    fn speak(
        &self,
        user: UserId,
        client: ClientId,
        outgoing: &[FromClient<'_>],
        consumed: &[EntryId],
    ) -> Result<Option<Commit>, Problem> {
        self.client_speaks(user, client, outgoing, consumed)
    }

    async fn follow_client(
        &self,
        user: UserId,
        client: ClientId,
        after: Option<EntryId>,
        wait: Duration,
    ) -> Result<Option<Vec<Entry>>, Problem> {
        self.client_follows(user, client, after, wait).await
    }

    fn consume(&self, runtime: RuntimeId, consumed: &[EntryId]) -> Result<(), Problem> {
        self.runtime_consumes(runtime, consumed)
    }

    async fn exchange_runtime(
        &self,
        runtime: RuntimeId,
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Vec<Entry>, Problem> {
        self.runtime_exchanges(runtime, consumed, wait).await
    }

    fn say(
        &self,
        runtime: RuntimeId,
        seq: Option<SenderSeq>,
        to: To<'_>,
        message: &RawValue,
    ) -> Result<(Commit, Vec<ClientId>), Problem> {
        self.runtime_says(runtime, seq, to, message)
    }

    fn accept(&self, runtime: RuntimeId, seq: SenderSeq) -> Result<(Commit, bool), Problem> {
        self.accept_command(runtime, seq)
    }

    fn watch_client(&self, client: ClientId) -> Option<watch::Receiver<Standing>> {
        self.clients.lock(client).get_mut(&client).map(ClientBox::follow)
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

    fn clients(&self) -> Vec<(ClientId, ClientInfo)> {
        self.clients.collect(|it| Some(it.info()))
    }

    fn runtimes(&self) -> Vec<(RuntimeId, RuntimeInfo)> {
        self.runtimes.collect(|it| (!it.inbox.closed).then(|| it.info()))
    }

    fn silent_clients(&self, before: Ticks, most: usize) -> Vec<ClientId> {
        self.silence.since(before, most, |client| self.last_seen(client, false))
    }

    fn abandoned_clients(&self, before: Ticks, most: usize) -> Vec<ClientId> {
        self.abandoned.since(before, most, |client| self.last_seen(client, true))
    }

    async fn flush(&self) -> Result<(), Problem> {
        let commit = {
            let mut wakes = Wakes::new(&self.journal);
            self.journal.so_far(&mut wakes)
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
