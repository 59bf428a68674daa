//! The journal: the changes in memory that are not committed yet, in order.
//!
//! Changes linger in an open batch. When the writer is free it takes the batch, and the next one
//! opens. All that wait for one batch share one [`Completion`].

mod batch;
mod connection;
mod guard;
mod record;
mod sql;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use omgservers_api::{Slot, ids::Id};
use omgservers_core::{Ownership, Tenure};
use tokio::{sync::Notify, time::Instant};

use self::batch::{Batch, JournalState, take_lost};
pub(crate) use self::{
    connection::{JournalSession, connect},
    guard::JournalGuard,
    record::{ClientRow, EntryKind, Record, RuntimeRow},
    writer::Writer,
};
use crate::{
    AckHandle, Bounds,
    ack::{BatchOutcome, Completion, Tenures},
    deferred::DeferredWakeups,
};

/// A change that no sender waits for is written after this time at the latest.
const LAZY: Duration = Duration::from_millis(250);

/// The resolution of a timer.
const TIMER: Duration = Duration::from_millis(1);
/// For shorter pauses: how often other tasks may run before a batch is begun.
const YIELDS: usize = 8;
/// No batch lingers longer than this.
const LONGEST_LINGER: Duration = Duration::from_millis(2);

/// The changes that are not committed yet.
pub(crate) struct Journal {
    state: Mutex<JournalState>,
    /// Wakes the writer.
    doorbell: Notify,
    /// How many records wait for the writer.
    unwritten: AtomicUsize,
    ownership: Ownership,
    most_unwritten: usize,
    commit_timeout: Duration,
}

impl Journal {
    pub(crate) fn new(bounds: &Bounds, ownership: Ownership) -> Self {
        Self {
            state: Mutex::new(JournalState::new()),
            doorbell: Notify::new(),
            unwritten: AtomicUsize::new(0),
            ownership,
            most_unwritten: bounds.most_unwritten,
            commit_timeout: bounds.commit_timeout,
        }
    }

    fn lock(&self) -> MutexGuard<'_, JournalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to write: all that is written with the guard is in one batch. Take the locks of
    /// mailboxes first.
    pub(crate) fn write(&self) -> JournalGuard<'_> {
        JournalGuard { journal: self, state: self.lock(), tenures: Tenures::new() }
    }

    /// Whether the database keeps up.
    pub(crate) fn has_capacity(&self) -> bool {
        self.unwritten.load(Ordering::Relaxed) < self.most_unwritten
    }

    /// The tenure of a mailbox's slot, where slots are lost one by one.
    pub(crate) fn tenure(&self, mailbox: impl Id) -> Option<Arc<Tenure>> {
        if self.ownership.by_slot() { self.ownership.newest(mailbox.slot()) } else { None }
    }

    /// The commit of a batch that others wait for, too.
    pub(crate) fn ack_of(&self, completion: &Arc<Completion>) -> AckHandle {
        AckHandle::batch(Arc::clone(completion), self.commit_timeout)
    }

    /// The commit of a batch that has records of this mailbox and that others wait for, too.
    pub(crate) fn ack_in(&self, mailbox: impl Id, completion: &Arc<Completion>) -> AckHandle {
        self.ack_of(completion).within(self.tenure(mailbox).as_slice())
    }

    /// An ack of a sender's messages that also waits for the backend's last message to that sender.
    /// Otherwise a crash could undo an assignment that the sender has already answered. Clears
    /// `last_control` when it is durable.
    pub(crate) fn after_control(
        &self,
        ack: AckHandle,
        last_control: &mut Option<Arc<Completion>>,
    ) -> AckHandle {
        let _durable = last_control.take_if(|it| !it.is_pending());
        match last_control {
            Some(control) => ack.join(self.ack_of(control)),
            None => ack,
        }
    }

    /// The commit after which everything so far is durable.
    pub(crate) fn so_far(&self, deferred: &mut DeferredWakeups<'_>) -> AckHandle {
        let mut state = self.lock();
        if !state.open.records.is_empty() {
            state.urgent = true;
            deferred.writer();
        }
        self.ack_of(state.last())
    }

    /// Collects wake-ups, the writer's included, until the locks are released.
    pub(crate) fn deferred(&self) -> DeferredWakeups<'_> {
        DeferredWakeups::new(&self.doorbell)
    }

    /// Ends the journal: all waits end with `outcome`, also those that begin later.
    pub(crate) fn stop(&self, outcome: BatchOutcome) {
        let mut state = self.lock();
        state.stopped.get_or_insert(outcome);
        let mut completions = std::mem::take(&mut state.completions_in_taken);
        for batch in state.full.drain(..) {
            batch.completion.finish(outcome);
            completions.extend(batch.completions);
        }
        state.taken.finish(outcome);
        state.open.records = Vec::new();
        state.open.completion.finish(outcome);
        completions.append(&mut state.open.completions);
        completions.iter().for_each(|it| it.finish(outcome));
        self.unwritten.store(0, Ordering::Relaxed);
    }

    /// Handles the loss of tenures: their unwritten records are never written. A sender that waits
    /// for messages in them learns of the loss now. A sender that waits for a batch learns of it
    /// when the rest of the batch is written.
    fn lose(&self, lost: &[Arc<Tenure>]) {
        let slots: Vec<Slot> = lost.iter().map(|it| it.slot()).collect();
        let mut completions = {
            let mut state = self.lock();
            let state = &mut *state;
            let mut completions = take_lost(&mut state.completions_in_taken, &slots);
            for batch in state.full.iter_mut().chain([&mut state.open]) {
                let is_of = |tenure: &&Arc<Tenure>| {
                    batch.tenures.get(&tenure.slot()).is_some_and(|of| of.epoch() == tenure.epoch())
                };
                let slots: Vec<Slot> = lost.iter().filter(is_of).map(|it| it.slot()).collect();
                completions.extend(batch.cancel(&slots));
            }
            completions
        };
        completions.drain(..).for_each(|it| it.finish(BatchOutcome::Lost));
    }

    /// Drops the unwritten records of a slot that is loaded from the database, or not served any
    /// more. The batch that the writer has taken stays, and its fence decides.
    pub(crate) fn forget(&self, slot: Slot) {
        let mut completions = Vec::new();
        {
            let mut state = self.lock();
            let state = &mut *state;
            for batch in state.full.iter_mut().chain([&mut state.open]) {
                completions.extend(batch.cancel(&[slot]));
            }
        }
        completions.iter().for_each(|it| it.finish(BatchOutcome::Lost));
    }

    /// Marks the batch that the writer took last as durable.
    fn written(&self) {
        let (taken, completions) = {
            let mut state = self.lock();
            state.taken_since = None;
            (Arc::clone(&state.taken), std::mem::take(&mut state.completions_in_taken))
        };
        taken.finish(BatchOutcome::Safe);
        completions.iter().for_each(|it| it.finish(BatchOutcome::Safe));
    }

    /// The next batch, when it is time to write one.
    async fn next(&self) -> Batch {
        loop {
            let lazy_since = match self.take() {
                Ok(batch) => return batch,
                Err(lazy_since) => lazy_since,
            };
            match lazy_since {
                None => self.doorbell.notified().await,
                Some(since) => {
                    if tokio::time::timeout_at(since + LAZY, self.doorbell.notified()).await.is_err() {
                        self.lock().urgent = true;
                    }
                }
            }
        }
    }

    /// Lets the next batch linger for a moment. Senders that waited for the last commit often send
    /// again at once. Without the pause they would miss the next batch, and each of them would
    /// always wait for two commits. A longer commit makes a longer pause worth it.
    async fn linger(&self, last_commits: usize, last_took: Duration) {
        if last_commits < 2 || self.has_enough(last_commits) {
            return;
        }
        let pause = last_took / 4;
        if pause < TIMER {
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
                if self.has_enough(last_commits) {
                    return;
                }
            }
            return;
        }
        self.lock().enough = last_commits;
        let until = Instant::now() + pause.min(LONGEST_LINGER);
        while !self.has_enough(last_commits)
            && tokio::time::timeout_at(until, self.doorbell.notified()).await.is_ok()
        {}
        self.lock().enough = 0;
    }

    fn has_enough(&self, commits: usize) -> bool {
        let state = self.lock();
        !state.full.is_empty() || state.open.commits >= commits
    }

    fn take(&self) -> Result<Batch, Option<Instant>> {
        let mut state = self.lock();
        let mut batch = match state.full.pop_front() {
            Some(batch) => batch,
            None if state.urgent && !state.open.records.is_empty() => state.roll(),
            None => return Err(state.lazy_since),
        };
        state.taken = Arc::clone(&batch.completion);
        state.completions_in_taken = std::mem::take(&mut batch.completions);
        state.taken_since = batch.since;
        self.unwritten.fetch_sub(batch.records.len(), Ordering::Relaxed);
        Ok(batch)
    }

    /// How long the oldest sender waits that waits for a commit.
    pub(crate) fn delay(&self) -> Duration {
        let state = self.lock();
        let since = state.taken_since.or_else(|| state.full.front()?.since).or(state.open.since);
        since.map_or(Duration::ZERO, |it| it.elapsed())
    }

    /// How many records wait for the writer.
    fn depth(&self) -> usize {
        self.unwritten.load(Ordering::Relaxed)
    }
}
