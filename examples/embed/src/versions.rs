//! `versions`: the configuration and the images of a game.

use std::sync::Arc;

use omgservers_api::{Problem, VersionId, config::VersionConfig, roles::ImageQualifier};
use omgservers_projects::Projects;
use omgservers_versions::{PgVersions, Repository, Versions, VersionsParts};

use crate::{Base, EMBEDDER, StageIds};

/// Makes the service.
pub fn build(base: &Base, projects: &Arc<dyn Projects>) -> Arc<dyn Versions> {
    Arc::new(PgVersions::new(VersionsParts {
        db: base.db.clone(),
        clock: Arc::clone(&base.clock),
        mint: base.mint.clone(),
        projects: Arc::clone(projects),
        dependents: Vec::new(),
    }))
}

/// Makes a version without modes, and gives it the image that a registry has taken in.
pub async fn with_image(versions: &dyn Versions, at: StageIds) -> Result<VersionId, Problem> {
    let config = VersionConfig { modes: Vec::new(), user_data: None, deployment: None };
    let version = versions.create(&EMBEDDER, at.tenant, at.project, &config).await?;
    let into = Repository { tenant: at.tenant, project: at.project, qualifier: ImageQualifier::Universal };
    let digest = format!("sha256:{}", "5a".repeat(32));
    versions.attach_image(&into.to_string(), &version.to_string(), &digest).await?;
    Ok(version)
}
