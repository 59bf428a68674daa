//! The duty of this crate: deployments go with their stage and with their version.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use chrono::TimeDelta;
use omgservers_api::{DeploymentId, Problem, Slot, StageId, VersionId, ids::Id as _};
use omgservers_core::{Db, Existence, Outcome, Worker, sweep, sweep_each};

use crate::{Deployments as _, PgDeployments, store};

/// Stages or versions that are compared at a time.
const PAGE: i64 = 500;

/// A deployment that takes longer than this between its two transactions broke off.
const GRACE: TimeDelta = TimeDelta::seconds(20);

/// Deletes the deployments whose stage or version is gone, and finishes those that broke off. It
/// looks at what is, so a missed wake-up heals on the next run.
#[derive(Debug)]
pub struct SweepOrphans {
    deployments: PgDeployments,
}

impl SweepOrphans {
    /// Sweeps `deployments`; ring its doorbell when stages or versions are deleted.
    pub fn new(deployments: PgDeployments) -> Self {
        Self { deployments }
    }

    async fn sweep_stages(&self, db: &Db) -> Result<usize, Problem> {
        let page = |after| async move { store::stages(&mut *db.read().await?, after, PAGE).await };
        let exist =
            |stages: Vec<StageId>| async move { self.deployments.projects.stages_exist(&stages).await };
        let delete = |stage| async move {
            let listed = store::of_stage(&mut *db.read().await?, stage).await?;
            self.delete(db, &listed).await
        };
        sweep_each(page, exist, delete).await
    }

    async fn sweep_versions(&self, db: &Db) -> Result<usize, Problem> {
        let page = |after| async move { store::versions(&mut *db.read().await?, after, PAGE).await };
        let exist =
            |versions: Vec<VersionId>| async move { self.deployments.versions.exist(&versions).await };
        let delete = |version| async move {
            let mut deleted = 0_usize;
            loop {
                let listed = store::of_version(&mut *db.read().await?, version, PAGE).await?;
                if listed.is_empty() {
                    return Ok(deleted);
                }
                deleted = deleted.saturating_add(self.delete(db, &listed).await?);
            }
        };
        sweep_each(page, exist, delete).await
    }

    /// Unlists the deployments that are gone: their deletion broke off between its two
    /// transactions. Readers of a list only notice one that is the newest.
    async fn sweep_listings(&self, db: &Db) -> Result<usize, Problem> {
        let page = |after| async move { store::listings(&mut *db.read().await?, after, PAGE).await };
        let exist = |listings: Vec<(StageId, DeploymentId)>| async move {
            let ids: Vec<DeploymentId> = listings.iter().map(|it| it.1).collect();
            let exist = self.deployments.exist(&ids).await?;
            let answer = |id: &DeploymentId| exist.get(id).copied().unwrap_or(Existence::Unknown);
            Ok(listings.into_iter().map(|it| (it, answer(&it.1))).collect())
        };
        let delete = |gone: Vec<(StageId, DeploymentId)>| async move {
            db.write(async |conn| store::unlist_all(conn, &gone).await).await?;
            Ok(gone.len())
        };
        sweep(page, exist, delete).await
    }

    /// Deletes deployments that are listed in `db`: first themselves, one slot at a time, then
    /// their places in the lists.
    async fn delete(&self, db: &Db, listed: &[store::ListedRow]) -> Result<usize, Problem> {
        let mut slots: BTreeMap<Slot, Vec<DeploymentId>> = BTreeMap::new();
        for row in listed {
            slots.entry(row.id.slot()).or_default().push(row.id);
        }
        let mut all = HashSet::new();
        for (slot, ids) in slots {
            let home = self.deployments.shards.of(slot);
            let deleted = home.write(async |conn| store::delete_all(conn, &ids).await).await?;
            all.extend(deleted);
        }
        let listings: Vec<_> = listed.iter().map(|it| (it.stage_id, it.id)).collect();
        db.write(async |conn| store::unlist_all(conn, &listings).await).await?;
        let mut of_stage: BTreeMap<StageId, Vec<DeploymentId>> = BTreeMap::new();
        for row in listed.iter().filter(|it| all.contains(&it.id)) {
            of_stage.entry(row.stage_id).or_default().push(row.id);
        }
        for (stage, deleted) in of_stage {
            self.deployments.forget(stage, &deleted).await;
        }
        Ok(all.len())
    }

    /// Finishes deployments and retirements that broke off between their two transactions.
    async fn finish_unlisted(&self, db: &Db) -> Result<usize, Problem> {
        let before = self.deployments.clock.now() - GRACE;
        let rows = store::unlisted(&mut *db.read().await?, before, PAGE).await?;
        let (mut finished, mut failed) = (0_usize, None);
        for row in rows {
            match self.finish(db, &row).await {
                Ok(()) => finished = finished.saturating_add(1),
                Err(problem) => failed = Some(problem),
            }
        }
        failed.map_or(Ok(finished), Err)
    }

    /// Lists a deployment that would be the newest. Deletes one that isn't listed and was
    /// superseded: it never had a client, or has none left.
    async fn finish(&self, db: &Db, row: &store::Row) -> Result<(), Problem> {
        let id = row.id;
        if self.deployments.list(&row.listed()).await? {
            db.write(async |conn| store::note_listed(conn, id, true).await).await?;
            self.deployments.enqueue_changed(row.stage_id, &[id]).await;
            return Ok(());
        }
        db.write(async |conn| store::delete(conn, id).await).await?;
        self.deployments.forget(row.stage_id, &[id]).await;
        Ok(())
    }
}

#[async_trait::async_trait]
impl Worker for SweepOrphans {
    fn name(&self) -> &'static str {
        "deployments.sweep_orphans"
    }
    fn description(&self) -> &'static str {
        "Deletes the deployments of stages and versions that are gone, and finishes those that broke off."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let (mut changed, mut failed) = (0_usize, None);
        // One that fails doesn't stop the others, nor does a database that doesn't answer.
        for (_, db) in self.deployments.shards.all() {
            for part in [
                self.finish_unlisted(db).await,
                self.sweep_listings(db).await,
                self.sweep_stages(db).await,
                self.sweep_versions(db).await,
            ] {
                match part {
                    Ok(count) => changed = changed.saturating_add(count),
                    Err(problem) => failed = Some(problem),
                }
            }
        }
        failed.map_or(Ok(Outcome::changed(changed)), Err)
    }
}
