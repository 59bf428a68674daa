//! Wake-ups that happen when the locks are released.
//!
//! A task that is woken under a lock would wait for that lock, and so would all others.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::ack::{BatchOutcome, Completion};

/// Collects wake-ups and delivers them when it is dropped: create it before the first lock is
/// taken.
pub(crate) struct DeferredWakeups<'a> {
    doorbell: &'a Notify,
    wakes_writer: bool,
    receivers: SmallVec<[Arc<Notify>; 1]>,
    safe: SmallVec<[Arc<Completion>; 1]>,
}

impl<'a> DeferredWakeups<'a> {
    /// `doorbell` wakes the writer of the journal.
    pub(crate) fn new(doorbell: &'a Notify) -> Self {
        Self { doorbell, wakes_writer: false, receivers: SmallVec::new(), safe: SmallVec::new() }
    }

    /// Wakes the writer of the journal.
    pub(crate) fn writer(&mut self) {
        self.wakes_writer = true;
    }

    /// Completes what a sender waits for: its messages are safe.
    pub(crate) fn safe(&mut self, completion: &Arc<Completion>) {
        self.safe.push(Arc::clone(completion));
    }

    /// Wakes the receivers that wait at a mailbox.
    pub(crate) fn receiver(&mut self, waiter: &Arc<Notify>) {
        self.receivers.push(Arc::clone(waiter));
    }
}

impl Drop for DeferredWakeups<'_> {
    fn drop(&mut self) {
        for receiver in &self.receivers {
            receiver.notify_waiters();
        }
        for completion in &self.safe {
            completion.finish(BatchOutcome::Safe);
        }
        if self.wakes_writer {
            self.doorbell.notify_one();
        }
    }
}
