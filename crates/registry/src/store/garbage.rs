//! What nothing needs any more.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use omgservers_api::{Problem, ProjectId, TenantId, roles::ImageQualifier};
use omgservers_core::{Conn, db::maybe};
use omgservers_versions::Repository;

use super::{delete_manifest, of};
use crate::schema::{link, manifest, reference, repository, tag};

type Key = (TenantId, ProjectId, ImageQualifier);

/// The repositories behind `after`, at most `limit`, in the order of their keys.
pub(crate) async fn repositories(
    conn: &mut Conn,
    after: Option<&Repository>,
    limit: i64,
) -> Result<Vec<Repository>, Problem> {
    use repository::{kind, project_id, tenant_id};
    let mut rows = repository::table
        .select((tenant_id, project_id, kind))
        .order((tenant_id, project_id, kind))
        .limit(limit)
        .into_boxed();
    if let Some(last) = after {
        let later_kind = project_id.eq(last.project).and(kind.gt(last.qualifier));
        let later = tenant_id.eq(last.tenant).and(project_id.gt(last.project).or(later_kind));
        rows = rows.filter(tenant_id.gt(last.tenant).or(later));
    }
    let rows: Vec<Key> = rows.load(conn).await?;
    Ok(rows
        .into_iter()
        .map(|(tenant, project, qualifier)| Repository { tenant, project, qualifier })
        .collect())
}

/// Deletes the repositories of a project with everything in them.
pub(crate) async fn delete_repositories(
    conn: &mut Conn,
    tenant: TenantId,
    project: ProjectId,
) -> Result<usize, Problem> {
    let rows = repository::tenant_id.eq(tenant).and(repository::project_id.eq(project));
    Ok(diesel::delete(repository::table.filter(rows)).execute(conn).await?)
}

/// The manifests of a repository that no tag and no index needs, and that weren't used since
/// `before`. A manifest about another one is needed while that one is there.
pub(crate) async fn loose_manifests(
    conn: &mut Conn,
    repo: &Repository,
    before: DateTime<Utc>,
) -> Result<Vec<String>, Problem> {
    let tagged = tag::table.filter(of!(tag, repo).and(tag::digest.eq(manifest::digest)));
    let indexed = reference::table.filter(of!(reference, repo).and(reference::target.eq(manifest::digest)));
    let rows: Vec<(String, Option<String>)> = manifest::table
        .filter(of!(manifest, repo).and(manifest::touched.lt(before)))
        .filter(not(exists(tagged)))
        .filter(not(exists(indexed)))
        .select((manifest::digest, manifest::subject))
        .load(conn)
        .await?;
    let subjects: Vec<&String> = rows.iter().filter_map(|it| it.1.as_ref()).collect();
    let present = manifest::table.filter(of!(manifest, repo).and(manifest::digest.eq_any(subjects)));
    let present: HashSet<String> = present.select(manifest::digest).load(conn).await?.into_iter().collect();
    let alone = |it: &(String, Option<String>)| it.1.as_ref().is_none_or(|it| !present.contains(it));
    Ok(rows.into_iter().filter(alone).map(|it| it.0).collect())
}

/// Deletes a manifest if it is still as [`loose_manifests`] found it.
pub(crate) async fn delete_loose_manifest(
    conn: &mut Conn,
    repo: &Repository,
    digest: &str,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, Problem> {
    let row = of!(manifest, repo).and(manifest::digest.eq(digest)).and(manifest::touched.lt(before));
    let row = manifest::table.filter(row).select(manifest::digest).for_update();
    // Locked before the check: who makes use of a manifest marks it first.
    let found: Option<String> = maybe(row.first(conn).await)?;
    if found.is_none() {
        return Ok(false);
    }
    let tagged = tag::table.filter(of!(tag, repo).and(tag::digest.eq(digest)));
    let indexed = reference::table.filter(of!(reference, repo).and(reference::target.eq(digest)));
    if diesel::select(exists(tagged).or(exists(indexed))).get_result(conn).await? {
        return Ok(false);
    }
    delete_manifest(conn, repo, digest, now).await
}

/// Deletes the links to blobs that no manifest of the repository uses, and no push since `before`.
pub(crate) async fn delete_loose_links(
    conn: &mut Conn,
    repo: &Repository,
    before: DateTime<Utc>,
) -> Result<usize, Problem> {
    let used = || reference::table.filter(of!(reference, repo).and(reference::target.eq(link::digest)));
    let old = of!(link, repo).and(link::touched.lt(before));
    let found: Vec<String> = link::table
        .filter(old)
        .filter(not(exists(used())))
        .select(link::digest)
        .order(link::digest)
        .for_update()
        .load(conn)
        .await?;
    // A second look under the lock: who makes use of a blob marks its link first.
    let rows =
        link::table.filter(of!(link, repo).and(link::digest.eq_any(found))).filter(not(exists(used())));
    Ok(diesel::delete(rows).execute(conn).await?)
}

/// Which of `digests` some repository has, as a blob or as a manifest.
pub(crate) async fn digests_in_use(conn: &mut Conn, digests: &[String]) -> Result<HashSet<String>, Problem> {
    let blobs = link::table.filter(link::digest.eq_any(digests)).select(link::digest).distinct();
    let blobs: Vec<String> = blobs.load(conn).await?;
    let manifests =
        manifest::table.filter(manifest::digest.eq_any(digests)).select(manifest::digest).distinct();
    let manifests: Vec<String> = manifests.load(conn).await?;
    Ok(blobs.into_iter().chain(manifests).collect())
}
