//! Requests and endpoints of support.

pub use super::{CreateTokenRequest, CreateTokenResponse, CreatedResponse, DeletedResponse};
use crate::{
    Problem, ProjectId, ProjectPermission, Ref, StageId, StagePermission, TenantId, TenantPermission, UserId,
    Validate,
    interchange::list,
    validate::{alias, some},
};

endpoints! {
    ($) support_endpoints support Support;

    /// Fetches a token for a member of support.
    ///
    /// The token is good for one hour.
    password "create-token" create_token CreateToken (CreateTokenRequest) -> CreateTokenResponse {
        errors: ["auth.credentials"],
        request: { "user": "support", "password": "correct horse battery staple" },
        response: { "raw_token": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl" },
    }
    /// Creates a tenant.
    bearer "create-tenant" create_tenant CreateTenant () -> CreateTenantResponse {
        errors: ["core.no_ids"],
        request: {},
        response: { "id": "246000000000000001" },
    }
    /// Gives a tenant an alias.
    bearer "create-tenant-alias" create_tenant_alias CreateTenantAlias
    (CreateTenantAliasRequest) -> CreatedResponse {
        errors: ["tenants.not_found", "tenants.alias_taken", "core.no_ids"],
        request: { "tenant_id": "246000000000000001", "alias": "my-studio" },
        response: { "created": true },
    }
    /// Deletes a tenant and everything in it.
    bearer "delete-tenant" delete_tenant DeleteTenant (DeleteTenantRequest) -> DeletedResponse {
        errors: [],
        request: { "tenant": "my-studio" },
        response: { "deleted": true },
    }
    /// Creates a project with a first stage.
    bearer "create-project" create_project CreateProject (CreateProjectRequest) -> CreateProjectResponse {
        errors: ["tenants.not_found", "projects.parent_not_found", "core.no_ids"],
        request: { "tenant": "my-studio" },
        response: { "project_id": "246000000000000002", "stage_id": "246000000000000003" },
    }
    /// Gives a project an alias.
    bearer "create-project-alias" create_project_alias CreateProjectAlias
    (CreateProjectAliasRequest) -> CreatedResponse {
        errors: ["tenants.not_found", "projects.not_found", "projects.alias_taken", "core.no_ids"],
        request: { "tenant": "my-studio", "project_id": "246000000000000002", "alias": "my-game" },
        response: { "created": true },
    }
    /// Deletes a project and everything in it.
    bearer "delete-project" delete_project DeleteProject (DeleteProjectRequest) -> DeletedResponse {
        errors: ["tenants.not_found"],
        request: { "tenant": "my-studio", "project": "my-game" },
        response: { "deleted": true },
    }
    /// Creates a stage.
    bearer "create-stage" create_stage CreateStage (CreateStageRequest) -> CreateStageResponse {
        errors: ["tenants.not_found", "projects.not_found", "projects.parent_not_found", "core.no_ids"],
        request: { "tenant": "my-studio", "project": "my-game" },
        response: { "stage_id": "246000000000000003" },
    }
    /// Gives a stage an alias.
    bearer "create-stage-alias" create_stage_alias CreateStageAlias
    (CreateStageAliasRequest) -> CreatedResponse {
        errors: ["tenants.not_found", "projects.stage_not_found", "projects.alias_taken", "core.no_ids"],
        request: { "tenant": "my-studio", "stage_id": "246000000000000003", "alias": "production" },
        response: { "created": true },
    }
    /// Deletes a stage and everything in it.
    bearer "delete-stage" delete_stage DeleteStage (DeleteStageRequest) -> DeletedResponse {
        errors: ["tenants.not_found", "projects.not_found"],
        request: { "tenant": "my-studio", "project": "my-game", "stage": "production" },
        response: { "deleted": true },
    }
    /// Creates a developer.
    ///
    /// Only this answer shows the password.
    bearer "create-developer" create_developer CreateDeveloper () -> CreateDeveloperResponse {
        errors: ["core.no_ids"],
        request: {},
        response: { "user_id": "246000000000000004", "password": "hV0pWb2nIpoD1R7eJ5fVdM2yS0xk4uQa" },
    }
    /// Gives a developer an alias.
    bearer "create-developer-alias" create_developer_alias CreateDeveloperAlias
    (CreateDeveloperAliasRequest) -> CreatedResponse {
        errors: ["accounts.not_found", "accounts.alias_taken", "core.no_ids"],
        request: { "developer_user_id": "246000000000000004", "alias": "anna" },
        response: { "created": true },
    }
    /// Deletes a developer and revokes the developer's tokens.
    bearer "delete-developer" delete_developer DeleteDeveloper (DeleteDeveloperRequest) -> DeletedResponse {
        errors: [],
        request: { "user": "anna" },
        response: { "deleted": true },
    }
    /// Grants permissions on a tenant to a developer.
    bearer "create-tenant-permissions" create_tenant_permissions CreateTenantPermissions
    (CreateTenantPermissionsRequest) -> CreateTenantPermissionsResponse {
        errors: ["tenants.not_found", "accounts.not_found", "core.no_ids"],
        request: { "tenant": "my-studio", "user": "anna", "permissions_to_create": ["PROJECT_MANAGER"] },
        response: { "created_permissions": ["PROJECT_MANAGER"] },
    }
    /// Revokes permissions on a tenant from a developer.
    bearer "delete-tenant-permissions" delete_tenant_permissions DeleteTenantPermissions
    (DeleteTenantPermissionsRequest) -> DeleteTenantPermissionsResponse {
        errors: ["tenants.not_found", "accounts.not_found"],
        request: { "tenant": "my-studio", "user": "anna", "permissions_to_delete": ["PROJECT_MANAGER"] },
        response: { "deleted_permissions": ["PROJECT_MANAGER"] },
    }
    /// Grants permissions on a project to a developer.
    bearer "create-project-permissions" create_project_permissions CreateProjectPermissions
    (CreateProjectPermissionsRequest) -> CreateProjectPermissionsResponse {
        errors: ["tenants.not_found", "projects.not_found", "accounts.not_found", "core.no_ids"],
        request: {
            "tenant": "my-studio", "project": "my-game",
            "user": "anna", "permissions_to_create": ["VERSION_MANAGER"]
        },
        response: { "created_permissions": ["VERSION_MANAGER"] },
    }
    /// Revokes permissions on a project from a developer.
    bearer "delete-project-permissions" delete_project_permissions DeleteProjectPermissions
    (DeleteProjectPermissionsRequest) -> DeleteProjectPermissionsResponse {
        errors: ["tenants.not_found", "projects.not_found", "accounts.not_found"],
        request: {
            "tenant": "my-studio", "project": "my-game",
            "user": "anna", "permissions_to_delete": ["VERSION_MANAGER"]
        },
        response: { "deleted_permissions": ["VERSION_MANAGER"] },
    }
    /// Grants permissions on a stage to a developer.
    bearer "create-stage-permissions" create_stage_permissions CreateStagePermissions
    (CreateStagePermissionsRequest) -> CreateStagePermissionsResponse {
        errors: [
            "tenants.not_found", "projects.not_found", "projects.stage_not_found", "accounts.not_found",
            "core.no_ids",
        ],
        request: {
            "tenant": "my-studio", "project": "my-game", "stage": "production",
            "user": "anna", "permissions_to_create": ["DEPLOYMENT_MANAGER"]
        },
        response: { "created_permissions": ["DEPLOYMENT_MANAGER"] },
    }
    /// Revokes permissions on a stage from a developer.
    bearer "delete-stage-permissions" delete_stage_permissions DeleteStagePermissions
    (DeleteStagePermissionsRequest) -> DeleteStagePermissionsResponse {
        errors: ["tenants.not_found", "projects.not_found", "projects.stage_not_found", "accounts.not_found"],
        request: {
            "tenant": "my-studio", "project": "my-game", "stage": "production",
            "user": "anna", "permissions_to_delete": ["DEPLOYMENT_MANAGER"]
        },
        response: { "deleted_permissions": ["DEPLOYMENT_MANAGER"] },
    }
}

requests! {
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
    /// Permissions to take in a tenant.
    DeleteTenantPermissionsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// Who loses them.
        #[serde(alias = "user_id")] user: Ref<UserId>,
        /// Which; 1 to 10,000.
        #[serde(deserialize_with = "list")] permissions_to_delete: Vec<TenantPermission>,
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
}

wire! {
    /// A new tenant.
    CreateTenantResponse {
        /// The tenant.
        id: TenantId,
    }
    /// A new project and its first stage.
    CreateProjectResponse {
        /// The project.
        project_id: ProjectId,
        /// Its default stage.
        stage_id: StageId,
    }
    /// A new stage.
    CreateStageResponse {
        /// The stage.
        stage_id: StageId,
    }
    /// A new developer.
    CreateDeveloperResponse {
        /// The user.
        user_id: UserId,
        /// The password, shown here only.
        password: String,
    }
    /// The permissions that were new.
    CreateTenantPermissionsResponse {
        /// Those that the user didn't hold before.
        created_permissions: Vec<TenantPermission>,
    }
    /// The permissions that were taken.
    DeleteTenantPermissionsResponse {
        /// Those that the user held before.
        deleted_permissions: Vec<TenantPermission>,
    }
    /// The permissions that were new.
    CreateProjectPermissionsResponse {
        /// Those that the user didn't hold before.
        created_permissions: Vec<ProjectPermission>,
    }
    /// The permissions that were taken.
    DeleteProjectPermissionsResponse {
        /// Those that the user held before.
        deleted_permissions: Vec<ProjectPermission>,
    }
    /// The permissions that were new.
    CreateStagePermissionsResponse {
        /// Those that the user didn't hold before.
        created_permissions: Vec<StagePermission>,
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
