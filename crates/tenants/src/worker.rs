//! Duties of this crate. Both look at what is, so that a missed ring or a lost race heals on the next run.

use std::{sync::Arc, time::Duration};

use omgservers_accounts::Accounts;
use omgservers_api::{Problem, TenantId, UserId};
use omgservers_core::{Db, Outcome, Worker, existences, sweep};

use crate::store;

const PERIOD: Duration = Duration::from_secs(30);
const PAGE: i64 = 500;

/// Frees the names of tenants that are gone, where the deletion was cut off in the middle.
#[derive(Debug, Clone)]
pub struct FreeNames {
    /// The database.
    pub db: Db,
}

#[async_trait::async_trait]
impl Worker for FreeNames {
    fn name(&self) -> &'static str {
        "tenants.free_names"
    }
    fn description(&self) -> &'static str {
        "Frees the names of tenants that are gone."
    }
    fn period(&self) -> Duration {
        PERIOD
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let db = &self.db;
        let page = |after| async move { store::named_after(&mut *db.read().await?, after, PAGE).await };
        let exist = |tenants: Vec<TenantId>| async move {
            Ok(existences(&tenants, &store::exist(&mut *db.read().await?, &tenants).await?))
        };
        let delete = |gone: Vec<_>| async move {
            db.write(async |conn| store::delete_names_of(conn, &gone).await).await
        };
        Ok(Outcome::changed(sweep(page, exist, delete).await?))
    }
}

/// Deletes the permissions of users who are gone.
#[derive(Clone)]
pub struct SweepPermissions {
    /// The database.
    pub db: Db,
    /// Which users exist.
    pub accounts: Arc<dyn Accounts>,
}

#[async_trait::async_trait]
impl Worker for SweepPermissions {
    fn name(&self) -> &'static str {
        "tenants.sweep_permissions"
    }
    fn description(&self) -> &'static str {
        "Deletes the tenant permissions of users who are gone."
    }
    fn period(&self) -> Duration {
        PERIOD
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let (db, accounts) = (&self.db, &self.accounts);
        let page = |after| async move { store::holders_after(&mut *db.read().await?, after, PAGE).await };
        let exist =
            |users: Vec<UserId>| async move { Ok(existences(&users, &accounts.exist(&users).await?)) };
        let delete = |gone: Vec<_>| async move {
            db.write(async |conn| store::delete_permissions_of(conn, &gone).await).await
        };
        Ok(Outcome::changed(sweep(page, exist, delete).await?))
    }
}
