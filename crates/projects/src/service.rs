//! The service trait: the border of this crate.

use omgservers_api::{
    Problem, ProjectId, ProjectPermission, Ref, StageId, StagePermission, TenantId, UserId,
    details::{Project, ProjectGrant, Stage, StageGrant},
};
use omgservers_core::{Caller, Existences};
use serde::{Deserialize, Serialize};

/// Where a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePath {
    /// The stage.
    pub stage: StageId,
    /// Its project.
    pub project: ProjectId,
    /// Its tenant.
    pub tenant: TenantId,
}

/// What other crates, the HTTP API and tools may ask of projects and stages.
#[async_trait::async_trait]
pub trait Projects: Send + Sync {
    /// Makes a project and its first stage. Support may; a developer needs the tenant's
    /// PROJECT_MANAGER and gets STAGE_MANAGER, VERSION_MANAGER and PROJECT_VIEWER on the project
    /// and DEPLOYMENT_MANAGER on the stage. Problems: `auth.role`, `auth.permission`,
    /// `projects.parent_not_found`.
    async fn create(&self, caller: &Caller, tenant: TenantId) -> Result<(ProjectId, StageId), Problem>;

    /// Gives a project of the tenant a second name, unique in the tenant. Needs the tenant's
    /// PROJECT_MANAGER. Problems: `auth.role`, `auth.permission`, `request.invalid`,
    /// `projects.not_found`, `projects.alias_taken`.
    async fn create_alias(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        alias: &str,
    ) -> Result<(), Problem>;

    /// Deletes a project of the tenant; what belongs to it follows. Needs the tenant's
    /// PROJECT_MANAGER. `false` when there is none. Problems: `auth.role`, `auth.permission`.
    async fn delete(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: &Ref<ProjectId>,
    ) -> Result<bool, Problem>;

    /// The id behind an id or a name, if the project exists in the tenant. Problems:
    /// `projects.not_found`.
    async fn find(&self, tenant: TenantId, project: &Ref<ProjectId>) -> Result<ProjectId, Problem>;

    /// The project, who may do what, and its stages. Problems: `auth.permission` without
    /// PROJECT_VIEWER, `projects.not_found`.
    async fn get(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
    ) -> Result<(Project, Vec<ProjectGrant>, Vec<Stage>), Problem>;

    /// Lists up to `size` projects of the tenant whose ids follow `after`, in the order of their
    /// ids. It adds the `after` of the next page if there is one. Needs the tenant's TENANT_VIEWER.
    /// Errors: `auth.role`, `auth.permission`.
    async fn list(
        &self,
        caller: &Caller,
        tenant: TenantId,
        after: Option<ProjectId>,
        size: u32,
    ) -> Result<(Vec<Project>, Option<ProjectId>), Problem>;

    /// The projects of a tenant, oldest first. The tenant's TENANT_VIEWER is checked by who calls.
    async fn of_tenant(&self, tenant: TenantId) -> Result<Vec<Project>, Problem>;

    /// Makes a stage. Support may; a developer needs STAGE_MANAGER and gets DEPLOYMENT_MANAGER and
    /// STAGE_VIEWER on it. Problems: `auth.role`, `auth.permission`, `projects.parent_not_found`.
    async fn create_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
    ) -> Result<StageId, Problem>;

    /// Gives a stage of the tenant a second name, unique in its project. Needs STAGE_MANAGER of the
    /// stage's own project. Problems: `auth.role`, `auth.permission`, `request.invalid`,
    /// `projects.stage_not_found`, `projects.alias_taken`.
    async fn create_stage_alias(
        &self,
        caller: &Caller,
        tenant: TenantId,
        stage: StageId,
        alias: &str,
    ) -> Result<(), Problem>;

    /// Deletes a stage of the project; what belongs to it follows. Needs STAGE_MANAGER. `false`
    /// when the project has no such stage. Problems: `auth.role`, `auth.permission`.
    async fn delete_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        stage: &Ref<StageId>,
    ) -> Result<bool, Problem>;

    /// The id behind an id or a name, if the stage exists in the project. Problems:
    /// `projects.stage_not_found`.
    async fn find_stage(
        &self,
        tenant: TenantId,
        project: ProjectId,
        stage: &Ref<StageId>,
    ) -> Result<StageId, Problem>;

    /// The stage and who may do what. Problems: `auth.permission` without PROJECT_VIEWER,
    /// `projects.stage_not_found`.
    async fn get_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        stage: StageId,
    ) -> Result<(Stage, Vec<StageGrant>), Problem>;

    /// Where a stage is. Problems: `projects.stage_not_found`.
    async fn locate_stage(&self, stage: StageId) -> Result<StagePath, Problem>;

    /// Gives permissions in a project; answers those that the user didn't hold. For support.
    /// Problems: `auth.role`, `projects.not_found`, `accounts.not_found`.
    async fn grant(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        user: &Ref<UserId>,
        permissions: &[ProjectPermission],
    ) -> Result<Vec<ProjectPermission>, Problem>;

    /// Takes permissions in a project; answers those that the user held. For support. Problems:
    /// `auth.role`, and `accounts.not_found` for an unknown name; an id need not exist any more.
    async fn revoke(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        user: &Ref<UserId>,
        permissions: &[ProjectPermission],
    ) -> Result<Vec<ProjectPermission>, Problem>;

    /// Gives permissions in a stage; answers those that the user didn't hold. For support.
    /// Problems: `auth.role`, `projects.stage_not_found`, `accounts.not_found`.
    async fn grant_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        stage: StageId,
        user: &Ref<UserId>,
        permissions: &[StagePermission],
    ) -> Result<Vec<StagePermission>, Problem>;

    /// Takes permissions in a stage; answers those that the user held. For support. Problems:
    /// `auth.role`, and `accounts.not_found` for an unknown name; an id need not exist any more.
    async fn revoke_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        stage: StageId,
        user: &Ref<UserId>,
        permissions: &[StagePermission],
    ) -> Result<Vec<StagePermission>, Problem>;

    /// Whether `caller` holds the permission in the project; trusted callers hold every one.
    /// Problems: `auth.permission`, `auth.role` for everybody but developers.
    async fn require(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        permission: ProjectPermission,
    ) -> Result<(), Problem>;

    /// Whether `caller` holds the permission in the stage; trusted callers hold every one.
    /// Problems: `auth.permission`, `auth.role` for everybody but developers.
    async fn require_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        stage: StageId,
        permission: StagePermission,
    ) -> Result<(), Problem>;

    /// Whether `ids` exist; what their owner can't tell is unknown. For the crates to the right,
    /// which hold ids of projects.
    async fn exist(&self, ids: &[ProjectId]) -> Result<Existences<ProjectId>, Problem>;

    /// Whether `ids` exist; what their owner can't tell is unknown. For the crates to the right,
    /// which hold ids of stages.
    async fn stages_exist(&self, ids: &[StageId]) -> Result<Existences<StageId>, Problem>;
}
