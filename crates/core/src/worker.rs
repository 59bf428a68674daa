//! Workers: duties that make the world match the tables.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, describe_counter, describe_histogram, histogram};
use omgservers_api::Problem;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

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

/// One background duty. `run_once` takes no input: it reads what is, compares it with what should be, and acts.
/// It is idempotent, retries nothing by itself, and the failure of one item doesn't stop the others.
#[async_trait::async_trait]
pub trait Worker: Send {
    /// `crate.verb_noun`, for logs and metrics.
    fn name(&self) -> &'static str;
    /// The longest time between two runs: the safety net behind the doorbell.
    fn period(&self) -> Duration;
    /// Does all the work there is now; says how many things it changed.
    async fn run_once(&mut self) -> Result<usize, Problem>;
}

/// Runs `worker` until `stop`: at once, then whenever the doorbell rings, and each period at the latest.
pub async fn run(mut worker: Box<dyn Worker>, doorbell: Doorbell, stop: CancellationToken) {
    let mut tick = tokio::time::interval(worker.period());
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    describe_histogram!("omgservers_worker_run_seconds", "How long a run of a worker took.");
    describe_counter!("omgservers_worker_failures_total", "Runs of workers that failed.");
    let seconds = histogram!("omgservers_worker_run_seconds", "worker" => worker.name());
    let failures = counter!("omgservers_worker_failures_total", "worker" => worker.name());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
            () = doorbell.rung() => {}
        }
        let begun = Instant::now();
        let outcome = worker.run_once().await;
        seconds.record(begun.elapsed());
        match outcome {
            Ok(0) => {}
            Ok(changed) => tracing::debug!(worker.name = worker.name(), changed, "worker ran"),
            Err(problem) => {
                failures.increment(1);
                tracing::error!(
                    worker.name = worker.name(),
                    ?problem,
                    "worker failed; it runs again within its period"
                );
            }
        }
    }
}
