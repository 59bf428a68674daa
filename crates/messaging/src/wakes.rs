//! Who is woken when the locks are released: waking under a lock would make everybody else wait for it.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::{
    commit::{Completion, Fate},
    journal::Journal,
};

/// Collects who is to be woken and wakes them when dropped: make it before the first lock is taken.
pub(crate) struct Wakes<'a> {
    journal: &'a Journal,
    writer: bool,
    receivers: SmallVec<[Arc<Notify>; 1]>,
    safe: SmallVec<[Arc<Completion>; 1]>,
}

impl<'a> Wakes<'a> {
    pub(crate) fn new(journal: &'a Journal) -> Self {
        Self { journal, writer: false, receivers: SmallVec::new(), safe: SmallVec::new() }
    }

    /// There is something to write.
    pub(crate) fn writer(&mut self) {
        self.writer = true;
    }

    /// What somebody waits for is safe.
    pub(crate) fn safe(&mut self, completion: &Arc<Completion>) {
        self.safe.push(Arc::clone(completion));
    }

    /// There is something to fetch.
    pub(crate) fn receiver(&mut self, waiter: &Arc<Notify>) {
        self.receivers.push(Arc::clone(waiter));
    }
}

impl Drop for Wakes<'_> {
    fn drop(&mut self) {
        for receiver in &self.receivers {
            receiver.notify_waiters();
        }
        for completion in &self.safe {
            completion.finish(Fate::Safe);
        }
        if self.writer {
            self.journal.wake();
        }
    }
}
