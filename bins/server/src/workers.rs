//! The background duties of this process.

use std::time::Duration;

use omgservers_api::{Problem, Slot};
use omgservers_core::{Db, Doorbell, Ownership, Worker, worker};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Runs workers until they are told to stop.
#[derive(Default)]
pub struct Workers {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Workers {
    /// Runs `worker` from this on; `doorbell` wakes it early.
    pub fn add(&self, worker: impl Worker + 'static, doorbell: Doorbell) {
        self.tasks.spawn(worker::run(Box::new(worker), doorbell, self.stop.clone()));
    }

    /// Runs a task that ends by itself when the token fires.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce(CancellationToken) -> F) {
        self.tasks.spawn(task(self.stop.clone()));
    }

    /// Lets each finish the run that it is in.
    pub async fn stop(self, patience: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!(workers = self.tasks.len(), "workers have not stopped within {patience:?}");
        }
    }
}

/// Notices that another server has taken the database, also when nothing is written.
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
    fn period(&self) -> Duration {
        Duration::from_secs(2)
    }
    async fn run_once(&mut self) -> Result<usize, Problem> {
        // Slots are taken all at once, so one tells of all. The fence finds out and spreads the word.
        let any: Vec<Slot> = Slot::new(0).into_iter().collect();
        let fenced = self.db.write_owned(&self.ownership, &any, async |_fenced| Ok(())).await;
        match fenced {
            Err(problem) if !problem.is(omgservers_core::ownership::NOT_OWNER) => Err(problem),
            _ => Ok(0),
        }
    }
}
