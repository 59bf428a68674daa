//! The duty of this crate: versions go with their project.

use std::time::Duration;

use omgservers_api::{Problem, ProjectId};
use omgservers_core::{Outcome, Worker, sweep_each};

use crate::{PgVersions, store};

/// Projects that are compared at a time.
const PAGE: i64 = 500;

/// Deletes the versions of projects that are gone. It looks at what is, so a missed wake-up heals
/// on the next run.
#[derive(Debug)]
pub struct SweepOrphans {
    versions: PgVersions,
}

impl SweepOrphans {
    /// Sweeps `versions`; ring its doorbell when projects are deleted.
    pub fn new(versions: PgVersions) -> Self {
        Self { versions }
    }

    async fn sweep(&self, project: ProjectId) -> Result<usize, Problem> {
        let db = &self.versions.db;
        let deleted = db.write(async |conn| store::delete_of_project(conn, project).await).await?;
        self.versions.forget(&deleted);
        Ok(deleted.len())
    }
}

#[async_trait::async_trait]
impl Worker for SweepOrphans {
    fn name(&self) -> &'static str {
        "versions.sweep_orphans"
    }
    fn description(&self) -> &'static str {
        "Deletes the versions of projects that are gone."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let versions = &self.versions;
        let page = |after| async move { store::projects(&mut *versions.db.read().await?, after, PAGE).await };
        let exist = |projects: Vec<ProjectId>| async move { versions.projects.exist(&projects).await };
        let delete = |project| self.sweep(project);
        Ok(Outcome::changed(sweep_each(page, exist, delete).await?))
    }
}
