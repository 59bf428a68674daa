//! The duty of this crate: deployments go with their stage and with their version.

use std::time::Duration;

use omgservers_api::{DeploymentId, Problem};
use omgservers_core::{Outcome, Worker};

use crate::{PgDeployments, store};

/// Stages or versions that are compared at a time.
const PAGE: i64 = 500;

/// Deletes the deployments whose stage or version is gone. It looks at what is, so a missed wake-up heals on
/// the next run.
#[derive(Debug)]
pub struct SweepOrphans {
    deployments: PgDeployments,
}

/// What a run has done so far. A failure of one item is kept for the end, so that it doesn't stop the others.
#[derive(Default)]
struct Tally {
    deleted: usize,
    failed: Option<Problem>,
}

impl SweepOrphans {
    /// Sweeps `deployments`; ring its doorbell when stages or versions are deleted.
    pub fn new(deployments: PgDeployments) -> Self {
        Self { deployments }
    }

    fn count(&self, tally: &mut Tally, swept: Result<Vec<DeploymentId>, Problem>) {
        match swept {
            Ok(deleted) => {
                self.deployments.forget(&deleted);
                tally.deleted += deleted.len();
            }
            Err(problem) => tally.failed = Some(problem),
        }
    }

    async fn sweep_stages(&self, tally: &mut Tally) -> Result<(), Problem> {
        let (db, mut after) = (&self.deployments.db, None);
        loop {
            let page = store::stages(&mut *db.read().await?, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(*last);
            let alive = self.deployments.projects.stages_exist(&page).await?;
            for stage in page.into_iter().filter(|it| !alive.contains(it)) {
                let swept = db.write(async |conn| store::delete_of_stage(conn, stage).await).await;
                self.count(tally, swept);
            }
        }
    }

    async fn sweep_versions(&self, tally: &mut Tally) -> Result<(), Problem> {
        let (db, mut after) = (&self.deployments.db, None);
        loop {
            let page = store::versions(&mut *db.read().await?, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(*last);
            let alive = self.deployments.versions.exist(&page).await?;
            for version in page.into_iter().filter(|it| !alive.contains(it)) {
                let swept = db.write(async |conn| store::delete_of_version(conn, version).await).await;
                self.count(tally, swept);
            }
        }
    }
}

#[async_trait::async_trait]
impl Worker for SweepOrphans {
    fn name(&self) -> &'static str {
        "deployments.sweep_orphans"
    }
    fn description(&self) -> &'static str {
        "Deletes the deployments of stages and versions that are gone."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let mut tally = Tally::default();
        self.sweep_stages(&mut tally).await?;
        self.sweep_versions(&mut tally).await?;
        tally.failed.map_or(Ok(Outcome::changed(tally.deleted)), Err)
    }
}
