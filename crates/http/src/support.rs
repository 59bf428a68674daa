//! What support asks. Where a developer asks the same, the handler is the same: who may is the service's business.

use actix_web::web::{Data, Json};
use omgservers_api::{
    Role,
    entrypoint::{
        CreateTokenRequest, CreateTokenResponse, CreatedResponse, DeletedResponse, Empty,
        support::{
            CreateDeveloperAliasRequest, CreateDeveloperResponse, CreateProjectAliasRequest,
            CreateProjectPermissionsRequest, CreateProjectPermissionsResponse, CreateProjectRequest,
            CreateProjectResponse, CreateStageAliasRequest, CreateStagePermissionsRequest,
            CreateStagePermissionsResponse, CreateStageRequest, CreateStageResponse,
            CreateTenantAliasRequest, CreateTenantPermissionsRequest, CreateTenantPermissionsResponse,
            CreateTenantResponse, DeleteDeveloperRequest, DeleteProjectPermissionsRequest,
            DeleteProjectPermissionsResponse, DeleteProjectRequest, DeleteStagePermissionsRequest,
            DeleteStagePermissionsResponse, DeleteStageRequest, DeleteTenantPermissionsRequest,
            DeleteTenantPermissionsResponse, DeleteTenantRequest,
        },
    },
};

use crate::{
    Services,
    auth::{Authenticated, RoleMarker, Support},
    body::Body,
    endpoints::Mount,
    problem::Answer,
    token::token,
};

const ROLE: &str = "support";

pub(crate) fn mount(m: &mut Mount<'_>) {
    m.post::<CreateTokenRequest, CreateTokenResponse, _, _>(ROLE, "create-token", false, create_token);
    m.post::<Empty, CreateTenantResponse, _, _>(ROLE, "create-tenant", true, create_tenant);
    m.post::<CreateTenantAliasRequest, CreatedResponse, _, _>(
        ROLE,
        "create-tenant-alias",
        true,
        create_tenant_alias,
    );
    m.post::<DeleteTenantRequest, DeletedResponse, _, _>(ROLE, "delete-tenant", true, delete_tenant);
    m.post::<CreateProjectRequest, CreateProjectResponse, _, _>(
        ROLE,
        "create-project",
        true,
        create_project::<Support>,
    );
    m.post::<CreateProjectAliasRequest, CreatedResponse, _, _>(
        ROLE,
        "create-project-alias",
        true,
        create_project_alias::<Support>,
    );
    m.post::<DeleteProjectRequest, DeletedResponse, _, _>(
        ROLE,
        "delete-project",
        true,
        delete_project::<Support>,
    );
    m.post::<CreateStageRequest, CreateStageResponse, _, _>(
        ROLE,
        "create-stage",
        true,
        create_stage::<Support>,
    );
    m.post::<CreateStageAliasRequest, CreatedResponse, _, _>(
        ROLE,
        "create-stage-alias",
        true,
        create_stage_alias::<Support>,
    );
    m.post::<DeleteStageRequest, DeletedResponse, _, _>(ROLE, "delete-stage", true, delete_stage::<Support>);
    m.post::<Empty, CreateDeveloperResponse, _, _>(ROLE, "create-developer", true, create_developer);
    m.post::<CreateDeveloperAliasRequest, CreatedResponse, _, _>(
        ROLE,
        "create-developer-alias",
        true,
        create_developer_alias,
    );
    m.post::<DeleteDeveloperRequest, DeletedResponse, _, _>(ROLE, "delete-developer", true, delete_developer);
    m.post::<CreateTenantPermissionsRequest, CreateTenantPermissionsResponse, _, _>(
        ROLE,
        "create-tenant-permissions",
        true,
        grant_tenant,
    );
    m.post::<DeleteTenantPermissionsRequest, DeleteTenantPermissionsResponse, _, _>(
        ROLE,
        "delete-tenant-permissions",
        true,
        revoke_tenant,
    );
    m.post::<CreateProjectPermissionsRequest, CreateProjectPermissionsResponse, _, _>(
        ROLE,
        "create-project-permissions",
        true,
        grant_project,
    );
    m.post::<DeleteProjectPermissionsRequest, DeleteProjectPermissionsResponse, _, _>(
        ROLE,
        "delete-project-permissions",
        true,
        revoke_project,
    );
    m.post::<CreateStagePermissionsRequest, CreateStagePermissionsResponse, _, _>(
        ROLE,
        "create-stage-permissions",
        true,
        grant_stage,
    );
    m.post::<DeleteStagePermissionsRequest, DeleteStagePermissionsResponse, _, _>(
        ROLE,
        "delete-stage-permissions",
        true,
        revoke_stage,
    );
}

type Api = Data<Services>;
type Who = Authenticated<Support>;

const CREATED: Json<CreatedResponse> = Json(CreatedResponse { created: true });

async fn create_token(api: Api, Body(it): Body<CreateTokenRequest>) -> Answer<CreateTokenResponse> {
    token(&api, Role::Support, &it).await
}

async fn create_tenant(api: Api, who: Who, _: Body<Empty>) -> Answer<CreateTenantResponse> {
    Ok(Json(CreateTenantResponse { id: api.tenants.create(&who.caller).await? }))
}

async fn create_tenant_alias(
    api: Api,
    who: Who,
    Body(it): Body<CreateTenantAliasRequest>,
) -> Answer<CreatedResponse> {
    api.tenants.create_alias(&who.caller, it.tenant_id, &it.alias).await?;
    Ok(CREATED)
}

async fn delete_tenant(api: Api, who: Who, Body(it): Body<DeleteTenantRequest>) -> Answer<DeletedResponse> {
    Ok(Json(DeletedResponse { deleted: api.tenants.delete(&who.caller, &it.tenant).await? }))
}

pub(crate) async fn create_project<R: RoleMarker + 'static>(
    api: Api,
    who: Authenticated<R>,
    Body(it): Body<CreateProjectRequest>,
) -> Answer<CreateProjectResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let (project_id, stage_id) = api.projects.create(&who.caller, tenant).await?;
    Ok(Json(CreateProjectResponse { project_id, stage_id }))
}

pub(crate) async fn create_project_alias<R: RoleMarker + 'static>(
    api: Api,
    who: Authenticated<R>,
    Body(it): Body<CreateProjectAliasRequest>,
) -> Answer<CreatedResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    api.projects.create_alias(&who.caller, tenant, it.project_id, &it.alias).await?;
    Ok(CREATED)
}

pub(crate) async fn delete_project<R: RoleMarker + 'static>(
    api: Api,
    who: Authenticated<R>,
    Body(it): Body<DeleteProjectRequest>,
) -> Answer<DeletedResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    Ok(Json(DeletedResponse { deleted: api.projects.delete(&who.caller, tenant, &it.project).await? }))
}

pub(crate) async fn create_stage<R: RoleMarker + 'static>(
    api: Api,
    who: Authenticated<R>,
    Body(it): Body<CreateStageRequest>,
) -> Answer<CreateStageResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let project = api.projects.find(tenant, &it.project).await?;
    Ok(Json(CreateStageResponse { stage_id: api.projects.create_stage(&who.caller, tenant, project).await? }))
}

pub(crate) async fn create_stage_alias<R: RoleMarker + 'static>(
    api: Api,
    who: Authenticated<R>,
    Body(it): Body<CreateStageAliasRequest>,
) -> Answer<CreatedResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    api.projects.create_stage_alias(&who.caller, tenant, it.stage_id, &it.alias).await?;
    Ok(CREATED)
}

pub(crate) async fn delete_stage<R: RoleMarker + 'static>(
    api: Api,
    who: Authenticated<R>,
    Body(it): Body<DeleteStageRequest>,
) -> Answer<DeletedResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let project = api.projects.find(tenant, &it.project).await?;
    let deleted = api.projects.delete_stage(&who.caller, tenant, project, &it.stage).await?;
    Ok(Json(DeletedResponse { deleted }))
}

async fn create_developer(api: Api, who: Who, _: Body<Empty>) -> Answer<CreateDeveloperResponse> {
    let made = api.accounts.create(&who.caller, Role::Developer).await?;
    Ok(Json(CreateDeveloperResponse { user_id: made.id, password: made.password }))
}

async fn create_developer_alias(
    api: Api,
    who: Who,
    Body(it): Body<CreateDeveloperAliasRequest>,
) -> Answer<CreatedResponse> {
    api.accounts.create_alias(&who.caller, Role::Developer, it.developer_user_id, &it.alias).await?;
    Ok(CREATED)
}

async fn delete_developer(
    api: Api,
    who: Who,
    Body(it): Body<DeleteDeveloperRequest>,
) -> Answer<DeletedResponse> {
    // The id is needed afterwards, when the name is gone.
    let found = api.accounts.find(&it.user).await.ok();
    let deleted = api.accounts.delete(&who.caller, Role::Developer, &it.user).await?;
    if let (true, Some(user)) = (deleted, found) {
        api.tokens.revoke_user(user.id);
    }
    Ok(Json(DeletedResponse { deleted }))
}

async fn grant_tenant(
    api: Api,
    who: Who,
    Body(it): Body<CreateTenantPermissionsRequest>,
) -> Answer<CreateTenantPermissionsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let created_permissions =
        api.tenants.grant(&who.caller, tenant, &it.user, &it.permissions_to_create).await?;
    Ok(Json(CreateTenantPermissionsResponse { created_permissions }))
}

async fn revoke_tenant(
    api: Api,
    who: Who,
    Body(it): Body<DeleteTenantPermissionsRequest>,
) -> Answer<DeleteTenantPermissionsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let deleted_permissions =
        api.tenants.revoke(&who.caller, tenant, &it.user, &it.permissions_to_delete).await?;
    Ok(Json(DeleteTenantPermissionsResponse { deleted_permissions }))
}

async fn grant_project(
    api: Api,
    who: Who,
    Body(it): Body<CreateProjectPermissionsRequest>,
) -> Answer<CreateProjectPermissionsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let project = api.projects.find(tenant, &it.project).await?;
    let created_permissions =
        api.projects.grant(&who.caller, tenant, project, &it.user, &it.permissions_to_create).await?;
    Ok(Json(CreateProjectPermissionsResponse { created_permissions }))
}

async fn revoke_project(
    api: Api,
    who: Who,
    Body(it): Body<DeleteProjectPermissionsRequest>,
) -> Answer<DeleteProjectPermissionsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let project = api.projects.find(tenant, &it.project).await?;
    let deleted_permissions =
        api.projects.revoke(&who.caller, tenant, project, &it.user, &it.permissions_to_delete).await?;
    Ok(Json(DeleteProjectPermissionsResponse { deleted_permissions }))
}

async fn grant_stage(
    api: Api,
    who: Who,
    Body(it): Body<CreateStagePermissionsRequest>,
) -> Answer<CreateStagePermissionsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let project = api.projects.find(tenant, &it.project).await?;
    let stage = api.projects.find_stage(tenant, project, &it.stage).await?;
    let created_permissions =
        api.projects.grant_stage(&who.caller, tenant, stage, &it.user, &it.permissions_to_create).await?;
    Ok(Json(CreateStagePermissionsResponse { created_permissions }))
}

async fn revoke_stage(
    api: Api,
    who: Who,
    Body(it): Body<DeleteStagePermissionsRequest>,
) -> Answer<DeleteStagePermissionsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let project = api.projects.find(tenant, &it.project).await?;
    let stage = api.projects.find_stage(tenant, project, &it.stage).await?;
    let deleted_permissions =
        api.projects.revoke_stage(&who.caller, tenant, stage, &it.user, &it.permissions_to_delete).await?;
    Ok(Json(DeleteStagePermissionsResponse { deleted_permissions }))
}
