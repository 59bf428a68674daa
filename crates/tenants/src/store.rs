//! All the SQL of this crate. Functions take a connection, so that several can share a transaction.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use diesel::{pg::Pg, prelude::*};
use diesel_async::RunQueryDsl;
use omgservers_api::{
    AliasId, PermissionId, Problem, TenantId, TenantPermission, UserId,
    details::{Alias, TenantGrant},
    ids::Id as _,
    roles::AliasQualifier,
};
use omgservers_core::{
    Conn,
    db::{maybe, unique},
};

use crate::{
    problems,
    schema::{name, permission, tenant},
};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = name, check_for_backend(Pg))]
pub(crate) struct NameRow {
    pub(crate) slot: i16,
    pub(crate) value: String,
    pub(crate) id: AliasId,
    pub(crate) tenant_id: TenantId,
    pub(crate) created: DateTime<Utc>,
}

impl From<NameRow> for Alias {
    fn from(NameRow { value, id, tenant_id, created, .. }: NameRow) -> Self {
        Self { id, created, qualifier: AliasQualifier::Tenant, entity_id: tenant_id.get(), value }
    }
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = permission, check_for_backend(Pg))]
pub(crate) struct PermissionRow {
    pub(crate) tenant_id: TenantId,
    pub(crate) user_id: UserId,
    pub(crate) kind: TenantPermission,
    pub(crate) id: PermissionId,
    pub(crate) created: DateTime<Utc>,
}

impl From<PermissionRow> for TenantGrant {
    fn from(PermissionRow { tenant_id, user_id, kind, id, created }: PermissionRow) -> Self {
        Self { id, tenant_id, created, user_id, permission: kind }
    }
}

pub(crate) async fn insert(conn: &mut Conn, id: TenantId, created: DateTime<Utc>) -> Result<(), Problem> {
    let row = (tenant::id.eq(id), tenant::created.eq(created));
    diesel::insert_into(tenant::table).values(row).execute(conn).await?;
    Ok(())
}

/// When the tenant was made, if it is there.
pub(crate) async fn created(conn: &mut Conn, id: TenantId) -> Result<Option<DateTime<Utc>>, Problem> {
    maybe(tenant::table.find(id).select(tenant::created).first(conn).await)
}

/// Keeps the tenant from being deleted until the transaction ends. Problems: `tenants.not_found`.
pub(crate) async fn hold(conn: &mut Conn, id: TenantId) -> Result<(), Problem> {
    let found = tenant::table.find(id).select(tenant::id).for_key_share().first::<TenantId>(conn).await;
    maybe(found)?.map(drop).ok_or_else(|| problems::NOT_FOUND.into())
}

/// Deletes the tenant and its permissions.
pub(crate) async fn delete(conn: &mut Conn, id: TenantId) -> Result<bool, Problem> {
    Ok(diesel::delete(tenant::table.find(id)).execute(conn).await? > 0)
}

pub(crate) async fn exist(conn: &mut Conn, ids: &[TenantId]) -> Result<HashSet<TenantId>, Problem> {
    let found = tenant::table.filter(tenant::id.eq_any(ids)).select(tenant::id);
    Ok(found.load(conn).await?.into_iter().collect())
}

/// Problems: `tenants.alias_taken`.
pub(crate) async fn insert_name(conn: &mut Conn, row: &NameRow) -> Result<(), Problem> {
    let inserted = diesel::insert_into(name::table).values(row).execute(conn).await;
    unique(inserted, "name_key", problems::ALIAS_TAKEN).map(drop)
}

/// The tenant that the name was given to, which may be gone meanwhile.
pub(crate) async fn named(conn: &mut Conn, slot: i16, value: &str) -> Result<Option<TenantId>, Problem> {
    maybe(name::table.find((slot, value)).select(name::tenant_id).first(conn).await)
}

pub(crate) async fn names_of(conn: &mut Conn, id: TenantId) -> Result<Vec<NameRow>, Problem> {
    let names = name::table.filter(name::tenant_id.eq(id)).order((name::created, name::id));
    Ok(names.select(NameRow::as_select()).load(conn).await?)
}

/// A page of the tenants that have names.
pub(crate) async fn named_after(
    conn: &mut Conn,
    after: Option<TenantId>,
    limit: i64,
) -> Result<Vec<TenantId>, Problem> {
    let mut page =
        name::table.select(name::tenant_id).distinct().order(name::tenant_id).limit(limit).into_boxed();
    if let Some(after) = after {
        page = page.filter(name::tenant_id.gt(after));
    }
    Ok(page.load(conn).await?)
}

pub(crate) async fn delete_names_of(conn: &mut Conn, ids: &[TenantId]) -> Result<usize, Problem> {
    Ok(diesel::delete(name::table.filter(name::tenant_id.eq_any(ids))).execute(conn).await?)
}

/// Inserts what isn't there, and answers it.
pub(crate) async fn insert_permissions(
    conn: &mut Conn,
    rows: &[PermissionRow],
) -> Result<Vec<TenantPermission>, Problem> {
    let insert = diesel::insert_into(permission::table).values(rows).on_conflict_do_nothing();
    Ok(insert.returning(permission::kind).get_results(conn).await?)
}

/// Deletes what is there of `kinds`, and answers it.
pub(crate) async fn delete_permissions(
    conn: &mut Conn,
    id: TenantId,
    user: UserId,
    kinds: &BTreeSet<TenantPermission>,
) -> Result<Vec<TenantPermission>, Problem> {
    let granted = permission::table
        .filter(permission::tenant_id.eq(id))
        .filter(permission::user_id.eq(user))
        .filter(permission::kind.eq_any(kinds));
    Ok(diesel::delete(granted).returning(permission::kind).get_results(conn).await?)
}

pub(crate) async fn holds(
    conn: &mut Conn,
    id: TenantId,
    user: UserId,
    kind: TenantPermission,
) -> Result<bool, Problem> {
    let granted = permission::table.find((id, user, kind));
    Ok(diesel::select(diesel::dsl::exists(granted)).get_result(conn).await?)
}

pub(crate) async fn permissions_of(conn: &mut Conn, id: TenantId) -> Result<Vec<PermissionRow>, Problem> {
    let all = permission::table.filter(permission::tenant_id.eq(id));
    Ok(all.order((permission::created, permission::id)).select(PermissionRow::as_select()).load(conn).await?)
}

/// A page of the users who hold permissions.
pub(crate) async fn holders_after(
    conn: &mut Conn,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<UserId>, Problem> {
    let mut page = permission::table
        .select(permission::user_id)
        .distinct()
        .order(permission::user_id)
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        page = page.filter(permission::user_id.gt(after));
    }
    Ok(page.load(conn).await?)
}

pub(crate) async fn delete_permissions_of(conn: &mut Conn, users: &[UserId]) -> Result<usize, Problem> {
    Ok(diesel::delete(permission::table.filter(permission::user_id.eq_any(users))).execute(conn).await?)
}
