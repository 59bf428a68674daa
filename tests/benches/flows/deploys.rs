//! From a deploy to the lobby that the backend wants for it, alone and beside many other
//! deployments.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use omgservers_api::{
    StageId, VersionId,
    config::DeploymentConfig,
    entrypoint::{developer::DeployVersionRequest, support::CreateStageRequest},
};
use omgservers_tests::{Backend, Game, Studio};

use crate::{
    report::{Bar, Measurement},
    rounds::median,
};

/// Deployments that are there besides, each the newest of a stage of its own.
const OTHERS: usize = 10_000;
/// Deploys that are measured, before the others come and after.
const MEASURED: usize = 50;
/// Requests at the same time while the others are made.
const AT_ONCE: usize = 32;
/// The longest that a lobby may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// After this much time nothing of the other deploys is left to do.
const IDLE: Duration = Duration::from_secs(3);

struct Deploys {
    studio: Studio,
    version: VersionId,
}

pub(crate) async fn measure(backend: &Backend) -> anyhow::Result<Vec<Measurement>> {
    let studio = Studio::open(backend).await;
    let version = studio.push_game(backend, Game::IdleRuntime, r#"{"modes":[]}"#).await;
    let deploys = Deploys { studio, version };
    // The first deploys fill caches.
    deploys.times(MEASURED / 5).await?;
    let alone = deploys.times(MEASURED).await?;
    let begun = Instant::now();
    stream::iter(0..OTHERS)
        .map(|_| async { deploys.deploy(deploys.stage().await?, DeploymentConfig::default()).await })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    eprintln!("{OTHERS} deployments are made within {:.1?}", begun.elapsed());
    tokio::time::sleep(IDLE).await;
    let beside = deploys.times(MEASURED).await?;
    deploys.studio.close().await;
    eprintln!("a deploy until its lobby is wanted: {alone:.2} ms alone, {beside:.2} ms beside {OTHERS}");
    Ok(vec![
        Measurement::new(
            "deploy_beside_10000",
            "Deploy until its lobby is wanted, beside 10,000 deployments",
            "ms",
        )
        .compared(beside, "the same alone", alone)
        .ratio(beside / alone, Bar::AtMost(2.0)),
    ])
}

impl Deploys {
    async fn stage(&self) -> anyhow::Result<StageId> {
        let Studio { tenant, project, .. } = &self.studio;
        let request = CreateStageRequest { tenant: (*tenant).into(), project: (*project).into() };
        Ok(self.studio.developer.create_stage(&request).await?.stage_id)
    }

    async fn deploy(&self, stage: StageId, config: DeploymentConfig) -> anyhow::Result<()> {
        self.studio.developer.deploy_version(&self.request(stage, config)).await?;
        Ok(())
    }

    fn request(&self, stage: StageId, config: DeploymentConfig) -> DeployVersionRequest {
        DeployVersionRequest {
            tenant: self.studio.tenant.into(),
            project: self.studio.project.into(),
            stage: stage.into(),
            version_id: self.version,
            config: Some(config),
        }
    }

    /// The median of so many deploys, one after the other, in milliseconds.
    async fn times(&self, count: usize) -> anyhow::Result<f64> {
        let config = DeploymentConfig { min_lobbies: 1, ..DeploymentConfig::default() };
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let request = self.request(self.stage().await?, config.clone());
            let begun = Instant::now();
            let id = self.studio.developer.deploy_version(&request).await?.deployment_id;
            while self.studio.details(id).await.lobby_refs.is_empty() {
                ensure!(begun.elapsed() < TIMEOUT, "deployment {id} gets no lobby");
            }
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(median(times))
    }
}
