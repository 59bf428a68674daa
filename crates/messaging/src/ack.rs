//! When a change is safe.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::Duration,
};

use omgservers_api::{Problem, Slot};
use omgservers_core::{Tenure, ownership::NOT_OWNER};
use smallvec::{SmallVec, smallvec};
use tokio::{sync::Notify, time::Instant};

/// Waits until a change is safe. A change is safe when it is durable; messages are also safe when
/// all their recipients have consumed them. Dropping the handle doesn't undo the change.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing may be acknowledged before the commit was waited for"]
pub struct AckHandle {
    /// The latest of the batches that must be in the database.
    batch: Option<Arc<Completion>>,
    /// The messages that were sent in later batches.
    messages: SmallVec<[Arc<Completion>; 1]>,
    /// The tenures of the slots that the change is in, where slots are lost one by one. The writer
    /// leaves the records of a lost slot out, so the end of a batch alone isn't enough.
    tenures: Tenures,
    timeout: Duration,
}

/// The tenures of the slots that a change is in. There are none in a server that owns all slots,
/// and mostly one elsewhere.
pub(crate) type Tenures = SmallVec<[Arc<Tenure>; 1]>;

/// Adds a tenure unless it is there.
pub(crate) fn add_tenure(tenures: &mut Tenures, tenure: &Arc<Tenure>) {
    if !tenures.iter().any(|it| Arc::ptr_eq(it, tenure)) {
        tenures.push(Arc::clone(tenure));
    }
}

impl AckHandle {
    /// The handle of a change that needs no commit.
    pub fn none() -> Self {
        Self::default()
    }

    /// The handle of a change that is safe when its batch is in the database.
    pub(crate) fn batch(completion: Arc<Completion>, timeout: Duration) -> Self {
        Self { batch: Some(completion), timeout, ..Self::default() }
    }

    /// The handle of messages: they are also safe when they are consumed.
    pub(crate) fn messages(completion: Arc<Completion>, timeout: Duration) -> Self {
        Self { messages: smallvec![completion], timeout, ..Self::default() }
    }

    /// The handle of a change in these slots.
    pub(crate) fn within(mut self, tenures: &[Arc<Tenure>]) -> Self {
        tenures.iter().for_each(|it| add_tenure(&mut self.tenures, it));
        self
    }

    fn is_lost(&self) -> bool {
        self.tenures.iter().any(|it| it.is_lost())
    }

    fn completions(&self) -> impl Iterator<Item = &Arc<Completion>> {
        self.messages.iter().chain(&self.batch)
    }

    /// Whether there is nothing to wait for.
    pub fn is_safe(&self) -> bool {
        self.completions().all(|it| it.state() == SAFE) && !self.is_lost()
    }

    /// The commit after which both changes are safe.
    pub fn join(mut self, other: Self) -> Self {
        self.timeout = self.timeout.max(other.timeout);
        self = self.within(&other.tenures);
        if other.batch.as_ref().map(|it| it.batch) > self.batch.as_ref().map(|it| it.batch) {
            self.batch = other.batch;
        }
        for completion in other.messages {
            // The messages of one request of a runtime mostly share one completion.
            if self.messages.last().is_none_or(|last| !Arc::ptr_eq(last, &completion)) {
                self.messages.push(completion);
            }
        }
        if let Some(batch) = &self.batch {
            self.messages.retain(|it| it.batch > batch.batch);
        }
        self
    }

    /// Waits until the change is safe. Problems:
    ///
    /// * `unavailable`: it takes longer than
    ///   [`Bounds::commit_timeout`](crate::Bounds::commit_timeout). The change stays, and becomes
    ///   durable when the database is back.
    /// * `core.not_owner`: another process acquired the slot, and the change is lost.
    pub async fn wait(self) -> Result<(), Problem> {
        if self.messages.is_empty() && self.batch.is_none() {
            return Ok(());
        }
        let until = Instant::now() + self.timeout;
        for completion in self.completions() {
            completion.wait(until).await?;
        }
        // A tenure that is lost in a batch is marked before the batch is finished.
        if self.is_lost() { Err(NOT_OWNER.into()) } else { Ok(()) }
    }
}

const PENDING: u8 = 0;
const SAFE: u8 = 1;
const LOST: u8 = 2;
const CLOSED: u8 = 3;

/// The outcome of a batch, or of the messages in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchOutcome {
    /// The batch is in the database, or its messages are consumed.
    Safe,
    /// Another process owns the slot.
    Lost,
    /// The mailboxes were dropped before the batch was written.
    Closed,
}

/// Shared by all that wait for one batch, or for one sender's messages in it.
pub(crate) struct Completion {
    batch: u64,
    /// The slot of a sender's messages.
    slot: Option<Slot>,
    state: AtomicU8,
    /// How many of the messages are still in mailboxes; 0 for a whole batch.
    unconsumed: AtomicU32,
    waiters: Notify,
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("batch", &self.batch)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Completion {
    /// The completion of a batch that isn't written yet.
    pub(crate) fn new(batch: u64) -> Arc<Self> {
        Self::with(batch, None, 0)
    }

    fn with(batch: u64, slot: Option<Slot>, unconsumed: u32) -> Arc<Self> {
        Arc::new(Self {
            batch,
            slot,
            state: AtomicU8::new(PENDING),
            unconsumed: AtomicU32::new(unconsumed),
            waiters: Notify::new(),
        })
    }

    /// The slot of a sender's messages.
    pub(crate) fn slot(&self) -> Option<Slot> {
        self.slot
    }

    /// The completion of the first message of a sender in a batch.
    pub(crate) fn of_one(batch: u64, slot: Option<Slot>) -> Arc<Self> {
        Self::with(batch, slot, 1)
    }

    /// Counts one more message of the sender in this batch. `false` when this completion has ended,
    /// or is of another batch: the message then needs a completion of its own.
    pub(crate) fn one_more(&self, batch: u64) -> bool {
        let more = |it: u32| if it > 0 { it.checked_add(1) } else { None };
        self.batch == batch
            && self.unconsumed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Counts one consumed message. `true` when it was the last one: the caller then has to
    /// [finish](Self::finish) this completion.
    pub(crate) fn one_less(&self) -> bool {
        self.unconsumed.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// Ends all waits. The first outcome stays.
    pub(crate) fn finish(&self, outcome: BatchOutcome) {
        let state = match outcome {
            BatchOutcome::Safe => SAFE,
            BatchOutcome::Lost => LOST,
            BatchOutcome::Closed => CLOSED,
        };
        if self.state.compare_exchange(PENDING, state, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.waiters.notify_waiters();
        }
    }

    /// Whether there is no outcome yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.state() == PENDING
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }

    fn result(&self) -> Option<Result<(), Problem>> {
        match self.state() {
            PENDING => None,
            SAFE => Some(Ok(())),
            LOST => Some(Err(NOT_OWNER.into())),
            _ => Some(Err(Problem::unavailable("the mailboxes were closed"))),
        }
    }

    async fn wait(&self, until: Instant) -> Result<(), Problem> {
        // The future is notified of everything from here on, also before it is polled.
        let finished = self.waiters.notified();
        if let Some(result) = self.result() {
            return result;
        }
        let _timeout = tokio::time::timeout_at(until, finished).await;
        self.result().unwrap_or_else(|| Err(Problem::unavailable("the database did not commit in time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(batch: u64) -> (Arc<Completion>, AckHandle) {
        let completion = Completion::new(batch);
        (Arc::clone(&completion), AckHandle::batch(completion, Duration::from_secs(5)))
    }

    #[tokio::test]
    async fn joined_commits_wait_for_the_later_one() {
        let ((one, early), (two, late)) = (commit(1), commit(2));
        for joined in [early.clone().join(late.clone()), late.join(early)] {
            one.finish(BatchOutcome::Safe);
            assert!(!joined.is_safe());
            let waiter = tokio::spawn(joined.wait());
            tokio::task::yield_now().await;
            assert!(!waiter.is_finished());
            two.finish(BatchOutcome::Safe);
            waiter.await.unwrap().unwrap();
            two.state.store(PENDING, Ordering::Release);
        }
    }

    #[tokio::test]
    async fn messages_are_safe_when_all_are_consumed_or_their_batch_is_written() {
        let timeout = Duration::from_secs(5);
        let (one, two) = (Completion::of_one(3, None), Completion::of_one(4, None));
        let sent = |it: &Arc<Completion>| AckHandle::messages(Arc::clone(it), timeout);
        assert!(one.one_more(3) && !one.one_more(4), "a completion is of one batch");
        let (batch, early) = commit(2);
        let both = sent(&one).join(early).join(sent(&two)).join(sent(&two));
        assert_eq!(both.messages.len(), 2);
        assert!(!one.one_less() && one.one_less() && two.one_less());
        assert!(!one.one_more(3), "what is over is over");
        for completion in [&one, &two, &batch] {
            assert!(!both.is_safe());
            completion.finish(BatchOutcome::Safe);
        }
        assert!(both.is_safe());
        let (_later, later) = commit(3);
        assert!(!sent(&one).join(later.clone()).is_safe());
        assert!(sent(&Completion::of_one(3, None)).join(later).messages.is_empty(), "the batch has it");
    }

    #[tokio::test]
    async fn no_commit_is_safe_and_joins_to_the_other() {
        assert!(AckHandle::none().is_safe());
        let (_done, some) = commit(7);
        assert!(!AckHandle::none().join(some.clone()).is_safe());
        assert!(!some.join(AckHandle::none()).is_safe());
    }

    #[tokio::test]
    async fn a_wait_that_timed_out_succeeds_when_it_is_repeated_after_the_commit() {
        let completion = Completion::new(1);
        let impatient = AckHandle::batch(Arc::clone(&completion), Duration::from_millis(5));
        let problem = impatient.clone().wait().await.unwrap_err();
        assert!(problem.is(omgservers_api::problem::UNAVAILABLE));
        completion.finish(BatchOutcome::Safe);
        impatient.wait().await.unwrap();
    }

    #[tokio::test]
    async fn a_lost_batch_ends_every_wait_with_not_owner() {
        let (completion, commit) = commit(1);
        let waiters: Vec<_> = (0..3).map(|_| tokio::spawn(commit.clone().wait())).collect();
        tokio::task::yield_now().await;
        completion.finish(BatchOutcome::Lost);
        for waiter in waiters {
            assert!(waiter.await.unwrap().unwrap_err().is(NOT_OWNER));
        }
        assert!(commit.wait().await.unwrap_err().is(NOT_OWNER));
    }
}
