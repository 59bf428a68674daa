//! Projects, their names and permissions.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::{pg::Pg, prelude::*};
use diesel_async::RunQueryDsl;
use omgservers_api::{
    AliasId, PermissionId, Problem, ProjectId, ProjectPermission, TenantId, UserId,
    details::{Alias, Project, ProjectGrant},
    ids::Id as _,
    roles::AliasQualifier,
};
use omgservers_core::{
    Conn,
    db::{maybe, unique},
};

use crate::{
    problems,
    schema::{project, project_alias, project_permission},
};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = project, check_for_backend(Pg))]
pub(crate) struct Row {
    pub(crate) id: ProjectId,
    pub(crate) tenant_id: TenantId,
    pub(crate) created: DateTime<Utc>,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = project_alias, check_for_backend(Pg))]
pub(crate) struct AliasRow {
    pub(crate) tenant_id: TenantId,
    pub(crate) value: String,
    pub(crate) id: AliasId,
    pub(crate) project_id: ProjectId,
    pub(crate) created: DateTime<Utc>,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = project_permission, check_for_backend(Pg))]
pub(crate) struct PermissionRow {
    pub(crate) project_id: ProjectId,
    pub(crate) user_id: UserId,
    pub(crate) kind: ProjectPermission,
    pub(crate) id: PermissionId,
    pub(crate) created: DateTime<Utc>,
}

impl Row {
    /// The project with its names out of `aliases`.
    pub(crate) fn with(self, aliases: &mut HashMap<ProjectId, Vec<Alias>>) -> Project {
        let Self { id, tenant_id, created } = self;
        Project { id, tenant_id, created, aliases: aliases.remove(&id).unwrap_or_default() }
    }
}

impl From<AliasRow> for Alias {
    fn from(AliasRow { value, id, project_id, created, .. }: AliasRow) -> Self {
        Self { id, created, qualifier: AliasQualifier::Project, entity_id: project_id.get(), value }
    }
}

impl PermissionRow {
    pub(crate) fn in_tenant(self, tenant_id: TenantId) -> ProjectGrant {
        let Self { project_id, user_id, kind, id, created } = self;
        ProjectGrant { id, tenant_id, project_id, created, user_id, permission: kind }
    }
}

pub(crate) async fn insert(conn: &mut Conn, row: &Row) -> Result<(), Problem> {
    diesel::insert_into(project::table).values(row).execute(conn).await?;
    Ok(())
}

pub(crate) async fn get(conn: &mut Conn, tenant: TenantId, id: ProjectId) -> Result<Option<Row>, Problem> {
    let one = project::table.find(id).filter(project::tenant_id.eq(tenant));
    maybe(one.select(Row::as_select()).first(conn).await)
}

pub(crate) async fn named(
    conn: &mut Conn,
    tenant: TenantId,
    alias: &str,
) -> Result<Option<ProjectId>, Problem> {
    maybe(project_alias::table.find((tenant, alias)).select(project_alias::project_id).first(conn).await)
}

pub(crate) async fn of_tenant(conn: &mut Conn, tenant: TenantId) -> Result<Vec<Row>, Problem> {
    let all = project::table.filter(project::tenant_id.eq(tenant));
    Ok(all.order((project::created, project::id)).select(Row::as_select()).load(conn).await?)
}

/// Up to `size` projects of the tenant that follow `after`, and the last of them if more follow.
pub(crate) async fn page(
    conn: &mut Conn,
    tenant: TenantId,
    after: Option<ProjectId>,
    size: u32,
) -> Result<(Vec<Row>, Option<ProjectId>), Problem> {
    let mut page = project::table.filter(project::tenant_id.eq(tenant)).into_boxed();
    if let Some(after) = after {
        page = page.filter(project::id.gt(after));
    }
    // One more than asked for tells whether there is a next page.
    let limit = i64::from(size).saturating_add(1);
    let mut rows: Vec<Row> = page.order(project::id).limit(limit).select(Row::as_select()).load(conn).await?;
    let more = rows.len() > usize::try_from(size).unwrap_or(usize::MAX);
    if more {
        rows.pop();
    }
    let next = rows.last().map(|it| it.id).filter(|_| more);
    Ok((rows, next))
}

pub(crate) async fn exist(conn: &mut Conn, ids: &[ProjectId]) -> Result<HashSet<ProjectId>, Problem> {
    let found = project::table.filter(project::id.eq_any(ids)).select(project::id);
    Ok(found.load(conn).await?.into_iter().collect())
}

/// Whether the project is there; if so, it can't be deleted until the transaction ends.
pub(crate) async fn hold(conn: &mut Conn, tenant: TenantId, id: ProjectId) -> Result<bool, Problem> {
    let one = project::table.find(id).filter(project::tenant_id.eq(tenant));
    Ok(maybe(one.select(project::id).for_key_share().first::<ProjectId>(conn).await)?.is_some())
}

/// Deletes the project with its stages, names and permissions.
pub(crate) async fn delete(conn: &mut Conn, tenant: TenantId, id: ProjectId) -> Result<bool, Problem> {
    let one = project::table.find(id).filter(project::tenant_id.eq(tenant));
    Ok(diesel::delete(one).execute(conn).await? > 0)
}

/// Deletes up to `limit` projects of the tenant, like [`delete`]; says how many.
pub(crate) async fn delete_some(conn: &mut Conn, tenant: TenantId, limit: i64) -> Result<usize, Problem> {
    let some = project::table.filter(project::tenant_id.eq(tenant)).select(project::id).limit(limit);
    let some: Vec<ProjectId> = some.load(conn).await?;
    Ok(diesel::delete(project::table.filter(project::id.eq_any(some))).execute(conn).await?)
}

/// A page of the tenants that have projects.
pub(crate) async fn tenants_after(
    conn: &mut Conn,
    after: Option<TenantId>,
    limit: i64,
) -> Result<Vec<TenantId>, Problem> {
    let mut page = project::table
        .select(project::tenant_id)
        .distinct()
        .order(project::tenant_id)
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        page = page.filter(project::tenant_id.gt(after));
    }
    Ok(page.load(conn).await?)
}

/// Problems: `projects.alias_taken`.
pub(crate) async fn insert_alias(conn: &mut Conn, row: &AliasRow) -> Result<(), Problem> {
    let inserted = diesel::insert_into(project_alias::table).values(row).execute(conn).await;
    unique(inserted, "project_alias_key", problems::ALIAS_TAKEN).map(drop)
}

/// The names of some projects, or of all projects of the tenant.
pub(crate) async fn aliases(
    conn: &mut Conn,
    tenant: TenantId,
    only: Option<&[ProjectId]>,
) -> Result<HashMap<ProjectId, Vec<Alias>>, Problem> {
    let mut names = project_alias::table
        .filter(project_alias::tenant_id.eq(tenant))
        .order((project_alias::created, project_alias::id))
        .select(AliasRow::as_select())
        .into_boxed();
    if let Some(projects) = only {
        names = names.filter(project_alias::project_id.eq_any(projects.to_vec()));
    }
    let mut of: HashMap<_, Vec<Alias>> = HashMap::new();
    for row in names.load::<AliasRow>(conn).await? {
        of.entry(row.project_id).or_default().push(row.into());
    }
    Ok(of)
}

/// Inserts what isn't there, and answers it.
pub(crate) async fn insert_permissions(
    conn: &mut Conn,
    rows: &[PermissionRow],
) -> Result<Vec<ProjectPermission>, Problem> {
    let insert = diesel::insert_into(project_permission::table).values(rows).on_conflict_do_nothing();
    Ok(insert.returning(project_permission::kind).get_results(conn).await?)
}

/// Deletes what is there of `kinds`, and answers it.
pub(crate) async fn delete_permissions(
    conn: &mut Conn,
    id: ProjectId,
    user: UserId,
    kinds: &BTreeSet<ProjectPermission>,
) -> Result<Vec<ProjectPermission>, Problem> {
    let granted = project_permission::table
        .filter(project_permission::project_id.eq(id))
        .filter(project_permission::user_id.eq(user))
        .filter(project_permission::kind.eq_any(kinds));
    Ok(diesel::delete(granted).returning(project_permission::kind).get_results(conn).await?)
}

pub(crate) async fn holds(
    conn: &mut Conn,
    tenant: TenantId,
    id: ProjectId,
    user: UserId,
    kind: ProjectPermission,
) -> Result<bool, Problem> {
    let granted = project_permission::table
        .inner_join(project::table)
        .filter(project_permission::project_id.eq(id))
        .filter(project_permission::user_id.eq(user))
        .filter(project_permission::kind.eq(kind))
        .filter(project::tenant_id.eq(tenant));
    Ok(diesel::select(diesel::dsl::exists(granted)).get_result(conn).await?)
}

pub(crate) async fn permissions(conn: &mut Conn, id: ProjectId) -> Result<Vec<PermissionRow>, Problem> {
    let all = project_permission::table.filter(project_permission::project_id.eq(id));
    let all = all.order((project_permission::created, project_permission::id));
    Ok(all.select(PermissionRow::as_select()).load(conn).await?)
}

pub(crate) async fn holders_after(
    conn: &mut Conn,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<UserId>, Problem> {
    let mut page = project_permission::table
        .select(project_permission::user_id)
        .distinct()
        .order(project_permission::user_id)
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        page = page.filter(project_permission::user_id.gt(after));
    }
    Ok(page.load(conn).await?)
}

pub(crate) async fn delete_permissions_of(conn: &mut Conn, users: &[UserId]) -> Result<usize, Problem> {
    let granted = project_permission::table.filter(project_permission::user_id.eq_any(users));
    Ok(diesel::delete(granted).execute(conn).await?)
}
