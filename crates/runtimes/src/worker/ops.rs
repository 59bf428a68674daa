//! Steps on hosts that are under way. Each is a task of its own, so that a slow container holds up nothing; what
//! came of it is told to the reconciler, whose doorbell rings.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    time::Duration,
};

use omgservers_api::HostId;
use omgservers_core::{Doorbell, Ticks};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::{AbortHandle, JoinSet},
};

use crate::host::{Attempt, Container, HostError, ImageName, PublishedPort, Sight};

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Job {
    /// Listing what a host has.
    List(HostId),
    /// Pulling an image to a host.
    Pull(HostId, ImageName),
    /// Starting a container.
    Start(HostId, Attempt),
    /// Looking at a container.
    Look(HostId, Attempt),
    /// Removing a container that never ran.
    Discard(HostId, Attempt),
    /// Stopping and removing a container.
    Remove(HostId, Attempt),
}

impl Job {
    fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Start(_, it) | Self::Look(_, it) | Self::Discard(_, it) | Self::Remove(_, it) => Some(*it),
            Self::List(_) | Self::Pull(..) => None,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Done {
    Listed(Vec<Container>),
    Pulled,
    /// With its published ports, as far as they were told.
    Started(Vec<PublishedPort>),
    /// It certainly never ran.
    NotStarted(HostError),
    Looked(Sight),
    /// Whether there was one that never ran.
    Discarded(bool),
    Removed,
}

/// A job and what came of it.
pub(crate) type Report = (Job, Result<Done, HostError>);

struct UnderWay {
    job: Job,
    begun: Ticks,
    deadline: Ticks,
    abort: AbortHandle,
}

/// The steps that are under way.
pub(crate) struct Ops {
    // Ends all tasks with the reconciler.
    tasks: JoinSet<()>,
    under_way: HashMap<u64, UnderWay>,
    last: u64,
    // As many reports as there are tasks: bounded by the bounds on those.
    sender: UnboundedSender<(u64, Result<Done, HostError>)>,
    receiver: UnboundedReceiver<(u64, Result<Done, HostError>)>,
    waited_for: Option<(u64, Result<Done, HostError>)>,
    bell: Doorbell,
}

/// Reports also when its task panics.
struct Reporter {
    id: u64,
    result: Option<Result<Done, HostError>>,
    sender: UnboundedSender<(u64, Result<Done, HostError>)>,
    bell: Doorbell,
}

impl Reporter {
    fn tell(mut self, result: Result<Done, HostError>) {
        self.result = Some(result);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let broken = || Err(HostError::Refused("the step was broken off".into()));
        let _ended = self.sender.send((self.id, self.result.take().unwrap_or_else(broken)));
        self.bell.ring();
    }
}

impl Ops {
    pub(crate) fn new(bell: Doorbell) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            tasks: JoinSet::new(),
            under_way: HashMap::new(),
            last: 0,
            sender,
            receiver,
            waited_for: None,
            bell,
        }
    }

    /// How many are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Begins a job that may take `limit`.
    pub(crate) fn begin<F>(&mut self, job: Job, now: Ticks, limit: Duration, work: F)
    where
        F: Future<Output = Result<Done, HostError>> + Send + 'static,
    {
        self.last = self.last.wrapping_add(1);
        let reporter =
            Reporter { id: self.last, result: None, sender: self.sender.clone(), bell: self.bell.clone() };
        let abort = self.tasks.spawn(async move {
            reporter.tell(work.await);
        });
        self.under_way.insert(self.last, UnderWay { job, begun: now, deadline: now.plus(limit), abort });
    }

    pub(crate) fn is_under_way(&self, job: &Job) -> bool {
        self.under_way.values().any(|it| it.job == *job)
    }

    /// The attempts for which something is under way.
    pub(crate) fn busy(&self) -> HashSet<Attempt> {
        self.under_way.values().filter_map(|it| it.job.attempt()).collect()
    }

    /// How many starts, and how many other steps with containers, are under way on a host.
    pub(crate) fn load(&self, host: HostId) -> (usize, usize) {
        self.under_way.values().fold((0, 0), |(starts, others), it| match &it.job {
            Job::Start(on, _) if *on == host => (starts.saturating_add(1), others),
            Job::Look(on, _) | Job::Discard(on, _) | Job::Remove(on, _) if *on == host => {
                (starts, others.saturating_add(1))
            }
            _ => (starts, others),
        })
    }

    /// Gives the start of `attempt` only until `patience` after it began.
    pub(crate) fn hurry_start(&mut self, attempt: Attempt, patience: Duration) {
        for it in self.under_way.values_mut() {
            if matches!(it.job, Job::Start(_, of) if of == attempt) {
                it.deadline = it.deadline.min(it.begun.plus(patience));
            }
        }
    }

    /// What ended since it was asked last, in the order of ending; jobs that took too long are ended here.
    pub(crate) fn ended(&mut self, now: Ticks) -> Vec<Report> {
        while self.tasks.try_join_next().is_some() {}
        let mut reports = Vec::new();
        while let Some((id, result)) = self.waited_for.take().or_else(|| self.receiver.try_recv().ok()) {
            if let Some(it) = self.under_way.remove(&id) {
                reports.push((it.job, result));
            }
        }
        let mut overdue: Vec<u64> =
            self.under_way.iter().filter(|(_, it)| now >= it.deadline).map(|it| *it.0).collect();
        overdue.sort_unstable();
        for id in overdue {
            if let Some(it) = self.under_way.remove(&id) {
                it.abort.abort();
                let took = now.since(it.begun).as_secs();
                reports.push((it.job, Err(HostError::Unreachable(format!("no answer within {took} s")))));
            }
        }
        reports
    }

    /// Waits until something ends, for `patience` at most. `false` when nothing did.
    pub(crate) async fn wait(&mut self, patience: Duration) -> bool {
        if self.under_way.is_empty() {
            return false;
        }
        match tokio::time::timeout(patience, self.receiver.recv()).await {
            Ok(Some(report)) => {
                self.waited_for = Some(report);
                true
            }
            _ => false,
        }
    }

    /// When the first job is overdue.
    pub(crate) fn next_deadline(&self) -> Option<Ticks> {
        self.under_way.values().map(|it| it.deadline).min()
    }
}
