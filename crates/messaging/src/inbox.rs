//! The entries of one mailbox, in memory.

use std::{collections::VecDeque, sync::Arc};

use omgservers_api::EntryId;
use tokio::sync::{Notify, futures::OwnedNotified};

use crate::{Bounds, Entry, deferred::DeferredWakeups, entry::QueuedEntry, qualifier::Qualifier};

/// Entries in the order of their ids.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: VecDeque<QueuedEntry>,
    bytes: usize,
}

/// An emptied queue keeps memory for this many entries; a larger capacity is left from a burst and
/// is freed.
const KEPT_CAPACITY: usize = 32;

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The bytes of all bodies.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether `count` entries with `bytes` of bodies fit.
    pub(crate) fn fits(&self, count: usize, bytes: usize, most_entries: usize, most_bytes: usize) -> bool {
        self.entries.len().saturating_add(count) <= most_entries
            && self.bytes.saturating_add(bytes) <= most_bytes
    }

    /// Adds an entry whose id is above all others.
    pub(crate) fn push(&mut self, entry: QueuedEntry) {
        self.bytes = self.bytes.saturating_add(entry.body.len());
        self.entries.push_back(entry);
    }

    /// All entries, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.entries.iter()
    }

    /// Takes all entries out.
    pub(crate) fn take(&mut self) -> VecDeque<QueuedEntry> {
        self.bytes = 0;
        std::mem::take(&mut self.entries)
    }

    /// Takes the entries with these ids out; ids of others are ignored.
    pub(crate) fn consume(&mut self, ids: &[EntryId], mut consumed: impl FnMut(QueuedEntry)) {
        let mut rest = ids.iter();
        // A receiver mostly consumes what it received, in that order: the front of the queue.
        while let (Some(id), Some(front)) = (rest.as_slice().first(), self.entries.front()) {
            if *id != front.id {
                break;
            }
            rest.next();
            if let Some(entry) = self.entries.pop_front() {
                self.bytes = self.bytes.saturating_sub(entry.body.len());
                consumed(entry);
            }
        }
        self.consume_scattered(rest.as_slice(), consumed);
        if self.entries.is_empty() && self.entries.capacity() > KEPT_CAPACITY {
            self.entries = VecDeque::new();
        }
    }

    fn consume_scattered(&mut self, ids: &[EntryId], mut consumed: impl FnMut(QueuedEntry)) {
        let (Some(front), Some(back)) = (self.entries.front(), self.entries.back()) else { return };
        let mut ids: Vec<EntryId> =
            ids.iter().copied().filter(|it| (front.id..=back.id).contains(it)).collect();
        if ids.is_empty() {
            return;
        }
        ids.sort_unstable();
        let bytes = &mut self.bytes;
        self.entries.retain(|entry| {
            let kept = ids.binary_search(&entry.id).is_err();
            if !kept {
                *bytes = bytes.saturating_sub(entry.body.len());
                consumed(entry.clone());
            }
            kept
        });
    }

    /// The oldest entries with ids above `after`, within the bounds of an answer. Entries up to
    /// `after` that aren't consumed count into the bounds. Without such entries there is at least
    /// one, if there is one.
    fn received_after(&self, after: Option<EntryId>, bounds: &Bounds) -> Vec<Entry> {
        let start = self.first_after(after);
        let mut bytes: usize =
            self.entries.range(..start).fold(0, |sum, it| sum.saturating_add(it.body.len().max(1)));
        let most_entries = bounds.most_entries_per_answer.max(1).saturating_sub(start);
        let fitting = self.entries.range(start..).take(most_entries).take_while(|entry| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(entry.body.len().max(1));
            first || bytes <= bounds.most_bytes_per_answer
        });
        fitting.map(QueuedEntry::to_entry).collect()
    }

    /// Where the entries with ids above `after` begin.
    fn first_after(&self, after: Option<EntryId>) -> usize {
        after.map_or(0, |after| self.entries.partition_point(|it| it.id <= after))
    }

    /// Takes the upgrades out: they are void when the client's route has changed.
    pub(crate) fn take_upgrades(&mut self, mut taken: impl FnMut(QueuedEntry)) {
        if !self.entries.iter().any(|it| it.qualifier == Qualifier::CONNECTION_UPGRADE) {
            return;
        }
        let bytes = &mut self.bytes;
        self.entries.retain(|entry| {
            let kept = entry.qualifier != Qualifier::CONNECTION_UPGRADE;
            if !kept {
                *bytes = bytes.saturating_sub(entry.body.len());
                taken(entry.clone());
            }
            kept
        });
    }

    /// Whether an entry is queued that informs a client of a new status.
    pub(crate) fn has_status_message(&self) -> bool {
        let kinds = [Qualifier::RUNTIME_ASSIGNMENT, Qualifier::DISCONNECTION_REASON];
        self.entries.iter().any(|it| kinds.contains(&it.qualifier))
    }

    /// The oldest entries, within the bounds of an answer; at least one if there is one.
    ///
    /// An assignment and an upgrade never share an answer. A player that received both could
    /// mistake the end of its old connection for the end of the new one.
    pub(crate) fn answer(&self, bounds: &Bounds) -> Vec<Entry> {
        let mut bytes: usize = 0;
        let mut exclusive = None;
        let fitting = self.entries.iter().take(bounds.most_entries_per_answer.max(1)).take_while(|entry| {
            if matches!(entry.qualifier, Qualifier::RUNTIME_ASSIGNMENT | Qualifier::CONNECTION_UPGRADE)
                && *exclusive.get_or_insert(entry.qualifier) != entry.qualifier
            {
                return false;
            }
            let first = bytes == 0;
            // An empty body counts too, or the first would stay the first.
            bytes = bytes.saturating_add(entry.body.len().max(1));
            first || bytes <= bounds.most_bytes_per_answer
        });
        fitting.map(QueuedEntry::to_entry).collect()
    }
}

/// A mailbox's queue, and the receivers that wait at it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) queue: Queue,
    pub(crate) closed: bool,
    /// The newest entry that was in an answer of this process.
    received: Option<EntryId>,
    /// There is one only after a receiver has waited.
    waiter: Option<Arc<Notify>>,
}

/// The outcome of one attempt to receive.
pub(crate) enum Received {
    /// The entries; empty only if the receiver doesn't wait.
    Entries(Vec<Entry>),
    /// There is nothing yet; the future ends when the receiver should try again.
    Wait(OwnedNotified),
    /// The mailbox is closed, and the receiver has received everything.
    Closed,
}

impl Inbox {
    /// Whether the mailbox is closed and its owner has consumed everything.
    pub(crate) fn is_over(&self) -> bool {
        self.closed && self.queue.is_empty()
    }

    /// Receives the entries after `after`, or all that aren't consumed. `waits`: the caller waits
    /// for an arrival when there is nothing.
    pub(crate) fn receive(&mut self, after: Option<EntryId>, bounds: &Bounds, waits: bool) -> Received {
        let entries = match after {
            None => self.queue.answer(bounds),
            after => self.queue.received_after(after, bounds),
        };
        if let Some(last) = entries.last() {
            self.received = self.received.max(Some(last.id));
            return Received::Entries(entries);
        }
        if self.closed && self.queue.first_after(after) == self.queue.len() {
            return Received::Closed;
        }
        if !waits {
            return Received::Entries(entries);
        }
        let waiter = self.waiter.get_or_insert_with(Arc::default);
        Received::Wait(Arc::clone(waiter).notified_owned())
    }

    /// Adds an entry and wakes the receivers that wait for one.
    pub(crate) fn push(&mut self, entry: QueuedEntry, deferred: &mut DeferredWakeups<'_>) {
        self.queue.push(entry);
        self.wake(deferred);
    }

    /// Wakes all receivers that wait.
    pub(crate) fn wake(&mut self, deferred: &mut DeferredWakeups<'_>) {
        // One call wakes all receivers; one that waits again makes a new waiter.
        if let Some(waiter) = self.waiter.take() {
            deferred.receiver(&waiter);
        }
    }

    /// The entries that no answer of this process had, oldest first.
    pub(crate) fn unreceived(&self) -> impl Iterator<Item = &QueuedEntry> {
        self.queue.iter().filter(|it| Some(it.id) > self.received)
    }
}

#[cfg(test)]
mod tests {
    use omgservers_api::ids::Id as _;
    use proptest::prelude::*;

    use super::*;
    use crate::entry::JournalPosition;

    fn id(number: i64) -> EntryId {
        EntryId::from_i64(number).unwrap()
    }

    fn queue(ids: impl IntoIterator<Item = i64>) -> Queue {
        let mut queue = Queue::default();
        for number in ids {
            let body = "x".repeat(usize::try_from(number % 7).unwrap()).into();
            queue.push(QueuedEntry {
                id: id(number),
                qualifier: Qualifier::HANDLE_MESSAGE,
                body,
                position: JournalPosition::NOWHERE,
                completion: None,
            });
        }
        queue
    }

    fn ids(queue: &Queue) -> Vec<i64> {
        queue.entries.iter().map(|it| it.id.get()).collect()
    }

    #[test]
    fn an_answer_has_at_least_one_entry_and_else_keeps_its_bounds() {
        let bounds = Bounds { most_bytes_per_answer: 5, most_entries_per_answer: 3, ..Bounds::default() };
        // Bodies of 6 bytes, then of 1, 2, 3, 4.
        let mut queue = queue([6, 8, 9, 10, 11]);
        assert_eq!(queue.answer(&bounds).len(), 1, "one that is too large alone");
        queue.consume(&[id(6)], drop);
        assert_eq!(queue.answer(&bounds).len(), 2, "1 + 2 bytes, and 3 would be too much");
        let few = Bounds { most_entries_per_answer: 3, ..Bounds::default() };
        assert_eq!(queue.answer(&few).len(), 3);
        // Bodies of no bytes count as well.
        let empty = super::tests::queue([7, 14, 21, 28, 35, 42, 49]);
        assert_eq!(empty.answer(&bounds).len(), 3);
    }

    #[test]
    fn an_emptied_queue_gives_its_memory_back() {
        let mut queue = queue(1..=1_000);
        let all: Vec<EntryId> = (1..=1_000).map(id).collect();
        queue.consume(&all, drop);
        assert_eq!((queue.len(), queue.bytes, queue.entries.capacity()), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn who_follows_and_consumes_sees_every_entry_once_in_order_and_never_more_than_an_answer_unconsumed(
            entry in prop::collection::btree_set(1i64..200, 0..60),
            consumed_each_time in prop::collection::vec(0usize..5, 1..40),
            most_entries in 1usize..10,
            most_bytes in 1usize..30,
        ) {
            let bounds = Bounds {
                most_entries_per_answer: most_entries,
                most_bytes_per_answer: most_bytes,
                ..Bounds::default()
            };
            let mut queue = queue(entry.iter().copied());
            let (mut seen, mut unconsumed) = (Vec::new(), Vec::<Entry>::new());
            // In the end everything is consumed, so that the rest fits into the answers.
            let rounds = consumed_each_time.into_iter().chain(std::iter::repeat_n(usize::MAX, entry.len() + 1));
            for consumed in rounds {
                let after = seen.last().copied().map(id);
                let next = queue.received_after(after, &bounds);
                let sizes = || unconsumed.iter().chain(&next).map(|it| it.body.len().max(1));
                let alone = unconsumed.is_empty() && next.len() == 1;
                prop_assert!(next.is_empty() || alone || sizes().sum::<usize>() <= most_bytes);
                prop_assert!(unconsumed.len() + next.len() <= most_entries);
                seen.extend(next.iter().map(|it| it.id.get()));
                unconsumed.extend(next);
                let ids: Vec<EntryId> = unconsumed.drain(..consumed.min(unconsumed.len())).map(|it| it.id).collect();
                queue.consume(&ids, drop);
            }
            prop_assert_eq!(seen, entry.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn consuming_takes_exactly_what_is_named(
            entry in prop::collection::btree_set(1i64..60, 0..40),
            named in prop::collection::vec(1i64..70, 0..60),
            in_order in any::<bool>(),
        ) {
            let mut queue = queue(entry.iter().copied());
            let mut named = named;
            if in_order {
                named.sort_unstable();
            }
            let consumed_ids: Vec<EntryId> = named.iter().copied().map(id).collect();
            let mut gone = Vec::new();
            queue.consume(&consumed_ids, |it| gone.push(it.id.get()));
            gone.sort_unstable();
            let expected_gone: Vec<i64> = entry.iter().copied().filter(|it| named.contains(it)).collect();
            let expected_left: Vec<i64> = entry.iter().copied().filter(|it| !named.contains(it)).collect();
            prop_assert_eq!(gone, expected_gone);
            prop_assert_eq!(queue.bytes, queue.entries.iter().map(|it| it.body.len()).sum::<usize>());
            prop_assert_eq!(ids(&queue), expected_left);
        }
    }
}
