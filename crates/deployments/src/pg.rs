//! [`Deployments`] on PostgreSQL.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use moka::sync::Cache;
use omgservers_api::{
    DeploymentId, Problem, ProjectId, StageId, StagePermission, TenantId, Validate as _, VersionId,
    config::DeploymentConfig, details::Deployment, roles::ProjectPermission,
};
use omgservers_core::{Caller, Clock, Existences, Mint, Shards, WorkQueue, existences_or_unknown};
use omgservers_projects::{Projects, problems::STAGE_NOT_FOUND};
use omgservers_versions::{PinnedImage, Versions, problems::NOT_FOUND as VERSION_NOT_FOUND};

use crate::{DeploymentFull, Deployments, problems, rules, store};

/// Deployments that are kept in memory; each takes about a kilobyte.
const MOST_CACHED: u64 = 50_000;
/// How often a deployment is made older than one that is faster, before it is given up.
const MOST_ATTEMPTS: usize = 16;
/// How long a deployment may be answered from memory. Another process that deletes it can't tell
/// this one.
const CACHED_FOR: Duration = Duration::from_secs(10);

/// What [`PgDeployments`] is made of.
pub struct DeploymentsParts {
    /// The databases with the schema `deployments`.
    pub shards: Shards,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The source of ids.
    pub mint: Mint,
    /// Knows where a stage is and who may do what in it.
    pub projects: Arc<dyn Projects>,
    /// Knows the images and the configuration of a version.
    pub versions: Arc<dyn Versions>,
    /// Receives each deployment that is made or deleted, and the one that it supersedes or that
    /// succeeds it: those whose game servers have to change.
    pub changed: WorkQueue<DeploymentId>,
}

/// The deployments of all databases. Cheap to clone; clones share their memory.
#[derive(Clone)]
pub struct PgDeployments {
    pub(crate) shards: Shards,
    pub(crate) clock: Arc<dyn Clock>,
    mint: Mint,
    pub(crate) projects: Arc<dyn Projects>,
    pub(crate) versions: Arc<dyn Versions>,
    changed: WorkQueue<DeploymentId>,
    cache: Cache<DeploymentId, Arc<DeploymentFull>>,
}

impl fmt::Debug for PgDeployments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgDeployments").field("shards", &self.shards).finish_non_exhaustive()
    }
}

impl PgDeployments {
    /// Makes the service with an empty cache.
    pub fn new(parts: DeploymentsParts) -> Self {
        let DeploymentsParts { shards, clock, mint, projects, versions, changed } = parts;
        let cache = Cache::builder().max_capacity(MOST_CACHED).time_to_live(CACHED_FOR).build();
        Self { shards, clock, mint, projects, versions, changed, cache }
    }

    /// What must happen after deployments of a stage are deleted.
    pub(crate) async fn forget(&self, stage: StageId, deleted: &[DeploymentId]) {
        for deployment in deleted {
            self.cache.invalidate(deployment);
        }
        self.enqueue_changed(stage, deleted).await;
    }

    /// Enqueues deployments of a stage that were made or deleted. It also enqueues the two newest
    /// of the stage after that: one of them is superseded, or succeeds. Of deploys at the same time
    /// the last to commit sees the others.
    pub(crate) async fn enqueue_changed(&self, stage: StageId, changed: &[DeploymentId]) {
        if changed.is_empty() {
            return;
        }
        self.changed.enqueue_all(changed.iter().copied());
        let list = self.shards.of_id(stage);
        let newest = async { store::newest_two(&mut *list.read().await?, stage).await };
        match newest.await {
            Ok(newest) => self.changed.enqueue_all(newest),
            Err(problem) => {
                tracing::warn!(stage.id = %stage, ?problem, "the newest deployments of a stage can't be read; the next resync finds them");
            }
        }
    }

    /// The deployment as the table has it.
    async fn load(&self, deployment: DeploymentId) -> Result<Option<Arc<DeploymentFull>>, Problem> {
        let row = store::load(&mut *self.shards.of_id(deployment).read().await?, deployment).await?;
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
        store::locate(&mut *self.shards.of_id(deployment).read().await?, deployment).await
    }

    /// Gives the deployment its age and keeps it. First it writes the deployment, in the slot of
    /// its id, then its place in the stage's list, in the tenant's slot. A crash in between leaves
    /// a deployment that isn't listed; [`SweepOrphans`](crate::SweepOrphans) lists or deletes it.
    /// Problems: `unavailable`, also when other deployments of the stage kept being faster.
    async fn keep(&self, mut full: DeploymentFull) -> Result<(), Problem> {
        let (id, stage) = (full.deployment.id, full.deployment.stage_id);
        let home = self.shards.of_id(id);
        for _ in 0..MOST_ATTEMPTS {
            let newest = store::newest(&mut *self.shards.of_id(stage).read().await?, stage).await?;
            full.deployment.created = rules::created(self.clock.now(), newest.map(|it| it.1));
            let row = store::Row::new(&full)?;
            home.write(async |conn| store::put(conn, &row).await).await?;
            if !self.list(&row.listed()).await? {
                continue;
            }
            if home.write(async |conn| store::note_listed(conn, id, true).await).await? {
                return Ok(());
            }
            return Err(Problem::unavailable("the deployment was taken for one that broke off"));
        }
        Err(Problem::unavailable("others deploy in this stage all the time"))
    }

    /// Lists a deployment unless another one of its stage is as new. Answers whether it is listed.
    pub(crate) async fn list(&self, row: &store::ListedRow) -> Result<bool, Problem> {
        self.shards
            .of_id(row.stage_id)
            .write(async |conn| {
                store::lock_stage(conn, row.stage_id).await?;
                if store::is_listed(conn, row).await? {
                    return Ok(true);
                }
                let newest = store::newest(conn, row.stage_id).await?;
                let is_newest = newest.is_none_or(|it| it.1 < row.created);
                if is_newest {
                    store::list(conn, row).await?;
                }
                Ok(is_newest)
            })
            .await
    }

    /// Takes a deployment that is gone off its stage's list. A failure is left to the next reader
    /// of the list, and to the sweep when nobody reads that far.
    async fn unlist(&self, stage: StageId, deployment: DeploymentId) {
        let list = self.shards.of_id(stage);
        let unlisted = list.write(async |conn| store::unlist(conn, stage, deployment).await).await;
        if let Err(problem) = unlisted {
            tracing::warn!(%stage, %deployment, ?problem, "a deleted deployment is still listed; the sweep unlists it");
        }
    }

    /// Unlists a deployment that isn't the newest of its stage, so that it can't become the newest
    /// any more.
    async fn unlist_older(&self, stage: StageId, deployment: DeploymentId) -> Result<bool, Problem> {
        self.shards
            .of_id(stage)
            .write(async |conn| {
                store::lock_stage(conn, stage).await?;
                match store::newest(conn, stage).await? {
                    Some((newest, _)) if newest != deployment => {
                        store::unlist(conn, stage, deployment).await?;
                        Ok(true)
                    }
                    _ => Ok(false),
                }
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
        let version = self.versions.config(version).await?;
        if version.tenant_id != tenant {
            return Err(VERSION_NOT_FOUND.into());
        }
        rules::check_pushed(&images)?;
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
        let listed = store::of_stage(&mut *self.shards.of_id(stage).read().await?, stage).await?;
        let ids: Vec<DeploymentId> = listed.iter().map(|it| it.id).collect();
        let mut rows = HashMap::new();
        for (_, db, ids) in self.shards.group(&ids) {
            rows.extend(store::load_all(&mut *db.read().await?, &ids).await?);
        }
        // A listed deployment without a row is of a deletion that broke off.
        listed.iter().filter_map(|it| rows.remove(&it.id)).map(|it| Ok(it.full()?.deployment)).collect()
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
        let home = self.shards.of_id(deployment);
        let deleted = home.write(async |conn| store::delete(conn, deployment).await).await;
        if deleted.is_ok() {
            self.unlist(stage, deployment).await;
        }
        // Also after a failure: a commit whose answer was lost has deleted it.
        self.forget(stage, &[deployment]).await;
        deleted
    }

    async fn newest(&self, stage: StageId) -> Result<Arc<DeploymentFull>, Problem> {
        loop {
            let newest = store::newest(&mut *self.shards.of_id(stage).read().await?, stage).await?;
            let (id, _) = newest.ok_or(problems::NONE)?;
            if let Some(full) = self.recall(id).await? {
                return Ok(full);
            }
            // It was deleted: then another one is the newest.
            let list = self.shards.of_id(stage);
            list.write(async |conn| store::unlist(conn, stage, id).await).await?;
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
        let mut rows = Vec::new();
        for (_, db) in self.shards.all() {
            rows.extend(store::page(&mut *db.read().await?, after, i64::from(limit)).await?);
        }
        rows.sort_unstable_by_key(|it| it.id);
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let stages: HashSet<StageId> = rows.iter().map(|it| it.stage_id).collect();
        let stages: Vec<StageId> = stages.into_iter().collect();
        let mut newest = HashSet::new();
        for (_, db, stages) in self.shards.group(&stages) {
            newest.extend(store::newest_of(&mut *db.read().await?, &stages).await?);
        }
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
        let home = self.shards.of_id(deployment);
        let list = self.shards.of_id(parents.stage_id);
        let newest = store::newest(&mut *list.read().await?, parents.stage_id).await?;
        if newest.is_none_or(|it| it.0 == deployment) {
            return Ok(false);
        }
        // After a crash from here on the sweep finds it, and deletes it if it isn't the newest.
        if !home.write(async |conn| store::note_listed(conn, deployment, false).await).await? {
            return Ok(false);
        }
        if !self.unlist_older(parents.stage_id, deployment).await? {
            home.write(async |conn| store::note_listed(conn, deployment, true).await).await?;
            return Ok(false);
        }
        let retired = home.write(async |conn| store::delete(conn, deployment).await).await;
        if !matches!(retired, Ok(false)) {
            self.forget(parents.stage_id, &[deployment]).await;
        }
        retired
    }

    async fn exist(&self, ids: &[DeploymentId]) -> Result<Existences<DeploymentId>, Problem> {
        let mut all = Existences::new();
        for (_, db, ids) in self.shards.group(ids) {
            let existing = async { store::exist(&mut *db.read().await?, &ids).await };
            all.extend(existences_or_unknown(&ids, existing.await));
        }
        Ok(all)
    }

    async fn pinned_digests(&self) -> Result<HashSet<String>, Problem> {
        let mut digests = HashSet::new();
        for (_, db) in self.shards.all() {
            for images in store::all_images(&mut *db.read().await?).await? {
                let images: Vec<PinnedImage> = serde_json::from_value(images).map_err(Problem::internal)?;
                digests.extend(images.into_iter().map(|it| it.digest));
            }
        }
        Ok(digests)
    }
}
