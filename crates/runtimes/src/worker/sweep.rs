//! Forgets failures of deployments that are gone.

use std::{sync::Arc, time::Duration};

use omgservers_api::{DeploymentId, Problem, ids::Id as _};
use omgservers_core::{Db, Existences, Outcome, Ownership, Worker, sweep_each};
use omgservers_deployments::Deployments;

use crate::store;

/// Tells which deployments there are: what [`SweepFailures`] asks of the crate to the left.
#[async_trait::async_trait]
pub trait ExistingDeployments: Send + Sync {
    /// Tells whether `ids` exist.
    async fn exist(&self, ids: &[DeploymentId]) -> Result<Existences<DeploymentId>, Problem>;
}

#[async_trait::async_trait]
impl ExistingDeployments for Arc<dyn Deployments> {
    async fn exist(&self, ids: &[DeploymentId]) -> Result<Existences<DeploymentId>, Problem> {
        Deployments::exist(&**self, ids).await
    }
}

/// The worker `runtimes.sweep_failures`.
pub struct SweepFailures {
    db: Db,
    ownership: Ownership,
    deployments: Arc<dyn ExistingDeployments>,
}

impl SweepFailures {
    /// Makes the worker of a database. `ownership` has the slots of this process.
    pub fn new(db: Db, ownership: Ownership, deployments: Arc<dyn ExistingDeployments>) -> Self {
        Self { db, ownership, deployments }
    }
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
        let Self { db, ownership, deployments: owner } = &*self;
        let page =
            |after| async move { store::failed_deployments(&mut *db.read().await?, after, PAGE).await };
        let exist = |deployments: Vec<DeploymentId>| async move { owner.exist(&deployments).await };
        let delete = |deployment: DeploymentId| async move {
            db.write_owned(ownership, &[deployment.slot()], async |tx| {
                store::forget_failures(tx, deployment).await
            })
            .await
        };
        Ok(Outcome::changed(sweep_each(page, exist, delete).await?))
    }
}
