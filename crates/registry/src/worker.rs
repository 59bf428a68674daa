//! The collector of garbage.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use omgservers_api::{Problem, VersionId};
use omgservers_core::{Conn, Doorbell, Existence, Outcome, Worker};
use omgservers_projects::Projects;
use omgservers_versions::Repository;

use crate::{Digest, Registry, rules::name, store};

/// How long content that nothing uses stays: longer than the pushes that count on it.
const GRACE: chrono::Duration = chrono::Duration::hours(1);
/// How long an upload waits for its next part.
const UPLOAD_LIFE: chrono::Duration = chrono::Duration::hours(24);
/// How many rows or files are looked at together.
const SOME: usize = 500;

/// Whether content that was last used at `touched` should be marked as in use. Far less than the
/// grace, and seldom enough to cost nothing.
pub(crate) fn wants_touch(touched: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now.signed_duration_since(touched) > GRACE / 6
}

/// Removes the repositories of projects that are gone, when it is rung. It leaves the bytes to the
/// collector of garbage, which it rings. The collector inspects everything, which is too much for
/// the deletion of each stage.
#[derive(Clone)]
pub struct ForgetProjects {
    registry: Registry,
    projects: Arc<dyn Projects>,
    collector: Doorbell,
}

impl ForgetProjects {
    /// Makes the worker of `registry`. `projects` knows which projects exist; `collector` wakes
    /// [`CollectGarbage`].
    pub fn new(registry: Registry, projects: Arc<dyn Projects>, collector: Doorbell) -> Self {
        Self { registry, projects, collector }
    }
}

#[async_trait::async_trait]
impl Worker for ForgetProjects {
    fn name(&self) -> &'static str {
        "registry.forget_projects"
    }
    fn description(&self) -> &'static str {
        "Removes the repositories of projects that are gone."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(3600)
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let removed = forget_projects(&self.registry, self.projects.as_ref()).await?;
        if removed > 0 {
            self.collector.ring();
        }
        Ok(Outcome::changed(removed))
    }
}

/// Removes what nothing needs:
///
/// * repositories of projects that are gone
/// * tags of versions that are gone
/// * manifests without a tag that no version has and no deployment runs
/// * blobs that no manifest names
/// * uploads that nobody goes on with
/// * files that no repository knows
#[derive(Clone)]
pub struct CollectGarbage {
    registry: Registry,
    projects: Arc<dyn Projects>,
}

impl CollectGarbage {
    /// Makes the worker of `registry`. `projects` knows which projects exist.
    pub fn new(registry: Registry, projects: Arc<dyn Projects>) -> Self {
        Self { registry, projects }
    }
}

#[async_trait::async_trait]
impl Worker for CollectGarbage {
    fn name(&self) -> &'static str {
        "registry.collect_garbage"
    }
    fn description(&self) -> &'static str {
        "Removes tags, manifests, blobs and uploads that nothing needs."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(3600)
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let mut removed = forget_projects(&self.registry, self.projects.as_ref()).await?;
        let mut after: Option<Repository> = None;
        loop {
            let page = page(&self.registry, after.as_ref()).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            for repository in &page {
                removed += self.clean(repository).await?;
            }
        }
        removed += self.end_uploads().await?;
        removed += self.remove_files().await?;
        Ok(Outcome::changed(removed))
    }
}

impl CollectGarbage {
    /// Cleans one repository, from tags down to blobs.
    async fn clean(&self, repository: &Repository) -> Result<usize, Problem> {
        let inner = &self.registry.inner;
        let now = inner.clock.now();
        let before = now - GRACE;
        let mut removed = self.forget_versions(repository).await?;
        let loose = store::loose_manifests(&mut *inner.db.read().await?, repository, before).await?;
        // Asked only when there is something to decide.
        let needed = if loose.is_empty() { HashSet::new() } else { self.needed(repository).await? };
        for digest in loose.iter().filter(|it| !needed.contains(*it)) {
            let delete = async |conn: &mut Conn| {
                store::delete_loose_manifest(conn, repository, digest, before, now).await
            };
            removed += usize::from(inner.db.write(delete).await?);
        }
        let links =
            inner.db.write(async |conn| store::delete_loose_links(conn, repository, before).await).await?;
        Ok(removed + links)
    }

    /// Deletes the tags of versions that are gone.
    async fn forget_versions(&self, repository: &Repository) -> Result<usize, Problem> {
        let inner = &self.registry.inner;
        let (mut removed, mut after) = (0, String::new());
        loop {
            let tags = store::tags(&mut *inner.db.read().await?, repository, &after, limit()).await?;
            let Some(last) = tags.last() else { return Ok(removed) };
            after.clone_from(last);
            // Other tags are for their owners to delete.
            let tags: Vec<_> = tags.iter().filter(|it| name::names_version(it)).collect();
            let id = |it: &String| it.parse::<VersionId>().ok();
            let ids: Vec<_> = tags.iter().filter_map(|it| id(it)).collect();
            let exist = inner.versions.exist(&ids).await?;
            // A tag that is no id names a version that there never was. Of one that is unknown
            // nothing is deleted.
            let is_gone = |it: &&String| id(it).is_none_or(|it| exist.get(&it) == Some(&Existence::No));
            for tag in tags.into_iter().filter(is_gone) {
                let gone =
                    inner.db.write(async |conn| store::delete_tag(conn, repository, tag).await).await?;
                removed += usize::from(gone);
            }
        }
    }

    /// The digests that a deployment runs or a version of the project has.
    async fn needed(&self, repository: &Repository) -> Result<HashSet<String>, Problem> {
        let inner = &self.registry.inner;
        let mut needed = HashSet::new();
        // Versions first: what is deployed meanwhile is what a version has.
        for version in inner.versions.of_project(repository.project).await? {
            needed.extend(inner.versions.images(version.id).await?.into_iter().map(|it| it.digest));
        }
        needed.extend(inner.deployments.pinned_digests().await?);
        Ok(needed)
    }

    async fn end_uploads(&self) -> Result<usize, Problem> {
        let inner = &self.registry.inner;
        let before = inner.clock.now() - UPLOAD_LIFE;
        let mut removed =
            inner.db.write(async |conn| store::delete_stale_uploads(conn, before).await).await?;
        for some in inner.disk.upload_ids().await?.chunks(SOME) {
            let known = store::uploads_among(&mut *inner.db.read().await?, some).await?;
            for id in some.iter().filter(|it| !known.contains(it)) {
                inner.sessions.end(id);
                inner.disk.remove_upload(id).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes the files that no repository knows.
    async fn remove_files(&self) -> Result<usize, Problem> {
        let inner = &self.registry.inner;
        let mut removed = 0;
        for some in inner.disk.blobs().await?.chunks(SOME) {
            let names: Vec<String> = some.iter().map(Digest::to_string).collect();
            let known = store::digests_in_use(&mut *inner.db.read().await?, &names).await?;
            for digest in some.iter().filter(|it| !known.contains(&it.to_string())) {
                removed += usize::from(self.remove_file(digest).await?);
            }
        }
        Ok(removed)
    }

    /// Removes the file of a digest, unless somebody made use of it since it was looked at.
    async fn remove_file(&self, digest: &Digest) -> Result<bool, Problem> {
        let inner = &self.registry.inner;
        let names = [digest.to_string()];
        inner
            .db
            .write(async |conn| {
                store::claim_bytes(conn, digest).await?;
                if !store::digests_in_use(conn, &names).await?.is_empty() {
                    return Ok(false);
                }
                inner.disk.remove_blob(digest).await?;
                Ok(true)
            })
            .await
    }
}

async fn page(registry: &Registry, after: Option<&Repository>) -> Result<Vec<Repository>, Problem> {
    store::repositories(&mut *registry.inner.db.read().await?, after, limit()).await
}

async fn forget_projects(registry: &Registry, projects: &dyn Projects) -> Result<usize, Problem> {
    let (mut removed, mut after) = (0, None);
    loop {
        let page = page(registry, after.as_ref()).await?;
        let Some(last) = page.last() else { return Ok(removed) };
        after = Some(*last);
        let ids: Vec<_> = page.iter().map(|it| it.project).collect();
        let exist = projects.exist(&ids).await?;
        for repository in
            page.iter().filter(|repository| exist.get(&repository.project) == Some(&Existence::No))
        {
            let delete = async |conn: &mut Conn| {
                store::delete_repositories(conn, repository.tenant, repository.project).await
            };
            removed += registry.inner.db.write(delete).await?;
        }
    }
}

fn limit() -> i64 {
    i64::try_from(SOME).unwrap_or(i64::MAX)
}
