//! Duties of this crate.

use std::{sync::Arc, time::Duration};

use omgservers_accounts::Accounts;
use omgservers_api::{Problem, StageId, UserId};
use omgservers_core::{Db, Outcome, Worker, sweep};
use omgservers_projects::Projects;

use crate::store;

const PAGE: i64 = 500;

/// Deletes the profiles of users and stages that are gone. It looks at what is, so a lost race
/// heals on the next run.
pub struct SweepOrphans {
    db: Db,
    accounts: Arc<dyn Accounts>,
    projects: Arc<dyn Projects>,
}

impl SweepOrphans {
    /// Makes the worker of a database. `accounts` knows which users exist, and `projects` which
    /// stages.
    pub fn new(db: Db, accounts: Arc<dyn Accounts>, projects: Arc<dyn Projects>) -> Self {
        Self { db, accounts, projects }
    }
}

#[async_trait::async_trait]
impl Worker for SweepOrphans {
    fn name(&self) -> &'static str {
        "players.sweep_orphans"
    }
    fn description(&self) -> &'static str {
        "Deletes the profiles of users and stages that are gone."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(600)
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        Ok(Outcome::changed(self.sweep_stages().await? + self.sweep_users().await?))
    }
}

impl SweepOrphans {
    async fn sweep_stages(&self) -> Result<usize, Problem> {
        let db = &self.db;
        let page = |after| async move { store::stages_after(&mut *db.read().await?, after, PAGE).await };
        let exist = |stages: Vec<StageId>| async move { self.projects.stages_exist(&stages).await };
        let delete = |gone: Vec<_>| async move {
            db.write(async |conn| store::delete_of_stages(conn, &gone).await).await
        };
        sweep(page, exist, delete).await
    }

    async fn sweep_users(&self) -> Result<usize, Problem> {
        let db = &self.db;
        let page = |after| async move { store::users_after(&mut *db.read().await?, after, PAGE).await };
        let exist = |users: Vec<UserId>| async move { self.accounts.exist(&users).await };
        let delete = |gone: Vec<_>| async move {
            db.write(async |conn| store::delete_of_users(conn, &gone).await).await
        };
        sweep(page, exist, delete).await
    }
}
