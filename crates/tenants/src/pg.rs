//! [`Tenants`] on PostgreSQL: authorisation first, rules second, store third.

use std::{collections::BTreeSet, sync::Arc};

use omgservers_accounts::Accounts;
use omgservers_api::{
    Problem, Ref, TenantId, TenantPermission, UserId,
    details::{Tenant, TenantGrant},
    problem::codes,
};
use omgservers_core::{Caller, Clock, Db, Doorbell, Existences, Mint, existences};

use crate::{
    Tenants, problems, rules,
    store::{self, NameRow, PermissionRow},
};

/// What [`PgTenants`] is made of.
pub struct TenantsParts {
    /// The database with the schema `tenants`.
    pub db: Db,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The source of ids.
    pub mint: Mint,
    /// Knows the users who get permissions.
    pub accounts: Arc<dyn Accounts>,
    /// Rung after each deletion of a tenant, for the workers that remove what belonged to it.
    pub dependents: Vec<Doorbell>,
}

/// The tenants of one database. Cheap to clone.
#[derive(Clone)]
pub struct PgTenants {
    pub(crate) db: Db,
    clock: Arc<dyn Clock>,
    mint: Mint,
    pub(crate) accounts: Arc<dyn Accounts>,
    dependents: Vec<Doorbell>,
}

impl PgTenants {
    /// Makes the service.
    pub fn new(parts: TenantsParts) -> Self {
        let TenantsParts { db, clock, mint, accounts, dependents } = parts;
        Self { db, clock, mint, accounts, dependents }
    }

    /// The tenant that the id or the name was given to, which may be gone meanwhile.
    async fn resolve(&self, tenant: &Ref<TenantId>) -> Result<Option<TenantId>, Problem> {
        match tenant {
            Ref::Id(id) => Ok(Some(*id)),
            // What can't be a name never reaches the database, which refuses some texts.
            Ref::Alias(name) if rules::check_alias(name).is_err() => Ok(None),
            Ref::Alias(name) => {
                store::named(&mut *self.db.read().await?, rules::slot_of_name(name), name).await
            }
        }
    }

    async fn exists(&self, tenant: TenantId) -> Result<bool, Problem> {
        Ok(store::created(&mut *self.db.read().await?, tenant).await?.is_some())
    }
}

#[async_trait::async_trait]
impl Tenants for PgTenants {
    async fn create(&self, caller: &Caller) -> Result<TenantId, Problem> {
        caller.trusted()?;
        let (id, created) = (self.mint.root()?, self.clock.now());
        self.db.write(async |conn| store::insert(conn, id, created).await).await?;
        Ok(id)
    }

    async fn create_alias(&self, caller: &Caller, tenant: TenantId, alias: &str) -> Result<(), Problem> {
        caller.trusted()?;
        rules::check_alias(alias)?;
        if !self.exists(tenant).await? {
            return Err(problems::NOT_FOUND.into());
        }
        let row = NameRow {
            slot: rules::slot_of_name(alias),
            value: alias.to_owned(),
            id: self.mint.child(tenant)?,
            tenant_id: tenant,
            created: self.clock.now(),
        };
        self.db.write(async |conn| store::insert_name(conn, &row).await).await?;
        // The name lives in a slot of its own, so no transaction spans both: a tenant that was
        // deleted in between has missed this name.
        if self.exists(tenant).await? {
            return Ok(());
        }
        self.db.write(async |conn| store::delete_names_of(conn, &[tenant]).await).await?;
        Err(problems::NOT_FOUND.into())
    }

    async fn delete(&self, caller: &Caller, tenant: &Ref<TenantId>) -> Result<bool, Problem> {
        caller.trusted()?;
        let Some(tenant) = self.resolve(tenant).await? else { return Ok(false) };
        let deleted = self.db.write(async |conn| store::delete(conn, tenant).await).await?;
        if deleted {
            self.dependents.iter().for_each(Doorbell::ring);
        }
        // Also when it was gone already: the call that deleted it may not have come this far.
        self.db.write(async |conn| store::delete_names_of(conn, &[tenant]).await).await?;
        Ok(deleted)
    }

    async fn find(&self, tenant: &Ref<TenantId>) -> Result<TenantId, Problem> {
        match self.resolve(tenant).await? {
            Some(id) if self.exists(id).await? => Ok(id),
            _ => Err(problems::NOT_FOUND.detail(format!("there is no tenant `{tenant}`"))),
        }
    }

    async fn get(&self, caller: &Caller, tenant: TenantId) -> Result<(Tenant, Vec<TenantGrant>), Problem> {
        self.require(caller, tenant, TenantPermission::TenantViewer).await?;
        let mut conn = self.db.read().await?;
        let created = store::created(&mut conn, tenant).await?.ok_or(problems::NOT_FOUND)?;
        let aliases = store::names_of(&mut conn, tenant).await?.into_iter().map(Into::into).collect();
        let grants = store::permissions_of(&mut conn, tenant).await?.into_iter().map(Into::into).collect();
        Ok((Tenant { id: tenant, created, aliases }, grants))
    }

    async fn grant(
        &self,
        caller: &Caller,
        tenant: TenantId,
        user: &Ref<UserId>,
        permissions: &[TenantPermission],
    ) -> Result<Vec<TenantPermission>, Problem> {
        caller.trusted()?;
        let user_id = self.accounts.find(user).await?.id;
        // In order, so that two grants at the same time don't wait for each other in a circle.
        let kinds: BTreeSet<_> = permissions.iter().copied().collect();
        let created = self.clock.now();
        let work = async |conn: &mut _| {
            store::hold(conn, tenant).await?;
            let row = |kind| {
                Ok(PermissionRow { tenant_id: tenant, user_id, kind, id: self.mint.child(tenant)?, created })
            };
            let rows = kinds.into_iter().map(row).collect::<Result<Vec<_>, Problem>>()?;
            store::insert_permissions(conn, &rows).await
        };
        self.db.write(work).await
    }

    async fn revoke(
        &self,
        caller: &Caller,
        tenant: TenantId,
        user: &Ref<UserId>,
        permissions: &[TenantPermission],
    ) -> Result<Vec<TenantPermission>, Problem> {
        caller.trusted()?;
        // An id need not exist any more: its permissions may have outlived the user.
        let user = match user {
            Ref::Id(id) => *id,
            Ref::Alias(_) => self.accounts.find(user).await?.id,
        };
        let kinds = permissions.iter().copied().collect();
        self.db.write(async |conn| store::delete_permissions(conn, tenant, user, &kinds).await).await
    }

    async fn require(
        &self,
        caller: &Caller,
        tenant: TenantId,
        permission: TenantPermission,
    ) -> Result<(), Problem> {
        let Some(user) = caller.holder()? else { return Ok(()) };
        if store::holds(&mut *self.db.read().await?, tenant, user, permission).await? {
            return Ok(());
        }
        Err(codes::PERMISSION_NOT_FOUND.detail(format!("this needs {permission} in tenant {tenant}")))
    }

    async fn exist(&self, ids: &[TenantId]) -> Result<Existences<TenantId>, Problem> {
        Ok(existences(ids, &store::exist(&mut *self.db.read().await?, ids).await?))
    }
}
