//! The workers that belong to the services, each with the doorbell that wakes it.

use std::sync::Arc;

use omgservers_core::{Doorbell, Worker, mint::RenewBlocks};
use omgservers_matchmaking::{ExpireClients, ForgetClosed, ReconcileDeployments, Resync};
use omgservers_registry::{CollectGarbage, ForgetProjects};
use omgservers_runtimes::SweepFailures;

use super::{Infrastructure, Services};
use crate::workers::WatchOwnership;

/// A worker and the doorbell that wakes it before its period is over.
pub struct WiredWorker {
    /// The worker.
    pub worker: Box<dyn Worker>,
    /// Rung by the services.
    pub doorbell: Doorbell,
}

impl WiredWorker {
    fn new(worker: impl Worker + 'static, doorbell: Doorbell) -> Self {
        Self { worker: Box::new(worker), doorbell }
    }

    /// A worker that no service wakes.
    fn periodic(worker: impl Worker + 'static) -> Self {
        Self::new(worker, Doorbell::default())
    }
}

impl Services {
    /// All workers, left to right. The server runs each as a task; the simulation runs them by
    /// hand.
    pub fn workers(&self, infrastructure: &Infrastructure) -> Vec<WiredWorker> {
        let mut all = Vec::from(self.of_core(infrastructure));
        all.extend(self.of_the_line(infrastructure));
        all.extend(self.of_matchmaking());
        all.extend(self.of_the_registry());
        all
    }

    fn of_core(&self, infrastructure: &Infrastructure) -> [WiredWorker; 2] {
        let Infrastructure { db, mint, ownership, .. } = infrastructure;
        [
            WiredWorker::periodic(WatchOwnership { db: db.clone(), ownership: ownership.clone() }),
            WiredWorker::periodic(RenewBlocks { db: db.clone(), mint: mint.clone() }),
        ]
    }

    fn of_the_line(&self, infrastructure: &Infrastructure) -> [WiredWorker; 9] {
        let Infrastructure { db, ownership, .. } = infrastructure;
        let doorbells = &self.doorbells;
        [
            WiredWorker::periodic(omgservers_tenants::FreeNames::new(self.tenants.clone())),
            WiredWorker::periodic(omgservers_tenants::SweepPermissions::new(self.tenants.clone())),
            WiredWorker::new(
                omgservers_projects::SweepOrphans::new(self.projects.clone()),
                doorbells.tenant.clone(),
            ),
            WiredWorker::periodic(omgservers_projects::SweepPermissions::new(self.projects.clone())),
            WiredWorker::new(
                omgservers_versions::SweepOrphans::new(self.versions.clone()),
                doorbells.project.clone(),
            ),
            WiredWorker::new(
                omgservers_deployments::SweepOrphans::new(self.deployments.clone()),
                doorbells.stage_or_version.clone(),
            ),
            WiredWorker::new(self.runtimes.reconciler(), self.runtimes.doorbell()),
            WiredWorker::periodic(SweepFailures::new(
                db.clone(),
                ownership.clone(),
                Arc::new(self.deployments()),
            )),
            WiredWorker::periodic(omgservers_players::SweepOrphans::new(
                db.clone(),
                Arc::clone(&self.accounts),
                self.projects(),
            )),
        ]
    }

    fn of_matchmaking(&self) -> [WiredWorker; 4] {
        let matchmaking = || Arc::clone(&self.matchmaking);
        let reconcile = ReconcileDeployments(matchmaking());
        let enqueued = reconcile.doorbell();
        [
            WiredWorker::periodic(Resync(matchmaking())),
            WiredWorker::periodic(ExpireClients(matchmaking())),
            WiredWorker::new(reconcile, enqueued),
            WiredWorker::periodic(ForgetClosed(matchmaking())),
        ]
    }

    fn of_the_registry(&self) -> [WiredWorker; 2] {
        let (registry, collector) = (|| self.registry.clone(), Doorbell::default());
        let forget = ForgetProjects::new(registry(), self.projects(), collector.clone());
        [
            WiredWorker::new(forget, self.doorbells.repository.clone()),
            WiredWorker::new(CollectGarbage::new(registry(), self.projects()), collector),
        ]
    }
}
