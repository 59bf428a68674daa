//! Endpoints about versions.

use omgservers_api::{
    Problem,
    details::VersionDetails,
    entrypoint::{
        DeletedResponse,
        developer::{
            CreateVersionRequest, CreateVersionResponse, DeleteVersionRequest, GetVersionDetailsRequest,
            GetVersionDetailsResponse,
        },
    },
};
use omgservers_core::Caller;

use crate::Api;

pub(crate) async fn create_version(
    api: Api,
    caller: Caller,
    request: CreateVersionRequest,
) -> Result<CreateVersionResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let project = api.projects.find(tenant, &request.project).await?;
    let version_id = api.versions.create(&caller, tenant, project, &request.config).await?;
    Ok(CreateVersionResponse { version_id })
}

pub(crate) async fn get_version_details(
    api: Api,
    caller: Caller,
    request: GetVersionDetailsRequest,
) -> Result<GetVersionDetailsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let (version, images) = api.versions.get(&caller, tenant, request.version_id).await?;
    let details = VersionDetails { version, build_requests: Vec::new(), images };
    Ok(GetVersionDetailsResponse { details })
}

pub(crate) async fn delete_version(
    api: Api,
    caller: Caller,
    request: DeleteVersionRequest,
) -> Result<DeletedResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    Ok(DeletedResponse { deleted: api.versions.delete(&caller, tenant, request.id).await? })
}
