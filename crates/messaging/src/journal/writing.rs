//! Writing to the journal.

use std::sync::{Arc, MutexGuard, atomic::Ordering};

use omgservers_api::{EntryId, ids::Id as _};
use tokio::time::Instant;

use super::{EntryKind, Journal, Place, Record, batch::Waiting};
use crate::{Body, Commit, inbox::Held, qualifier::Qualifier, wakes::Wakes};

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

    /// Somebody waits for it.
    pub(crate) fn commit(mut self, wakes: &mut Wakes<'_>) -> Commit {
        let waiting = &mut *self.waiting;
        let completion = Arc::clone(waiting.last());
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
        Commit::of(completion, self.journal.patience)
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
