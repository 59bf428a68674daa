//! The background duties of this process.

use std::time::Duration;

use omgservers_api::Problem;
use omgservers_core::{Db, Doorbell, Outcome, Ownership, Worker, WorkerRegistry, worker};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Runs workers until the server stops.
pub struct Workers {
    registry: WorkerRegistry,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Workers {
    /// Runs nothing yet; `registry` shows what is added.
    pub fn new(registry: WorkerRegistry) -> Self {
        Self { registry, tasks: TaskTracker::default(), stop: CancellationToken::default() }
    }

    /// Shows what the workers do.
    pub fn registry(&self) -> WorkerRegistry {
        self.registry.clone()
    }

    /// Starts `worker`; `doorbell` wakes it early.
    pub fn add(&self, worker: Box<dyn Worker>, doorbell: Doorbell) {
        let registry = self.registry.clone();
        self.tasks.spawn(worker::run(worker, doorbell, registry, self.stop.clone()));
    }

    /// Runs a task that ends by itself when the token fires.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce(CancellationToken) -> F) {
        self.tasks.spawn(task(self.stop.clone()));
    }

    /// Lets each finish the run that it is in.
    pub async fn stop(self, timeout: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(timeout, self.tasks.wait()).await.is_err() {
            tracing::warn!(workers = self.tasks.len(), "workers have not stopped within {timeout:?}");
        }
    }
}

/// Notices that another server has taken slots of this one, also when nothing is written.
pub struct WatchOwnership {
    /// Where it is written down.
    pub db: Db,
    /// What this server took.
    pub ownership: Ownership,
}

#[async_trait::async_trait]
impl Worker for WatchOwnership {
    fn name(&self) -> &'static str {
        "server.watch_ownership"
    }
    fn description(&self) -> &'static str {
        "Notices when another server takes the database."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(2)
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        Ok(Outcome::changed(self.ownership.verify(&self.db).await?.len()))
    }
}
