//! Endpoints about stages. Support and developers share the handlers: the services check the
//! caller.

use omgservers_api::{
    Problem,
    details::StageDetails,
    entrypoint::{
        CreatedResponse, DeletedResponse,
        developer::{GetStageDetailsRequest, GetStageDetailsResponse},
        support::{
            CreateStageAliasRequest, CreateStagePermissionsRequest, CreateStagePermissionsResponse,
            CreateStageRequest, CreateStageResponse, DeleteStagePermissionsRequest,
            DeleteStagePermissionsResponse, DeleteStageRequest,
        },
    },
};
use omgservers_core::Caller;

use crate::Api;

pub(crate) async fn create_stage(
    api: Api,
    caller: Caller,
    request: CreateStageRequest,
) -> Result<CreateStageResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let project = api.projects.find(tenant, &request.project).await?;
    Ok(CreateStageResponse { stage_id: api.projects.create_stage(&caller, tenant, project).await? })
}

pub(crate) async fn create_stage_alias(
    api: Api,
    caller: Caller,
    request: CreateStageAliasRequest,
) -> Result<CreatedResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    api.projects.create_stage_alias(&caller, tenant, request.stage_id, &request.alias).await?;
    Ok(CreatedResponse { created: true })
}

pub(crate) async fn get_stage_details(
    api: Api,
    caller: Caller,
    request: GetStageDetailsRequest,
) -> Result<GetStageDetailsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let project = api.projects.find(tenant, &request.project).await?;
    let stage = api.projects.find_stage(tenant, project, &request.stage).await?;
    let (stage, permissions) = api.projects.get_stage(&caller, tenant, project, stage).await?;
    let deployments = api.deployments.of_stage(stage.id).await?;
    Ok(GetStageDetailsResponse { details: StageDetails { stage, permissions, deployments } })
}

pub(crate) async fn delete_stage(
    api: Api,
    caller: Caller,
    request: DeleteStageRequest,
) -> Result<DeletedResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let project = api.projects.find(tenant, &request.project).await?;
    let deleted = api.projects.delete_stage(&caller, tenant, project, &request.stage).await?;
    Ok(DeletedResponse { deleted })
}

pub(crate) async fn create_stage_permissions(
    api: Api,
    caller: Caller,
    request: CreateStagePermissionsRequest,
) -> Result<CreateStagePermissionsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let project = api.projects.find(tenant, &request.project).await?;
    let stage = api.projects.find_stage(tenant, project, &request.stage).await?;
    let created_permissions = api
        .projects
        .grant_stage(&caller, tenant, stage, &request.user, &request.permissions_to_create)
        .await?;
    Ok(CreateStagePermissionsResponse { created_permissions })
}

pub(crate) async fn delete_stage_permissions(
    api: Api,
    caller: Caller,
    request: DeleteStagePermissionsRequest,
) -> Result<DeleteStagePermissionsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let project = api.projects.find(tenant, &request.project).await?;
    let stage = api.projects.find_stage(tenant, project, &request.stage).await?;
    let deleted_permissions = api
        .projects
        .revoke_stage(&caller, tenant, stage, &request.user, &request.permissions_to_delete)
        .await?;
    Ok(DeleteStagePermissionsResponse { deleted_permissions })
}
