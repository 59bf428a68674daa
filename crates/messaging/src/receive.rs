//! How clients and runtimes receive entries and consume them.

use std::time::Duration;

use omgservers_api::{ClientId, EntryId, Problem, RuntimeId, UserId, ids::Id};
use tokio::{sync::futures::OwnedNotified, time::Instant};

use crate::{
    Entry, Mailboxes,
    client_box::{self, ClientBox},
    deferred::DeferredWakeups,
    entry::JournalPosition,
    inbox::{Queue, Received},
    problems, runtime_box,
};

impl Mailboxes {
    pub(crate) async fn client_receive(
        &self,
        user: UserId,
        client: ClientId,
        after: Option<EntryId>,
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Option<Vec<Entry>>, Problem> {
        let mut until = None;
        let mut consumed = consumed;
        let mut waits = !wait.is_zero();
        loop {
            match self.client_receive_now(user, client, after, consumed, waits)? {
                Received::Entries(entries) => return Ok(Some(entries)),
                Received::Closed => return Ok(None),
                Received::Wait(arrival) => {
                    let until = *until.get_or_insert_with(|| Instant::now() + wait);
                    waits = self.arrives(client, until, arrival).await;
                }
            }
            consumed = &[];
        }
    }

    /// Waits for an arrival, or for the end of the mailbox's tenure; `false` after a timeout.
    async fn arrives(&self, mailbox: impl Id, until: Instant, arrival: OwnedNotified) -> bool {
        match self.journal.tenure(mailbox) {
            None => tokio::time::timeout_at(until, arrival).await.is_ok(),
            Some(tenure) => {
                let ended = tenure.ended().run_until_cancelled(arrival);
                tokio::time::timeout_at(until, ended).await.is_ok()
            }
        }
    }

    fn client_receive_now(
        &self,
        user: UserId,
        client: ClientId,
        after: Option<EntryId>,
        consumed: &[EntryId],
        waits: bool,
    ) -> Result<Received, Problem> {
        let mut deferred = self.journal.deferred();
        let mut shard = self.clients.lock(client);
        self.must_serve(client)?;
        let mailbox = client_box::owned(shard.get_mut(&client), user)?;
        self.client_consumed(client, mailbox, consumed, &mut deferred);
        // A client that still waits for its answer is alive. One that knows that its session is
        // over keeps nothing.
        if !mailbox.inbox.is_over() {
            mailbox.last_seen = self.clock.ticks();
        }
        Ok(mailbox.inbox.receive(after, &self.bounds, waits))
    }

    pub(crate) async fn runtime_receive(
        &self,
        runtime: RuntimeId,
        wait: Duration,
    ) -> Result<Vec<Entry>, Problem> {
        let mut until = None;
        let mut waits = !wait.is_zero();
        loop {
            let arrival = match self.runtime_receive_now(runtime, waits)? {
                Received::Entries(entries) => return Ok(entries),
                Received::Closed => return Err(problems::RUNTIME_NOT_FOUND.into()),
                Received::Wait(arrival) => arrival,
            };
            let until = *until.get_or_insert_with(|| Instant::now() + wait);
            waits = self.arrives(runtime, until, arrival).await;
            if waits {
                // Lets requests that are already queued on this thread run first: their messages
                // join the answer.
                tokio::task::yield_now().await;
            }
        }
    }

    fn runtime_receive_now(&self, runtime: RuntimeId, waits: bool) -> Result<Received, Problem> {
        let mut shard = self.runtimes.lock(runtime);
        self.must_serve(runtime)?;
        let mailbox = runtime_box::open(shard.get_mut(&runtime))?;
        mailbox.last_seen = Some(self.clock.ticks());
        Ok(mailbox.inbox.receive(None, &self.bounds, waits))
    }

    pub(crate) fn runtime_ack(&self, runtime: RuntimeId, consumed: &[EntryId]) -> Result<(), Problem> {
        let mut deferred = self.journal.deferred();
        let mut shard = self.runtimes.lock(runtime);
        self.must_serve(runtime)?;
        if consumed.is_empty() {
            return Ok(());
        }
        let mailbox = runtime_box::open(shard.get_mut(&runtime))?;
        self.drop_consumed(runtime, &mut mailbox.inbox.queue, consumed, &mut deferred);
        Ok(())
    }

    /// Drops the entries that a client has consumed. Consumption of an assignment changes its
    /// status.
    pub(crate) fn client_consumed(
        &self,
        client: ClientId,
        mailbox: &mut ClientBox,
        consumed: &[EntryId],
        deferred: &mut DeferredWakeups<'_>,
    ) {
        if consumed.is_empty() {
            return;
        }
        self.drop_consumed(client, &mut mailbox.inbox.queue, consumed, deferred);
        mailbox.publish();
    }

    /// Drops consumed entries. A message that all its recipients have consumed is safe without the
    /// database.
    fn drop_consumed(
        &self,
        mailbox: impl Id,
        queue: &mut Queue,
        consumed: &[EntryId],
        deferred: &mut DeferredWakeups<'_>,
    ) {
        if consumed.is_empty() || queue.is_empty() {
            return;
        }
        let mut journal = None;
        queue.consume(consumed, |entry| {
            if let Some(completion) = entry.completion.as_ref().filter(|it| it.one_less()) {
                if completion.is_pending() {
                    self.meters.consumed_first();
                }
                deferred.safe(completion);
            }
            if entry.position != JournalPosition::NOWHERE {
                journal.get_or_insert_with(|| self.journal.write()).consumed(mailbox.get(), &entry);
            }
        });
        if let Some(journal) = journal {
            journal.lazily(deferred);
        }
    }
}
