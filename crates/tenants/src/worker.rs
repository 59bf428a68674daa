//! Duties of this crate. Both look at what is, so that a missed ring or a lost race heals on the next run.

use std::{sync::Arc, time::Duration};

use omgservers_accounts::Accounts;
use omgservers_api::Problem;
use omgservers_core::{Db, Outcome, Worker};

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
        let (mut after, mut freed) = (None, 0);
        loop {
            let page = store::named_after(&mut *self.db.read().await?, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(Outcome::changed(freed)) };
            after = Some(*last);
            let alive = store::exist(&mut *self.db.read().await?, &page).await?;
            let gone: Vec<_> = page.into_iter().filter(|it| !alive.contains(it)).collect();
            if !gone.is_empty() {
                freed += self.db.write(async |conn| store::delete_names_of(conn, &gone).await).await?;
            }
        }
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
        let (mut after, mut deleted) = (None, 0);
        loop {
            let page = store::holders_after(&mut *self.db.read().await?, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(Outcome::changed(deleted)) };
            after = Some(*last);
            let alive = self.accounts.exist(&page).await?;
            let gone: Vec<_> = page.into_iter().filter(|it| !alive.contains(it)).collect();
            if !gone.is_empty() {
                deleted +=
                    self.db.write(async |conn| store::delete_permissions_of(conn, &gone).await).await?;
            }
        }
    }
}
