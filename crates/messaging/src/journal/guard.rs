//! Adds changes to the journal.

use std::sync::{Arc, MutexGuard, atomic::Ordering};

use omgservers_api::{EntryId, ids::Id as _};
use omgservers_core::Tenure;
use tokio::time::Instant;

use super::{EntryKind, Journal, Record, batch::JournalState, record::slot_of};
use crate::{
    AckHandle, Body,
    ack::{Completion, Tenures, add_tenure},
    deferred::DeferredWakeups,
    entry::{JournalPosition, QueuedEntry},
    qualifier::Qualifier,
};

/// Writes to the open batch. It holds the journal's lock.
pub(crate) struct JournalGuard<'a> {
    pub(super) journal: &'a Journal,
    pub(super) state: MutexGuard<'a, JournalState>,
    /// The tenures of the records that were added.
    pub(super) tenures: Tenures,
}

impl JournalGuard<'_> {
    pub(crate) fn add(&mut self, record: Record) {
        if self.state.stopped.is_none() && self.is_owned(&record) {
            self.state.open.records.push(record);
            self.journal.unwritten.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes the tenure in which a record is made; the writer drops the records of a lost tenure.
    /// `false` when this process never owned the slot.
    fn is_owned(&mut self, record: &Record) -> bool {
        if !self.journal.ownership.by_slot() {
            return true;
        }
        let Some(slot) = record.slot() else { return true };
        let known = self.state.open.tenures.get(&slot).cloned();
        let Some(tenure) = known.or_else(|| self.journal.ownership.newest(slot)) else { return false };
        add_tenure(&mut self.tenures, &tenure);
        self.state.open.tenures.insert(slot, tenure);
        true
    }

    /// Allows records of a slot that is still loading.
    pub(crate) fn adopt(&mut self, tenure: &Arc<Tenure>) {
        self.state.open.tenures.insert(tenure.slot(), Arc::clone(tenure));
    }

    /// Writes an entry.
    pub(crate) fn entry(
        &mut self,
        mailbox: i64,
        id: EntryId,
        kind: EntryKind,
        qualifier: Qualifier,
        body: &Body,
    ) -> JournalPosition {
        let open = &mut self.state.open;
        let position = JournalPosition { batch: open.number, record: open.records.len() };
        open.bytes = open.bytes.saturating_add(body.len());
        self.add(Record::Entry { mailbox, id: id.get(), kind, qualifier, body: Body::clone(body) });
        position
    }

    /// Writes a message whose sender waits until it is safe. `completion` is that of the sender's
    /// messages so far; a new one replaces it when they are in an earlier batch.
    pub(crate) fn message(
        &mut self,
        mailbox: i64,
        id: EntryId,
        kind: EntryKind,
        body: (Qualifier, Body),
        completion: &mut Option<Arc<Completion>>,
    ) -> QueuedEntry {
        let number = self.state.open.number;
        if completion.as_ref().is_none_or(|it| !it.one_more(number)) {
            let one = Completion::of_one(number, slot_of(mailbox));
            if let Some(outcome) = self.state.stopped {
                one.finish(outcome);
            }
            self.state.open.completions.push(Arc::clone(&one));
            *completion = Some(one);
        }
        let (qualifier, body) = body;
        let position = self.entry(mailbox, id, kind, qualifier, &body);
        QueuedEntry { id, qualifier, body, position, completion: completion.clone() }
    }

    /// Records the consumption of an entry: an unwritten entry is cancelled, a written one is
    /// deleted.
    pub(crate) fn consumed(&mut self, mailbox: i64, entry: &QueuedEntry) {
        let JournalPosition { batch, record } = entry.position;
        if entry.position == JournalPosition::NOWHERE {
            return;
        }
        let Some(batch) = self.state.batch_mut(batch) else {
            return self.add(Record::Consumed { mailbox, id: entry.id.get() });
        };
        if let Some(record) = batch.records.get_mut(record) {
            *record = Record::Cancelled;
            batch.bytes = batch.bytes.saturating_sub(entry.body.len());
        }
    }

    /// Records that an entry moves to another mailbox in the open batch. In an earlier batch the
    /// entry stays, because the commit of that batch acknowledges it to its sender.
    pub(crate) fn moved(&mut self, mailbox: i64, entry: &QueuedEntry) {
        if entry.position.batch == self.state.open.number {
            self.consumed(mailbox, entry);
        } else if entry.position != JournalPosition::NOWHERE {
            self.add(Record::Consumed { mailbox, id: entry.id.get() });
        }
    }

    /// The completion with which everything so far is durable.
    pub(crate) fn last(&self) -> Arc<Completion> {
        Arc::clone(self.state.last())
    }

    /// Commits for a sender that waits until everything so far is durable.
    pub(crate) fn commit(mut self, deferred: &mut DeferredWakeups<'_>) -> AckHandle {
        let (last, commit_timeout) = (self.last(), self.journal.commit_timeout);
        let tenures = std::mem::take(&mut self.tenures);
        self.urgently(deferred);
        AckHandle::batch(last, commit_timeout).within(&tenures)
    }

    /// Commits for a sender that waits until its messages are safe.
    pub(crate) fn commit_messages(
        mut self,
        completion: Arc<Completion>,
        deferred: &mut DeferredWakeups<'_>,
    ) -> AckHandle {
        let commit_timeout = self.journal.commit_timeout;
        let tenures = std::mem::take(&mut self.tenures);
        self.urgently(deferred);
        AckHandle::messages(completion, commit_timeout).within(&tenures)
    }

    fn urgently(mut self, deferred: &mut DeferredWakeups<'_>) {
        let state = &mut *self.state;
        state.open.commits = state.open.commits.saturating_add(1);
        // An empty batch stays open, and nobody waits for it.
        if state.open.since.is_none() && !state.open.records.is_empty() {
            state.open.since = Some(Instant::now());
        }
        if !state.urgent && !state.open.records.is_empty() {
            state.urgent = true;
            deferred.writer();
        } else if state.open.commits == state.enough {
            deferred.writer();
        }
        self.end(deferred);
    }

    /// Commits changes that no sender waits for.
    pub(crate) fn lazily(mut self, deferred: &mut DeferredWakeups<'_>) {
        let state = &mut *self.state;
        if !state.urgent && state.lazy_since.is_none() && !state.open.records.is_empty() {
            state.lazy_since = Some(Instant::now());
            deferred.writer();
        }
        self.end(deferred);
    }

    fn end(&mut self, deferred: &mut DeferredWakeups<'_>) {
        if self.state.open.is_full() {
            let full = self.state.roll();
            self.state.full.push_back(full);
            deferred.writer();
        }
    }
}
