//! `projects`: games of a tenant, and the stages that they are deployed to.

use std::sync::Arc;

use omgservers_accounts::Accounts;
use omgservers_projects::{PgProjects, Projects, ProjectsParts};
use omgservers_tenants::Tenants;

use crate::Base;

/// Makes the service.
pub fn build(base: &Base, accounts: &Arc<dyn Accounts>, tenants: &Arc<dyn Tenants>) -> Arc<dyn Projects> {
    Arc::new(PgProjects::new(ProjectsParts {
        db: base.db.clone(),
        clock: Arc::clone(&base.clock),
        mint: base.mint.clone(),
        accounts: Arc::clone(accounts),
        tenants: Arc::clone(tenants),
        dependents: Vec::new(),
    }))
}
