//! Endpoints about deployments and what runs in them.

use omgservers_api::{
    Problem,
    entrypoint::{
        DeletedResponse, Empty,
        developer::{
            DeleteDeploymentRequest, DeleteLobbyRequest, DeleteMatchmakerRequest, DeployVersionRequest,
            DeployVersionResponse, DeploymentRequest, GetDeploymentDetailsRequest,
            GetDeploymentDetailsResponse, GetMatchDetailsRequest, GetMatchDetailsResponse,
            GetTicketDetailsRequest, GetTicketDetailsResponse,
        },
    },
};
use omgservers_core::Caller;
use omgservers_matchmaking::WhichTicket;

use crate::Api;

pub(crate) async fn deploy_version(
    api: Api,
    caller: Caller,
    request: DeployVersionRequest,
) -> Result<DeployVersionResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let project = api.projects.find(tenant, &request.project).await?;
    let stage = api.projects.find_stage(tenant, project, &request.stage).await?;
    let config = request.config.as_ref();
    let deployment_id =
        api.deployments.deploy(&caller, tenant, project, stage, request.version_id, config).await?;
    Ok(DeployVersionResponse { deployment_id })
}

pub(crate) async fn get_deployment_details(
    api: Api,
    caller: Caller,
    request: GetDeploymentDetailsRequest,
) -> Result<GetDeploymentDetailsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let details = api.matchmaking.details(&caller, tenant, request.deployment_id).await?;
    Ok(GetDeploymentDetailsResponse { details })
}

pub(crate) async fn delete_deployment(
    api: Api,
    caller: Caller,
    request: DeleteDeploymentRequest,
) -> Result<DeletedResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    Ok(DeletedResponse { deleted: api.deployments.delete(&caller, tenant, request.id).await? })
}

pub(crate) async fn create_lobby_request(
    api: Api,
    caller: Caller,
    request: DeploymentRequest,
) -> Result<Empty, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    api.matchmaking.request_lobby(&caller, tenant, request.deployment_id).await?;
    Ok(Empty {})
}

pub(crate) async fn delete_lobby(
    api: Api,
    caller: Caller,
    request: DeleteLobbyRequest,
) -> Result<DeletedResponse, Problem> {
    Ok(DeletedResponse { deleted: api.matchmaking.delete_lobby(&caller, request.lobby_id).await? })
}

pub(crate) async fn create_matchmaker_request(
    api: Api,
    caller: Caller,
    request: DeploymentRequest,
) -> Result<Empty, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    api.matchmaking.request_matchmaker(&caller, tenant, request.deployment_id).await?;
    Ok(Empty {})
}

pub(crate) async fn delete_matchmaker(
    api: Api,
    caller: Caller,
    request: DeleteMatchmakerRequest,
) -> Result<DeletedResponse, Problem> {
    Ok(DeletedResponse { deleted: api.matchmaking.delete_matchmaker(&caller, request.matchmaker_id).await? })
}

pub(crate) async fn get_ticket_details(
    api: Api,
    caller: Caller,
    request: GetTicketDetailsRequest,
) -> Result<GetTicketDetailsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let which = match (request.ticket_id, request.client_id) {
        (Some(id), _) => WhichTicket::Id(id),
        (None, Some(client)) => WhichTicket::Of(client),
        (None, None) => return Err(Problem::internal("a request that wasn't validated")),
    };
    let details = api.matchmaking.ticket(&caller, tenant, request.deployment_id, which).await?;
    Ok(GetTicketDetailsResponse { details })
}

pub(crate) async fn get_match_details(
    api: Api,
    caller: Caller,
    request: GetMatchDetailsRequest,
) -> Result<GetMatchDetailsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let details =
        api.matchmaking.match_details(&caller, tenant, request.deployment_id, request.match_id).await?;
    Ok(GetMatchDetailsResponse { details })
}
