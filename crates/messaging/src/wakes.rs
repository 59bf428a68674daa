//! Who is woken when the locks are released: waking under a lock would make everybody else wait for it.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::journal::Journal;

/// Collects who is to be woken and wakes them when dropped: make it before the first lock is taken.
pub(crate) struct Wakes<'a> {
    journal: &'a Journal,
    writer: bool,
    receivers: Vec<Arc<Notify>>,
}

impl<'a> Wakes<'a> {
    pub(crate) fn new(journal: &'a Journal) -> Self {
        Self { journal, writer: false, receivers: Vec::new() }
    }

    /// There is something to write.
    pub(crate) fn writer(&mut self) {
        self.writer = true;
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
        if self.writer {
            self.journal.wake();
        }
    }
}
