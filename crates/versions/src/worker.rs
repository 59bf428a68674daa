//! The duty of this crate: versions go with their project.

use std::time::Duration;

use omgservers_api::{Problem, ProjectId};
use omgservers_core::{Outcome, Worker};

use crate::{PgVersions, store};

/// Projects that are compared at a time.
const PAGE: i64 = 500;

/// Deletes the versions of projects that are gone. It looks at what is, so a missed wake-up heals on the next
/// run.
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
        let (mut after, mut deleted, mut failed) = (None, 0, None);
        loop {
            let page = store::projects(&mut *self.versions.db.read().await?, after, PAGE).await?;
            let Some(last) = page.last() else {
                return failed.map_or(Ok(Outcome::changed(deleted)), Err);
            };
            after = Some(*last);
            let alive = self.versions.projects.exist(&page).await?;
            for project in page.into_iter().filter(|it| !alive.contains(it)) {
                match self.sweep(project).await {
                    Ok(count) => deleted += count,
                    Err(problem) => failed = Some(problem),
                }
            }
        }
    }
}
