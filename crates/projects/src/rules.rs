//! Decisions without I/O.

use omgservers_api::{
    Problem,
    ProjectPermission::{self, ProjectViewer, StageManager, VersionManager},
    StagePermission::{self, DeploymentManager, StageViewer},
    validate,
};

/// What a developer gets in a project of his own making.
pub(crate) const CREATOR: &[ProjectPermission] = &[StageManager, VersionManager, ProjectViewer];
/// What a developer gets in the first stage of such a project.
pub(crate) const CREATOR_OF_FIRST_STAGE: &[StagePermission] = &[DeploymentManager];
/// What a developer gets in any other stage of his own making.
pub(crate) const CREATOR_OF_STAGE: &[StagePermission] = &[DeploymentManager, StageViewer];

/// Problems: `request.invalid`.
pub(crate) fn check_alias(alias: &str) -> Result<(), Problem> {
    validate::alias("alias", alias)
}
