//! The driver of workers and what operators see of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use omgservers_api::{Problem, WorkerReason};
use omgservers_core::{
    Backlog, Doorbell, ManualClock, Outcome, Worker, WorkerRegistry, WorkerStatus, worker,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3600);

/// Does what the test sends it, one result per run.
struct Scripted {
    period: Duration,
    begun: UnboundedSender<()>,
    results: UnboundedReceiver<Result<Outcome, Problem>>,
}

#[async_trait::async_trait]
impl Worker for Scripted {
    fn name(&self) -> &'static str {
        "test.follow_script"
    }
    fn description(&self) -> &'static str {
        "Follows the script of a test."
    }
    fn period(&self) -> Duration {
        self.period
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        self.begun.send(()).unwrap();
        self.results.recv().await.unwrap()
    }
}

struct Fixture {
    clock: ManualClock,
    registry: WorkerRegistry,
    doorbell: Doorbell,
    stop: CancellationToken,
    begun: UnboundedReceiver<()>,
    results: UnboundedSender<Result<Outcome, Problem>>,
    task: tokio::task::JoinHandle<()>,
}

impl Fixture {
    fn new(period: Duration) -> Self {
        let clock = ManualClock::default();
        let registry = WorkerRegistry::new(Arc::new(clock.clone()));
        let (doorbell, stop) = (Doorbell::default(), CancellationToken::new());
        let ((begins, begun), (results, script)) = (unbounded_channel(), unbounded_channel());
        let worker = Box::new(Scripted { period, begun: begins, results: script });
        let task = tokio::spawn(worker::run(worker, doorbell.clone(), registry.clone(), stop.clone()));
        Self { clock, registry, doorbell, stop, begun, results, task }
    }

    /// Waits for the next run.
    async fn begins(&mut self) -> WorkerReason {
        self.begun.recv().await.unwrap();
        self.status().last_run.unwrap().reason
    }

    fn ends(&self, result: Result<Outcome, Problem>) {
        self.results.send(result).unwrap();
    }

    fn status(&self) -> WorkerStatus {
        self.registry.statuses().remove(0)
    }
}

#[tokio::test]
async fn a_worker_runs_at_the_start_by_bell_on_request_and_each_period() {
    let mut fixture = Fixture::new(Duration::from_millis(20));
    assert_eq!(fixture.begins().await, WorkerReason::Start);
    fixture.doorbell.ring();
    fixture.ends(Ok(Outcome { requeue_after: Some(HOUR), ..Outcome::default() }));
    assert_eq!(fixture.begins().await, WorkerReason::Doorbell);
    fixture.ends(Ok(Outcome { requeue_after: Some(Duration::ZERO), ..Outcome::default() }));
    assert_eq!(fixture.begins().await, WorkerReason::Requeue);
    fixture.ends(Ok(Outcome::default()));
    assert_eq!(fixture.begins().await, WorkerReason::Period);
    fixture.stop.cancel();
    fixture.ends(Ok(Outcome::default()));
    fixture.task.await.unwrap();
}

#[tokio::test]
async fn a_worker_that_fails_runs_again_with_growing_pauses() {
    let mut fixture = Fixture::new(HOUR);
    fixture.begins().await;
    for shortest in [250, 500] {
        let failed = Instant::now();
        fixture.ends(Err(Problem::unavailable("no database")));
        assert_eq!(fixture.begins().await, WorkerReason::Requeue);
        assert!(failed.elapsed().as_millis() >= shortest);
    }
}

#[tokio::test]
async fn operators_see_the_last_run_its_result_and_the_backlog() {
    let mut fixture = Fixture::new(HOUR);
    fixture.begins().await;
    fixture.clock.advance(Duration::from_millis(700));
    let run = fixture.status().last_run.unwrap();
    assert_eq!((run.in_progress, run.duration.as_millis()), (true, 700));
    assert_eq!(fixture.status().last_result, None);
    fixture.clock.advance(Duration::from_millis(300));
    let backlog = Backlog { due: 4, delayed: 2, oldest: Duration::from_secs(1) };
    fixture.doorbell.ring();
    fixture.ends(Ok(Outcome { changed: 3, requeue_after: None, backlog }));
    fixture.begins().await;
    fixture.clock.advance(Duration::from_secs(2));
    let status = fixture.status();
    assert_eq!((status.name, status.description), ("test.follow_script", "Follows the script of a test."));
    assert_eq!((status.runs, status.failures), (1, 0));
    assert_eq!((status.last_result, status.backlog), (Some(Ok(3)), backlog));
    fixture.doorbell.ring();
    fixture.ends(Err(Problem::unavailable("no database")));
    fixture.begins().await;
    let status = fixture.status();
    assert_eq!((status.runs, status.failures), (2, 1));
    assert!(status.last_result.unwrap().unwrap_err().contains("no database"));
    assert_eq!(status.backlog, backlog, "a failure shows nothing of the backlog, so the last one stays");
}
