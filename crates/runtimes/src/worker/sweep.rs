//! Forgets failures of deployments that are gone.

use std::{sync::Arc, time::Duration};

use omgservers_api::{Problem, ids::Id as _};
use omgservers_core::{Db, Outcome, Ownership, Worker};
use omgservers_deployments::Deployments;

use crate::store;

/// The worker `runtimes.sweep_failures`.
pub struct SweepFailures {
    /// Where failures are kept.
    pub db: Db,
    /// The slots of this process.
    pub ownership: Ownership,
    /// Knows which deployments there are.
    pub deployments: Arc<dyn Deployments>,
}

const PAGE: i64 = 500;

#[async_trait::async_trait]
impl Worker for SweepFailures {
    fn name(&self) -> &'static str {
        "runtimes.sweep_failures"
    }
    fn description(&self) -> &'static str {
        "Deletes the container failures of deployments that are gone."
    }

    fn period(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let (mut after, mut forgotten) = (None, 0usize);
        loop {
            let page = store::failed_deployments(&mut *self.db.read().await?, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(Outcome::changed(forgotten)) };
            after = Some(*last);
            let alive = self.deployments.exist(&page).await?;
            for gone in page.into_iter().filter(|it| !alive.contains(it)) {
                let deleted = self
                    .db
                    .write_owned(&self.ownership, &[gone.slot()], async |tx| {
                        store::forget_failures(tx, gone).await
                    })
                    .await?;
                forgotten = forgotten.saturating_add(deleted);
            }
        }
    }
}
