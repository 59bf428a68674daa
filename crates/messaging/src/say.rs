//! What runtimes say.

use std::time::Duration;

use omgservers_api::{
    ClientId, Problem, RuntimeId,
    ids::{Id as _, SenderSeq},
    roles::Delivery,
};
use serde_json::value::RawValue;

use crate::{
    Body, Commit, Mailboxes, To,
    inbox::Held,
    journal::{EntryKind, Place, Record},
    problems,
    qualifier::Qualifier,
    wakes::Wakes,
};

impl Mailboxes {
    pub(crate) fn runtime_says(
        &self,
        runtime: RuntimeId,
        to: To<'_>,
        message: &RawValue,
    ) -> Result<(Commit, Vec<ClientId>), Problem> {
        self.must_own()?;
        let (mut clients, delivery) = self.receivers(runtime, to)?;
        if delivery == Delivery::Durable && !self.journal.has_room() {
            self.meters.refused(clients.len());
            return Err(Problem::from(problems::BACKLOG).retry_after(Duration::from_secs(1)));
        }
        let body: Body = format!("{{\"message\":{}}}", message.get()).into();
        // Those of one shard together: a lock for each shard, not for each client.
        clients.sort_unstable_by_key(|it| (self.clients.index(*it), *it));
        clients.dedup();
        let mut commit = Commit::none();
        let mut missed = Vec::new();
        for group in clients.chunk_by(|one, two| self.clients.index(*one) == self.clients.index(*two)) {
            commit = commit.join(self.say_in_shard(runtime, group, &body, &mut missed));
        }
        self.meters.to_clients(clients.len().saturating_sub(missed.len()));
        self.meters.refused(missed.len());
        missed.sort_unstable();
        Ok((commit, missed))
    }

    fn receivers(&self, runtime: RuntimeId, to: To<'_>) -> Result<(Vec<ClientId>, Delivery), Problem> {
        let shard = self.runtimes.lock(runtime);
        let it = shard.get(&runtime).filter(|it| !it.inbox.closed).ok_or(problems::RUNTIME_NOT_FOUND)?;
        let clients = match to {
            To::One(client) => vec![client],
            To::Some(clients) => clients.to_vec(),
            To::All => it.clients.iter().copied().collect(),
        };
        Ok((clients, it.delivery))
    }

    /// Says it to clients of one shard.
    fn say_in_shard(
        &self,
        runtime: RuntimeId,
        clients: &[ClientId],
        body: &Body,
        missed: &mut Vec<ClientId>,
    ) -> Commit {
        let Some(first) = clients.first() else { return Commit::none() };
        let mut wakes = Wakes::new(&self.journal);
        let mut shard = self.clients.lock(*first);
        let mut writing = None;
        for client in clients {
            let room = shard.get_mut(client).filter(|it| {
                it.route == Some(runtime)
                    && it.inbox.queue.fits(1, body.len(), self.bounds.most_entries, self.bounds.most_bytes)
            });
            let (Some(it), Ok(id)) = (room, self.mint.child(*client)) else {
                missed.push(*client);
                continue;
            };
            let qualifier = Qualifier::SERVER_OUTGOING;
            let place = match it.delivery {
                Delivery::Ephemeral => Place::NOWHERE,
                Delivery::Durable => writing.get_or_insert_with(|| self.journal.write()).entry(
                    client.get(),
                    id,
                    EntryKind::Waiting,
                    qualifier,
                    body,
                ),
            };
            it.inbox.push(Held { id, qualifier, body: Body::clone(body), place }, &mut wakes);
        }
        writing.map(|it| it.commit(&mut wakes)).unwrap_or_default()
    }

    pub(crate) fn accept_command(
        &self,
        runtime: RuntimeId,
        seq: SenderSeq,
    ) -> Result<(Commit, bool), Problem> {
        self.must_own()?;
        let mut wakes = Wakes::new(&self.journal);
        let mut shard = self.runtimes.lock(runtime);
        let it = shard.get_mut(&runtime).filter(|it| !it.inbox.closed).ok_or(problems::RUNTIME_NOT_FOUND)?;
        if Some(seq.0) <= it.last_seq {
            let original = it.accepted.as_ref().map(|it| self.journal.commit_of(it));
            self.meters.duplicates(1);
            return Ok((original.unwrap_or_default(), false));
        }
        it.last_seq = Some(seq.0);
        if it.delivery == Delivery::Ephemeral {
            return Ok((Commit::none(), true));
        }
        let mut writing = self.journal.write();
        writing.add(Record::Seq { mailbox: runtime.get(), seq: seq.0 });
        let commit = writing.commit(&mut wakes);
        it.accepted = commit.completion();
        Ok((commit, true))
    }
}
