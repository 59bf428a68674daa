//! `runtimes`: game servers as containers on the hosts of a pool. The hosts here are simulated; a
//! program passes `DockerConnector` instead of [`FakeHost`].

use std::sync::Arc;

use omgservers_api::{DeploymentId, Problem, RuntimeId, RuntimeQualifier, TenantId, roles::ImageQualifier};
use omgservers_auth::Secrets;
use omgservers_core::Worker as _;
use omgservers_runtimes::{
    FakeHost, HostConfig, NewRuntime, PgRuntimes, PullTokens, RuntimeState, Runtimes as _, RuntimesConfig,
    RuntimesParts,
};
use omgservers_versions::PinnedImage;

use crate::Base;

/// The hosts' images need no login.
struct NoLogin;

#[async_trait::async_trait]
impl PullTokens for NoLogin {
    async fn token(&self, _repository: &str) -> Result<String, Problem> {
        Ok(String::new())
    }
}

/// Makes the service and its pool of one host. It has nothing to its left but the images of
/// `versions`.
pub async fn build(base: &Base, host: FakeHost) -> Result<PgRuntimes, Problem> {
    let runtimes = PgRuntimes::new(RuntimesParts {
        db: base.db.clone(),
        clock: Arc::clone(&base.clock),
        mint: base.mint.clone(),
        ownership: base.ownership.clone(),
        secrets: Secrets::new(&base.keys),
        connect_key: base.keys.connect_key()?,
        pull_tokens: Arc::new(NoLogin),
        config: RuntimesConfig {
            inline: Some(std::time::Duration::from_secs(1)),
            ..RuntimesConfig::default()
        },
        hosts: Arc::new(host),
        changed: base.changed.clone(),
    });
    runtimes.ensure_pool(&[HostConfig::local(2, 4096)]).await?;
    Ok(runtimes)
}

/// Wants a lobby, and runs the reconciler until its container runs. A program runs the reconciler
/// with `omgservers_core::worker::run` instead.
pub async fn start_lobby(
    base: &Base,
    runtimes: &PgRuntimes,
    tenant: TenantId,
    deployment: DeploymentId,
) -> Result<RuntimeId, Problem> {
    let id = base.mint.child(deployment)?;
    let image = PinnedImage {
        qualifier: ImageQualifier::Universal,
        repository: "registry.example/game".into(),
        digest: format!("sha256:{}", "5a".repeat(32)),
    };
    let lobby = NewRuntime {
        id,
        tenant,
        deployment,
        qualifier: RuntimeQualifier::Lobby,
        image,
        cpu_limit: 0,
        memory_limit: 0,
        ports: Vec::new(),
        labels: Vec::new(),
    };
    runtimes.create(&[lobby]).await?;
    let mut reconciler = runtimes.reconciler();
    while !matches!(runtimes.states(&[id]).await?.get(&id), Some(RuntimeState::Running { .. })) {
        reconciler.run_once().await?;
    }
    Ok(id)
}
