//! What developers ask.

use actix_web::web::{Data, Json};
use omgservers_api::{
    Problem, Role, TenantPermission,
    details::{ProjectDetails, StageDetails, TenantDetails, VersionDetails},
    entrypoint::{
        CreateTokenRequest, CreateTokenResponse, CreatedResponse, DeletedResponse, Empty,
        developer::{
            CreateVersionRequest, CreateVersionResponse, DeleteDeploymentRequest, DeleteLobbyRequest,
            DeleteMatchmakerRequest, DeleteVersionRequest, DeployVersionRequest, DeployVersionResponse,
            DeploymentRequest, GetDeploymentDetailsRequest, GetDeploymentDetailsResponse,
            GetMatchDetailsRequest, GetMatchDetailsResponse, GetProjectDetailsRequest,
            GetProjectDetailsResponse, GetStageDetailsRequest, GetStageDetailsResponse,
            GetTenantDetailsRequest, GetTenantDetailsResponse, GetTicketDetailsRequest,
            GetTicketDetailsResponse, GetVersionDetailsRequest, GetVersionDetailsResponse,
        },
        support::{
            CreateProjectAliasRequest, CreateProjectRequest, CreateProjectResponse, CreateStageAliasRequest,
            CreateStageRequest, CreateStageResponse, DeleteProjectRequest, DeleteStageRequest,
        },
    },
};
use omgservers_matchmaking::WhichTicket;

use crate::{
    Services,
    auth::{Authenticated, Developer},
    body::Body,
    endpoints::Mount,
    problem::Answer,
    support,
    token::token,
};

const ROLE: &str = "developer";

pub(crate) fn mount(m: &mut Mount<'_>) {
    m.post::<CreateTokenRequest, CreateTokenResponse, _, _>(ROLE, "create-token", false, create_token);
    m.post::<GetTenantDetailsRequest, GetTenantDetailsResponse, _, _>(
        ROLE,
        "get-tenant-details",
        true,
        tenant,
    );
    m.post::<CreateProjectRequest, CreateProjectResponse, _, _>(
        ROLE,
        "create-project",
        true,
        support::create_project::<Developer>,
    );
    m.post::<CreateProjectAliasRequest, CreatedResponse, _, _>(
        ROLE,
        "create-project-alias",
        true,
        support::create_project_alias::<Developer>,
    );
    m.post::<GetProjectDetailsRequest, GetProjectDetailsResponse, _, _>(
        ROLE,
        "get-project-details",
        true,
        project,
    );
    m.post::<DeleteProjectRequest, DeletedResponse, _, _>(
        ROLE,
        "delete-project",
        true,
        support::delete_project::<Developer>,
    );
    m.post::<CreateStageRequest, CreateStageResponse, _, _>(
        ROLE,
        "create-stage",
        true,
        support::create_stage::<Developer>,
    );
    m.post::<CreateStageAliasRequest, CreatedResponse, _, _>(
        ROLE,
        "create-stage-alias",
        true,
        support::create_stage_alias::<Developer>,
    );
    m.post::<GetStageDetailsRequest, GetStageDetailsResponse, _, _>(ROLE, "get-stage-details", true, stage);
    m.post::<DeleteStageRequest, DeletedResponse, _, _>(
        ROLE,
        "delete-stage",
        true,
        support::delete_stage::<Developer>,
    );
    m.post::<CreateVersionRequest, CreateVersionResponse, _, _>(ROLE, "create-version", true, create_version);
    m.post::<GetVersionDetailsRequest, GetVersionDetailsResponse, _, _>(
        ROLE,
        "get-version-details",
        true,
        version,
    );
    m.post::<DeleteVersionRequest, DeletedResponse, _, _>(ROLE, "delete-version", true, delete_version);
    m.post::<DeployVersionRequest, DeployVersionResponse, _, _>(ROLE, "deploy-version", true, deploy_version);
    m.post::<DeployVersionRequest, DeployVersionResponse, _, _>(
        ROLE,
        "create-deployment",
        true,
        deploy_version,
    );
    m.post::<GetDeploymentDetailsRequest, GetDeploymentDetailsResponse, _, _>(
        ROLE,
        "get-deployment-details",
        true,
        deployment,
    );
    m.post::<DeleteDeploymentRequest, DeletedResponse, _, _>(
        ROLE,
        "delete-deployment",
        true,
        delete_deployment,
    );
    m.post::<DeploymentRequest, Empty, _, _>(ROLE, "create-lobby-request", true, create_lobby_request);
    m.post::<DeleteLobbyRequest, DeletedResponse, _, _>(ROLE, "delete-lobby", true, delete_lobby);
    m.post::<DeploymentRequest, Empty, _, _>(
        ROLE,
        "create-matchmaker-request",
        true,
        create_matchmaker_request,
    );
    m.post::<DeleteMatchmakerRequest, DeletedResponse, _, _>(
        ROLE,
        "delete-matchmaker",
        true,
        delete_matchmaker,
    );
    m.post::<GetTicketDetailsRequest, GetTicketDetailsResponse, _, _>(
        ROLE,
        "get-ticket-details",
        true,
        ticket,
    );
    m.post::<GetMatchDetailsRequest, GetMatchDetailsResponse, _, _>(
        ROLE,
        "get-match-details",
        true,
        match_details,
    );
}

type Api = Data<Services>;
type Who = Authenticated<Developer>;

async fn create_token(api: Api, Body(it): Body<CreateTokenRequest>) -> Answer<CreateTokenResponse> {
    token(&api, Role::Developer, &it).await
}

async fn tenant(
    api: Api,
    who: Who,
    Body(it): Body<GetTenantDetailsRequest>,
) -> Answer<GetTenantDetailsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    api.tenants.require(&who.caller, tenant, TenantPermission::TenantViewer).await?;
    let (tenant, permissions) = api.tenants.get(&who.caller, tenant).await?;
    let projects = api.projects.of_tenant(tenant.id).await?;
    Ok(Json(GetTenantDetailsResponse { details: TenantDetails { tenant, permissions, projects } }))
}

async fn project(
    api: Api,
    who: Who,
    Body(it): Body<GetProjectDetailsRequest>,
) -> Answer<GetProjectDetailsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let project = api.projects.find(tenant, &it.project).await?;
    let (project, permissions, stages) = api.projects.get(&who.caller, tenant, project).await?;
    let versions = api.versions.of_project(project.id).await?;
    Ok(Json(GetProjectDetailsResponse { details: ProjectDetails { project, permissions, stages, versions } }))
}

async fn stage(
    api: Api,
    who: Who,
    Body(it): Body<GetStageDetailsRequest>,
) -> Answer<GetStageDetailsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let project = api.projects.find(tenant, &it.project).await?;
    let stage = api.projects.find_stage(tenant, project, &it.stage).await?;
    let (stage, permissions) = api.projects.get_stage(&who.caller, tenant, project, stage).await?;
    let deployments = api.deployments.of_stage(stage.id).await?;
    Ok(Json(GetStageDetailsResponse { details: StageDetails { stage, permissions, deployments } }))
}

async fn create_version(
    api: Api,
    who: Who,
    Body(it): Body<CreateVersionRequest>,
) -> Answer<CreateVersionResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let project = api.projects.find(tenant, &it.project).await?;
    let version_id = api.versions.create(&who.caller, tenant, project, &it.config).await?;
    Ok(Json(CreateVersionResponse { version_id }))
}

async fn version(
    api: Api,
    who: Who,
    Body(it): Body<GetVersionDetailsRequest>,
) -> Answer<GetVersionDetailsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let (version, images) = api.versions.get(&who.caller, tenant, it.version_id).await?;
    let details = VersionDetails { version, build_requests: Vec::new(), images };
    Ok(Json(GetVersionDetailsResponse { details }))
}

async fn delete_version(api: Api, who: Who, Body(it): Body<DeleteVersionRequest>) -> Answer<DeletedResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    Ok(Json(DeletedResponse { deleted: api.versions.delete(&who.caller, tenant, it.id).await? }))
}

async fn deploy_version(
    api: Api,
    who: Who,
    Body(it): Body<DeployVersionRequest>,
) -> Answer<DeployVersionResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let project = api.projects.find(tenant, &it.project).await?;
    let stage = api.projects.find_stage(tenant, project, &it.stage).await?;
    let config = it.config.as_ref();
    let deployment_id =
        api.deployments.deploy(&who.caller, tenant, project, stage, it.version_id, config).await?;
    Ok(Json(DeployVersionResponse { deployment_id }))
}

async fn deployment(
    api: Api,
    who: Who,
    Body(it): Body<GetDeploymentDetailsRequest>,
) -> Answer<GetDeploymentDetailsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let details = api.matchmaking.details(&who.caller, tenant, it.deployment_id).await?;
    Ok(Json(GetDeploymentDetailsResponse { details }))
}

async fn delete_deployment(
    api: Api,
    who: Who,
    Body(it): Body<DeleteDeploymentRequest>,
) -> Answer<DeletedResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    Ok(Json(DeletedResponse { deleted: api.deployments.delete(&who.caller, tenant, it.id).await? }))
}

async fn create_lobby_request(api: Api, who: Who, Body(it): Body<DeploymentRequest>) -> Answer<Empty> {
    let tenant = api.tenants.find(&it.tenant).await?;
    api.matchmaking.request_lobby(&who.caller, tenant, it.deployment_id).await?;
    Ok(Json(Empty {}))
}

async fn delete_lobby(api: Api, who: Who, Body(it): Body<DeleteLobbyRequest>) -> Answer<DeletedResponse> {
    Ok(Json(DeletedResponse { deleted: api.matchmaking.delete_lobby(&who.caller, it.lobby_id).await? }))
}

async fn create_matchmaker_request(api: Api, who: Who, Body(it): Body<DeploymentRequest>) -> Answer<Empty> {
    let tenant = api.tenants.find(&it.tenant).await?;
    api.matchmaking.request_matchmaker(&who.caller, tenant, it.deployment_id).await?;
    Ok(Json(Empty {}))
}

async fn ticket(
    api: Api,
    who: Who,
    Body(it): Body<GetTicketDetailsRequest>,
) -> Answer<GetTicketDetailsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let which = match (it.ticket_id, it.client_id) {
        (Some(id), _) => WhichTicket::Id(id),
        (None, Some(client)) => WhichTicket::Of(client),
        (None, None) => return Err(Problem::internal("a request that wasn't validated").into()),
    };
    let details = api.matchmaking.ticket(&who.caller, tenant, it.deployment_id, which).await?;
    Ok(Json(GetTicketDetailsResponse { details }))
}

async fn match_details(
    api: Api,
    who: Who,
    Body(it): Body<GetMatchDetailsRequest>,
) -> Answer<GetMatchDetailsResponse> {
    let tenant = api.tenants.find(&it.tenant).await?;
    let details = api.matchmaking.match_details(&who.caller, tenant, it.deployment_id, it.match_id).await?;
    Ok(Json(GetMatchDetailsResponse { details }))
}

async fn delete_matchmaker(
    api: Api,
    who: Who,
    Body(it): Body<DeleteMatchmakerRequest>,
) -> Answer<DeletedResponse> {
    Ok(Json(DeletedResponse {
        deleted: api.matchmaking.delete_matchmaker(&who.caller, it.matchmaker_id).await?,
    }))
}
