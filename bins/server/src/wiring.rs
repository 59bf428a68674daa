//! The one place where services and workers are put together. The server, the simulation and
//! whoever embeds the crates call [`Services::build`] and [`Services::workers`]; database, clock,
//! ids, slots, hosts and faults are parameters.

mod facades;
mod http;
mod workers;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use omgservers_accounts::{Accounts, AccountsParts, PgAccounts};
use omgservers_api::Problem;
use omgservers_auth::{Keys, Passwords, Secrets, TokenConfig, Tokens};
use omgservers_core::{Clock, Db, Doorbell, Mint, Ownership, Schema, WorkQueue, remote::RouterMode};
use omgservers_deployments::{DeploymentsParts, PgDeployments};
use omgservers_dispatcher::Dispatcher;
use omgservers_matchmaking::{MatchmakingConfig, MatchmakingParts, PgMatchmaking};
use omgservers_messaging::{Bounds, Mailboxes, Messaging};
use omgservers_players::{PgPlayers, Players, PlayersParts};
use omgservers_projects::{PgProjects, Projects, ProjectsParts};
use omgservers_registry::{MAX_BLOB_BYTES, Registry, RegistryParts, RegistryTokens};
use omgservers_runtimes::{HostConfig, HostConnector, PgRuntimes, PullTokens, RuntimesConfig, RuntimesParts};
use omgservers_tenants::{PgTenants, Tenants, TenantsParts};
use omgservers_versions::{PgVersions, Versions, VersionsParts};

pub use facades::Facades;
pub use workers::WiredWorker;

/// All schemas of the database, left to right.
pub const SCHEMAS: &[Schema] = &[
    omgservers_core::SCHEMA,
    omgservers_accounts::SCHEMA,
    omgservers_tenants::SCHEMA,
    omgservers_projects::SCHEMA,
    omgservers_versions::SCHEMA,
    omgservers_deployments::SCHEMA,
    omgservers_messaging::SCHEMA,
    omgservers_runtimes::SCHEMA,
    omgservers_players::SCHEMA,
    omgservers_matchmaking::SCHEMA,
    omgservers_registry::SCHEMA,
];

/// bcrypt's cost in a server: about 60 ms of a core.
const PASSWORD_COST: u32 = 10;

/// The outside world as services see it. A test gives a clock that it moves, hosts that run no
/// containers, and a database whose transactions fail when the test says so.
pub struct Infrastructure {
    /// The database with all [`SCHEMAS`].
    pub db: Db,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The source of ids.
    pub mint: Mint,
    /// The slots of this process.
    pub ownership: Ownership,
    /// The keys of the installation.
    pub keys: Arc<Keys>,
    /// Reaches the hosts of the pool.
    pub hosts: Arc<dyn HostConnector>,
    /// The folder of the registry's blobs.
    pub blobs: PathBuf,
}

/// The configuration of all services.
#[derive(Clone)]
pub struct ServiceSettings {
    /// bcrypt's cost for passwords that people choose.
    pub password_cost: u32,
    /// How many passwords are hashed at the same time.
    pub password_threads: usize,
    /// How long tokens live.
    pub tokens: TokenConfig,
    /// The bounds of mailboxes.
    pub mailboxes: Bounds,
    /// How runtimes are run.
    pub runtimes: RuntimesConfig,
    /// The hosts of the pool.
    pub pool: Vec<HostConfig>,
    /// The largest profile of a player.
    pub max_profile_bytes: usize,
    /// When clients, runtimes, lobbies and matches are given up.
    pub matchmaking: MatchmakingConfig,
    /// How HTTP reaches the services that own slots.
    pub router: RouterMode,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            password_cost: PASSWORD_COST,
            password_threads: std::thread::available_parallelism().map_or(1, usize::from),
            tokens: TokenConfig::default(),
            mailboxes: Bounds::default(),
            runtimes: RuntimesConfig::default(),
            pool: Vec::new(),
            max_profile_bytes: omgservers_players::MOST_PROFILE_BYTES,
            matchmaking: MatchmakingConfig::default(),
            router: RouterMode::from_environment(),
        }
    }
}

/// Rung when something is deleted, for the workers that look after what belonged to it. A doorbell
/// wakes one worker, so versions, deployments and repositories have one each.
#[derive(Default)]
struct Doorbells {
    /// Wakes the worker that deletes projects.
    tenant: Doorbell,
    /// Wakes the worker that deletes versions.
    project: Doorbell,
    /// Wakes the worker that deletes deployments, which go with their stage and with their version.
    stage_or_version: Doorbell,
    /// Wakes the worker that deletes repositories, which go with their project.
    repository: Doorbell,
}

impl Doorbells {
    fn of_projects(&self) -> Vec<Doorbell> {
        vec![self.project.clone(), self.stage_or_version.clone(), self.repository.clone()]
    }
}

/// The services, each made of those to its left.
pub struct Services {
    /// Users.
    pub accounts: Arc<dyn Accounts>,
    tenants: PgTenants,
    projects: PgProjects,
    versions: PgVersions,
    deployments: PgDeployments,
    /// Mailboxes.
    pub messaging: Arc<dyn Messaging>,
    /// The same, of this process.
    pub mailboxes: Arc<Mailboxes>,
    runtimes: PgRuntimes,
    /// Players' profiles.
    pub players: Arc<dyn Players>,
    /// Lobbies, matches and tickets.
    pub matchmaking: Arc<PgMatchmaking>,
    /// What HTTP calls instead of `messaging` and `matchmaking`.
    pub facades: Facades,
    registry: Registry,
    registry_tokens: RegistryTokens,
    /// The rooms of WebSockets.
    pub dispatcher: Arc<Dispatcher>,
    tokens: Arc<Tokens>,
    passwords: Arc<Passwords>,
    doorbells: Doorbells,
}

impl Services {
    /// Builds all of them, left to right, and writes the pool. Nothing runs yet but the writers of
    /// group commits.
    ///
    /// # Errors
    /// The database can't be read or written, or a host of the pool is configured wrongly.
    pub async fn build(infrastructure: &Infrastructure, settings: ServiceSettings) -> anyhow::Result<Self> {
        let Infrastructure { db, clock, mint, ownership, keys, hosts, blobs } = infrastructure;
        let doorbells = Doorbells::default();
        let passwords = Arc::new(Passwords::new(settings.password_cost, settings.password_threads));
        let tokens = Arc::new(Tokens::new(Arc::clone(keys), Arc::clone(clock), settings.tokens));
        let accounts: Arc<dyn Accounts> = Arc::new(PgAccounts::new(AccountsParts {
            db: db.clone(),
            clock: Arc::clone(clock),
            mint: mint.clone(),
            passwords: Arc::clone(&passwords),
            secrets: Arc::new(Secrets::new(keys)),
        }));
        let tenants = PgTenants::new(TenantsParts {
            db: db.clone(),
            clock: Arc::clone(clock),
            mint: mint.clone(),
            accounts: Arc::clone(&accounts),
            dependents: vec![doorbells.tenant.clone()],
        });
        let projects = PgProjects::new(ProjectsParts {
            db: db.clone(),
            clock: Arc::clone(clock),
            mint: mint.clone(),
            accounts: Arc::clone(&accounts),
            tenants: Arc::new(tenants.clone()),
            dependents: doorbells.of_projects(),
        });
        let versions = PgVersions::new(VersionsParts {
            db: db.clone(),
            clock: Arc::clone(clock),
            mint: mint.clone(),
            projects: Arc::new(projects.clone()),
            dependents: vec![doorbells.stage_or_version.clone()],
        });
        let changed = WorkQueue::new(Arc::clone(clock));
        let deployments = PgDeployments::new(DeploymentsParts {
            shards: db.clone().into(),
            clock: Arc::clone(clock),
            mint: mint.clone(),
            projects: Arc::new(projects.clone()),
            versions: Arc::new(versions.clone()),
            changed: changed.clone(),
        });
        let mailboxes =
            Mailboxes::open(db, Arc::clone(clock), mint.clone(), ownership.clone(), settings.mailboxes)
                .await
                .context("mailboxes")?;
        let messaging: Arc<dyn Messaging> = mailboxes.clone();
        let registry_tokens = RegistryTokens::new(
            Arc::clone(&tokens),
            Arc::clone(clock),
            Arc::clone(&accounts),
            Arc::new(projects.clone()),
        );
        let runtimes = PgRuntimes::new(RuntimesParts {
            db: db.clone(),
            clock: Arc::clone(clock),
            mint: mint.clone(),
            ownership: ownership.clone(),
            secrets: Secrets::new(keys),
            connect_key: keys.connect_key().map_err(anyhow::Error::new).context("keys")?,
            pull_tokens: Arc::new(OwnTokens(registry_tokens.clone())),
            config: settings.runtimes,
            hosts: Arc::clone(hosts),
            changed: changed.clone(),
        });
        runtimes.ensure_pool(&settings.pool).await.context("pool")?;
        let players: Arc<dyn Players> = Arc::new(PgPlayers::new(PlayersParts {
            db: db.clone(),
            clock: Arc::clone(clock),
            tenants: Arc::new(tenants.clone()),
            projects: Arc::new(projects.clone()),
            deployments: Arc::new(deployments.clone()),
            most_profile_bytes: settings.max_profile_bytes,
        }));
        let matchmaking = PgMatchmaking::new(MatchmakingParts {
            db: db.clone(),
            clock: Arc::clone(clock),
            mint: mint.clone(),
            ownership: ownership.clone(),
            projects: Arc::new(projects.clone()),
            versions: Arc::new(versions.clone()),
            deployments: Arc::new(deployments.clone()),
            messaging: Arc::clone(&messaging),
            runtimes: Arc::new(runtimes.clone()),
            players: Arc::clone(&players),
            tokens: Arc::clone(&tokens),
            config: settings.matchmaking,
            changed,
        });
        let facades = Facades::new(settings.router, mailboxes.clone(), matchmaking.clone(), ownership);
        let registry = Registry::new(RegistryParts {
            db: db.clone(),
            clock: Arc::clone(clock),
            dir: blobs.clone(),
            versions: Arc::new(versions.clone()),
            deployments: Arc::new(deployments.clone()),
            max_blob_bytes: MAX_BLOB_BYTES,
        });
        Ok(Self {
            accounts,
            tenants,
            projects,
            versions,
            deployments,
            messaging,
            mailboxes,
            runtimes,
            players,
            matchmaking,
            facades,
            registry,
            registry_tokens,
            dispatcher: Dispatcher::new(omgservers_dispatcher::Bounds::default()),
            tokens,
            passwords,
            doorbells,
        })
    }

    /// Tenants.
    pub fn tenants(&self) -> Arc<dyn Tenants> {
        Arc::new(self.tenants.clone())
    }

    /// Projects and stages.
    pub fn projects(&self) -> Arc<dyn Projects> {
        Arc::new(self.projects.clone())
    }

    /// Versions and their images.
    pub fn versions(&self) -> Arc<dyn Versions> {
        Arc::new(self.versions.clone())
    }

    /// Deployments.
    pub fn deployments(&self) -> Arc<dyn omgservers_deployments::Deployments> {
        Arc::new(self.deployments.clone())
    }

    /// Game servers and the hosts that they run on.
    pub fn runtimes(&self) -> Arc<dyn omgservers_runtimes::Runtimes> {
        Arc::new(self.runtimes.clone())
    }
}

/// Mints registry tokens for the hosts of this backend, so that these need no login.
struct OwnTokens(RegistryTokens);

#[async_trait::async_trait]
impl PullTokens for OwnTokens {
    async fn token(&self, repository: &str) -> Result<String, Problem> {
        self.0.pull_token(repository)
    }
}
