use std::{collections::HashSet, sync::Arc};

use omgservers_api::{
    DeploymentId, Problem, ProjectId, StageId, TenantId, VersionId, config::DeploymentConfig,
    details::Deployment,
};
use omgservers_core::{Caller, Existences};
use omgservers_versions::PinnedImage;

/// A deployment with what runs in it. It never changes after it was made.
#[derive(Debug, Clone)]
pub struct DeploymentFull {
    /// The deployment.
    pub deployment: Deployment,
    /// The project of its stage.
    pub project_id: ProjectId,
    /// How it runs.
    pub config: DeploymentConfig,
    /// What its runtimes run, by digest.
    pub images: Vec<PinnedImage>,
}

/// What other crates, the HTTP API and tools may ask of deployments.
#[async_trait::async_trait]
pub trait Deployments: Send + Sync {
    /// Deploys a version in a stage: from now on the stage's new clients get this one. It runs as
    /// `config` says, else as the version's own `deployment` says, else by default, and with the
    /// images that the version has now. Checks in this order:
    ///
    /// 1. `config` is valid (`request.invalid`).
    /// 2. The version has an image (`deployments.no_image`, 409 WRONG_VERSION_STATE; also when
    ///    there is no such version).
    /// 3. The version exists in the tenant (`versions.not_found`), and so does the stage
    ///    (`projects.stage_not_found`).
    /// 4. Both belong to `project` (`deployments.foreign_version`, 403 WRONG_REQUEST).
    /// 5. The caller has the stage's DEPLOYMENT_MANAGER (`auth.permission`).
    /// 6. The images run lobbies and, if the version has modes, matches (`deployments.no_image`).
    /// 7. The version's own configuration would be accepted now (`request.invalid`).
    async fn deploy(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        stage: StageId,
        version: VersionId,
        config: Option<&DeploymentConfig>,
    ) -> Result<DeploymentId, Problem>;

    /// A deployment of the tenant. Problems: `auth.permission` without the project's
    /// PROJECT_VIEWER, `deployments.not_found`.
    async fn get(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<Arc<DeploymentFull>, Problem>;

    /// The deployments of a stage, oldest first. PROJECT_VIEWER is checked by who calls.
    async fn of_stage(&self, stage: StageId) -> Result<Vec<Deployment>, Problem>;

    /// Deletes a deployment of the tenant; what runs of it follows. Needs the stage's
    /// DEPLOYMENT_MANAGER. `false` when there is none. Problems: `auth.permission`.
    async fn delete(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<bool, Problem>;

    /// The newest deployment of a stage: the one that takes new clients. Problems:
    /// `deployments.none` (404 DEPLOYMENT_NOT_FOUND).
    async fn newest(&self, stage: StageId) -> Result<Arc<DeploymentFull>, Problem>;

    /// A deployment, from memory where it was seen before. Problems: `deployments.not_found`.
    async fn full(&self, deployment: DeploymentId) -> Result<Arc<DeploymentFull>, Problem>;

    /// All deployments, and of each whether it is the newest of its stage; for workers. At most
    /// `limit`, with ids after `after`, by id.
    async fn page(
        &self,
        after: Option<DeploymentId>,
        limit: u32,
    ) -> Result<Vec<(Arc<DeploymentFull>, bool)>, Problem>;

    /// Deletes a deployment that is not the newest of its stage and has nothing left. `false` when
    /// it is the newest or not there.
    async fn retire(&self, deployment: DeploymentId) -> Result<bool, Problem>;

    /// Whether `ids` exist. Those in a database that doesn't answer are unknown: delete and stop
    /// nothing for them.
    async fn exist(&self, ids: &[DeploymentId]) -> Result<Existences<DeploymentId>, Problem>;

    /// All image digests that a deployment pins; the registry keeps them. Problems: `unavailable`
    /// unless every database answers.
    async fn pinned_digests(&self) -> Result<HashSet<String>, Problem>;
}
