//! Stages, their names and permissions.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::{pg::Pg, prelude::*};
use diesel_async::RunQueryDsl;
use omgservers_api::{
    AliasId, PermissionId, Problem, ProjectId, StageId, StagePermission, TenantId, UserId,
    details::{Alias, Stage, StageGrant},
    ids::Id as _,
    roles::AliasQualifier,
};
use omgservers_core::{
    Conn,
    db::{maybe, unique},
};

use crate::{
    problems,
    schema::{stage, stage_alias, stage_permission},
};

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = stage, check_for_backend(Pg))]
pub(crate) struct Row {
    pub(crate) id: StageId,
    pub(crate) tenant_id: TenantId,
    pub(crate) project_id: ProjectId,
    pub(crate) created: DateTime<Utc>,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = stage_alias, check_for_backend(Pg))]
pub(crate) struct AliasRow {
    pub(crate) project_id: ProjectId,
    pub(crate) value: String,
    pub(crate) id: AliasId,
    pub(crate) stage_id: StageId,
    pub(crate) created: DateTime<Utc>,
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = stage_permission, check_for_backend(Pg))]
pub(crate) struct PermissionRow {
    pub(crate) stage_id: StageId,
    pub(crate) user_id: UserId,
    pub(crate) kind: StagePermission,
    pub(crate) id: PermissionId,
    pub(crate) created: DateTime<Utc>,
}

impl Row {
    /// The stage with its names out of `aliases`.
    pub(crate) fn with(self, aliases: &mut HashMap<StageId, Vec<Alias>>) -> Stage {
        let Self { id, tenant_id, project_id, created } = self;
        Stage { id, tenant_id, project_id, created, aliases: aliases.remove(&id).unwrap_or_default() }
    }
}

impl From<AliasRow> for Alias {
    fn from(AliasRow { value, id, stage_id, created, .. }: AliasRow) -> Self {
        Self { id, created, qualifier: AliasQualifier::Stage, entity_id: stage_id.get(), value }
    }
}

impl PermissionRow {
    pub(crate) fn in_tenant(self, tenant_id: TenantId) -> StageGrant {
        let Self { stage_id, user_id, kind, id, created } = self;
        StageGrant { id, tenant_id, stage_id, created, user_id, permission: kind }
    }
}

pub(crate) async fn insert(conn: &mut Conn, row: &Row) -> Result<(), Problem> {
    diesel::insert_into(stage::table).values(row).execute(conn).await?;
    Ok(())
}

pub(crate) async fn get(conn: &mut Conn, id: StageId) -> Result<Option<Row>, Problem> {
    maybe(stage::table.find(id).select(Row::as_select()).first(conn).await)
}

pub(crate) async fn named(
    conn: &mut Conn,
    tenant: TenantId,
    project: ProjectId,
    alias: &str,
) -> Result<Option<StageId>, Problem> {
    let one = stage_alias::table
        .inner_join(stage::table)
        .filter(stage_alias::project_id.eq(project))
        .filter(stage_alias::value.eq(alias))
        .filter(stage::tenant_id.eq(tenant));
    maybe(one.select(stage::id).first(conn).await)
}

/// The stages of a project, oldest first.
pub(crate) async fn of_project(conn: &mut Conn, project: ProjectId) -> Result<Vec<Row>, Problem> {
    let all = stage::table.filter(stage::project_id.eq(project));
    Ok(all.order((stage::created, stage::id)).select(Row::as_select()).load(conn).await?)
}

pub(crate) async fn exist(conn: &mut Conn, ids: &[StageId]) -> Result<HashSet<StageId>, Problem> {
    let found = stage::table.filter(stage::id.eq_any(ids)).select(stage::id);
    Ok(found.load(conn).await?.into_iter().collect())
}

/// Whether the stage is there; if so, it can't be deleted until the transaction ends.
pub(crate) async fn hold(conn: &mut Conn, tenant: TenantId, id: StageId) -> Result<bool, Problem> {
    let one = stage::table.find(id).filter(stage::tenant_id.eq(tenant));
    Ok(maybe(one.select(stage::id).for_key_share().first::<StageId>(conn).await)?.is_some())
}

/// Deletes the stage with its names and permissions.
pub(crate) async fn delete(
    conn: &mut Conn,
    tenant: TenantId,
    project: ProjectId,
    id: StageId,
) -> Result<bool, Problem> {
    let one = stage::table.find(id).filter(stage::tenant_id.eq(tenant)).filter(stage::project_id.eq(project));
    Ok(diesel::delete(one).execute(conn).await? > 0)
}

/// Problems: `projects.alias_taken`.
pub(crate) async fn insert_alias(conn: &mut Conn, row: &AliasRow) -> Result<(), Problem> {
    let inserted = diesel::insert_into(stage_alias::table).values(row).execute(conn).await;
    unique(inserted, "stage_alias_key", problems::ALIAS_TAKEN).map(drop)
}

/// The names of one stage, or of all stages of the project.
pub(crate) async fn aliases(
    conn: &mut Conn,
    project: ProjectId,
    only: Option<StageId>,
) -> Result<HashMap<StageId, Vec<Alias>>, Problem> {
    let mut names = stage_alias::table
        .filter(stage_alias::project_id.eq(project))
        .order((stage_alias::created, stage_alias::id))
        .select(AliasRow::as_select())
        .into_boxed();
    if let Some(stage) = only {
        names = names.filter(stage_alias::stage_id.eq(stage));
    }
    let mut of: HashMap<_, Vec<Alias>> = HashMap::new();
    for row in names.load::<AliasRow>(conn).await? {
        of.entry(row.stage_id).or_default().push(row.into());
    }
    Ok(of)
}

/// Inserts what isn't there, and answers it.
pub(crate) async fn insert_permissions(
    conn: &mut Conn,
    rows: &[PermissionRow],
) -> Result<Vec<StagePermission>, Problem> {
    let insert = diesel::insert_into(stage_permission::table).values(rows).on_conflict_do_nothing();
    Ok(insert.returning(stage_permission::kind).get_results(conn).await?)
}

/// Deletes what is there of `kinds`, and answers it.
pub(crate) async fn delete_permissions(
    conn: &mut Conn,
    id: StageId,
    user: UserId,
    kinds: &BTreeSet<StagePermission>,
) -> Result<Vec<StagePermission>, Problem> {
    let granted = stage_permission::table
        .filter(stage_permission::stage_id.eq(id))
        .filter(stage_permission::user_id.eq(user))
        .filter(stage_permission::kind.eq_any(kinds));
    Ok(diesel::delete(granted).returning(stage_permission::kind).get_results(conn).await?)
}

pub(crate) async fn holds(
    conn: &mut Conn,
    tenant: TenantId,
    id: StageId,
    user: UserId,
    kind: StagePermission,
) -> Result<bool, Problem> {
    let granted = stage_permission::table
        .inner_join(stage::table)
        .filter(stage_permission::stage_id.eq(id))
        .filter(stage_permission::user_id.eq(user))
        .filter(stage_permission::kind.eq(kind))
        .filter(stage::tenant_id.eq(tenant));
    Ok(diesel::select(diesel::dsl::exists(granted)).get_result(conn).await?)
}

pub(crate) async fn permissions(conn: &mut Conn, id: StageId) -> Result<Vec<PermissionRow>, Problem> {
    let all = stage_permission::table.filter(stage_permission::stage_id.eq(id));
    let all = all.order((stage_permission::created, stage_permission::id));
    Ok(all.select(PermissionRow::as_select()).load(conn).await?)
}

pub(crate) async fn holders_after(
    conn: &mut Conn,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<UserId>, Problem> {
    let mut page = stage_permission::table
        .select(stage_permission::user_id)
        .distinct()
        .order(stage_permission::user_id)
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        page = page.filter(stage_permission::user_id.gt(after));
    }
    Ok(page.load(conn).await?)
}

pub(crate) async fn delete_permissions_of(conn: &mut Conn, users: &[UserId]) -> Result<usize, Problem> {
    let granted = stage_permission::table.filter(stage_permission::user_id.eq_any(users));
    Ok(diesel::delete(granted).execute(conn).await?)
}
