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
    /// Its id. The caller mints and stores it before, so a repeated call makes one runtime.
    pub id: RuntimeId,
    /// Its tenant; runtimes of one tenant share a network.
    pub tenant: TenantId,
    /// Its deployment.
    pub deployment: DeploymentId,
    /// Lobby or match.
    pub qualifier: RuntimeQualifier,
    /// The image that it runs.
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
    /// Its container doesn't run yet; `failures` attempts failed so far, and the reconciler
    /// retries.
    Starting {
        /// Attempts without success.
        failures: u32,
    },
    /// Its container runs.
    Running {
        /// When the container started.
        started: DateTime<Utc>,
        /// The same on the monotonic clock of this process; the start of the process if that is
        /// later.
        since: Ticks,
        /// Where players connect to it directly; `None` when it has no ports.
        published: Option<Arc<Published>>,
    },
    /// Its container ended by itself, or can't be started at all. It isn't retried: the owner of
    /// the runtime replaces it.
    Failed(ContainerFailure),
    /// It should stop, and its container may still be there.
    Stopping,
}

/// Where players connect to a runtime directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Host name or address of its host.
    pub address: String,
    /// Its ports there, all that its version names.
    pub ports: Vec<DirectPort>,
    /// The key that its connect tokens have to be signed with, for
    /// `omgservers_auth::Tokens::connect`.
    pub connect_key: String,
}

/// The runtimes as other crates, the HTTP API and tools use them.
#[async_trait::async_trait]
pub trait Runtimes: Send + Sync {
    /// Lets runtimes run. Returns when the request is committed; the reconciler starts the
    /// containers at once. Idempotent. After a failure some of the runtimes may be committed.
    async fn create(&self, new: &[NewRuntime]) -> Result<(), Problem>;

    /// Stops runtimes: the reconciler stops and removes their containers. Idempotent; ignores
    /// unknown ids.
    async fn stop(&self, ids: &[RuntimeId]) -> Result<(), Problem>;

    /// Checks the password from a runtime's environment. An unknown runtime gets the same answer as
    /// a wrong password. Problems: `auth.credentials`; `runtimes.stopped` (404 RUNTIME_NOT_FOUND)
    /// when the credentials are right and the runtime should not run any more.
    async fn verify(&self, runtime: RuntimeId, password: &str) -> Result<(), Problem>;

    /// Returns the states of runtimes. Unknown ones, and those that are stopped and gone, are
    /// absent.
    async fn states(&self, ids: &[RuntimeId]) -> Result<HashMap<RuntimeId, RuntimeState>, Problem>;

    /// Returns the runtimes of a deployment, oldest first. `clients` is 0: the caller fills it in.
    async fn of_deployment(&self, deployment: DeploymentId) -> Result<Vec<RuntimeDetails>, Problem>;

    /// Returns the last failures of containers of a deployment, also of runtimes that are gone:
    /// newest first, at most 20.
    async fn failures(&self, deployment: DeploymentId) -> Result<Vec<ContainerFailure>, Problem>;

    /// Returns the runtimes of all deployments that should run, with their deployment: for sweeps.
    async fn wanted(&self) -> Result<Vec<(RuntimeId, DeploymentId)>, Problem>;

    /// Whether a Docker host of the pool answers. Other URIs than those of the pool are refused.
    /// Problems: `runtimes.unknown_host`.
    async fn ping_host(&self, uri: &str) -> Result<bool, Problem>;
}
