use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use omgservers_api::{
    DeploymentId, Problem, RuntimeId, RuntimeQualifier, TenantId,
    config::PortConfig,
    details::{ContainerFailure, RuntimeDetails},
    interchange::DirectPort,
};
use omgservers_core::Ticks;
use omgservers_versions::PinnedImage;

/// A runtime that should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRuntime {
    /// Its id, minted by who asks, who keeps it before: so asking twice makes one runtime.
    pub id: RuntimeId,
    /// Whose it is; runtimes of one tenant share a network.
    pub tenant: TenantId,
    /// What it is part of.
    pub deployment: DeploymentId,
    /// Lobby or match.
    pub qualifier: RuntimeQualifier,
    /// What it runs.
    pub image: PinnedImage,
    /// CPU, 100 = one core; 0 takes the server's default.
    pub cpu_limit: u32,
    /// Memory in MiB; 0 takes the server's default.
    pub memory_limit: u32,
    /// Ports of its container that players connect to directly. With any, its environment has
    /// `OMGSERVERS_CONNECT_KEY`, the public key that verifies connect tokens (PEM).
    pub ports: Vec<PortConfig>,
    /// Further labels of its container, e.g. project, stage and version.
    pub labels: Vec<(String, String)>,
}

/// Where a runtime stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeState {
    /// Its container doesn't run yet; `failures` attempts failed so far, and it is tried again.
    Starting {
        /// Attempts without success.
        failures: u32,
    },
    /// Its container runs.
    Running {
        /// When the container started.
        started: DateTime<Utc>,
        /// The same on the monotonic clock of this process; the start of the process if that is later.
        since: Ticks,
        /// Where players connect to it directly; `None` when it has no ports.
        published: Option<Arc<Published>>,
    },
    /// Its container came to an end by itself, or can't be started at all. It isn't tried again: who owns the
    /// runtime replaces it.
    Failed(ContainerFailure),
    /// It was told to stop and its container may still be there.
    Stopping,
}

/// Where players connect to a runtime directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Host name or address of its host.
    pub address: String,
    /// Its ports there, all that its version names.
    pub ports: Vec<DirectPort>,
    /// The key that its connect tokens have to be signed with, for `omgservers_auth::Tokens::connect`.
    pub connect_key: String,
}

/// What other crates, the HTTP API and tools may ask of runtimes.
#[async_trait::async_trait]
pub trait Runtimes: Send + Sync {
    /// Lets runtimes run from now on. Asking again changes nothing. It returns when the wishes are kept; the
    /// reconciler starts the containers at once. When it fails, some may be kept.
    async fn create(&self, new: &[NewRuntime]) -> Result<(), Problem>;

    /// Lets runtimes run no longer. Their containers are stopped and removed. Unknown ids are fine.
    async fn stop(&self, ids: &[RuntimeId]) -> Result<(), Problem>;

    /// Checks the password that was put into the runtime's environment. The answer to an unknown runtime is the
    /// same as to a wrong password. Problems: `auth.credentials`; `runtimes.stopped` (404 RUNTIME_NOT_FOUND)
    /// when the credentials are right and the runtime should not run any more.
    async fn verify(&self, runtime: RuntimeId, password: &str) -> Result<(), Problem>;

    /// Where runtimes stand. Unknown ones, and those that are stopped and gone, are absent.
    async fn states(&self, ids: &[RuntimeId]) -> Result<HashMap<RuntimeId, RuntimeState>, Problem>;

    /// The runtimes of a deployment, oldest first (`clients` is 0: who knows fills it in).
    async fn of_deployment(&self, deployment: DeploymentId) -> Result<Vec<RuntimeDetails>, Problem>;

    /// The last failures of containers of a deployment, also of runtimes that are gone; newest first, at most 20.
    async fn failures(&self, deployment: DeploymentId) -> Result<Vec<ContainerFailure>, Problem>;

    /// The runtimes that should run, of all deployments, with their deployment; for sweeps.
    async fn wanted(&self) -> Result<Vec<(RuntimeId, DeploymentId)>, Problem>;

    /// Whether a Docker host of the pool answers. Other URIs than those of the pool are refused. Problems:
    /// `runtimes.unknown_host`.
    async fn ping_host(&self, uri: &str) -> Result<bool, Problem>;
}
