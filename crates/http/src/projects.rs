//! Endpoints about projects. Support and developers share the handlers: the services check the
//! caller.

use omgservers_api::{
    Problem,
    details::ProjectDetails,
    entrypoint::{
        CreatedResponse, DeletedResponse,
        developer::{
            GetProjectDetailsRequest, GetProjectDetailsResponse, ListProjectsRequest, ListProjectsResponse,
        },
        support::{
            CreateProjectAliasRequest, CreateProjectPermissionsRequest, CreateProjectPermissionsResponse,
            CreateProjectRequest, CreateProjectResponse, DeleteProjectPermissionsRequest,
            DeleteProjectPermissionsResponse, DeleteProjectRequest,
        },
    },
    validate::DEFAULT_PER_PAGE,
};
use omgservers_core::Caller;

use crate::Api;

pub(crate) async fn create_project(
    api: Api,
    caller: Caller,
    request: CreateProjectRequest,
) -> Result<CreateProjectResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let (project_id, stage_id) = api.projects.create(&caller, tenant).await?;
    Ok(CreateProjectResponse { project_id, stage_id })
}

pub(crate) async fn list_projects(
    api: Api,
    caller: Caller,
    request: ListProjectsRequest,
) -> Result<ListProjectsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let size = request.page_size.unwrap_or(DEFAULT_PER_PAGE);
    let (projects, next) = api.projects.list(&caller, tenant, request.after, size).await?;
    Ok(ListProjectsResponse { projects, next })
}

pub(crate) async fn create_project_alias(
    api: Api,
    caller: Caller,
    request: CreateProjectAliasRequest,
) -> Result<CreatedResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    api.projects.create_alias(&caller, tenant, request.project_id, &request.alias).await?;
    Ok(CreatedResponse { created: true })
}

pub(crate) async fn get_project_details(
    api: Api,
    caller: Caller,
    request: GetProjectDetailsRequest,
) -> Result<GetProjectDetailsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let project = api.projects.find(tenant, &request.project).await?;
    let (project, permissions, stages) = api.projects.get(&caller, tenant, project).await?;
    let versions = api.versions.of_project(project.id).await?;
    Ok(GetProjectDetailsResponse { details: ProjectDetails { project, permissions, stages, versions } })
}

pub(crate) async fn delete_project(
    api: Api,
    caller: Caller,
    request: DeleteProjectRequest,
) -> Result<DeletedResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    Ok(DeletedResponse { deleted: api.projects.delete(&caller, tenant, &request.project).await? })
}

pub(crate) async fn create_project_permissions(
    api: Api,
    caller: Caller,
    request: CreateProjectPermissionsRequest,
) -> Result<CreateProjectPermissionsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let project = api.projects.find(tenant, &request.project).await?;
    let created_permissions =
        api.projects.grant(&caller, tenant, project, &request.user, &request.permissions_to_create).await?;
    Ok(CreateProjectPermissionsResponse { created_permissions })
}

pub(crate) async fn delete_project_permissions(
    api: Api,
    caller: Caller,
    request: DeleteProjectPermissionsRequest,
) -> Result<DeleteProjectPermissionsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let project = api.projects.find(tenant, &request.project).await?;
    let deleted_permissions =
        api.projects.revoke(&caller, tenant, project, &request.user, &request.permissions_to_delete).await?;
    Ok(DeleteProjectPermissionsResponse { deleted_permissions })
}
