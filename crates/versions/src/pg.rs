//! [`Versions`] on PostgreSQL.

use std::{fmt, sync::Arc, time::Duration};

use moka::sync::Cache;
use omgservers_api::{
    Problem, ProjectId, ProjectPermission, Ref, TenantId, VersionId,
    config::VersionConfig,
    details::{Image, Version, VersionItem},
};
use omgservers_core::{Caller, Clock, Db, Doorbell, Existences, Mint, existences};
use omgservers_projects::Projects;

use crate::{PinnedImage, Repository, VersionFull, Versions, problems, rules, store};

/// Bytes of configuration that are kept in memory.
const MOST_CACHED_BYTES: u64 = 64 << 20;
/// How long a version may be answered from memory. Another process that deletes it can't tell this
/// one.
const CACHED_FOR: Duration = Duration::from_secs(10);

/// What [`PgVersions`] is made of.
pub struct VersionsParts {
    /// The database with the schema `versions`.
    pub db: Db,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The source of ids.
    pub mint: Mint,
    /// Knows whether a project exists and who may do what in it.
    pub projects: Arc<dyn Projects>,
    /// Rung after each deletion of a version, for the workers that remove what ran it.
    pub dependents: Vec<Doorbell>,
}

/// A version in memory, and about how many bytes it takes there.
#[derive(Clone)]
struct Cached {
    version: Arc<VersionFull>,
    bytes: u32,
}

/// The versions of one database. Cheap to clone; clones share their memory.
#[derive(Clone)]
pub struct PgVersions {
    pub(crate) db: Db,
    clock: Arc<dyn Clock>,
    mint: Mint,
    pub(crate) projects: Arc<dyn Projects>,
    dependents: Arc<[Doorbell]>,
    cache: Cache<VersionId, Cached>,
}

impl fmt::Debug for PgVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgVersions").field("db", &self.db).finish_non_exhaustive()
    }
}

impl PgVersions {
    /// Makes the service with an empty cache.
    pub fn new(parts: VersionsParts) -> Self {
        let VersionsParts { db, clock, mint, projects, dependents } = parts;
        let cache = Cache::builder()
            .max_capacity(MOST_CACHED_BYTES)
            .weigher(|_id, it: &Cached| it.bytes)
            .time_to_live(CACHED_FOR)
            .build();
        Self { db, clock, mint, projects, dependents: dependents.into(), cache }
    }

    /// What must happen after versions are deleted.
    pub(crate) fn forget(&self, deleted: &[VersionId]) {
        if deleted.is_empty() {
            return;
        }
        for version in deleted {
            self.cache.invalidate(version);
        }
        self.dependents.iter().for_each(Doorbell::ring);
    }

    async fn locate(
        &self,
        tenant: TenantId,
        version: VersionId,
    ) -> Result<Option<store::VersionHead>, Problem> {
        let found = store::locate(&mut *self.db.read().await?, version).await?;
        Ok(found.filter(|it| it.tenant_id == tenant))
    }
}

#[async_trait::async_trait]
impl Versions for PgVersions {
    async fn create(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        config: &VersionConfig,
    ) -> Result<VersionId, Problem> {
        self.projects.require(caller, tenant, project, ProjectPermission::VersionManager).await?;
        let config = rules::config_text(config)?;
        let project_id = self.projects.find(tenant, &Ref::Id(project)).await?;
        let id = self.mint.child(project_id)?;
        let row = store::Row { id, tenant_id: tenant, project_id, config, created: self.clock.now() };
        self.db.write(async |conn| store::insert(conn, &row).await).await?;
        Ok(id)
    }

    async fn get(
        &self,
        caller: &Caller,
        tenant: TenantId,
        version: VersionId,
    ) -> Result<(Version, Vec<Image>), Problem> {
        let head = self.locate(tenant, version).await?.ok_or(problems::NOT_FOUND)?;
        self.projects.require(caller, tenant, head.project_id, ProjectPermission::ProjectViewer).await?;
        let images = store::images(&mut *self.db.read().await?, version).await?;
        Ok((head.into(), images.into_iter().map(|it| it.shown(tenant)).collect()))
    }

    async fn of_project(&self, project: ProjectId) -> Result<Vec<VersionItem>, Problem> {
        let found = store::of_project(&mut *self.db.read().await?, project).await?;
        Ok(found.into_iter().map(VersionItem::from).collect())
    }

    async fn delete(&self, caller: &Caller, tenant: TenantId, version: VersionId) -> Result<bool, Problem> {
        let Some(head) = self.locate(tenant, version).await? else {
            return Ok(false);
        };
        self.projects.require(caller, tenant, head.project_id, ProjectPermission::VersionManager).await?;
        let deleted = self.db.write(async |conn| store::delete(conn, version).await).await;
        // Also after a failure: a commit whose answer was lost has deleted it.
        self.forget(&[version]);
        deleted
    }

    async fn config(&self, version: VersionId) -> Result<Arc<VersionFull>, Problem> {
        if let Some(cached) = self.cache.get(&version) {
            return Ok(cached.version);
        }
        let row = store::load(&mut *self.db.read().await?, version).await?.ok_or(problems::NOT_FOUND)?;
        let bytes = u32::try_from(row.config.len()).unwrap_or(u32::MAX).saturating_add(256);
        let version = Arc::new(VersionFull {
            id: row.id,
            tenant_id: row.tenant_id,
            project_id: row.project_id,
            created: row.created,
            config: serde_json::from_str(&row.config).map_err(Problem::internal)?,
        });
        self.cache.insert(row.id, Cached { version: Arc::clone(&version), bytes });
        Ok(version)
    }

    async fn images(&self, version: VersionId) -> Result<Vec<PinnedImage>, Problem> {
        let found = store::images(&mut *self.db.read().await?, version).await?;
        Ok(found.into_iter().map(PinnedImage::from).collect())
    }

    async fn attach_image(&self, repository: &str, tag: &str, digest: &str) -> Result<(), Problem> {
        let Repository { tenant, project, qualifier } = repository.parse()?;
        let version = rules::version_of_tag(tag)?;
        rules::check_digest(digest)?;
        self.db
            .write(async |conn| {
                // Held, so that a version that is being deleted is either still whole or gone.
                let head = store::locate_and_hold(conn, version).await?.ok_or(problems::NOT_FOUND)?;
                if (head.tenant_id, head.project_id) != (tenant, project) {
                    return Err(problems::FOREIGN_PROJECT.into());
                }
                let row = store::ImageRow {
                    version_id: version,
                    qualifier,
                    id: self.mint.child(version)?,
                    repository: repository.to_owned(),
                    tag: tag.to_owned(),
                    digest: digest.to_owned(),
                    created: self.clock.now(),
                };
                store::put_image(conn, &row).await
            })
            .await
    }

    async fn exist(&self, ids: &[VersionId]) -> Result<Existences<VersionId>, Problem> {
        if ids.is_empty() {
            return Ok(Existences::new());
        }
        Ok(existences(ids, &store::exist(&mut *self.db.read().await?, ids).await?))
    }
}
