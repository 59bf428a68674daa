//! Batches: what is written in one transaction.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use omgservers_api::Slot;
use omgservers_core::Tenure;
use tokio::time::Instant;

use super::Record;
use crate::ack::{BatchOutcome, Completion};

/// A batch isn't made larger than this, but for changes that belong together.
pub(super) const MOST_RECORDS: usize = 4_000;
/// And it isn't made larger than so many bytes of bodies.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// No slot is at this epoch.
const NO_EPOCH: i64 = -1;

/// Takes the completions out whose messages are in lost slots.
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
    /// Since when somebody waits for it.
    pub(super) since: Option<Instant>,
    pub(super) completion: Arc<Completion>,
    /// Of what was said in it.
    pub(super) completions: Vec<Arc<Completion>>,
    /// Where slots are lost one by one: the tenure of each slot when its first record was made. The fence expects
    /// its epoch, not the present one. Otherwise a process that lost a slot unnoticed and acquired it again would
    /// write records of its former tenure.
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
    /// Of the batch that the writer took last.
    pub(super) taken: Arc<Completion>,
    /// Of what was said in that.
    pub(super) completions_in_taken: Vec<Arc<Completion>>,
    /// Somebody waits for the open batch.
    pub(super) urgent: bool,
    /// Since when something is in the open batch that nobody waits for.
    pub(super) lazy_since: Option<Instant>,
    /// The writer gathers until so many changes wait for the open batch; 0 when it doesn't.
    pub(super) enough: usize,
    /// Nothing is written any more, for this reason.
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

    /// When everything so far is written.
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
