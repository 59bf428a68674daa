//! All the SQL of this crate.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::{define_sql_function, prelude::*, sql_types};
use diesel_async::RunQueryDsl;
use omgservers_api::{
    DeploymentId, Problem, ProjectId, StageId, TenantId, VersionId, details::Deployment, ids::Id as _,
};
use omgservers_core::{Conn, db::maybe};

use crate::{DeploymentFull, schema::deployment};

define_sql_function! {
    // The result is of type `void` and never read.
    fn pg_advisory_xact_lock(key: sql_types::BigInt) -> sql_types::Text;
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = deployment, check_for_backend(diesel::pg::Pg))]
pub(crate) struct Row {
    pub(crate) stage_id: StageId,
    pub(crate) id: DeploymentId,
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

impl Row {
    pub(crate) fn new(full: &DeploymentFull) -> Result<Self, Problem> {
        let Deployment { id, tenant_id, stage_id, version_id, created } = full.deployment;
        let config = serde_json::to_value(&full.config).map_err(Problem::internal)?;
        let images = serde_json::to_value(&full.images).map_err(Problem::internal)?;
        Ok(Self { stage_id, id, tenant_id, project_id: full.project_id, version_id, config, images, created })
    }

    pub(crate) fn full(self) -> Result<DeploymentFull, Problem> {
        let Self { stage_id, id, tenant_id, project_id, version_id, config, images, created } = self;
        Ok(DeploymentFull {
            deployment: Deployment { id, tenant_id, stage_id, version_id, created },
            project_id,
            config: serde_json::from_value(config).map_err(Problem::internal)?,
            images: serde_json::from_value(images).map_err(Problem::internal)?,
        })
    }
}

/// Lets one transaction at a time change which deployment of the stage is the newest. A row can't
/// be locked for that: the first deployment of a stage finds none, and who waited would find one
/// that is no longer the newest.
pub(crate) async fn lock_stage(conn: &mut Conn, stage: StageId) -> Result<(), Problem> {
    diesel::select(pg_advisory_xact_lock(stage.get())).execute(conn).await?;
    Ok(())
}

pub(crate) async fn insert(conn: &mut Conn, row: &Row) -> Result<(), Problem> {
    diesel::insert_into(deployment::table).values(row).execute(conn).await?;
    Ok(())
}

pub(crate) async fn load(conn: &mut Conn, id: DeploymentId) -> Result<Option<Row>, Problem> {
    maybe(deployment::table.filter(deployment::id.eq(id)).select(Row::as_select()).first(conn).await)
}

pub(crate) async fn locate(conn: &mut Conn, id: DeploymentId) -> Result<Option<Parents>, Problem> {
    maybe(deployment::table.filter(deployment::id.eq(id)).select(Parents::as_select()).first(conn).await)
}

/// The newest deployment of the stage and its age.
pub(crate) async fn newest(
    conn: &mut Conn,
    stage: StageId,
) -> Result<Option<(DeploymentId, DateTime<Utc>)>, Problem> {
    maybe(
        deployment::table
            .filter(deployment::stage_id.eq(stage))
            .order(deployment::created.desc())
            .select((deployment::id, deployment::created))
            .first(conn)
            .await,
    )
}

/// The two newest deployments of the stage, the newest first.
pub(crate) async fn newest_two(conn: &mut Conn, stage: StageId) -> Result<Vec<DeploymentId>, Problem> {
    Ok(deployment::table
        .filter(deployment::stage_id.eq(stage))
        .order(deployment::created.desc())
        .limit(2)
        .select(deployment::id)
        .load(conn)
        .await?)
}

/// The newest deployment of each of `stages`.
pub(crate) async fn newest_of(conn: &mut Conn, stages: &[StageId]) -> Result<HashSet<DeploymentId>, Problem> {
    let found: Vec<DeploymentId> = deployment::table
        .filter(deployment::stage_id.eq_any(stages))
        .distinct_on(deployment::stage_id)
        .order((deployment::stage_id, deployment::created.desc()))
        .select(deployment::id)
        .load(conn)
        .await?;
    Ok(found.into_iter().collect())
}

pub(crate) async fn of_stage(conn: &mut Conn, stage: StageId) -> Result<Vec<Row>, Problem> {
    Ok(deployment::table
        .filter(deployment::stage_id.eq(stage))
        .order(deployment::created)
        .select(Row::as_select())
        .load(conn)
        .await?)
}

pub(crate) async fn page(
    conn: &mut Conn,
    after: Option<DeploymentId>,
    limit: i64,
) -> Result<Vec<Row>, Problem> {
    let mut query =
        deployment::table.select(Row::as_select()).order(deployment::id).limit(limit).into_boxed();
    if let Some(after) = after {
        query = query.filter(deployment::id.gt(after));
    }
    Ok(query.load(conn).await?)
}

pub(crate) async fn delete(conn: &mut Conn, stage: StageId, id: DeploymentId) -> Result<bool, Problem> {
    Ok(diesel::delete(deployment::table.find((stage, id))).execute(conn).await? > 0)
}

/// Returns the deployments that were deleted.
pub(crate) async fn delete_of_stage(conn: &mut Conn, stage: StageId) -> Result<Vec<DeploymentId>, Problem> {
    let gone = deployment::table.filter(deployment::stage_id.eq(stage));
    Ok(diesel::delete(gone).returning(deployment::id).get_results(conn).await?)
}

/// Returns the deployments that were deleted, each with its stage.
pub(crate) async fn delete_of_version(
    conn: &mut Conn,
    version: VersionId,
) -> Result<Vec<(StageId, DeploymentId)>, Problem> {
    let gone = deployment::table.filter(deployment::version_id.eq(version));
    let columns = (deployment::stage_id, deployment::id);
    Ok(diesel::delete(gone).returning(columns).get_results(conn).await?)
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

/// The next `limit` stages that have deployments, by id.
pub(crate) async fn stages(
    conn: &mut Conn,
    after: Option<StageId>,
    limit: i64,
) -> Result<Vec<StageId>, Problem> {
    let column = deployment::stage_id;
    let mut query = deployment::table.select(column).distinct().order(column).limit(limit).into_boxed();
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
    let column = deployment::version_id;
    let mut query = deployment::table.select(column).distinct().order(column).limit(limit).into_boxed();
    if let Some(after) = after {
        query = query.filter(column.gt(after));
    }
    Ok(query.load(conn).await?)
}
