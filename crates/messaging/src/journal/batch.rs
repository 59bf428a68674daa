//! Batches: the changes that one transaction writes.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use omgservers_api::Slot;
use omgservers_core::Tenure;
use tokio::time::Instant;

use super::Record;
use crate::ack::{BatchOutcome, Completion};

/// Most records of a batch; only changes that belong together may exceed it.
pub(super) const MOST_RECORDS: usize = 4_000;
/// Most bytes of bodies in a batch, with the same exception.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// No slot is at this epoch.
const NO_EPOCH: i64 = -1;

/// Takes out the completions of messages in lost slots.
pub(super) fn take_lost(completions: &mut Vec<Arc<Completion>>, lost: &[Slot]) -> Vec<Arc<Completion>> {
    completions.extract_if(.., |it| it.slot().is_some_and(|it| lost.contains(&it))).collect()
}

/// Changes that are written in one transaction.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(super) number: u64,
    pub(super) records: Vec<Record>,
    pub(super) bytes: usize,
    /// How many changes wait for it.
    pub(super) commits: usize,
    /// Since when a sender waits for it.
    pub(super) since: Option<Instant>,
    pub(super) completion: Arc<Completion>,
    /// The completions of the messages in it.
    pub(super) completions: Vec<Arc<Completion>>,
    /// The tenure of each slot when its first record was made, where slots are lost one by one. The
    /// fence expects its epoch, not the present one. Otherwise a process that lost a slot unnoticed
    /// and acquired it again would write records of its former tenure.
    pub(super) tenures: HashMap<Slot, Arc<Tenure>>,
}

impl Batch {
    /// What the fence must find for these slots, in their order.
    pub(super) fn expected(&self, slots: &[Slot]) -> Vec<(i16, i64)> {
        let epoch = |slot: &Slot| self.tenures.get(slot).map_or(NO_EPOCH, |it| it.epoch());
        slots.iter().map(|it| (i16::try_from(it.number()).unwrap_or(i16::MAX), epoch(it))).collect()
    }

    /// Cancels the records of some slots; answers the completions of their senders.
    pub(super) fn cancel(&mut self, lost: &[Slot]) -> Vec<Arc<Completion>> {
        if lost.is_empty() {
            return Vec::new();
        }
        self.tenures.retain(|slot, _| !lost.contains(slot));
        for record in &mut self.records {
            if record.slot().is_some_and(|it| lost.contains(&it)) {
                *record = Record::Cancelled;
            }
        }
        take_lost(&mut self.completions, lost)
    }

    fn new(number: u64, capacity: usize) -> Self {
        Self {
            number,
            records: Vec::with_capacity(capacity),
            bytes: 0,
            commits: 0,
            since: None,
            completion: Completion::new(number),
            completions: Vec::new(),
            tenures: HashMap::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= MOST_RECORDS || self.bytes >= MOST_BYTES
    }
}

#[derive(Debug)]
pub(super) struct JournalState {
    /// Full batches, oldest first. Their numbers have no gaps, and the open one's is the next.
    pub(super) full: VecDeque<Batch>,
    pub(super) open: Batch,
    /// The completion of the batch that the writer took last.
    pub(super) taken: Arc<Completion>,
    /// Since when a sender waits for that batch.
    pub(super) taken_since: Option<Instant>,
    /// The completions of the messages in that batch.
    pub(super) completions_in_taken: Vec<Arc<Completion>>,
    /// Whether a sender waits for the open batch.
    pub(super) urgent: bool,
    /// Since when the open batch has a record that no sender waits for.
    pub(super) lazy_since: Option<Instant>,
    /// The batch lingers until so many changes wait for it; 0 when it doesn't linger.
    pub(super) enough: usize,
    /// The outcome with which the journal ended, if it has ended.
    pub(super) stopped: Option<BatchOutcome>,
}

impl JournalState {
    pub(super) fn new() -> Self {
        let nothing = Completion::new(0);
        nothing.finish(BatchOutcome::Safe);
        Self {
            full: VecDeque::new(),
            open: Batch::new(1, 0),
            taken: nothing,
            taken_since: None,
            completions_in_taken: Vec::new(),
            urgent: false,
            lazy_since: None,
            enough: 0,
            stopped: None,
        }
    }

    /// Closes the open batch and opens the next one.
    pub(super) fn roll(&mut self) -> Batch {
        self.urgent = false;
        self.lazy_since = None;
        let next = Batch::new(self.open.number.saturating_add(1), self.open.records.len());
        std::mem::replace(&mut self.open, next)
    }

    /// The completion with which everything so far is durable.
    pub(super) fn last(&self) -> &Arc<Completion> {
        if self.open.records.is_empty() && self.stopped.is_none() {
            self.full.back().map_or(&self.taken, |it| &it.completion)
        } else {
            &self.open.completion
        }
    }

    /// A batch that the writer hasn't taken yet.
    pub(super) fn batch_mut(&mut self, number: u64) -> Option<&mut Batch> {
        if number == self.open.number {
            return Some(&mut self.open);
        }
        let first = self.full.front()?.number;
        self.full.get_mut(usize::try_from(number.checked_sub(first)?).ok()?)
    }
}
