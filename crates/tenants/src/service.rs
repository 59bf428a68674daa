//! The service trait: the border of this crate.

use omgservers_api::{
    Problem, Ref, TenantId, TenantPermission, UserId,
    details::{Tenant, TenantGrant},
};
use omgservers_core::{Caller, Existences};

/// What other crates, the HTTP API and tools may ask of tenants.
#[async_trait::async_trait]
pub trait Tenants: Send + Sync {
    /// Makes a tenant. For support. Problems: `auth.role`.
    async fn create(&self, caller: &Caller) -> Result<TenantId, Problem>;

    /// Gives a tenant a second name, unique among tenants. For support. Problems: `auth.role`,
    /// `request.invalid`, `tenants.not_found`, `tenants.alias_taken`.
    async fn create_alias(&self, caller: &Caller, tenant: TenantId, alias: &str) -> Result<(), Problem>;

    /// Deletes a tenant; what belongs to it follows. For support. `false` when there is none.
    /// Problems: `auth.role`.
    async fn delete(&self, caller: &Caller, tenant: &Ref<TenantId>) -> Result<bool, Problem>;

    /// The id behind an id or a name, if the tenant exists. Problems: `tenants.not_found`.
    async fn find(&self, tenant: &Ref<TenantId>) -> Result<TenantId, Problem>;

    /// The tenant and who may do what. Problems: `auth.permission` without TENANT_VIEWER,
    /// `tenants.not_found`.
    async fn get(&self, caller: &Caller, tenant: TenantId) -> Result<(Tenant, Vec<TenantGrant>), Problem>;

    /// Gives permissions; answers those that the user didn't hold. For support. Problems:
    /// `auth.role`, `tenants.not_found`, `accounts.not_found`.
    async fn grant(
        &self,
        caller: &Caller,
        tenant: TenantId,
        user: &Ref<UserId>,
        permissions: &[TenantPermission],
    ) -> Result<Vec<TenantPermission>, Problem>;

    /// Takes permissions; answers those that the user held. For support. Problems: `auth.role`, and
    /// `accounts.not_found` for an unknown name; an id need not exist any more.
    async fn revoke(
        &self,
        caller: &Caller,
        tenant: TenantId,
        user: &Ref<UserId>,
        permissions: &[TenantPermission],
    ) -> Result<Vec<TenantPermission>, Problem>;

    /// Whether `caller` holds the permission; trusted callers hold every one. Problems:
    /// `auth.permission`, `auth.role` for everybody but developers.
    async fn require(
        &self,
        caller: &Caller,
        tenant: TenantId,
        permission: TenantPermission,
    ) -> Result<(), Problem>;

    /// Whether `ids` exist; what their owner can't tell is unknown. For the crates to the right,
    /// which hold ids of tenants.
    async fn exist(&self, ids: &[TenantId]) -> Result<Existences<TenantId>, Problem>;
}
