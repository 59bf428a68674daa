//! Exchanges: drop what was consumed, take what is said, answer what waits.

mod stream;

use std::{sync::Arc, time::Duration};

use omgservers_api::{ClientId, EntryId, Problem, RuntimeId, UserId, ids::Id, roles::Delivery};
use tokio::time::Instant;

use crate::{
    Body, Commit, Entry, FromClient, Mailboxes,
    client_box::ClientBox,
    commit::Completion,
    inbox::{Held, Look, Queue},
    journal::{EntryKind, Place, Record},
    problems,
    qualifier::Qualifier,
    wakes::Wakes,
};

/// One message of a client, as a runtime gets it.
struct Said {
    seq: Option<u64>,
    body: Body,
}

impl Said {
    fn all(client: ClientId, outgoing: &[FromClient<'_>]) -> Vec<Self> {
        if outgoing.is_empty() {
            return Vec::new();
        }
        let before = format!("{{\"client_id\":\"{client}\",\"message\":");
        let wrap = |it: &FromClient<'_>| Self {
            seq: it.seq.map(|it| it.0),
            body: [&*before, it.data.get(), "}"].concat().into(),
        };
        outgoing.iter().map(wrap).collect()
    }
}

/// The batch that something is written in, if it is.
type Batch = Option<Arc<Completion>>;

/// What became of the first half of an exchange.
enum Turn {
    /// Nothing has to be waited for.
    Done(Look),
    /// The answer must not be given before this.
    After(Commit),
}

impl Mailboxes {
    pub(crate) async fn client_exchanges(
        &self,
        user: UserId,
        client: ClientId,
        outgoing: &[FromClient<'_>],
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Vec<Entry>, Problem> {
        self.must_own()?;
        let look = match self.client_turn(user, client, outgoing, consumed, !wait.is_zero())? {
            Turn::Done(look) => look,
            Turn::After(commit) => {
                commit.wait().await?;
                self.client_looks(client, !wait.is_zero())?
            }
        };
        self.answer(look, wait, false, |wait| self.client_looks(client, wait)).await
    }

    pub(crate) fn runtime_consumes(&self, runtime: RuntimeId, consumed: &[EntryId]) -> Result<(), Problem> {
        self.must_own()?;
        if consumed.is_empty() {
            return Ok(());
        }
        let mut wakes = Wakes::new(&self.journal);
        let mut shard = self.runtimes.lock(runtime);
        let it = shard.get_mut(&runtime).filter(|it| !it.inbox.closed).ok_or(problems::RUNTIME_NOT_FOUND)?;
        self.consume(runtime, &mut it.inbox.queue, consumed, &mut wakes);
        Ok(())
    }

    pub(crate) async fn runtime_exchanges(
        &self,
        runtime: RuntimeId,
        consumed: &[EntryId],
        wait: Duration,
    ) -> Result<Vec<Entry>, Problem> {
        self.must_own()?;
        let look = {
            let mut wakes = Wakes::new(&self.journal);
            let mut shard = self.runtimes.lock(runtime);
            let it =
                shard.get_mut(&runtime).filter(|it| !it.inbox.closed).ok_or(problems::RUNTIME_NOT_FOUND)?;
            it.last_seen = Some(self.clock.ticks());
            self.consume(runtime, &mut it.inbox.queue, consumed, &mut wakes);
            it.inbox.look(&self.bounds, !wait.is_zero())
        };
        self.answer(look, wait, true, |wait| self.runtime_looks(runtime, wait)).await
    }

    /// Answers what waits; when nothing does, waits for something to arrive. `hears_many`: what is said in requests
    /// that have come, but whose turn has not, gets into the same answer.
    async fn answer(
        &self,
        mut look: Look,
        wait: Duration,
        hears_many: bool,
        mut again: impl FnMut(bool) -> Result<Look, Problem>,
    ) -> Result<Vec<Entry>, Problem> {
        let mut until = None;
        loop {
            let arrival = match look {
                Look::Entries(entries) => return Ok(entries),
                Look::Nothing(arrival) => arrival,
            };
            let until = *until.get_or_insert_with(|| Instant::now() + wait);
            let arrived = tokio::time::timeout_at(until, arrival).await.is_ok();
            if arrived && hears_many {
                tokio::task::yield_now().await;
            }
            self.must_own()?;
            look = again(arrived)?;
        }
    }

    fn client_looks(&self, client: ClientId, wait: bool) -> Result<Look, Problem> {
        let mut shard = self.clients.lock(client);
        let it = shard.get_mut(&client).ok_or(problems::CLIENT_NOT_FOUND)?;
        // Who still waits for the answer is there.
        it.last_seen = self.clock.ticks();
        Ok(it.inbox.look(&self.bounds, wait))
    }

    fn runtime_looks(&self, runtime: RuntimeId, wait: bool) -> Result<Look, Problem> {
        let mut shard = self.runtimes.lock(runtime);
        let it = shard.get_mut(&runtime).filter(|it| !it.inbox.closed).ok_or(problems::RUNTIME_NOT_FOUND)?;
        it.last_seen = Some(self.clock.ticks());
        Ok(it.inbox.look(&self.bounds, wait))
    }

    /// Everything that an exchange does before it waits for anything.
    fn client_turn(
        &self,
        user: UserId,
        client: ClientId,
        outgoing: &[FromClient<'_>],
        consumed: &[EntryId],
        wait: bool,
    ) -> Result<Turn, Problem> {
        let said = Said::all(client, outgoing);
        let mut wakes = Wakes::new(&self.journal);
        let mut shard = self.clients.lock(client);
        let it = shard.get_mut(&client).ok_or(problems::CLIENT_NOT_FOUND)?;
        if it.user != user {
            return Err(problems::FOREIGN_CLIENT.into());
        }
        it.last_seen = self.clock.ticks();
        self.consume(client, &mut it.inbox.queue, consumed, &mut wakes);
        if !consumed.is_empty() {
            it.publish();
        }
        if !said.is_empty() && !it.inbox.closed {
            let commit = self.take(client, it, said, &mut wakes)?;
            if !commit.is_safe() {
                return Ok(Turn::After(commit));
            }
        }
        Ok(Turn::Done(it.inbox.look(&self.bounds, wait)))
    }

    /// Drops what was consumed.
    fn consume(&self, mailbox: impl Id, queue: &mut Queue, consumed: &[EntryId], wakes: &mut Wakes<'_>) {
        if consumed.is_empty() || queue.is_empty() {
            return;
        }
        let mut writing = None;
        queue.consume(consumed, |held| {
            if let Some(said) = held.said.as_ref().filter(|it| it.one_less()) {
                if said.is_pending() {
                    self.meters.consumed_first();
                }
                wakes.safe(said);
            }
            if held.place != Place::NOWHERE {
                writing.get_or_insert_with(|| self.journal.write()).consumed(mailbox.get(), &held);
            }
        });
        if let Some(writing) = writing {
            writing.lazily(wakes);
        }
    }

    /// Takes what a client says: all of it, or, when it doesn't fit, nothing.
    fn take(
        &self,
        client: ClientId,
        from: &mut ClientBox,
        mut said: Vec<Said>,
        wakes: &mut Wakes<'_>,
    ) -> Result<Commit, Problem> {
        let all = said.len();
        let mut last_seq = from.last_seq;
        said.retain(|it| {
            let duplicate = it.seq.is_some() && it.seq <= last_seq;
            last_seq = if duplicate { last_seq } else { it.seq.or(last_seq) };
            !duplicate
        });
        let duplicates = all.saturating_sub(said.len());
        self.meters.duplicates(duplicates);
        // A repeated message is acknowledged when the original may be.
        let original = from.accepted.as_ref().filter(|_| duplicates > 0).map(|it| self.journal.commit_of(it));
        if said.is_empty() {
            return Ok(original.unwrap_or_default());
        }
        let counter = (last_seq != from.last_seq).then_some(last_seq).flatten();
        let from_client = Taken { client, said, counter };
        let (commit, batch) = match from.route {
            Some(runtime) => self.take_to_runtime(runtime, from_client, wakes)?,
            None => self.take_to_pending(from, from_client, wakes)?,
        };
        from.last_seq = last_seq;
        let commit = match batch {
            Some(batch) => {
                from.accepted = Some(batch);
                self.journal.and_told(commit, &mut from.told)
            }
            None => commit,
        };
        Ok(commit.join(original.unwrap_or_default()))
    }

    fn take_to_runtime(
        &self,
        runtime: RuntimeId,
        taken: Taken,
        wakes: &mut Wakes<'_>,
    ) -> Result<(Commit, Batch), Problem> {
        let mut shard = self.runtimes.lock(runtime);
        // A route never leads to a runtime that isn't open.
        let to = shard.get_mut(&runtime).ok_or(problems::RUNTIME_NOT_FOUND)?;
        let (count, bytes) = taken.size();
        if !to.inbox.queue.fits(count, bytes, self.bounds.most_entries, self.bounds.most_bytes) {
            self.meters.refused(count);
            return Err(self.full("the runtime's mailbox", self.bounds.most_entries));
        }
        let written =
            self.put(runtime, EntryKind::Waiting, to.delivery, &mut to.inbox.queue, taken, wakes)?;
        to.inbox.wake(wakes);
        self.meters.to_runtimes(count);
        Ok(written)
    }

    fn take_to_pending(
        &self,
        from: &mut ClientBox,
        taken: Taken,
        wakes: &mut Wakes<'_>,
    ) -> Result<(Commit, Batch), Problem> {
        let (count, bytes) = taken.size();
        let pending = from.pending.get_or_insert_default();
        if !pending.fits(count, bytes, self.bounds.pending, self.bounds.most_bytes) {
            self.meters.refused(count);
            return Err(self.full("the queue for the client's first runtime", self.bounds.pending));
        }
        self.put(taken.client, EntryKind::Pending, from.delivery, pending, taken, wakes)
    }

    /// Puts messages into a queue that has room for them.
    fn put(
        &self,
        mailbox: impl Id,
        kind: EntryKind,
        delivery: Delivery,
        queue: &mut Queue,
        taken: Taken,
        wakes: &mut Wakes<'_>,
    ) -> Result<(Commit, Batch), Problem> {
        // Ids first: there may be none, and then nothing was done.
        let mut ids: Vec<EntryId> = Vec::with_capacity(taken.said.len());
        for _message in &taken.said {
            ids.push(self.mint.child(mailbox)?);
        }
        let messages = ids.into_iter().zip(taken.said);
        let qualifier = Qualifier::HANDLE_MESSAGE;
        if delivery == Delivery::Ephemeral {
            for (id, Said { body, .. }) in messages {
                queue.push(Held { id, qualifier, body, place: Place::NOWHERE, said: None });
            }
            return Ok((Commit::none(), None));
        }
        if !self.journal.has_room() {
            self.meters.refused(messages.len());
            return Err(Problem::from(problems::BACKLOG).retry_after(Duration::from_secs(1)));
        }
        let mut writing = self.journal.write();
        let mut last = None;
        for (id, Said { body, .. }) in messages {
            queue.push(writing.say(mailbox.get(), id, kind, (qualifier, body), &mut last));
        }
        if let Some(seq) = taken.counter {
            writing.add(Record::Seq { mailbox: taken.client.get(), seq });
        }
        let batch = Some(writing.last());
        let commit = match last {
            Some(said) => writing.commit_said(said, wakes),
            None => writing.commit(wakes),
        };
        Ok((commit, batch))
    }

    fn full(&self, what: &str, most_entries: usize) -> Problem {
        let most_bytes = self.bounds.most_bytes;
        problems::MAILBOX_FULL
            .detail(format!(
                "{what} has at most {most_entries} messages and {most_bytes} bytes; nothing of this request was taken"
            ))
            .retry_after(Duration::from_secs(1))
    }
}

/// Messages that are to be taken.
struct Taken {
    client: ClientId,
    said: Vec<Said>,
    /// The client's counter after them, when they have changed it.
    counter: Option<u64>,
}

impl Taken {
    /// How many, and how many bytes.
    fn size(&self) -> (usize, usize) {
        (self.said.len(), self.said.iter().map(|it| it.body.len()).sum())
    }
}
