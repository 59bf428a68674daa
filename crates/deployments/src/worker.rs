//! The duty of this crate: deployments go with their stage and with their version.

use std::{collections::BTreeMap, time::Duration};

use omgservers_api::{DeploymentId, Problem, StageId, VersionId};
use omgservers_core::{Outcome, Worker, existences, sweep_each};

use crate::{PgDeployments, store};

/// Stages or versions that are compared at a time.
const PAGE: i64 = 500;

/// Deletes the deployments whose stage or version is gone. It looks at what is, so a missed wake-up
/// heals on the next run.
#[derive(Debug)]
pub struct SweepOrphans {
    deployments: PgDeployments,
}

impl SweepOrphans {
    /// Sweeps `deployments`; ring its doorbell when stages or versions are deleted.
    pub fn new(deployments: PgDeployments) -> Self {
        Self { deployments }
    }

    async fn sweep_stages(&self) -> Result<usize, Problem> {
        let deployments = &self.deployments;
        let page =
            |after| async move { store::stages(&mut *deployments.db.read().await?, after, PAGE).await };
        let exist = |stages: Vec<StageId>| async move {
            Ok(existences(&stages, &deployments.projects.stages_exist(&stages).await?))
        };
        let delete = |stage| async move {
            let deleted =
                deployments.db.write(async |conn| store::delete_of_stage(conn, stage).await).await?;
            deployments.forget(stage, &deleted).await;
            Ok(deleted.len())
        };
        sweep_each(page, exist, delete).await
    }

    async fn sweep_versions(&self) -> Result<usize, Problem> {
        let deployments = &self.deployments;
        let page =
            |after| async move { store::versions(&mut *deployments.db.read().await?, after, PAGE).await };
        let exist = |versions: Vec<VersionId>| async move {
            Ok(existences(&versions, &deployments.versions.exist(&versions).await?))
        };
        let delete = |version| async move {
            let deleted =
                deployments.db.write(async |conn| store::delete_of_version(conn, version).await).await?;
            let count = deleted.len();
            let mut of_stage: BTreeMap<StageId, Vec<DeploymentId>> = BTreeMap::new();
            for (stage, deployment) in deleted {
                of_stage.entry(stage).or_default().push(deployment);
            }
            for (stage, deleted) in of_stage {
                deployments.forget(stage, &deleted).await;
            }
            Ok(count)
        };
        sweep_each(page, exist, delete).await
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
        // One of the two that fails doesn't stop the other.
        let (stages, versions) = (self.sweep_stages().await, self.sweep_versions().await);
        Ok(Outcome::changed(stages?.saturating_add(versions?)))
    }
}
