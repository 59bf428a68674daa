//! Which repository an upload belongs to.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use omgservers_api::Problem;
use omgservers_core::Conn;
use omgservers_versions::Repository;

use super::of;
use crate::schema::upload;

pub(crate) async fn insert_upload(
    conn: &mut Conn,
    repo: &Repository,
    id: &str,
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    let row = (
        upload::tenant_id.eq(repo.tenant),
        upload::project_id.eq(repo.project),
        upload::kind.eq(repo.qualifier),
        upload::id.eq(id),
        upload::touched.eq(now),
    );
    diesel::insert_into(upload::table).values(row).execute(conn).await?;
    Ok(())
}

/// Marks an upload as in use; `false` when the repository has no such upload.
pub(crate) async fn touch_upload(
    conn: &mut Conn,
    repo: &Repository,
    id: &str,
    now: DateTime<Utc>,
) -> Result<bool, Problem> {
    let row = upload::table.filter(of!(upload, repo).and(upload::id.eq(id)));
    Ok(diesel::update(row).set(upload::touched.eq(now)).execute(conn).await? > 0)
}

/// `false` when the repository has no such upload.
pub(crate) async fn delete_upload(conn: &mut Conn, repo: &Repository, id: &str) -> Result<bool, Problem> {
    let row = upload::table.filter(of!(upload, repo).and(upload::id.eq(id)));
    Ok(diesel::delete(row).execute(conn).await? > 0)
}

/// Deletes the uploads that weren't used since `before`.
pub(crate) async fn delete_stale_uploads(conn: &mut Conn, before: DateTime<Utc>) -> Result<usize, Problem> {
    Ok(diesel::delete(upload::table.filter(upload::touched.lt(before))).execute(conn).await?)
}

/// Which of `ids` are uploads of any repository.
pub(crate) async fn uploads_among(conn: &mut Conn, ids: &[String]) -> Result<Vec<String>, Problem> {
    Ok(upload::table.filter(upload::id.eq_any(ids)).select(upload::id).load(conn).await?)
}
