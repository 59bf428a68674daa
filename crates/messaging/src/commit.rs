//! When a change is durable.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use omgservers_api::Problem;
use omgservers_core::ownership::NOT_OWNER;
use tokio::sync::Notify;

/// A change that becomes durable. The change itself doesn't need this: dropping it changes nothing.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing may be acknowledged before the commit was waited for"]
pub struct Commit(Option<Pending>);

#[derive(Debug, Clone)]
struct Pending {
    completion: Arc<Completion>,
    patience: Duration,
}

impl Commit {
    /// Of a change that needs no commit.
    pub fn none() -> Self {
        Self(None)
    }

    pub(crate) fn of(completion: Arc<Completion>, patience: Duration) -> Self {
        Self(Some(Pending { completion, patience }))
    }

    pub(crate) fn completion(&self) -> Option<Arc<Completion>> {
        self.0.as_ref().map(|it| Arc::clone(&it.completion))
    }

    /// Whether there is nothing to wait for.
    pub fn is_durable(&self) -> bool {
        self.0.as_ref().is_none_or(|it| it.completion.state() == DURABLE)
    }

    /// The commit after which both changes are durable.
    pub fn join(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(two)) if one.completion.batch > two.completion.batch => Self(Some(one)),
            (one, two) => Self(two.or(one)),
        }
    }

    /// Waits until the change is durable. Problems: `unavailable` when it takes longer than
    /// [`Bounds::commit_timeout`](crate::Bounds::commit_timeout) (the change stays, and becomes durable when the
    /// database is back), `core.not_owner` when another process took the data (the change is lost).
    pub async fn wait(self) -> Result<(), Problem> {
        match self.0 {
            None => Ok(()),
            Some(pending) => pending.completion.wait(pending.patience).await,
        }
    }
}

const PENDING: u8 = 0;
const DURABLE: u8 = 1;
const LOST: u8 = 2;
const CLOSED: u8 = 3;

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in the database.
    Durable,
    /// Another process owns the data.
    Lost,
    /// The mailboxes were dropped before it was written.
    Closed,
}

/// What all that wait for one batch share.
pub(crate) struct Completion {
    batch: u64,
    state: AtomicU8,
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
    /// Of a batch that isn't written yet.
    pub(crate) fn new(batch: u64) -> Arc<Self> {
        Arc::new(Self { batch, state: AtomicU8::new(PENDING), waiters: Notify::new() })
    }

    /// Ends the wait of everybody. The first fate stays.
    pub(crate) fn finish(&self, fate: Fate) {
        let state = match fate {
            Fate::Durable => DURABLE,
            Fate::Lost => LOST,
            Fate::Closed => CLOSED,
        };
        let _first = self.state.compare_exchange(PENDING, state, Ordering::AcqRel, Ordering::Acquire);
        self.waiters.notify_waiters();
    }

    fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }

    fn result(&self) -> Option<Result<(), Problem>> {
        match self.state() {
            PENDING => None,
            DURABLE => Some(Ok(())),
            LOST => Some(Err(NOT_OWNER.into())),
            _ => Some(Err(Problem::unavailable("the mailboxes were closed"))),
        }
    }

    async fn wait(&self, patience: Duration) -> Result<(), Problem> {
        // It hears of what happens from here on, also before it is polled.
        let finished = self.waiters.notified();
        if let Some(result) = self.result() {
            return result;
        }
        let _timeout = tokio::time::timeout(patience, finished).await;
        self.result().unwrap_or_else(|| Err(Problem::unavailable("the database did not commit in time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(batch: u64) -> (Arc<Completion>, Commit) {
        let completion = Completion::new(batch);
        (Arc::clone(&completion), Commit::of(completion, Duration::from_secs(5)))
    }

    #[tokio::test]
    async fn joined_commits_wait_for_the_later_one() {
        let ((one, early), (two, late)) = (commit(1), commit(2));
        for joined in [early.clone().join(late.clone()), late.join(early)] {
            one.finish(Fate::Durable);
            assert!(!joined.is_durable());
            let waiter = tokio::spawn(joined.wait());
            tokio::task::yield_now().await;
            assert!(!waiter.is_finished());
            two.finish(Fate::Durable);
            waiter.await.unwrap().unwrap();
            two.state.store(PENDING, Ordering::Release);
        }
    }

    #[tokio::test]
    async fn no_commit_is_durable_and_joins_to_the_other() {
        assert!(Commit::none().is_durable());
        let (_done, some) = commit(7);
        assert!(!Commit::none().join(some.clone()).is_durable());
        assert!(!some.join(Commit::none()).is_durable());
    }

    #[tokio::test]
    async fn who_waits_too_long_gives_up_and_who_asks_later_may_succeed() {
        let completion = Completion::new(1);
        let impatient = Commit::of(Arc::clone(&completion), Duration::from_millis(5));
        let problem = impatient.clone().wait().await.unwrap_err();
        assert!(problem.is(omgservers_api::problem::UNAVAILABLE));
        completion.finish(Fate::Durable);
        impatient.wait().await.unwrap();
    }

    #[tokio::test]
    async fn a_lost_batch_tells_everybody() {
        let (completion, commit) = commit(1);
        let waiters: Vec<_> = (0..3).map(|_| tokio::spawn(commit.clone().wait())).collect();
        tokio::task::yield_now().await;
        completion.finish(Fate::Lost);
        for waiter in waiters {
            assert!(waiter.await.unwrap().unwrap_err().is(NOT_OWNER));
        }
        assert!(commit.wait().await.unwrap_err().is(NOT_OWNER));
    }
}
