//! Faults of the database, and calls that end in the middle.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use omgservers_core::db::{Fault, Faults};
use tokio::sync::Notify;

use crate::rng::Rng;

/// What goes wrong in the transactions of one step.
#[derive(Default)]
struct Plan {
    /// Transactions that go well before.
    after: usize,
    trouble: Option<Trouble>,
}

/// What goes wrong with one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It fails; the next one goes well.
    Once(Fault),
    /// It fails, and so do all that follow: the process is about to end.
    AndAllAfter(Fault),
    /// The waiting caller is cancelled.
    Cancel,
}

/// The faults of one database.
#[derive(Clone, Default)]
pub(crate) struct Script {
    plan: Arc<Mutex<Plan>>,
    cancel: Arc<Notify>,
}

impl Script {
    /// What the database asks before each transaction.
    pub(crate) fn faults(&self) -> Faults {
        let script = self.clone();
        Arc::new(move || script.next())
    }

    fn next(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        if plan.trouble.is_some() && plan.after > 0 {
            plan.after -= 1;
            return None;
        }
        match plan.trouble? {
            Trouble::Once(fault) => {
                plan.trouble = None;
                Some(fault)
            }
            Trouble::AndAllAfter(fault) => {
                plan.trouble = Some(Trouble::AndAllAfter(Fault::BeforeBegin));
                Some(fault)
            }
            Trouble::Cancel => {
                plan.trouble = None;
                self.cancel.notify_one();
                None
            }
        }
    }

    /// Lets the transaction after `after` more go wrong.
    pub(crate) fn arm(&self, after: usize, trouble: Trouble) {
        *self.plan.lock().unwrap() = Plan { after, trouble: Some(trouble) };
    }

    /// Nothing goes wrong any more.
    pub(crate) async fn disarm(&self) {
        *self.plan.lock().unwrap() = Plan::default();
        // A cancellation that nobody waited for is forgotten.
        self.cancel.notify_one();
        self.cancel.notified().await;
    }

    /// Lets `work` go on until it ends or is cancelled; `None` when it was.
    pub(crate) async fn until_cancelled<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.cancel.notified() => None,
            done = work => Some(done),
        }
    }
}

/// One of the points at which a transaction can fail.
pub(crate) fn any_fault(rng: &mut Rng) -> Fault {
    rng.weighted(&[(1, Fault::BeforeBegin), (1, Fault::BeforeCommit), (2, Fault::AfterCommit)])
}

/// Begins `work` and breaks it off where it first waits, after letting the rest of the process go
/// on for `turns`. Answers its result if it never had to wait.
pub(crate) async fn begin_only<T>(work: impl Future<Output = T>, turns: usize) -> Option<T> {
    let mut work = pin!(work);
    let first = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
    if let Poll::Ready(done) = first {
        return Some(done);
    }
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
    None
}
