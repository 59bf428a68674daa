//! Duties of this crate. Both look at what is, so that a missed ring or a lost race heals on the
//! next run.

use std::time::Duration;

use omgservers_api::{Problem, TenantId, UserId};
use omgservers_core::{Outcome, Worker, existences, sweep};

use crate::{PgTenants, store};

const PERIOD: Duration = Duration::from_secs(30);
const PAGE: i64 = 500;

/// Frees the names of tenants that are gone, where the deletion was cut off in the middle.
#[derive(Clone)]
pub struct FreeNames {
    tenants: PgTenants,
}

impl FreeNames {
    /// Makes the worker of `tenants`.
    pub fn new(tenants: PgTenants) -> Self {
        Self { tenants }
    }
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
        let db = &self.tenants.db;
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
    tenants: PgTenants,
}

impl SweepPermissions {
    /// Makes the worker of `tenants`.
    pub fn new(tenants: PgTenants) -> Self {
        Self { tenants }
    }
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
        let (db, accounts) = (&self.tenants.db, &self.tenants.accounts);
        let page = |after| async move { store::holders_after(&mut *db.read().await?, after, PAGE).await };
        let exist = |users: Vec<UserId>| async move { accounts.exist(&users).await };
        let delete = |gone: Vec<_>| async move {
            db.write(async |conn| store::delete_permissions_of(conn, &gone).await).await
        };
        Ok(Outcome::changed(sweep(page, exist, delete).await?))
    }
}
