//! How runtimes send.

use std::{sync::Arc, time::Duration};

use omgservers_api::{
    ClientId, Problem, RuntimeId,
    ids::{Id as _, SenderSeq},
    roles::Delivery,
};
use serde_json::value::RawValue;
use smallvec::{SmallVec, smallvec};

use crate::{
    AckHandle, Body, Mailboxes, To,
    ack::Completion,
    client_box::ClientBox,
    deferred::DeferredWakeups,
    entry::{JournalPosition, QueuedEntry},
    journal::{EntryKind, JournalGuard, Record},
    problems,
    qualifier::Qualifier,
    runtime_box::{self, RuntimeBox},
    shard::Locked,
};

/// Most bytes of all copies of one message. One batch writes them, and a parameter of a statement
/// in `PostgreSQL` has less than 1 GiB.
const MOST_BYTES_OF_A_SEND: usize = 512 << 20;

/// The state of one send of a runtime.
struct Broadcast<'a> {
    writing: Option<JournalGuard<'a>>,
    /// The completion of the runtime's newest messages.
    completion: Option<Arc<Completion>>,
}

impl Mailboxes {
    pub(crate) fn runtime_send(
        &self,
        runtime: RuntimeId,
        seq: Option<SenderSeq>,
        to: To<'_>,
        message: &RawValue,
    ) -> Result<(AckHandle, Vec<ClientId>), Problem> {
        let mut receivers = self.receivers(runtime, to)?;
        let body: Body = ["{\"message\":", message.get(), "}"].concat().into();
        let mut deferred = self.journal.deferred();
        // All at once, so that the counter and its messages are in one batch.
        let mut clients = self.clients.lock_some(receivers.iter().copied());
        if matches!(to, To::All) {
            // A client that has left since isn't a recipient any more.
            receivers.retain(|it| clients.get(*it).is_some_and(|it| it.route == Some(runtime)));
        }
        let mut shard = self.runtimes.lock(runtime);
        self.must_serve(runtime)?;
        let mailbox = runtime_box::open(shard.get_mut(&runtime))?;
        if let Some(original) = self.original(runtime, mailbox, seq) {
            return Ok((original, Vec::new()));
        }
        if mailbox.delivery == Delivery::Durable && !self.journal.has_capacity() {
            self.meters.refused(receivers.len());
            return Err(Problem::from(problems::BACKLOG).retry_after(Duration::from_secs(1)));
        }
        let mut sending = Broadcast { writing: None, completion: mailbox.last_sent.take() };
        let missed = self.deliver(runtime, &mut clients, &receivers, &body, &mut sending, &mut deferred);
        let Broadcast { mut writing, completion } = sending;
        let written = completion.clone().filter(|_| writing.is_some());
        mailbox.last_sent = completion;
        let counted = seq.map(|seq| self.count(runtime, mailbox, seq, &mut writing)).unwrap_or_default();
        let commit = writing.map(|writing| {
            if counted {
                mailbox.accepted = Some(writing.last());
            }
            let commit = match written {
                Some(completion) => writing.commit_messages(completion, &mut deferred),
                None => writing.commit(&mut deferred),
            };
            self.journal.after_control(commit, &mut mailbox.last_control)
        });
        let commit = commit.unwrap_or_default();
        self.meters.to_clients(receivers.len().saturating_sub(missed.len()));
        self.meters.refused(missed.len());
        Ok((commit, missed))
    }

    /// The recipients, each once, by id.
    fn receivers(&self, runtime: RuntimeId, to: To<'_>) -> Result<SmallVec<[ClientId; 1]>, Problem> {
        match to {
            To::One(client) => Ok(smallvec![client]),
            To::Some(clients) => {
                let mut clients = SmallVec::from_slice(clients);
                clients.sort_unstable();
                clients.dedup();
                Ok(clients)
            }
            To::All => {
                let shard = self.runtimes.lock(runtime);
                let mailbox =
                    shard.get(&runtime).filter(|it| !it.inbox.closed).ok_or(problems::RUNTIME_NOT_FOUND)?;
                Ok(mailbox.clients.iter().copied().collect())
            }
        }
    }

    /// Puts the message into the mailboxes of the recipients that are with the runtime and have
    /// capacity. Answers the other recipients.
    fn deliver<'a>(
        &'a self,
        runtime: RuntimeId,
        clients: &mut Locked<'_, ClientId, ClientBox>,
        receivers: &[ClientId],
        body: &Body,
        sending: &mut Broadcast<'a>,
        deferred: &mut DeferredWakeups<'_>,
    ) -> Vec<ClientId> {
        let qualifier = Qualifier::SERVER_OUTGOING;
        let mut bytes: usize = 0;
        let mut missed = Vec::new();
        for client in receivers {
            bytes = bytes.saturating_add(body.len());
            let fitting = clients.get_mut(*client).filter(|mailbox| {
                mailbox.route == Some(runtime)
                    && bytes <= MOST_BYTES_OF_A_SEND
                    && mailbox.inbox.queue.fits(
                        1,
                        body.len(),
                        self.bounds.most_entries,
                        self.bounds.most_bytes,
                    )
            });
            let (Some(mailbox), Ok(id)) = (fitting, self.mint.child(*client)) else {
                missed.push(*client);
                continue;
            };
            let body = Body::clone(body);
            let entry = match mailbox.delivery {
                Delivery::Ephemeral => {
                    QueuedEntry { id, qualifier, body, position: JournalPosition::NOWHERE, completion: None }
                }
                Delivery::Durable => {
                    let writing = sending.writing.get_or_insert_with(|| self.journal.write());
                    let kind = EntryKind::Inbox;
                    writing.message(client.get(), id, kind, (qualifier, body), &mut sending.completion)
                }
            };
            mailbox.inbox.push(entry, deferred);
        }
        missed
    }

    pub(crate) fn runtime_accept(
        &self,
        runtime: RuntimeId,
        seq: SenderSeq,
    ) -> Result<(AckHandle, bool), Problem> {
        let mut deferred = self.journal.deferred();
        let mut shard = self.runtimes.lock(runtime);
        self.must_serve(runtime)?;
        let mailbox = runtime_box::open(shard.get_mut(&runtime))?;
        if let Some(original) = self.original(runtime, mailbox, Some(seq)) {
            return Ok((original, false));
        }
        let mut writing = None;
        self.count(runtime, mailbox, seq, &mut writing);
        let Some(writing) = writing else { return Ok((AckHandle::none(), true)) };
        mailbox.accepted = Some(writing.last());
        Ok((writing.commit(&mut deferred), true))
    }

    /// The ack handle of the command with this counter, if it was accepted before.
    fn original(
        &self,
        runtime: RuntimeId,
        mailbox: &RuntimeBox,
        seq: Option<SenderSeq>,
    ) -> Option<AckHandle> {
        if seq.is_none() || seq.map(|it| it.0) > mailbox.last_seq {
            return None;
        }
        self.meters.duplicates(1);
        Some(mailbox.accepted.as_ref().map(|it| self.journal.ack_in(runtime, it)).unwrap_or_default())
    }

    /// Notes a runtime's counter; answers whether it is written.
    fn count<'a>(
        &'a self,
        runtime: RuntimeId,
        mailbox: &mut RuntimeBox,
        seq: SenderSeq,
        writing: &mut Option<JournalGuard<'a>>,
    ) -> bool {
        mailbox.last_seq = Some(seq.0);
        if mailbox.delivery == Delivery::Durable {
            let record = Record::Seq { mailbox: runtime.get(), seq: seq.0 };
            writing.get_or_insert_with(|| self.journal.write()).add(record);
        }
        mailbox.delivery == Delivery::Durable
    }
}
