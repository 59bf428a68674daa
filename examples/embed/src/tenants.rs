//! `tenants`: studios, and who may do what in them.

use std::sync::Arc;

use omgservers_accounts::Accounts;
use omgservers_tenants::{PgTenants, Tenants, TenantsParts};

use crate::Base;

/// Makes the service. Whoever runs `omgservers_projects::SweepOrphans` adds its doorbell to
/// `dependents`.
pub fn build(base: &Base, accounts: &Arc<dyn Accounts>) -> Arc<dyn Tenants> {
    Arc::new(PgTenants::new(TenantsParts {
        db: base.db.clone(),
        clock: Arc::clone(&base.clock),
        mint: base.mint.clone(),
        accounts: Arc::clone(accounts),
        dependents: Vec::new(),
    }))
}
