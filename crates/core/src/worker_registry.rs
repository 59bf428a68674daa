//! What operators see of the workers of one server.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use omgservers_api::{Problem, WorkerReason};

use crate::{Backlog, Clock, Outcome, Ticks, Worker};

/// Records what the workers of a server do. Cheap to clone; each server has its own. It holds one
/// record for each worker.
#[derive(Clone)]
pub struct WorkerRegistry {
    clock: Arc<dyn Clock>,
    records: Arc<Mutex<Vec<WorkerRecord>>>,
}

/// A run of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerRun {
    /// Why it began.
    pub reason: WorkerReason,
    /// When it began.
    pub started: DateTime<Utc>,
    /// How long it took, or has taken so far.
    pub duration: Duration,
    /// Whether it is still under way.
    pub in_progress: bool,
}

/// What a worker is and what it has done since the server started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its name, `crate.verb_noun`.
    pub name: &'static str,
    /// What it does.
    pub description: &'static str,
    /// The longest time between two runs.
    pub period: Duration,
    /// How many runs have ended.
    pub runs: u64,
    /// How many of them failed.
    pub failures: u64,
    /// The newest run, which may be under way.
    pub last_run: Option<WorkerRun>,
    /// How many things the newest run that has ended changed, or the problem it failed with.
    pub last_result: Option<Result<usize, String>>,
    /// How much work the newest successful run left.
    pub backlog: Backlog,
}

impl WorkerRegistry {
    /// Makes a registry that shows times of `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, records: Arc::default() }
    }

    /// Returns all workers in the order in which they were registered.
    pub fn statuses(&self) -> Vec<WorkerStatus> {
        lock(&self.records).iter().map(WorkerRecord::status).collect()
    }

    /// Adds a worker. Its record stays as long as the registry.
    pub(crate) fn register(&self, worker: &dyn Worker) -> WorkerRecord {
        let status = WorkerStatus {
            name: worker.name(),
            description: worker.description(),
            period: worker.period(),
            runs: 0,
            failures: 0,
            last_run: None,
            last_result: None,
            backlog: Backlog::default(),
        };
        let state = RecordState { status, begun: Ticks::default() };
        let record = WorkerRecord { clock: Arc::clone(&self.clock), state: Arc::new(Mutex::new(state)) };
        lock(&self.records).push(record.clone());
        record
    }
}

/// What one worker has done.
#[derive(Clone)]
pub(crate) struct WorkerRecord {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<RecordState>>,
}

struct RecordState {
    status: WorkerStatus,
    begun: Ticks,
}

impl WorkerRecord {
    pub(crate) fn begins(&self, reason: WorkerReason) {
        let started = self.clock.now();
        let mut state = lock(&self.state);
        state.begun = self.clock.ticks();
        state.status.last_run =
            Some(WorkerRun { reason, started, duration: Duration::ZERO, in_progress: true });
    }

    pub(crate) fn ended(&self, result: Result<Outcome, Problem>) {
        let now = self.clock.ticks();
        let mut state = lock(&self.state);
        let took = now.since(state.begun);
        let status = &mut state.status;
        status.runs = status.runs.saturating_add(1);
        if let Some(run) = &mut status.last_run {
            run.duration = took;
            run.in_progress = false;
        }
        match result {
            Ok(outcome) => {
                status.backlog = outcome.backlog;
                status.last_result = Some(Ok(outcome.changed));
            }
            Err(problem) => {
                status.failures = status.failures.saturating_add(1);
                status.last_result = Some(Err(format!("{problem:?}")));
            }
        }
    }

    fn status(&self) -> WorkerStatus {
        let now = self.clock.ticks();
        let state = lock(&self.state);
        let mut status = state.status.clone();
        if let Some(run) = status.last_run.as_mut().filter(|run| run.in_progress) {
            run.duration = now.since(state.begun);
        }
        status
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
