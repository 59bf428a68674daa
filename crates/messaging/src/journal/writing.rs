//! Writing to the journal.

use std::sync::{Arc, MutexGuard, atomic::Ordering};

use omgservers_api::{EntryId, ids::Id as _};
use tokio::time::Instant;

use super::{EntryKind, Journal, Place, Record, batch::Waiting};
use crate::{Body, Commit, commit::Completion, inbox::Held, qualifier::Qualifier, wakes::Wakes};

/// Writes to the open batch. It holds the journal's lock.
pub(crate) struct Writing<'a> {
    pub(super) journal: &'a Journal,
    pub(super) waiting: MutexGuard<'a, Waiting>,
}

impl Writing<'_> {
    pub(crate) fn add(&mut self, record: Record) {
        if self.waiting.stopped.is_none() {
            self.waiting.open.records.push(record);
            self.journal.unwritten.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes an entry.
    pub(crate) fn entry(
        &mut self,
        mailbox: i64,
        id: EntryId,
        kind: EntryKind,
        qualifier: Qualifier,
        body: &Body,
    ) -> Place {
        let open = &mut self.waiting.open;
        let place = Place { batch: open.number, record: open.records.len() };
        open.bytes = open.bytes.saturating_add(body.len());
        self.add(Record::Entry { mailbox, id: id.get(), kind, qualifier, body: Body::clone(body) });
        place
    }

    /// Writes an entry of somebody who waits until it is safe. `said` is of what he has said before; it may be another
    /// one after this.
    pub(crate) fn say(
        &mut self,
        mailbox: i64,
        id: EntryId,
        kind: EntryKind,
        body: (Qualifier, Body),
        said: &mut Option<Arc<Completion>>,
    ) -> Held {
        let number = self.waiting.open.number;
        if said.as_ref().is_none_or(|it| !it.one_more(number)) {
            let it = Completion::of_one(number);
            if let Some(fate) = self.waiting.stopped {
                it.finish(fate);
            }
            self.waiting.open.said.push(Arc::clone(&it));
            *said = Some(it);
        }
        let (qualifier, body) = body;
        let place = self.entry(mailbox, id, kind, qualifier, &body);
        Held { id, qualifier, body, place, said: said.clone() }
    }

    /// An entry is consumed: it isn't written if it wasn't yet, else it is deleted.
    pub(crate) fn consumed(&mut self, mailbox: i64, held: &Held) {
        let Place { batch, record } = held.place;
        if held.place == Place::NOWHERE {
            return;
        }
        let Some(batch) = self.waiting.batch_mut(batch) else {
            return self.add(Record::Consumed { mailbox, id: held.id.get() });
        };
        if let Some(record) = batch.records.get_mut(record) {
            *record = Record::Cancelled;
            batch.bytes = batch.bytes.saturating_sub(held.body.len());
        }
    }

    /// An entry is elsewhere from the open batch on. In an earlier one it stays, for who said it hears that it is safe
    /// when that is written.
    pub(crate) fn moved(&mut self, mailbox: i64, held: &Held) {
        if held.place.batch == self.waiting.open.number {
            self.consumed(mailbox, held);
        } else if held.place != Place::NOWHERE {
            self.add(Record::Consumed { mailbox, id: held.id.get() });
        }
    }

    /// What everything so far is durable with.
    pub(crate) fn last(&self) -> Arc<Completion> {
        Arc::clone(self.waiting.last())
    }

    /// Somebody waits until everything so far is durable.
    pub(crate) fn commit(self, wakes: &mut Wakes<'_>) -> Commit {
        let (last, patience) = (self.last(), self.journal.patience);
        self.urgently(wakes);
        Commit::batch(last, patience)
    }

    /// Somebody waits until what he said is safe.
    pub(crate) fn commit_said(self, said: Arc<Completion>, wakes: &mut Wakes<'_>) -> Commit {
        let patience = self.journal.patience;
        self.urgently(wakes);
        Commit::said(said, patience)
    }

    fn urgently(mut self, wakes: &mut Wakes<'_>) {
        let waiting = &mut *self.waiting;
        waiting.open.commits = waiting.open.commits.saturating_add(1);
        if waiting.open.commits == 1 {
            waiting.open.since = Some(Instant::now());
        }
        if !waiting.urgent && !waiting.open.records.is_empty() {
            waiting.urgent = true;
            wakes.writer();
        } else if waiting.open.commits == waiting.enough {
            wakes.writer();
        }
        self.end(wakes);
    }

    /// Nobody waits for it.
    pub(crate) fn lazily(mut self, wakes: &mut Wakes<'_>) {
        let waiting = &mut *self.waiting;
        if !waiting.urgent && waiting.lazy_since.is_none() && !waiting.open.records.is_empty() {
            waiting.lazy_since = Some(Instant::now());
            wakes.writer();
        }
        self.end(wakes);
    }

    fn end(&mut self, wakes: &mut Wakes<'_>) {
        if self.waiting.open.is_full() {
            let full = self.waiting.roll();
            self.waiting.full.push_back(full);
            wakes.writer();
        }
    }
}
