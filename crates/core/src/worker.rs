//! Workers: background duties that make the world match the tables.

use std::{sync::Arc, time::Duration};

use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use omgservers_api::{Problem, WorkerReason};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    Backoff, Context, TraceParent, context::Origin, queue::Backlog, worker_registry::WorkerRegistry,
};

/// Wakes a worker early. Carries no data; a lost ring costs at most one period.
#[derive(Debug, Clone, Default)]
pub struct Doorbell(Arc<Notify>);

impl Doorbell {
    /// Wakes the worker, or lets it run once more if it runs just now.
    pub fn ring(&self) {
        self.0.notify_one();
    }
    /// Waits for a ring.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

/// What a run of a worker did, and when the worker wants to run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// How many things the run changed.
    pub changed: usize,
    /// Runs the worker again after this time, if the doorbell and the period don't do so before.
    /// Zero: at once.
    pub requeue_after: Option<Duration>,
    /// How much work is left.
    pub backlog: Backlog,
}

impl Outcome {
    /// The outcome of a run that changed `count` things and left nothing.
    pub fn changed(count: usize) -> Self {
        Self { changed: count, ..Self::default() }
    }
}

/// One background duty. `run_once` takes no input: it reads what is, compares it with what should
/// be, and acts. It is idempotent, retries nothing by itself, and the failure of one item doesn't
/// stop the others.
#[async_trait::async_trait]
pub trait Worker: Send {
    /// Names the worker in logs, metrics and the list of workers, as `crate.verb_noun`.
    fn name(&self) -> &'static str;
    /// Tells operators what the worker does, in one sentence.
    fn description(&self) -> &'static str;
    /// The longest time between two runs: the safety net behind the doorbell.
    fn period(&self) -> Duration;
    /// Does all the work there is at this moment. A problem is shown to operators as the last
    /// result, and the worker runs again soon.
    async fn run_once(&mut self) -> Result<Outcome, Problem>;
}

/// How soon a worker that fails runs again, though nothing rings.
const FIRST_RETRY: Duration = Duration::from_millis(250);

/// Runs `worker` until `stop`: at once, then whenever the doorbell rings, when the last run asked
/// for it, and each period at the latest. After a failure it runs again with growing pauses, up to
/// its period. Records each run in `registry`. A run that has begun is not cancelled.
pub async fn run(
    mut worker: Box<dyn Worker>,
    doorbell: Doorbell,
    registry: WorkerRegistry,
    stop: CancellationToken,
) {
    let record = registry.register(&*worker);
    let meters = Meters::new(worker.name());
    let backoff = Backoff::new(FIRST_RETRY, worker.period());
    let (mut reason, mut failures, mut runs) = (WorkerReason::Start, 0u32, 0u64);
    loop {
        runs += 1;
        record.begins(reason);
        let begun = Instant::now();
        let result = run_in_context(&mut *worker, runs).await;
        meters.seconds.record(begun.elapsed());
        if result.is_err() {
            meters.failures.increment(1);
        }
        let requeue_after = match &result {
            Ok(outcome) => {
                failures = 0;
                outcome.requeue_after
            }
            Err(_) => {
                failures = failures.saturating_add(1);
                Some(backoff.after(failures))
            }
        };
        record.ended(result);
        reason = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = doorbell.rung() => WorkerReason::Doorbell,
            () = sleep(requeue_after) => WorkerReason::Requeue,
            () = tokio::time::sleep(worker.period()) => WorkerReason::Period,
        };
    }
}

/// Waits for `duration`, and for ever without one.
async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Runs `worker` once, in a span and a context of its own, so that each line of its log names the
/// run.
async fn run_in_context(worker: &mut dyn Worker, run: u64) -> Result<Outcome, Problem> {
    let name = worker.name();
    let span = tracing::info_span!("worker", otel.name = name, worker.name = name, worker.run = run);
    let context = Context { origin: Origin::Worker { name, run }, trace: TraceParent::of(&span) };
    let work = async {
        let result = worker.run_once().await;
        match &result {
            Ok(Outcome { changed: 0, .. }) => {}
            Ok(outcome) => tracing::debug!(changed = outcome.changed, "worker ran"),
            Err(problem) => tracing::error!(?problem, "worker failed; it runs again within its period"),
        }
        result
    };
    context.scope(work.instrument(span)).await
}

struct Meters {
    seconds: Histogram,
    failures: Counter,
}

impl Meters {
    fn new(name: &'static str) -> Self {
        describe_histogram!("omgservers_worker_run_seconds", "How long a run of a worker took.");
        describe_counter!("omgservers_worker_failures_total", "Runs of workers that failed.");
        Self {
            seconds: histogram!("omgservers_worker_run_seconds", "worker" => name),
            failures: counter!("omgservers_worker_failures_total", "worker" => name),
        }
    }
}
