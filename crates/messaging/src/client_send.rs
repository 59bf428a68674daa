//! What clients send to their runtimes.

use std::{sync::Arc, time::Duration};

use omgservers_api::{ClientId, EntryId, Problem, RuntimeId, UserId, ids::Id, roles::Delivery};

use crate::{
    AckHandle, Body, Bounds, ClientMessage, Mailboxes, StreamPosition,
    ack::Completion,
    client_box::{self, ClientBox},
    deferred::DeferredWakeups,
    entry::{JournalPosition, QueuedEntry},
    inbox::Queue,
    journal::{EntryKind, Record},
    problems,
    qualifier::Qualifier,
};

/// One message of a client with the body that its runtime receives.
struct Wrapped {
    seq: Option<u64>,
    body: Body,
}

impl Wrapped {
    fn all(client: ClientId, messages: &[ClientMessage<'_>]) -> Vec<Self> {
        if messages.is_empty() {
            return Vec::new();
        }
        let before = format!("{{\"client_id\":\"{client}\",\"message\":");
        let wrap = |message: &ClientMessage<'_>| Self {
            seq: message.seq.map(|it| it.0),
            body: [&*before, message.data.get(), "}"].concat().into(),
        };
        messages.iter().map(wrap).collect()
    }
}

/// The messages of one request that aren't duplicates.
struct Fresh {
    client: ClientId,
    messages: Vec<Wrapped>,
    /// The client's counter after them, when they change it.
    counter: Option<u64>,
}

impl Fresh {
    /// How many messages, and how many bytes.
    fn size(&self) -> (usize, usize) {
        (self.messages.len(), self.messages.iter().map(|it| it.body.len()).sum())
    }
}

/// Messages in a queue: when they are safe, and the batch that they are written in, if they are
/// written.
type Enqueued = (AckHandle, Option<Arc<Completion>>);

impl Mailboxes {
    pub(crate) fn client_send(
        &self,
        user: UserId,
        client: ClientId,
        messages: &[ClientMessage<'_>],
        consumed: &[EntryId],
        position: Option<StreamPosition>,
    ) -> Result<Option<AckHandle>, Problem> {
        let messages = Wrapped::all(client, messages);
        let mut deferred = self.journal.deferred();
        let mut shard = self.clients.lock(client);
        self.must_serve(client)?;
        let mailbox = client_box::owned(shard.get_mut(&client), user)?;
        if let Some(position) = position {
            mailbox.check_turn(position)?;
        }
        self.client_consumed(client, mailbox, consumed, &mut deferred);
        if !mailbox.inbox.is_over() {
            mailbox.last_seen = self.clock.ticks();
        }
        let accepted = if mailbox.inbox.closed {
            None
        } else if messages.is_empty() {
            Some(AckHandle::none())
        } else {
            Some(self.accept_messages(client, mailbox, messages, &mut deferred)?)
        };
        if let Some(position) = position {
            mailbox.end_turn(position);
        }
        Ok(accepted)
    }

    /// Enqueues all messages that aren't duplicates or, when they don't fit, none.
    fn accept_messages(
        &self,
        client: ClientId,
        from: &mut ClientBox,
        mut messages: Vec<Wrapped>,
        deferred: &mut DeferredWakeups<'_>,
    ) -> Result<AckHandle, Problem> {
        let all = messages.len();
        let mut last_seq = from.last_seq;
        messages.retain(|message| {
            let duplicate = message.seq.is_some() && message.seq <= last_seq;
            last_seq = if duplicate { last_seq } else { message.seq.or(last_seq) };
            !duplicate
        });
        let duplicates = all.saturating_sub(messages.len());
        self.meters.duplicates(duplicates);
        // A repeated message is acknowledged when the original may be.
        let original =
            from.accepted.as_ref().filter(|_| duplicates > 0).map(|it| self.journal.ack_in(client, it));
        if messages.is_empty() {
            return Ok(original.unwrap_or_default());
        }
        let counter = (last_seq != from.last_seq).then_some(last_seq).flatten();
        let fresh = Fresh { client, messages, counter };
        let (ack, batch) = match from.route {
            Some(runtime) => self.enqueue_at_runtime(runtime, fresh, deferred)?,
            None => self.enqueue_pending(from, fresh, deferred)?,
        };
        from.last_seq = last_seq;
        let ack = match batch {
            Some(batch) => {
                from.accepted = Some(batch);
                self.journal.after_control(ack, &mut from.last_control)
            }
            None => ack,
        };
        Ok(ack.join(original.unwrap_or_default()))
    }

    fn enqueue_at_runtime(
        &self,
        runtime: RuntimeId,
        fresh: Fresh,
        deferred: &mut DeferredWakeups<'_>,
    ) -> Result<Enqueued, Problem> {
        let mut shard = self.runtimes.lock(runtime);
        // A route never leads to a runtime that isn't open.
        let to = shard.get_mut(&runtime).ok_or(problems::RUNTIME_NOT_FOUND)?;
        let (count, bytes) = fresh.size();
        if !to.inbox.queue.fits(count, bytes, self.bounds.most_entries, self.bounds.most_bytes) {
            self.meters.refused(count);
            let Bounds { most_entries, most_bytes, .. } = self.bounds;
            return Err(full("the runtime's mailbox", most_entries, most_bytes));
        }
        let enqueued =
            self.enqueue(runtime, EntryKind::Inbox, to.delivery, &mut to.inbox.queue, fresh, deferred)?;
        to.inbox.wake(deferred);
        self.meters.to_runtimes(count);
        Ok(enqueued)
    }

    fn enqueue_pending(
        &self,
        from: &mut ClientBox,
        fresh: Fresh,
        deferred: &mut DeferredWakeups<'_>,
    ) -> Result<Enqueued, Problem> {
        let (count, bytes) = fresh.size();
        let pending = from.pending.get_or_insert_default();
        let Bounds { pending: most_entries, most_pending_bytes, .. } = self.bounds;
        if !pending.fits(count, bytes, most_entries, most_pending_bytes) {
            self.meters.refused(count);
            return Err(full("the queue for the client's first runtime", most_entries, most_pending_bytes));
        }
        self.enqueue(fresh.client, EntryKind::Pending, from.delivery, pending, fresh, deferred)
    }

    /// Enqueues messages in a queue that has capacity for them.
    fn enqueue(
        &self,
        mailbox: impl Id,
        kind: EntryKind,
        delivery: Delivery,
        queue: &mut Queue,
        fresh: Fresh,
        deferred: &mut DeferredWakeups<'_>,
    ) -> Result<Enqueued, Problem> {
        // Ids first: when there are none the queue must stay as it is.
        let mut ids: Vec<EntryId> = Vec::with_capacity(fresh.messages.len());
        for _message in &fresh.messages {
            ids.push(self.mint.child(mailbox)?);
        }
        let messages = ids.into_iter().zip(fresh.messages);
        let qualifier = Qualifier::HANDLE_MESSAGE;
        if delivery == Delivery::Ephemeral {
            for (id, Wrapped { body, .. }) in messages {
                let position = JournalPosition::NOWHERE;
                queue.push(QueuedEntry { id, qualifier, body, position, completion: None });
            }
            return Ok((AckHandle::none(), None));
        }
        if !self.journal.has_capacity() {
            self.meters.refused(messages.len());
            return Err(Problem::from(problems::BACKLOG).retry_after(Duration::from_secs(1)));
        }
        let mut journal = self.journal.write();
        let mut completion = None;
        for (id, Wrapped { body, .. }) in messages {
            queue.push(journal.message(mailbox.get(), id, kind, (qualifier, body), &mut completion));
        }
        if let Some(seq) = fresh.counter {
            journal.add(Record::Seq { mailbox: fresh.client.get(), seq });
        }
        let batch = Some(journal.last());
        let ack = match completion {
            Some(completion) => journal.commit_messages(completion, deferred),
            None => journal.commit(deferred),
        };
        Ok((ack, batch))
    }
}

fn full(what: &str, most_entries: usize, most_bytes: usize) -> Problem {
    problems::MAILBOX_FULL
        .detail(format!(
            "{what} has at most {most_entries} messages and {most_bytes} bytes; nothing of this request was \
             accepted, send it again later"
        ))
        .retry_after(Duration::from_secs(1))
}
