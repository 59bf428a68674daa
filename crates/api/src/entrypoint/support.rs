//! What support asks.

use crate::{
    Problem, ProjectId, ProjectPermission, Ref, StageId, StagePermission, TenantId, TenantPermission, UserId,
    Validate,
    interchange::list,
    validate::{alias, some},
};

wire! {
    /// A new tenant.
    CreateTenantResponse {
        /// The tenant.
        id: TenantId,
    }
    /// A second name for a tenant.
    CreateTenantAliasRequest {
        /// The tenant.
        tenant_id: TenantId,
        /// The name, unique among tenants.
        alias: String,
    }
    /// A tenant to delete.
    DeleteTenantRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
    }
    /// Where a project is made.
    CreateProjectRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
    }
    /// A new project and its first stage.
    CreateProjectResponse {
        /// The project.
        project_id: ProjectId,
        /// Its default stage.
        stage_id: StageId,
    }
    /// A second name for a project.
    CreateProjectAliasRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project_id: ProjectId,
        /// The name, unique in the tenant.
        alias: String,
    }
    /// A project to delete.
    DeleteProjectRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
    }
    /// Where a stage is made.
    CreateStageRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
    }
    /// A new stage.
    CreateStageResponse {
        /// The stage.
        stage_id: StageId,
    }
    /// A second name for a stage.
    CreateStageAliasRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The stage.
        stage_id: StageId,
        /// The name, unique in the project.
        alias: String,
    }
    /// A stage to delete.
    DeleteStageRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
        /// The stage.
        stage: Ref<StageId>,
    }
    /// A new developer.
    CreateDeveloperResponse {
        /// The user.
        user_id: UserId,
        /// The password, shown here only.
        password: String,
    }
    /// A second name for a developer.
    CreateDeveloperAliasRequest {
        /// The developer.
        #[serde(alias = "user_id", alias = "user")] developer_user_id: UserId,
        /// The name, unique among users.
        alias: String,
    }
    /// A developer to delete.
    DeleteDeveloperRequest {
        /// The developer.
        #[serde(alias = "user_id")] user: Ref<UserId>,
    }
    /// Permissions to give in a tenant.
    CreateTenantPermissionsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// Who gets them.
        #[serde(alias = "user_id")] user: Ref<UserId>,
        /// Which; 1 to 10,000.
        #[serde(deserialize_with = "list")] permissions_to_create: Vec<TenantPermission>,
    }
    /// The permissions that were new.
    CreateTenantPermissionsResponse {
        /// Those that the user didn't hold before.
        created_permissions: Vec<TenantPermission>,
    }
    /// Permissions to take in a tenant.
    DeleteTenantPermissionsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// Who loses them.
        #[serde(alias = "user_id")] user: Ref<UserId>,
        /// Which; 1 to 10,000.
        #[serde(deserialize_with = "list")] permissions_to_delete: Vec<TenantPermission>,
    }
    /// The permissions that were taken.
    DeleteTenantPermissionsResponse {
        /// Those that the user held before.
        deleted_permissions: Vec<TenantPermission>,
    }
    /// Permissions to give in a project.
    CreateProjectPermissionsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
        /// Who gets them.
        #[serde(alias = "user_id")] user: Ref<UserId>,
        /// Which; 1 to 10,000.
        #[serde(deserialize_with = "list")] permissions_to_create: Vec<ProjectPermission>,
    }
    /// The permissions that were new.
    CreateProjectPermissionsResponse {
        /// Those that the user didn't hold before.
        created_permissions: Vec<ProjectPermission>,
    }
    /// Permissions to take in a project.
    DeleteProjectPermissionsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
        /// Who loses them.
        #[serde(alias = "user_id")] user: Ref<UserId>,
        /// Which; 1 to 10,000.
        #[serde(deserialize_with = "list")] permissions_to_delete: Vec<ProjectPermission>,
    }
    /// The permissions that were taken.
    DeleteProjectPermissionsResponse {
        /// Those that the user held before.
        deleted_permissions: Vec<ProjectPermission>,
    }
    /// Permissions to give in a stage.
    CreateStagePermissionsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
        /// The stage.
        stage: Ref<StageId>,
        /// Who gets them.
        #[serde(alias = "user_id")] user: Ref<UserId>,
        /// Which; 1 to 10,000.
        #[serde(deserialize_with = "list")] permissions_to_create: Vec<StagePermission>,
    }
    /// The permissions that were new.
    CreateStagePermissionsResponse {
        /// Those that the user didn't hold before.
        created_permissions: Vec<StagePermission>,
    }
    /// Permissions to take in a stage.
    DeleteStagePermissionsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
        /// The stage.
        stage: Ref<StageId>,
        /// Who loses them.
        #[serde(alias = "user_id")] user: Ref<UserId>,
        /// Which; 1 to 10,000.
        #[serde(deserialize_with = "list")] permissions_to_delete: Vec<StagePermission>,
    }
    /// The permissions that were taken.
    DeleteStagePermissionsResponse {
        /// Those that the user held before.
        deleted_permissions: Vec<StagePermission>,
    }
}

macro_rules! valid {
    ($($name:ty => $check:expr;)*) => {$(
        impl Validate for $name {
            fn validate(&self) -> Result<(), Problem> {
                let check: fn(&Self) -> Result<(), Problem> = $check;
                check(self)
            }
        }
    )*};
}

valid! {
    CreateTenantAliasRequest => |it| alias("alias", &it.alias);
    DeleteTenantRequest => |_| Ok(());
    CreateProjectRequest => |_| Ok(());
    CreateProjectAliasRequest => |it| alias("alias", &it.alias);
    DeleteProjectRequest => |_| Ok(());
    CreateStageRequest => |_| Ok(());
    CreateStageAliasRequest => |it| alias("alias", &it.alias);
    DeleteStageRequest => |_| Ok(());
    CreateDeveloperAliasRequest => |it| alias("alias", &it.alias);
    DeleteDeveloperRequest => |_| Ok(());
    CreateTenantPermissionsRequest => |it| some("permissions_to_create", &it.permissions_to_create);
    DeleteTenantPermissionsRequest => |it| some("permissions_to_delete", &it.permissions_to_delete);
    CreateProjectPermissionsRequest => |it| some("permissions_to_create", &it.permissions_to_create);
    DeleteProjectPermissionsRequest => |it| some("permissions_to_delete", &it.permissions_to_delete);
    CreateStagePermissionsRequest => |it| some("permissions_to_create", &it.permissions_to_create);
    DeleteStagePermissionsRequest => |it| some("permissions_to_delete", &it.permissions_to_delete);
}
