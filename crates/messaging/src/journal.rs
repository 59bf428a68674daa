//! The journal: what has changed in memory and is to be written, in the order in which it happened.
//!
//! Changes gather in an open batch; when the writer is free it takes the batch, and the next one opens. All that
//! wait for one batch share one [`Completion`].

mod batch;
mod connection;
mod record;
mod sql;
#[cfg(test)]
mod tests;
mod writer;
mod writing;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use self::batch::{Batch, Waiting};
pub(crate) use self::{
    batch::Place,
    connection::{Failure, Session},
    record::{ClientRow, EntryKind, Record, RuntimeRow},
    writer::Writer,
    writing::Writing,
};
use crate::{
    Bounds, Commit,
    commit::{Completion, Fate},
    wakes::Wakes,
};

/// What nobody waits for is written after this time at the latest.
const LAZY: Duration = Duration::from_millis(250);

/// What a timer can tell apart.
const TIMER: Duration = Duration::from_millis(1);
/// When that is too coarse: how often others may run before a batch is begun.
const YIELDS: usize = 8;
/// No batch gathers longer than this.
const LONGEST_GATHERING: Duration = Duration::from_millis(2);

/// What is to be written.
pub(crate) struct Journal {
    waiting: Mutex<Waiting>,
    /// Wakes the writer.
    doorbell: Notify,
    /// How many records wait for the writer.
    unwritten: AtomicUsize,
    lost: AtomicBool,
    most_unwritten: usize,
    patience: Duration,
}

impl Journal {
    pub(crate) fn new(bounds: &Bounds) -> Self {
        Self {
            waiting: Mutex::new(Waiting::new()),
            doorbell: Notify::new(),
            unwritten: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            most_unwritten: bounds.most_unwritten,
            patience: bounds.commit_timeout,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to write: what is written with the answer is in one batch. Locks of mailboxes are taken before.
    pub(crate) fn write(&self) -> Writing<'_> {
        Writing { journal: self, waiting: self.lock() }
    }

    /// Whether the database keeps up.
    pub(crate) fn has_room(&self) -> bool {
        self.unwritten.load(Ordering::Relaxed) < self.most_unwritten
    }

    /// Whether another process owns the data now.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// The commit of a batch that somebody else waits for, too.
    pub(crate) fn commit_of(&self, completion: &Arc<Completion>) -> Commit {
        Commit::batch(Arc::clone(completion), self.patience)
    }

    /// The commit of what somebody says, after which what it was told before is durable, too: it may not hear that what it said
    /// about that is safe while a crash could still undo that. `told` is forgotten when it is durable.
    pub(crate) fn and_told(&self, commit: Commit, told: &mut Option<Arc<Completion>>) -> Commit {
        let _durable = told.take_if(|it| !it.is_pending());
        match told {
            Some(told) => commit.join(self.commit_of(told)),
            None => commit,
        }
    }

    /// The commit after which everything is durable that was written so far.
    pub(crate) fn so_far(&self, wakes: &mut Wakes<'_>) -> Commit {
        let mut waiting = self.lock();
        if !waiting.open.records.is_empty() {
            waiting.urgent = true;
            wakes.writer();
        }
        self.commit_of(waiting.last())
    }

    /// Wakes the writer.
    pub(crate) fn wake(&self) {
        self.doorbell.notify_one();
    }

    /// Ends everything: who waits is told `fate`, and so is everybody who comes later.
    pub(crate) fn stop(&self, fate: Fate) {
        if fate == Fate::Lost {
            self.lost.store(true, Ordering::Relaxed);
        }
        let mut waiting = self.lock();
        waiting.stopped.get_or_insert(fate);
        let mut said = std::mem::take(&mut waiting.said_in_taken);
        for batch in waiting.full.drain(..) {
            batch.completion.finish(fate);
            said.extend(batch.said);
        }
        waiting.taken.finish(fate);
        waiting.open.records = Vec::new();
        waiting.open.completion.finish(fate);
        said.append(&mut waiting.open.said);
        said.iter().for_each(|it| it.finish(fate));
        self.unwritten.store(0, Ordering::Relaxed);
    }

    /// The batch that the writer took last is durable.
    fn written(&self) {
        let (taken, said) = {
            let mut waiting = self.lock();
            (Arc::clone(&waiting.taken), std::mem::take(&mut waiting.said_in_taken))
        };
        taken.finish(Fate::Safe);
        said.iter().for_each(|it| it.finish(Fate::Safe));
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

    /// Lets the next batch gather for a moment. Those who waited for the last one often speak again at once, and come
    /// too late when the next batch is begun with whom it finds: then everybody waits for two commits, always. How
    /// long is worth it depends on how long a commit takes.
    async fn gather(&self, last_commits: usize, last_took: Duration) {
        if last_commits < 2 || self.has_gathered(last_commits) {
            return;
        }
        let pause = last_took / 4;
        if pause < TIMER {
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
                if self.has_gathered(last_commits) {
                    return;
                }
            }
            return;
        }
        self.lock().enough = last_commits;
        let until = Instant::now() + pause.min(LONGEST_GATHERING);
        while !self.has_gathered(last_commits)
            && tokio::time::timeout_at(until, self.doorbell.notified()).await.is_ok()
        {}
        self.lock().enough = 0;
    }

    fn has_gathered(&self, commits: usize) -> bool {
        let waiting = self.lock();
        !waiting.full.is_empty() || waiting.open.commits >= commits
    }

    fn take(&self) -> Result<Batch, Option<Instant>> {
        let mut waiting = self.lock();
        let mut batch = match waiting.full.pop_front() {
            Some(batch) => batch,
            None if waiting.urgent && !waiting.open.records.is_empty() => waiting.roll(),
            None => return Err(waiting.lazy_since),
        };
        waiting.taken = Arc::clone(&batch.completion);
        waiting.said_in_taken = std::mem::take(&mut batch.said);
        self.unwritten.fetch_sub(batch.records.len(), Ordering::Relaxed);
        Ok(batch)
    }

    /// How many records wait for the writer.
    fn depth(&self) -> usize {
        self.unwritten.load(Ordering::Relaxed)
    }
}
