//! Repositories, blobs, manifests and tags.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::{dsl::exists, prelude::*};
use diesel_async::RunQueryDsl;
use omgservers_api::{Problem, ProjectId, TenantId, roles::ImageQualifier};
use omgservers_core::{Conn, db::maybe};
use omgservers_versions::Repository;

use super::of;
use crate::{
    rules::digest::Digest,
    schema::{
        link, manifest, pg_advisory_xact_lock, pg_advisory_xact_lock_shared, reference, repository, tag,
    },
};

#[derive(Queryable, Selectable, Insertable, AsChangeset, Debug, Clone)]
#[diesel(table_name = manifest, check_for_backend(diesel::pg::Pg), treat_none_as_null = true)]
pub(crate) struct ManifestRow {
    pub(crate) tenant_id: TenantId,
    pub(crate) project_id: ProjectId,
    pub(crate) kind: ImageQualifier,
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) size: i64,
    pub(crate) subject: Option<String>,
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: Option<serde_json::Value>,
    pub(crate) touched: DateTime<Utc>,
}

/// Keeps the bytes of a digest from being removed until the transaction ends.
pub(crate) async fn hold_bytes(conn: &mut Conn, digest: &Digest) -> Result<(), Problem> {
    diesel::select(pg_advisory_xact_lock_shared(digest.number())).execute(conn).await?;
    Ok(())
}

/// Waits for everybody who holds the bytes of a digest, and keeps others from it until the
/// transaction ends.
pub(crate) async fn claim_bytes(conn: &mut Conn, digest: &Digest) -> Result<(), Problem> {
    diesel::select(pg_advisory_xact_lock(digest.number())).execute(conn).await?;
    Ok(())
}

pub(crate) async fn ensure_repository(
    conn: &mut Conn,
    repo: &Repository,
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    let row = (
        repository::tenant_id.eq(repo.tenant),
        repository::project_id.eq(repo.project),
        repository::kind.eq(repo.qualifier),
        repository::created.eq(now),
    );
    diesel::insert_into(repository::table).values(row).on_conflict_do_nothing().execute(conn).await?;
    Ok(())
}

pub(crate) async fn repository_exists(conn: &mut Conn, repo: &Repository) -> Result<bool, Problem> {
    Ok(diesel::select(exists(repository::table.filter(of!(repository, repo)))).get_result(conn).await?)
}

/// Links a blob; a link that is there counts as new.
pub(crate) async fn put_link(
    conn: &mut Conn,
    repo: &Repository,
    digest: &str,
    size: i64,
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    let row = (
        link::tenant_id.eq(repo.tenant),
        link::project_id.eq(repo.project),
        link::kind.eq(repo.qualifier),
        link::digest.eq(digest),
        link::size.eq(size),
        link::touched.eq(now),
    );
    diesel::insert_into(link::table)
        .values(row)
        .on_conflict((link::tenant_id, link::project_id, link::kind, link::digest))
        .do_update()
        .set((link::size.eq(size), link::touched.eq(now)))
        .execute(conn)
        .await?;
    Ok(())
}

/// The size of a blob that the repository has, and when it was last asked for by a push.
pub(crate) async fn find_link(
    conn: &mut Conn,
    repo: &Repository,
    digest: &str,
) -> Result<Option<(i64, DateTime<Utc>)>, Problem> {
    let row = link::table.filter(of!(link, repo).and(link::digest.eq(digest)));
    maybe(row.select((link::size, link::touched)).first(conn).await)
}

/// Marks blobs as in use; answers the size of those that the repository has.
pub(crate) async fn touch_links(
    conn: &mut Conn,
    repo: &Repository,
    digests: &[String],
    now: DateTime<Utc>,
) -> Result<HashMap<String, i64>, Problem> {
    // In one order, so that two pushes can't wait for each other.
    let found: Vec<String> = link::table
        .filter(of!(link, repo).and(link::digest.eq_any(digests)))
        .select(link::digest)
        .order(link::digest)
        .for_update()
        .load(conn)
        .await?;
    let rows: Vec<(String, i64)> =
        diesel::update(link::table.filter(of!(link, repo).and(link::digest.eq_any(found))))
            .set(link::touched.eq(now))
            .returning((link::digest, link::size))
            .load(conn)
            .await?;
    Ok(rows.into_iter().collect())
}

/// Marks manifests as in use; answers the size of those that the repository has.
pub(crate) async fn touch_manifests(
    conn: &mut Conn,
    repo: &Repository,
    digests: &[String],
    now: DateTime<Utc>,
) -> Result<HashMap<String, i64>, Problem> {
    let found: Vec<String> = manifest::table
        .filter(of!(manifest, repo).and(manifest::digest.eq_any(digests)))
        .select(manifest::digest)
        .order(manifest::digest)
        .for_update()
        .load(conn)
        .await?;
    let rows: Vec<(String, i64)> =
        diesel::update(manifest::table.filter(of!(manifest, repo).and(manifest::digest.eq_any(found))))
            .set(manifest::touched.eq(now))
            .returning((manifest::digest, manifest::size))
            .load(conn)
            .await?;
    Ok(rows.into_iter().collect())
}

/// Locks a link against being used by a manifest, and says whether one uses it already; `None`
/// without a link.
pub(crate) async fn link_is_used(
    conn: &mut Conn,
    repo: &Repository,
    digest: &str,
) -> Result<Option<bool>, Problem> {
    let row = link::table.filter(of!(link, repo).and(link::digest.eq(digest)));
    let found: Option<String> = maybe(row.select(link::digest).for_update().first(conn).await)?;
    if found.is_none() {
        return Ok(None);
    }
    let users = reference::table.filter(of!(reference, repo).and(reference::target.eq(digest)));
    Ok(Some(diesel::select(exists(users)).get_result(conn).await?))
}

pub(crate) async fn delete_link(conn: &mut Conn, repo: &Repository, digest: &str) -> Result<(), Problem> {
    let row = link::table.filter(of!(link, repo).and(link::digest.eq(digest)));
    diesel::delete(row).execute(conn).await?;
    Ok(())
}

/// Keeps a manifest and what it is made of.
pub(crate) async fn put_manifest(
    conn: &mut Conn,
    row: &ManifestRow,
    targets: &[String],
) -> Result<(), Problem> {
    diesel::insert_into(manifest::table)
        .values(row)
        .on_conflict((manifest::tenant_id, manifest::project_id, manifest::kind, manifest::digest))
        .do_update()
        .set(row)
        .execute(conn)
        .await?;
    let rows: Vec<_> = targets
        .iter()
        .map(|target| {
            (
                reference::tenant_id.eq(row.tenant_id),
                reference::project_id.eq(row.project_id),
                reference::kind.eq(row.kind),
                reference::parent.eq(&row.digest),
                reference::target.eq(target),
            )
        })
        .collect();
    // PostgreSQL takes 65535 values in one statement.
    for some in rows.chunks(10_000) {
        diesel::insert_into(reference::table).values(some).on_conflict_do_nothing().execute(conn).await?;
    }
    Ok(())
}

pub(crate) async fn find_manifest(
    conn: &mut Conn,
    repo: &Repository,
    digest: &str,
) -> Result<Option<ManifestRow>, Problem> {
    let row = manifest::table.filter(of!(manifest, repo).and(manifest::digest.eq(digest)));
    maybe(row.select(ManifestRow::as_select()).first(conn).await)
}

/// The digest that a tag stands for.
pub(crate) async fn find_tag(
    conn: &mut Conn,
    repo: &Repository,
    name: &str,
) -> Result<Option<String>, Problem> {
    let row = tag::table.filter(of!(tag, repo).and(tag::name.eq(name)));
    maybe(row.select(tag::digest).first(conn).await)
}

pub(crate) async fn put_tag(
    conn: &mut Conn,
    repo: &Repository,
    name: &str,
    digest: &str,
    now: DateTime<Utc>,
) -> Result<(), Problem> {
    let row = (
        tag::tenant_id.eq(repo.tenant),
        tag::project_id.eq(repo.project),
        tag::kind.eq(repo.qualifier),
        tag::name.eq(name),
        tag::digest.eq(digest),
        tag::touched.eq(now),
    );
    diesel::insert_into(tag::table)
        .values(row)
        .on_conflict((tag::tenant_id, tag::project_id, tag::kind, tag::name))
        .do_update()
        .set((tag::digest.eq(digest), tag::touched.eq(now)))
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) async fn delete_tag(conn: &mut Conn, repo: &Repository, name: &str) -> Result<bool, Problem> {
    let row = tag::table.filter(of!(tag, repo).and(tag::name.eq(name)));
    Ok(diesel::delete(row).execute(conn).await? > 0)
}

/// Deletes a manifest with its tags. What it was made of counts as used until now.
pub(crate) async fn delete_manifest(
    conn: &mut Conn,
    repo: &Repository,
    digest: &str,
    now: DateTime<Utc>,
) -> Result<bool, Problem> {
    let parts = reference::table.filter(of!(reference, repo).and(reference::parent.eq(digest)));
    let parts: Vec<String> = parts.select(reference::target).load(conn).await?;
    let row = manifest::table.filter(of!(manifest, repo).and(manifest::digest.eq(digest)));
    let deleted = diesel::delete(row).execute(conn).await? > 0;
    if deleted {
        touch_links(conn, repo, &parts, now).await?;
        touch_manifests(conn, repo, &parts, now).await?;
    }
    Ok(deleted)
}

/// The tags of a repository behind `after`, sorted by bytes, at most `limit`.
pub(crate) async fn tags(
    conn: &mut Conn,
    repo: &Repository,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, Problem> {
    let rows = tag::table.filter(of!(tag, repo).and(tag::name.gt(after)));
    Ok(rows.select(tag::name).order(tag::name).limit(limit).load(conn).await?)
}

/// The manifests whose subject is `subject`, behind `after`, by digest, at most `limit`.
pub(crate) async fn referrers(
    conn: &mut Conn,
    repo: &Repository,
    subject: &str,
    artifact_type: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<ManifestRow>, Problem> {
    let mut rows = manifest::table
        .filter(of!(manifest, repo).and(manifest::subject.eq(subject)).and(manifest::digest.gt(after)))
        .select(ManifestRow::as_select())
        .order(manifest::digest)
        .limit(limit)
        .into_boxed();
    if let Some(kind) = artifact_type {
        rows = rows.filter(manifest::artifact_type.eq(kind));
    }
    Ok(rows.load(conn).await?)
}
