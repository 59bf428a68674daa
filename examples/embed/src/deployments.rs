//! `deployments`: versions that take the players of a stage.

use std::sync::Arc;

use omgservers_deployments::{Deployments, DeploymentsParts, PgDeployments};
use omgservers_projects::Projects;
use omgservers_versions::Versions;

use crate::Base;

/// Makes the service.
pub fn build(
    base: &Base,
    projects: &Arc<dyn Projects>,
    versions: &Arc<dyn Versions>,
) -> Arc<dyn Deployments> {
    Arc::new(PgDeployments::new(DeploymentsParts {
        shards: base.db.clone().into(),
        clock: Arc::clone(&base.clock),
        mint: base.mint.clone(),
        projects: Arc::clone(projects),
        versions: Arc::clone(versions),
        changed: base.changed.clone(),
    }))
}
