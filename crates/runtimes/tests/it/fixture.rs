//! What the tests have in common.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use omgservers_api::{
    DeploymentId, Problem, RuntimeId, RuntimeQualifier, TenantId, details::ContainerFailure,
    roles::ImageQualifier,
};
use omgservers_auth::{ConnectKey, Keys, Secrets};
use omgservers_core::{WorkQueue, Worker as _};
use omgservers_runtimes::{
    FakeHost, HostConfig, HostConnector, NewRuntime, PgRuntimes, PullTokens, Reconcile, RuntimeState,
    Runtimes as _, RuntimesConfig, RuntimesParts, SCHEMA,
    host::{Attempt, ContainerSpec, ImageName},
};
use omgservers_testkit::Foundation;
use omgservers_versions::PinnedImage;

/// Mints tokens that nobody reads, and counts them.
#[derive(Default)]
pub(crate) struct Tokens(pub(crate) AtomicUsize);

#[async_trait::async_trait]
impl PullTokens for Tokens {
    async fn token(&self, repository: &str) -> Result<String, Problem> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(format!("pull {repository}"))
    }
}

/// A backend with one simulated host, unless a test says otherwise.
pub(crate) struct Fixture {
    pub(crate) foundation: Foundation,
    pub(crate) host: FakeHost,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) secrets: Secrets,
    pub(crate) config: RuntimesConfig,
    pub(crate) runtimes: PgRuntimes,
    pub(crate) reconciler: Reconcile,
    pub(crate) tenant: TenantId,
    pub(crate) deployment: DeploymentId,
    /// The deployments of runtimes whose state has changed.
    pub(crate) changed: WorkQueue<DeploymentId>,
}

/// The name of the key for connect tokens.
pub(crate) const KEY: &str = "connect-1-00000000";

pub(crate) const HOST: &str = "tcp://one:2376";

/// A host of two cores and 4 GiB.
pub(crate) fn host_config(uri: &str) -> HostConfig {
    HostConfig { uri: uri.into(), ..HostConfig::local(2, 4096) }
}

pub(crate) fn config() -> RuntimesConfig {
    RuntimesConfig { inline: Some(Duration::from_millis(5)), ..RuntimesConfig::default() }
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: RuntimesConfig) -> Self {
        let host = FakeHost::new();
        let connector = Arc::new(host.clone());
        Self::on(config, connector, host, &[host_config(HOST)]).await
    }

    pub(crate) async fn on(
        config: RuntimesConfig,
        connector: Arc<dyn HostConnector>,
        host: FakeHost,
        pool: &[HostConfig],
    ) -> Self {
        let foundation = Foundation::new(&[SCHEMA]).await;
        let tokens = Arc::new(Tokens::default());
        let secrets = Secrets::new(&Keys::ephemeral());
        let changed = WorkQueue::new(foundation.clock());
        let runtimes = serve(&foundation, &tokens, &secrets, &config, connector, &changed);
        runtimes.ensure_pool(pool).await.unwrap();
        let (tenant, deployment) = (foundation.mint.root().unwrap(), foundation.mint.root().unwrap());
        let reconciler = runtimes.reconciler();
        Self { foundation, host, tokens, secrets, config, runtimes, reconciler, tenant, deployment, changed }
    }

    /// The process ends and another one begins.
    pub(crate) fn restart(&mut self) {
        self.runtimes = serve(
            &self.foundation,
            &self.tokens,
            &self.secrets,
            &self.config,
            Arc::new(self.host.clone()),
            &self.changed,
        );
        self.reconciler = self.runtimes.reconciler();
    }

    pub(crate) fn new_runtime(&self, qualifier: RuntimeQualifier) -> NewRuntime {
        NewRuntime {
            id: self.foundation.mint.root().unwrap(),
            tenant: self.tenant,
            deployment: self.deployment,
            qualifier,
            image: PinnedImage {
                qualifier: ImageQualifier::Universal,
                repository: "omgservers/1/2/universal".into(),
                digest: format!("sha256:{:064}", 7),
            },
            cpu_limit: 0,
            memory_limit: 0,
            ports: Vec::new(),
            labels: vec![("omgservers.stage".into(), "9".into())],
        }
    }

    pub(crate) fn lobby(&self) -> NewRuntime {
        self.new_runtime(RuntimeQualifier::Lobby)
    }

    /// A lobby that is wanted.
    pub(crate) async fn wanted_lobby(&self) -> RuntimeId {
        let new = self.lobby();
        self.runtimes.create(std::slice::from_ref(&new)).await.unwrap();
        new.id
    }

    /// A lobby that runs.
    pub(crate) async fn running_lobby(&mut self) -> RuntimeId {
        let id = self.wanted_lobby().await;
        self.run().await;
        assert!(matches!(self.state(id).await, Some(RuntimeState::Running { .. })));
        id
    }

    /// One run of the reconciler.
    pub(crate) async fn run(&mut self) -> usize {
        self.reconciler.run_once().await.unwrap().changed
    }

    /// Lets time pass in steps, with a run after each.
    pub(crate) async fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.foundation.clock.advance(Duration::from_secs(1));
            self.run().await;
        }
    }

    pub(crate) async fn state(&self, id: RuntimeId) -> Option<RuntimeState> {
        self.states(&[id]).await.remove(&id)
    }

    pub(crate) async fn states(&self, ids: &[RuntimeId]) -> HashMap<RuntimeId, RuntimeState> {
        self.runtimes.states(ids).await.unwrap()
    }

    pub(crate) async fn is_running(&self, id: RuntimeId) -> bool {
        matches!(self.state(id).await, Some(RuntimeState::Running { .. }))
    }

    pub(crate) async fn failure(&self, id: RuntimeId) -> ContainerFailure {
        match self.state(id).await {
            Some(RuntimeState::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn attempts(&self, id: RuntimeId) -> u32 {
        match self.state(id).await {
            Some(RuntimeState::Starting { failures, .. }) => failures,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn password(&self, id: RuntimeId) -> String {
        self.host.env(id).unwrap()["OMGSERVERS_PASSWORD"].clone()
    }

    /// A container that nobody asked for.
    pub(crate) fn foreign(&self, runtime: RuntimeId, epoch: u32) -> ContainerSpec {
        let new = self.lobby();
        ContainerSpec {
            attempt: Attempt { runtime, epoch },
            tenant: new.tenant,
            deployment: new.deployment,
            qualifier: new.qualifier,
            image: ImageName { repository: new.image.repository, digest: new.image.digest },
            cpu: 100,
            memory: 512,
            env: [("OMGSERVERS_PASSWORD".to_owned(), "old".to_owned())].into(),
            ports: Vec::new(),
            labels: Vec::new(),
        }
    }
}

pub(crate) fn serve(
    foundation: &Foundation,
    tokens: &Arc<Tokens>,
    secrets: &Secrets,
    config: &RuntimesConfig,
    hosts: Arc<dyn HostConnector>,
    changed: &WorkQueue<DeploymentId>,
) -> PgRuntimes {
    PgRuntimes::new(RuntimesParts {
        db: foundation.db.clone(),
        clock: foundation.clock(),
        mint: foundation.mint.clone(),
        ownership: foundation.ownership.clone(),
        secrets: secrets.clone(),
        connect_key: ConnectKey { kid: KEY.into(), pem: "the public key".into() },
        pull_tokens: tokens.clone(),
        config: config.clone(),
        hosts,
        changed: changed.clone(),
    })
}
