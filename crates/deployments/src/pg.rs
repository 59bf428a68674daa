//! [`Deployments`] on PostgreSQL.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use moka::sync::Cache;
use omgservers_api::{
    DeploymentId, Problem, ProjectId, StageId, StagePermission, TenantId, Validate as _, VersionId,
    config::DeploymentConfig, details::Deployment, roles::ProjectPermission,
};
use omgservers_core::{Caller, Clock, Db, Mint, WorkQueue};
use omgservers_projects::{Projects, problems::STAGE_NOT_FOUND};
use omgservers_versions::{PinnedImage, Versions, problems::NOT_FOUND as VERSION_NOT_FOUND};

use crate::{DeploymentFull, Deployments, problems, rules, store};

/// Deployments that are kept in memory; each takes about a kilobyte.
const MOST_CACHED: u64 = 50_000;
/// How long a deployment may be answered from memory. Another process that deletes it can't tell
/// this one.
const CACHED_FOR: Duration = Duration::from_secs(10);

/// What [`PgDeployments`] is made of.
pub struct DeploymentsParts {
    /// The database with the schema `deployments`.
    pub db: Db,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The source of ids.
    pub mint: Mint,
    /// Knows where a stage is and who may do what in it.
    pub projects: Arc<dyn Projects>,
    /// Knows the images and the configuration of a version.
    pub versions: Arc<dyn Versions>,
    /// Receives each deployment that is made or deleted, and the one that it supersedes or that succeeds it: those
    /// whose game servers have to change.
    pub changed: WorkQueue<DeploymentId>,
}

/// The deployments of one database. Cheap to clone; clones share their memory.
#[derive(Clone)]
pub struct PgDeployments {
    pub(crate) db: Db,
    clock: Arc<dyn Clock>,
    mint: Mint,
    pub(crate) projects: Arc<dyn Projects>,
    pub(crate) versions: Arc<dyn Versions>,
    changed: WorkQueue<DeploymentId>,
    cache: Cache<DeploymentId, Arc<DeploymentFull>>,
}

impl fmt::Debug for PgDeployments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgDeployments").field("db", &self.db).finish_non_exhaustive()
    }
}

impl PgDeployments {
    /// Makes the service with an empty cache.
    pub fn new(parts: DeploymentsParts) -> Self {
        let DeploymentsParts { db, clock, mint, projects, versions, changed } = parts;
        let cache = Cache::builder().max_capacity(MOST_CACHED).time_to_live(CACHED_FOR).build();
        Self { db, clock, mint, projects, versions, changed, cache }
    }

    /// What must happen after deployments of a stage are deleted.
    pub(crate) async fn forget(&self, stage: StageId, deleted: &[DeploymentId]) {
        for deployment in deleted {
            self.cache.invalidate(deployment);
        }
        self.enqueue_changed(stage, deleted).await;
    }

    /// Enqueues deployments of a stage that were made or deleted, and the two newest that the stage has after that:
    /// one of them is superseded, or succeeds. Of deploys at the same time the last to commit sees the others.
    async fn enqueue_changed(&self, stage: StageId, changed: &[DeploymentId]) {
        if changed.is_empty() {
            return;
        }
        self.changed.enqueue_all(changed.iter().copied());
        let newest = async { store::newest_two(&mut *self.db.read().await?, stage).await };
        match newest.await {
            Ok(newest) => self.changed.enqueue_all(newest),
            Err(problem) => {
                tracing::warn!(stage.id = %stage, ?problem, "the newest deployments of a stage can't be read; the next resync finds them");
            }
        }
    }

    /// The deployment as the table has it.
    async fn load(&self, deployment: DeploymentId) -> Result<Option<Arc<DeploymentFull>>, Problem> {
        let row = store::load(&mut *self.db.read().await?, deployment).await?;
        row.map(|it| it.full().map(Arc::new)).transpose()
    }

    /// The deployment as the memory or else the table has it.
    async fn recall(&self, deployment: DeploymentId) -> Result<Option<Arc<DeploymentFull>>, Problem> {
        if let Some(cached) = self.cache.get(&deployment) {
            return Ok(Some(cached));
        }
        let loaded = self.load(deployment).await?;
        if let Some(full) = &loaded {
            self.cache.insert(deployment, Arc::clone(full));
        }
        Ok(loaded)
    }

    async fn locate(&self, deployment: DeploymentId) -> Result<Option<store::Parents>, Problem> {
        store::locate(&mut *self.db.read().await?, deployment).await
    }

    /// Gives the deployment its age and keeps it.
    async fn keep(&self, mut full: DeploymentFull) -> Result<(), Problem> {
        let stage = full.deployment.stage_id;
        self.db
            .write(async |conn| {
                store::lock_stage(conn, stage).await?;
                let newest = store::newest(conn, stage).await?.map(|(_, created)| created);
                // The clock is asked under the lock: waiting for it must not make a deployment
                // older.
                full.deployment.created = rules::created(self.clock.now(), newest);
                store::insert(conn, &store::Row::new(&full)?).await
            })
            .await
    }

    /// The checks of `deploy`, in the order of the contract. Returns what is pinned and how it
    /// runs.
    async fn check(
        &self,
        caller: &Caller,
        (tenant, project): (TenantId, ProjectId),
        stage: StageId,
        version: VersionId,
        config: Option<&DeploymentConfig>,
    ) -> Result<(Vec<PinnedImage>, DeploymentConfig), Problem> {
        config.map_or(Ok(()), |it| it.check("config"))?;
        // Read once: what is checked is what is pinned.
        let images = self.versions.images(version).await?;
        rules::check_pushed(&images)?;
        let version = self.versions.config(version).await?;
        if version.tenant_id != tenant {
            return Err(VERSION_NOT_FOUND.into());
        }
        let path = self.projects.locate_stage(stage).await?;
        if path.tenant != tenant {
            return Err(STAGE_NOT_FOUND.into());
        }
        if version.project_id != project || path.project != project {
            return Err(problems::FOREIGN_VERSION.into());
        }
        self.projects.require_stage(caller, tenant, stage, StagePermission::DeploymentManager).await?;
        rules::check_complete(&images, &version.config)?;
        // An older release may have let more through.
        version.config.validate()?;
        Ok((images, rules::effective(config, &version.config)))
    }
}

#[async_trait::async_trait]
impl Deployments for PgDeployments {
    async fn deploy(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        stage: StageId,
        version: VersionId,
        config: Option<&DeploymentConfig>,
    ) -> Result<DeploymentId, Problem> {
        let (images, config) = self.check(caller, (tenant, project), stage, version, config).await?;
        let id = self.mint.root()?;
        let deployment = Deployment {
            id,
            tenant_id: tenant,
            stage_id: stage,
            version_id: version,
            created: self.clock.now(),
        };
        let kept = self.keep(DeploymentFull { deployment, project_id: project, config, images }).await;
        // Also after a failure: a commit whose answer was lost has made it.
        self.enqueue_changed(stage, &[id]).await;
        kept.map(|()| id)
    }

    async fn get(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<Arc<DeploymentFull>, Problem> {
        let found = self.load(deployment).await?.filter(|it| it.deployment.tenant_id == tenant);
        let found = found.ok_or(problems::NOT_FOUND)?;
        self.projects.require(caller, tenant, found.project_id, ProjectPermission::ProjectViewer).await?;
        Ok(found)
    }

    async fn of_stage(&self, stage: StageId) -> Result<Vec<Deployment>, Problem> {
        let rows = store::of_stage(&mut *self.db.read().await?, stage).await?;
        rows.into_iter().map(|it| it.full().map(|it| it.deployment)).collect()
    }

    async fn delete(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<bool, Problem> {
        let Some(parents) = self.locate(deployment).await?.filter(|it| it.tenant_id == tenant) else {
            return Ok(false);
        };
        let stage = parents.stage_id;
        self.projects.require_stage(caller, tenant, stage, StagePermission::DeploymentManager).await?;
        let deleted = self
            .db
            .write(async |conn| {
                store::lock_stage(conn, stage).await?;
                store::delete(conn, stage, deployment).await
            })
            .await;
        // Also after a failure: a commit whose answer was lost has deleted it.
        self.forget(stage, &[deployment]).await;
        deleted
    }

    async fn newest(&self, stage: StageId) -> Result<Arc<DeploymentFull>, Problem> {
        loop {
            let newest = store::newest(&mut *self.db.read().await?, stage).await?;
            let (id, _) = newest.ok_or(problems::NONE)?;
            // Absent means that it was deleted in between: then another one is the newest.
            if let Some(full) = self.recall(id).await? {
                return Ok(full);
            }
        }
    }

    async fn full(&self, deployment: DeploymentId) -> Result<Arc<DeploymentFull>, Problem> {
        self.recall(deployment).await?.ok_or_else(|| problems::NOT_FOUND.into())
    }

    async fn page(
        &self,
        after: Option<DeploymentId>,
        limit: u32,
    ) -> Result<Vec<(Arc<DeploymentFull>, bool)>, Problem> {
        let mut conn = self.db.read().await?;
        let rows = store::page(&mut conn, after, i64::from(limit)).await?;
        let stages: HashSet<StageId> = rows.iter().map(|it| it.stage_id).collect();
        let newest = store::newest_of(&mut conn, &stages.into_iter().collect::<Vec<_>>()).await?;
        rows.into_iter()
            .map(|row| {
                let is_newest = newest.contains(&row.id);
                Ok((Arc::new(row.full()?), is_newest))
            })
            .collect()
    }

    async fn retire(&self, deployment: DeploymentId) -> Result<bool, Problem> {
        let Some(parents) = self.locate(deployment).await? else {
            return Ok(false);
        };
        let retired = self
            .db
            .write(async |conn| {
                store::lock_stage(conn, parents.stage_id).await?;
                match store::newest(conn, parents.stage_id).await? {
                    Some((newest, _)) if newest != deployment => {
                        store::delete(conn, parents.stage_id, deployment).await
                    }
                    _ => Ok(false),
                }
            })
            .await;
        if !matches!(retired, Ok(false)) {
            self.forget(parents.stage_id, &[deployment]).await;
        }
        retired
    }

    async fn exist(&self, ids: &[DeploymentId]) -> Result<HashSet<DeploymentId>, Problem> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        store::exist(&mut *self.db.read().await?, ids).await
    }

    async fn pinned_digests(&self) -> Result<HashSet<String>, Problem> {
        let all = store::all_images(&mut *self.db.read().await?).await?;
        let mut digests = HashSet::new();
        for images in all {
            let images: Vec<PinnedImage> = serde_json::from_value(images).map_err(Problem::internal)?;
            digests.extend(images.into_iter().map(|it| it.digest));
        }
        Ok(digests)
    }
}
