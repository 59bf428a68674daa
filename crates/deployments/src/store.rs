//! All the SQL of this crate.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::{define_sql_function, prelude::*, sql_types};
use diesel_async::RunQueryDsl;
use omgservers_api::{
    DeploymentId, Problem, ProjectId, StageId, TenantId, VersionId, details::Deployment, ids::Id as _,
};
use omgservers_core::{Conn, db::maybe};

use crate::{
    DeploymentFull,
    schema::{deployment, listed},
};

define_sql_function! {
    // The result is of type `void` and never read.
    fn pg_advisory_xact_lock(key: sql_types::BigInt) -> sql_types::Text;
}

/// A deployment, in the slot of its id.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = deployment, check_for_backend(diesel::pg::Pg))]
pub(crate) struct Row {
    pub(crate) id: DeploymentId,
    pub(crate) stage_id: StageId,
    pub(crate) tenant_id: TenantId,
    pub(crate) project_id: ProjectId,
    pub(crate) version_id: VersionId,
    pub(crate) config: serde_json::Value,
    pub(crate) images: serde_json::Value,
    pub(crate) created: DateTime<Utc>,
}

/// Where a deployment belongs.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = deployment, check_for_backend(diesel::pg::Pg))]
pub(crate) struct Parents {
    pub(crate) stage_id: StageId,
    pub(crate) tenant_id: TenantId,
}

/// A deployment in the list of its stage, in the slot of the stage's tenant.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = listed, check_for_backend(diesel::pg::Pg))]
pub(crate) struct ListedRow {
    pub(crate) stage_id: StageId,
    pub(crate) id: DeploymentId,
    pub(crate) created: DateTime<Utc>,
    pub(crate) version_id: VersionId,
}

impl Row {
    pub(crate) fn new(full: &DeploymentFull) -> Result<Self, Problem> {
        let Deployment { id, tenant_id, stage_id, version_id, created } = full.deployment;
        let config = serde_json::to_value(&full.config).map_err(Problem::internal)?;
        let images = serde_json::to_value(&full.images).map_err(Problem::internal)?;
        Ok(Self { id, stage_id, tenant_id, project_id: full.project_id, version_id, config, images, created })
    }

    pub(crate) fn full(self) -> Result<DeploymentFull, Problem> {
        let Self { id, stage_id, tenant_id, project_id, version_id, config, images, created } = self;
        Ok(DeploymentFull {
            deployment: Deployment { id, tenant_id, stage_id, version_id, created },
            project_id,
            config: serde_json::from_value(config).map_err(Problem::internal)?,
            images: serde_json::from_value(images).map_err(Problem::internal)?,
        })
    }

    /// As the stage lists it.
    pub(crate) fn listed(&self) -> ListedRow {
        let Self { stage_id, id, created, version_id, .. } = *self;
        ListedRow { stage_id, id, created, version_id }
    }
}

/// Writes a deployment that isn't listed yet; a second time with another age.
pub(crate) async fn put(conn: &mut Conn, row: &Row) -> Result<(), Problem> {
    diesel::insert_into(deployment::table)
        .values(row)
        .on_conflict(deployment::id)
        .do_update()
        .set(deployment::created.eq(row.created))
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes whether the deployment is in its stage's list; `false` when it has been noted before, or
/// is gone.
pub(crate) async fn note_listed(conn: &mut Conn, id: DeploymentId, is: bool) -> Result<bool, Problem> {
    let other = deployment::table.filter(deployment::id.eq(id).and(deployment::listed.ne(is)));
    Ok(diesel::update(other).set(deployment::listed.eq(is)).execute(conn).await? > 0)
}

pub(crate) async fn load(conn: &mut Conn, id: DeploymentId) -> Result<Option<Row>, Problem> {
    maybe(deployment::table.find(id).select(Row::as_select()).first(conn).await)
}

pub(crate) async fn locate(conn: &mut Conn, id: DeploymentId) -> Result<Option<Parents>, Problem> {
    maybe(deployment::table.find(id).select(Parents::as_select()).first(conn).await)
}

/// Those of `ids` that are there.
pub(crate) async fn load_all(
    conn: &mut Conn,
    ids: &[DeploymentId],
) -> Result<HashMap<DeploymentId, Row>, Problem> {
    let rows: Vec<Row> =
        deployment::table.filter(deployment::id.eq_any(ids)).select(Row::as_select()).load(conn).await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// The next `limit` listed deployments, by id.
pub(crate) async fn page(
    conn: &mut Conn,
    after: Option<DeploymentId>,
    limit: i64,
) -> Result<Vec<Row>, Problem> {
    let mut query = deployment::table
        .filter(deployment::listed)
        .select(Row::as_select())
        .order(deployment::id)
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        query = query.filter(deployment::id.gt(after));
    }
    Ok(query.load(conn).await?)
}

/// At most `limit` deployments from before `before` that aren't listed, oldest first.
pub(crate) async fn unlisted(
    conn: &mut Conn,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Row>, Problem> {
    Ok(deployment::table
        .filter(deployment::created.lt(before).and(diesel::dsl::not(deployment::listed)))
        .order((deployment::created, deployment::id))
        .limit(limit)
        .select(Row::as_select())
        .load(conn)
        .await?)
}

pub(crate) async fn delete(conn: &mut Conn, id: DeploymentId) -> Result<bool, Problem> {
    Ok(diesel::delete(deployment::table.find(id)).execute(conn).await? > 0)
}

/// Deletes several deployments; returns those that were there.
pub(crate) async fn delete_all(conn: &mut Conn, ids: &[DeploymentId]) -> Result<Vec<DeploymentId>, Problem> {
    let gone = deployment::table.filter(deployment::id.eq_any(ids));
    Ok(diesel::delete(gone).returning(deployment::id).get_results(conn).await?)
}

pub(crate) async fn exist(conn: &mut Conn, ids: &[DeploymentId]) -> Result<HashSet<DeploymentId>, Problem> {
    let found: Vec<DeploymentId> =
        deployment::table.filter(deployment::id.eq_any(ids)).select(deployment::id).load(conn).await?;
    Ok(found.into_iter().collect())
}

/// What each deployment pins.
pub(crate) async fn all_images(conn: &mut Conn) -> Result<Vec<serde_json::Value>, Problem> {
    Ok(deployment::table.select(deployment::images).load(conn).await?)
}

/// Lets one transaction at a time change which deployment of the stage is the newest. A lock on a
/// row can't do that. The first deployment of a stage finds no row, and a waiting transaction would
/// find one that is no longer the newest.
pub(crate) async fn lock_stage(conn: &mut Conn, stage: StageId) -> Result<(), Problem> {
    diesel::select(pg_advisory_xact_lock(stage.get())).execute(conn).await?;
    Ok(())
}

/// Lists a deployment. Lock the stage before.
pub(crate) async fn list(conn: &mut Conn, row: &ListedRow) -> Result<(), Problem> {
    diesel::insert_into(listed::table).values(row).execute(conn).await?;
    Ok(())
}

pub(crate) async fn is_listed(conn: &mut Conn, row: &ListedRow) -> Result<bool, Problem> {
    let found = listed::table.find((row.stage_id, row.id));
    Ok(diesel::select(diesel::dsl::exists(found)).get_result(conn).await?)
}

/// Takes a deployment off its stage's list.
pub(crate) async fn unlist(conn: &mut Conn, stage: StageId, id: DeploymentId) -> Result<(), Problem> {
    diesel::delete(listed::table.find((stage, id))).execute(conn).await?;
    Ok(())
}

/// Takes several deployments off their stages' lists.
pub(crate) async fn unlist_all(conn: &mut Conn, listings: &[(StageId, DeploymentId)]) -> Result<(), Problem> {
    let (stages, ids): (Vec<StageId>, Vec<DeploymentId>) = listings.iter().copied().unzip();
    // An id is in the list of one stage only; the stages lead to the primary key.
    let gone = listed::table.filter(listed::stage_id.eq_any(stages).and(listed::id.eq_any(ids)));
    diesel::delete(gone).execute(conn).await?;
    Ok(())
}

/// The newest deployment of the stage and its age.
pub(crate) async fn newest(
    conn: &mut Conn,
    stage: StageId,
) -> Result<Option<(DeploymentId, DateTime<Utc>)>, Problem> {
    maybe(
        listed::table
            .filter(listed::stage_id.eq(stage))
            .order(listed::created.desc())
            .select((listed::id, listed::created))
            .first(conn)
            .await,
    )
}

/// The two newest deployments of the stage, the newest first.
pub(crate) async fn newest_two(conn: &mut Conn, stage: StageId) -> Result<Vec<DeploymentId>, Problem> {
    Ok(listed::table
        .filter(listed::stage_id.eq(stage))
        .order(listed::created.desc())
        .limit(2)
        .select(listed::id)
        .load(conn)
        .await?)
}

/// The newest deployment of each of `stages`.
pub(crate) async fn newest_of(conn: &mut Conn, stages: &[StageId]) -> Result<HashSet<DeploymentId>, Problem> {
    let found: Vec<DeploymentId> = listed::table
        .filter(listed::stage_id.eq_any(stages))
        .distinct_on(listed::stage_id)
        .order((listed::stage_id, listed::created.desc()))
        .select(listed::id)
        .load(conn)
        .await?;
    Ok(found.into_iter().collect())
}

/// The stage's list, oldest first.
pub(crate) async fn of_stage(conn: &mut Conn, stage: StageId) -> Result<Vec<ListedRow>, Problem> {
    Ok(listed::table
        .filter(listed::stage_id.eq(stage))
        .order(listed::created)
        .select(ListedRow::as_select())
        .load(conn)
        .await?)
}

/// At most `limit` listed deployments of a version.
pub(crate) async fn of_version(
    conn: &mut Conn,
    version: VersionId,
    limit: i64,
) -> Result<Vec<ListedRow>, Problem> {
    Ok(listed::table
        .filter(listed::version_id.eq(version))
        .limit(limit)
        .select(ListedRow::as_select())
        .load(conn)
        .await?)
}

/// The next `limit` places in the lists of stages, in their order.
pub(crate) async fn listings(
    conn: &mut Conn,
    after: Option<(StageId, DeploymentId)>,
    limit: i64,
) -> Result<Vec<(StageId, DeploymentId)>, Problem> {
    let columns = (listed::stage_id, listed::id);
    let mut query = listed::table.select(columns).order(columns).limit(limit).into_boxed();
    if let Some((stage, id)) = after {
        let later = listed::stage_id.gt(stage).or(listed::id.gt(id));
        // The first condition says nothing new, but lets the primary key find the place.
        query = query.filter(listed::stage_id.ge(stage).and(later));
    }
    Ok(query.load(conn).await?)
}

/// The next `limit` stages that have deployments, by id.
pub(crate) async fn stages(
    conn: &mut Conn,
    after: Option<StageId>,
    limit: i64,
) -> Result<Vec<StageId>, Problem> {
    let column = listed::stage_id;
    let mut query = listed::table.select(column).distinct().order(column).limit(limit).into_boxed();
    if let Some(after) = after {
        query = query.filter(column.gt(after));
    }
    Ok(query.load(conn).await?)
}

/// The next `limit` versions that have deployments, by id.
pub(crate) async fn versions(
    conn: &mut Conn,
    after: Option<VersionId>,
    limit: i64,
) -> Result<Vec<VersionId>, Problem> {
    let column = listed::version_id;
    let mut query = listed::table.select(column).distinct().order(column).limit(limit).into_boxed();
    if let Some(after) = after {
        query = query.filter(column.gt(after));
    }
    Ok(query.load(conn).await?)
}
