//! Duties of this crate. Both look at what is, so that a missed ring or a lost race heals on the
//! next run.

use std::time::Duration;

use omgservers_api::{Problem, TenantId, UserId};
use omgservers_core::{Doorbell, Outcome, Worker, sweep, sweep_each};

use crate::{
    PgProjects,
    store::{self, project},
};

const PERIOD: Duration = Duration::from_secs(30);
const PAGE: i64 = 500;
/// A project takes its stages, names and permissions along, so fewer of them go in one transaction.
const BATCH: i64 = 100;

/// Deletes the projects of tenants that are gone.
#[derive(Clone)]
pub struct SweepOrphans {
    projects: PgProjects,
}

#[async_trait::async_trait]
impl Worker for SweepOrphans {
    fn name(&self) -> &'static str {
        "projects.sweep_orphans"
    }
    fn description(&self) -> &'static str {
        "Deletes the projects of tenants that are gone."
    }
    fn period(&self) -> Duration {
        PERIOD
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let sweeper: &Self = self;
        let page = |after| async move {
            project::tenants_after(&mut *sweeper.projects.db.read().await?, after, PAGE).await
        };
        let exist = |tenants: Vec<TenantId>| async move { sweeper.projects.tenants.exist(&tenants).await };
        let delete = |tenant| sweeper.sweep(tenant);
        Ok(Outcome::changed(sweep_each(page, exist, delete).await?))
    }
}

impl SweepOrphans {
    /// Makes the worker of `projects`. Ring its doorbell when tenants are deleted.
    pub fn new(projects: PgProjects) -> Self {
        Self { projects }
    }

    async fn sweep(&self, tenant: TenantId) -> Result<usize, Problem> {
        let mut deleted = 0;
        loop {
            let some =
                self.projects.db.write(async |conn| project::delete_some(conn, tenant, BATCH).await).await?;
            if some == 0 {
                return Ok(deleted);
            }
            deleted += some;
            self.projects.dependents.iter().for_each(Doorbell::ring);
        }
    }
}

/// Deletes the permissions of users who are gone.
#[derive(Clone)]
pub struct SweepPermissions {
    projects: PgProjects,
}

impl SweepPermissions {
    /// Makes the worker of `projects`.
    pub fn new(projects: PgProjects) -> Self {
        Self { projects }
    }
}

#[async_trait::async_trait]
impl Worker for SweepPermissions {
    fn name(&self) -> &'static str {
        "projects.sweep_permissions"
    }
    fn description(&self) -> &'static str {
        "Deletes the project and stage permissions of users who are gone."
    }
    fn period(&self) -> Duration {
        PERIOD
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let (db, accounts) = (&self.projects.db, &self.projects.accounts);
        let page = |after| async move { store::holders_after(&mut *db.read().await?, after, PAGE).await };
        let exist = |users: Vec<UserId>| async move { accounts.exist(&users).await };
        let delete = |gone: Vec<_>| async move {
            db.write(async |conn| store::delete_permissions_of(conn, &gone).await).await
        };
        Ok(Outcome::changed(sweep(page, exist, delete).await?))
    }
}
