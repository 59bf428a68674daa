//! Operations on hosts that are under way. Each is a task of its own, so that a slow container
//! delays no other work. The reconciler collects the results; its doorbell rings when one is there.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    time::Duration,
};

use omgservers_api::HostId;
use omgservers_core::{Doorbell, Ticks, context::inherit};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::{AbortHandle, JoinSet},
};

use crate::host::{Attempt, Container, HostError, ImageName, Inspection, PublishedPort, StartError};

/// An operation on a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum HostOp {
    /// Lists the containers of the host.
    List,
    /// Pulls an image to the host.
    Pull(ImageName),
    /// Starts a container.
    Start(Attempt),
    /// Inspects a container.
    Inspect(Attempt),
    /// Removes a container that never ran.
    RemoveUnstarted(Attempt),
    /// Stops and removes a container.
    Remove(Attempt),
}

/// An operation that has ended, and how. Made by [`HostTasks`] alone, so a result belongs to its
/// operation.
#[derive(Debug)]
pub(crate) enum HostOpResult {
    List(Result<Vec<Container>, HostError>),
    Pull(ImageName, Result<(), HostError>),
    /// With the published ports that the host has reported.
    Start(Attempt, Result<Vec<PublishedPort>, StartError>),
    Inspect(Attempt, Result<Inspection, HostError>),
    /// Whether there was a container that never ran.
    RemoveUnstarted(Attempt, Result<bool, HostError>),
    Remove(Attempt, Result<(), HostError>),
}

impl HostOp {
    fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Start(attempt)
            | Self::Inspect(attempt)
            | Self::RemoveUnstarted(attempt)
            | Self::Remove(attempt) => Some(*attempt),
            Self::List | Self::Pull(_) => None,
        }
    }

    /// The result when the host gave none. Whether a container was started isn't known then.
    fn failed(self, error: HostError) -> HostOpResult {
        match self {
            Self::List => HostOpResult::List(Err(error)),
            Self::Pull(image) => HostOpResult::Pull(image, Err(error)),
            Self::Start(attempt) => {
                HostOpResult::Start(attempt, Err(StartError { error, may_have_run: true }))
            }
            Self::Inspect(attempt) => HostOpResult::Inspect(attempt, Err(error)),
            Self::RemoveUnstarted(attempt) => HostOpResult::RemoveUnstarted(attempt, Err(error)),
            Self::Remove(attempt) => HostOpResult::Remove(attempt, Err(error)),
        }
    }
}

impl HostOpResult {
    /// Whether the host didn't answer.
    pub(crate) fn is_unreachable(&self) -> bool {
        let error = match self {
            Self::List(result) => result.as_ref().err(),
            Self::Pull(_, result) | Self::Remove(_, result) => result.as_ref().err(),
            Self::Start(_, result) => result.as_ref().err().map(|it| &it.error),
            Self::Inspect(_, result) => result.as_ref().err(),
            Self::RemoveUnstarted(_, result) => result.as_ref().err(),
        };
        matches!(error, Some(HostError::Unreachable(_)))
    }
}

struct RunningOp {
    host: HostId,
    op: HostOp,
    begun: Ticks,
    deadline: Ticks,
    abort: AbortHandle,
}

/// The operations that are under way.
pub(crate) struct HostTasks {
    // Aborts all tasks with the reconciler.
    tasks: JoinSet<()>,
    running: HashMap<u64, RunningOp>,
    last: u64,
    // As many results as there are tasks: bounded by the bounds on those.
    sender: UnboundedSender<(u64, HostOpResult)>,
    receiver: UnboundedReceiver<(u64, HostOpResult)>,
    waited_for: Option<(u64, HostOpResult)>,
    doorbell: Doorbell,
}

/// Sends the result of a task, also when the task panics.
struct Reporter {
    id: u64,
    op: HostOp,
    result: Option<HostOpResult>,
    sender: UnboundedSender<(u64, HostOpResult)>,
    doorbell: Doorbell,
}

impl Reporter {
    fn send(mut self, result: HostOpResult) {
        self.result = Some(result);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| {
            self.op.clone().failed(HostError::Refused("the operation was cancelled".into()))
        });
        let _ended = self.sender.send((self.id, result));
        self.doorbell.ring();
    }
}

impl HostTasks {
    pub(crate) fn new(doorbell: Doorbell) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            tasks: JoinSet::new(),
            running: HashMap::new(),
            last: 0,
            sender,
            receiver,
            waited_for: None,
            doorbell,
        }
    }

    /// How many are under way.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn list<F>(&mut self, host: HostId, now: Ticks, limit: Duration, work: F)
    where
        F: Future<Output = Result<Vec<Container>, HostError>> + Send + 'static,
    {
        self.begin(host, HostOp::List, now, limit, async { HostOpResult::List(work.await) });
    }

    pub(crate) fn pull<F>(&mut self, host: HostId, image: ImageName, now: Ticks, limit: Duration, work: F)
    where
        F: Future<Output = Result<(), HostError>> + Send + 'static,
    {
        let op = HostOp::Pull(image.clone());
        self.begin(host, op, now, limit, async { HostOpResult::Pull(image, work.await) });
    }

    pub(crate) fn start<F>(&mut self, host: HostId, attempt: Attempt, now: Ticks, limit: Duration, work: F)
    where
        F: Future<Output = Result<Vec<PublishedPort>, StartError>> + Send + 'static,
    {
        let result = async move { HostOpResult::Start(attempt, work.await) };
        self.begin(host, HostOp::Start(attempt), now, limit, result);
    }

    pub(crate) fn inspect<F>(&mut self, host: HostId, attempt: Attempt, now: Ticks, limit: Duration, work: F)
    where
        F: Future<Output = Result<Inspection, HostError>> + Send + 'static,
    {
        let result = async move { HostOpResult::Inspect(attempt, work.await) };
        self.begin(host, HostOp::Inspect(attempt), now, limit, result);
    }

    pub(crate) fn remove_unstarted<F>(
        &mut self,
        host: HostId,
        attempt: Attempt,
        now: Ticks,
        limit: Duration,
        work: F,
    ) where
        F: Future<Output = Result<bool, HostError>> + Send + 'static,
    {
        let result = async move { HostOpResult::RemoveUnstarted(attempt, work.await) };
        self.begin(host, HostOp::RemoveUnstarted(attempt), now, limit, result);
    }

    pub(crate) fn remove<F>(&mut self, host: HostId, attempt: Attempt, now: Ticks, limit: Duration, work: F)
    where
        F: Future<Output = Result<(), HostError>> + Send + 'static,
    {
        let result = async move { HostOpResult::Remove(attempt, work.await) };
        self.begin(host, HostOp::Remove(attempt), now, limit, result);
    }

    /// Begins an operation that may take `limit`.
    fn begin<F>(&mut self, host: HostId, op: HostOp, now: Ticks, limit: Duration, work: F)
    where
        F: Future<Output = HostOpResult> + Send + 'static,
    {
        self.last = self.last.wrapping_add(1);
        let reporter = Reporter {
            id: self.last,
            op: op.clone(),
            result: None,
            sender: self.sender.clone(),
            doorbell: self.doorbell.clone(),
        };
        let abort = self.tasks.spawn(inherit(async move {
            reporter.send(work.await);
        }));
        let running = RunningOp { host, op, begun: now, deadline: now.plus(limit), abort };
        self.running.insert(self.last, running);
    }

    pub(crate) fn is_running(&self, host: HostId, op: &HostOp) -> bool {
        self.running.values().any(|it| it.host == host && it.op == *op)
    }

    /// The attempts for which something is under way.
    pub(crate) fn busy(&self) -> HashSet<Attempt> {
        self.running.values().filter_map(|it| it.op.attempt()).collect()
    }

    /// How many starts, and how many other operations with containers, are under way on a host.
    pub(crate) fn load(&self, host: HostId) -> (usize, usize) {
        let of_host = self.running.values().filter(|it| it.host == host);
        of_host.fold((0, 0), |(starts, others), running| match &running.op {
            HostOp::Start(_) => (starts.saturating_add(1), others),
            HostOp::Inspect(_) | HostOp::RemoveUnstarted(_) | HostOp::Remove(_) => {
                (starts, others.saturating_add(1))
            }
            HostOp::List | HostOp::Pull(_) => (starts, others),
        })
    }

    /// Lets the start of `attempt` go on only until `timeout` after it began.
    pub(crate) fn hurry_start(&mut self, attempt: Attempt, timeout: Duration) {
        for start in self.running.values_mut().filter(|it| it.op == HostOp::Start(attempt)) {
            start.deadline = start.deadline.min(start.begun.plus(timeout));
        }
    }

    /// Takes the results since the last call, in the order in which the operations ended. Aborts
    /// operations that took too long.
    pub(crate) fn take_results(&mut self, now: Ticks) -> Vec<(HostId, HostOpResult)> {
        while self.tasks.try_join_next().is_some() {}
        let mut results = Vec::new();
        while let Some((id, result)) = self.waited_for.take().or_else(|| self.receiver.try_recv().ok()) {
            if let Some(ended) = self.running.remove(&id) {
                results.push((ended.host, result));
            }
        }
        let mut overdue: Vec<u64> =
            self.running.iter().filter(|(_, it)| now >= it.deadline).map(|it| *it.0).collect();
        overdue.sort_unstable();
        for id in overdue {
            if let Some(late) = self.running.remove(&id) {
                late.abort.abort();
                let took = now.since(late.begun).as_secs();
                let error = HostError::Unreachable(format!("no answer within {took} s"));
                results.push((late.host, late.op.failed(error)));
            }
        }
        results
    }

    /// Waits until an operation ends, for `timeout` at most. `false` when none did.
    pub(crate) async fn wait(&mut self, timeout: Duration) -> bool {
        if self.running.is_empty() {
            return false;
        }
        match tokio::time::timeout(timeout, self.receiver.recv()).await {
            Ok(Some(result)) => {
                self.waited_for = Some(result);
                true
            }
            _ => false,
        }
    }

    /// When the first operation is overdue.
    pub(crate) fn next_deadline(&self) -> Option<Ticks> {
        self.running.values().map(|it| it.deadline).min()
    }
}
