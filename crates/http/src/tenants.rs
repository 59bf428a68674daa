//! Endpoints about tenants.

use omgservers_api::{
    Problem,
    details::TenantDetails,
    entrypoint::{
        CreatedResponse, DeletedResponse, Empty,
        developer::{GetTenantDetailsRequest, GetTenantDetailsResponse},
        support::{
            CreateTenantAliasRequest, CreateTenantPermissionsRequest, CreateTenantPermissionsResponse,
            CreateTenantResponse, DeleteTenantPermissionsRequest, DeleteTenantPermissionsResponse,
            DeleteTenantRequest,
        },
    },
};
use omgservers_core::Caller;

use crate::Api;

pub(crate) async fn create_tenant(
    api: Api,
    caller: Caller,
    _: Empty,
) -> Result<CreateTenantResponse, Problem> {
    Ok(CreateTenantResponse { id: api.tenants.create(&caller).await? })
}

pub(crate) async fn create_tenant_alias(
    api: Api,
    caller: Caller,
    request: CreateTenantAliasRequest,
) -> Result<CreatedResponse, Problem> {
    api.tenants.create_alias(&caller, request.tenant_id, &request.alias).await?;
    Ok(CreatedResponse { created: true })
}

pub(crate) async fn get_tenant_details(
    api: Api,
    caller: Caller,
    request: GetTenantDetailsRequest,
) -> Result<GetTenantDetailsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let (tenant, permissions) = api.tenants.get(&caller, tenant).await?;
    let projects = api.projects.of_tenant(tenant.id).await?;
    Ok(GetTenantDetailsResponse { details: TenantDetails { tenant, permissions, projects } })
}

pub(crate) async fn delete_tenant(
    api: Api,
    caller: Caller,
    request: DeleteTenantRequest,
) -> Result<DeletedResponse, Problem> {
    Ok(DeletedResponse { deleted: api.tenants.delete(&caller, &request.tenant).await? })
}

pub(crate) async fn create_tenant_permissions(
    api: Api,
    caller: Caller,
    request: CreateTenantPermissionsRequest,
) -> Result<CreateTenantPermissionsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let created_permissions =
        api.tenants.grant(&caller, tenant, &request.user, &request.permissions_to_create).await?;
    Ok(CreateTenantPermissionsResponse { created_permissions })
}

pub(crate) async fn delete_tenant_permissions(
    api: Api,
    caller: Caller,
    request: DeleteTenantPermissionsRequest,
) -> Result<DeleteTenantPermissionsResponse, Problem> {
    let tenant = api.tenants.find(&request.tenant).await?;
    let deleted_permissions =
        api.tenants.revoke(&caller, tenant, &request.user, &request.permissions_to_delete).await?;
    Ok(DeleteTenantPermissionsResponse { deleted_permissions })
}
