//! All the SQL of this crate.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::{prelude::*, upsert::excluded};
use diesel_async::RunQueryDsl;
use omgservers_api::{
    ImageId, Problem, ProjectId, TenantId, VersionId,
    details::{Image, Version, VersionItem},
    roles::ImageQualifier,
};
use omgservers_core::{Conn, db::maybe};

use crate::{
    PinnedImage,
    schema::{image, version},
};

/// Where a version belongs and how old it is: everything but its configuration.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = version, check_for_backend(diesel::pg::Pg))]
pub(crate) struct VersionHead {
    pub(crate) id: VersionId,
    pub(crate) tenant_id: TenantId,
    pub(crate) project_id: ProjectId,
    pub(crate) created: DateTime<Utc>,
}

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = version, check_for_backend(diesel::pg::Pg))]
pub(crate) struct Row {
    pub(crate) id: VersionId,
    pub(crate) tenant_id: TenantId,
    pub(crate) project_id: ProjectId,
    pub(crate) config: String,
    pub(crate) created: DateTime<Utc>,
}

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = image, check_for_backend(diesel::pg::Pg))]
pub(crate) struct ImageRow {
    pub(crate) version_id: VersionId,
    pub(crate) qualifier: ImageQualifier,
    pub(crate) id: ImageId,
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) digest: String,
    pub(crate) created: DateTime<Utc>,
}

impl From<VersionHead> for Version {
    fn from(VersionHead { id, tenant_id, project_id, created }: VersionHead) -> Self {
        Self { id, tenant_id, project_id, created }
    }
}

impl From<VersionHead> for VersionItem {
    fn from(VersionHead { id, project_id, created, .. }: VersionHead) -> Self {
        Self { id, created, project_id }
    }
}

impl From<ImageRow> for PinnedImage {
    fn from(ImageRow { qualifier, repository, digest, .. }: ImageRow) -> Self {
        Self { qualifier, repository, digest }
    }
}

impl ImageRow {
    pub(crate) fn shown(self, tenant_id: TenantId) -> Image {
        let Self { version_id, qualifier, id, repository, tag, digest, created } = self;
        Image {
            id,
            tenant_id,
            version_id,
            created,
            qualifier,
            image_id: format!("{repository}:{tag}"),
            digest,
        }
    }
}

pub(crate) async fn insert(conn: &mut Conn, row: &Row) -> Result<(), Problem> {
    diesel::insert_into(version::table).values(row).execute(conn).await?;
    Ok(())
}

pub(crate) async fn load(conn: &mut Conn, id: VersionId) -> Result<Option<Row>, Problem> {
    maybe(version::table.find(id).select(Row::as_select()).first(conn).await)
}

pub(crate) async fn locate(conn: &mut Conn, id: VersionId) -> Result<Option<VersionHead>, Problem> {
    maybe(version::table.find(id).select(VersionHead::as_select()).first(conn).await)
}

/// Like [`locate`], and keeps the version from being deleted until the transaction ends.
pub(crate) async fn locate_and_hold(conn: &mut Conn, id: VersionId) -> Result<Option<VersionHead>, Problem> {
    maybe(version::table.find(id).select(VersionHead::as_select()).for_key_share().first(conn).await)
}

pub(crate) async fn of_project(conn: &mut Conn, project: ProjectId) -> Result<Vec<VersionHead>, Problem> {
    Ok(version::table
        .filter(version::project_id.eq(project))
        .order((version::created, version::id))
        .select(VersionHead::as_select())
        .load(conn)
        .await?)
}

pub(crate) async fn delete(conn: &mut Conn, id: VersionId) -> Result<bool, Problem> {
    Ok(diesel::delete(version::table.find(id)).execute(conn).await? > 0)
}

/// Returns the versions that were deleted.
pub(crate) async fn delete_of_project(
    conn: &mut Conn,
    project: ProjectId,
) -> Result<Vec<VersionId>, Problem> {
    let gone = version::table.filter(version::project_id.eq(project));
    Ok(diesel::delete(gone).returning(version::id).get_results(conn).await?)
}

pub(crate) async fn exist(conn: &mut Conn, ids: &[VersionId]) -> Result<HashSet<VersionId>, Problem> {
    let found: Vec<VersionId> =
        version::table.filter(version::id.eq_any(ids)).select(version::id).load(conn).await?;
    Ok(found.into_iter().collect())
}

/// The next `limit` projects that have versions, by id.
pub(crate) async fn projects(
    conn: &mut Conn,
    after: Option<ProjectId>,
    limit: i64,
) -> Result<Vec<ProjectId>, Problem> {
    let mut query = version::table
        .select(version::project_id)
        .distinct()
        .order(version::project_id)
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        query = query.filter(version::project_id.gt(after));
    }
    Ok(query.load(conn).await?)
}

pub(crate) async fn images(conn: &mut Conn, id: VersionId) -> Result<Vec<ImageRow>, Problem> {
    Ok(image::table
        .filter(image::version_id.eq(id))
        .order(image::qualifier)
        .select(ImageRow::as_select())
        .load(conn)
        .await?)
}

/// Adds the image, or replaces the one of its kind. The same digest once more changes nothing.
pub(crate) async fn put_image(conn: &mut Conn, row: &ImageRow) -> Result<(), Problem> {
    // `QueryDsl` has no filter for what an upsert updates.
    use diesel::query_dsl::methods::FilterDsl as _;
    diesel::insert_into(image::table)
        .values(row)
        .on_conflict((image::version_id, image::qualifier))
        .do_update()
        .set((image::digest.eq(excluded(image::digest)), image::created.eq(excluded(image::created))))
        .filter(image::digest.ne(excluded(image::digest)))
        .execute(conn)
        .await?;
    Ok(())
}
