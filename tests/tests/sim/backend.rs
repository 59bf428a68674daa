//! One life of the backend: all services, wired as the server wires them, and their duties, run by hand.

use std::{sync::Arc, time::Duration};

use omgservers_accounts::{Accounts, PgAccounts};
use omgservers_api::{ClientId, Problem};
use omgservers_auth::{Keys, Passwords, Secrets, TokenConfig, Tokens};
use omgservers_core::{Clock, Db, ManualClock, Mint, Ownership, Worker, mint::RenewBlocks};
use omgservers_deployments::{Deployments, PgDeployments};
use omgservers_matchmaking::{
    ExpireClients, ForgetClosed, Matchmaking, MatchmakingConfig, MatchmakingParts, PgMatchmaking, Survey,
    Tend, WatchRuntimes,
};
use omgservers_messaging::{Bounds, ClientInfo, Mailboxes, Messaging};
use omgservers_players::{PgPlayers, Players, PlayersParts};
use omgservers_projects::{PgProjects, Projects};
use omgservers_runtimes::{
    FakeHosts, HostConfig, PgRuntimes, PullTokens, Runtimes, RuntimesConfig, RuntimesParts,
};
use omgservers_tenants::{PgTenants, Tenants};
use omgservers_versions::{PgVersions, Versions};

/// All schemas, left to right.
pub(crate) const SCHEMAS: &[omgservers_core::Schema] = &[
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
];

/// How long a step on a simulated host is waited for: they take no time, or hang.
const PATIENCE: Duration = Duration::from_millis(3);

/// What outlives a backend.
pub(crate) struct Surroundings {
    /// The database, with faults.
    pub(crate) db: Db,
    /// The same without.
    pub(crate) sound: Db,
    pub(crate) keys: Arc<Keys>,
    pub(crate) hosts: FakeHosts,
    pub(crate) pool: Vec<HostConfig>,
}

/// One life of the backend.
pub(crate) struct Backend {
    pub(crate) clock: ManualClock,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) tenants: Arc<dyn Tenants>,
    pub(crate) projects: Arc<dyn Projects>,
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) deployments: Arc<dyn Deployments>,
    pub(crate) messaging: Arc<dyn Messaging>,
    pub(crate) runtimes: Arc<dyn Runtimes>,
    pub(crate) players: Arc<dyn Players>,
    pub(crate) matchmaking: Arc<dyn Matchmaking>,
    /// What has to run often.
    pub(crate) duties: Vec<Box<dyn Worker>>,
    /// What has to run now and then.
    pub(crate) sweeps: Vec<Box<dyn Worker>>,
}

struct AnyToken;

#[async_trait::async_trait]
impl PullTokens for AnyToken {
    async fn token(&self, repository: &str) -> Result<String, Problem> {
        Ok(repository.to_owned())
    }
}

impl Backend {
    /// All clients' mailboxes, by id.
    pub(crate) fn clients(&self) -> Vec<(ClientId, ClientInfo)> {
        let deployments = self.messaging.deployments().into_iter();
        let mut clients: Vec<_> = deployments.flat_map(|it| self.messaging.clients_in(it)).collect();
        clients.sort_unstable_by_key(|it| it.0);
        clients
    }

    /// Starts at `wall`; its monotonic clock begins at 0.
    pub(crate) async fn start(
        it: &Surroundings,
        wall: chrono::DateTime<chrono::Utc>,
    ) -> Result<Self, Problem> {
        let clock = ManualClock::default();
        clock.step_wall(wall - clock.now());
        let time = || -> Arc<dyn Clock> { Arc::new(clock.clone()) };
        let mint = Mint::take(&it.sound).await?;
        let ownership = Ownership::take(&it.sound, "simulation").await?;
        let (db, keys) = (|| it.db.clone(), &it.keys);
        let no_bells = Vec::new;

        let passwords = Arc::new(Passwords::new(4, 1));
        let secrets = Arc::new(Secrets::new(keys));
        let accounts: Arc<dyn Accounts> =
            Arc::new(PgAccounts::new(db(), time(), mint.clone(), passwords, secrets));
        let tenants: Arc<dyn Tenants> =
            Arc::new(PgTenants::new(db(), time(), mint.clone(), Arc::clone(&accounts), no_bells()));
        let projects: Arc<dyn Projects> = Arc::new(PgProjects::new(
            db(),
            time(),
            mint.clone(),
            Arc::clone(&accounts),
            Arc::clone(&tenants),
            no_bells(),
        ));
        let pg_versions = PgVersions::new(db(), time(), mint.clone(), Arc::clone(&projects), no_bells());
        let versions: Arc<dyn Versions> = Arc::new(pg_versions.clone());
        let pg_deployments = PgDeployments::new(
            db(),
            time(),
            mint.clone(),
            Arc::clone(&projects),
            Arc::clone(&versions),
            no_bells(),
        );
        let deployments: Arc<dyn Deployments> = Arc::new(pg_deployments.clone());
        let messaging: Arc<dyn Messaging> =
            Mailboxes::open(&it.db, time(), mint.clone(), ownership.clone(), Bounds::default()).await?;
        let runtimes = PgRuntimes::new(RuntimesParts {
            db: db(),
            clock: time(),
            mint: mint.clone(),
            ownership: ownership.clone(),
            secrets: Secrets::new(keys),
            connect_key: keys.connect_key()?,
            pull_tokens: Arc::new(AnyToken),
            config: RuntimesConfig { inline: Some(PATIENCE), ..RuntimesConfig::default() },
            hosts: Arc::new(it.hosts.clone()),
        });
        runtimes.ensure_pool(&it.pool).await?;
        let players: Arc<dyn Players> = Arc::new(PgPlayers::new(PlayersParts {
            db: db(),
            clock: time(),
            tenants: Arc::clone(&tenants),
            projects: Arc::clone(&projects),
            deployments: Arc::clone(&deployments),
            most_profile_bytes: omgservers_players::MOST_PROFILE_BYTES,
        }));
        let matchmaking = PgMatchmaking::new(MatchmakingParts {
            db: db(),
            clock: time(),
            mint: mint.clone(),
            ownership: ownership.clone(),
            projects: Arc::clone(&projects),
            versions: Arc::clone(&versions),
            deployments: Arc::clone(&deployments),
            messaging: Arc::clone(&messaging),
            runtimes: Arc::new(runtimes.clone()),
            players: Arc::clone(&players),
            tokens: Arc::new(Tokens::new(Arc::clone(keys), time(), TokenConfig::default())),
            config: MatchmakingConfig::default(),
        });
        let duties: Vec<Box<dyn Worker>> = vec![
            Box::new(Survey(Arc::clone(&matchmaking))),
            Box::new(ExpireClients(Arc::clone(&matchmaking))),
            Box::new(runtimes.reconciler()),
            Box::new(WatchRuntimes(Arc::clone(&matchmaking))),
            Box::new(Tend(Arc::clone(&matchmaking))),
            Box::new(ForgetClosed(Arc::clone(&matchmaking))),
        ];
        let sweeps: Vec<Box<dyn Worker>> = vec![
            Box::new(omgservers_tenants::FreeNames { db: db() }),
            Box::new(omgservers_tenants::SweepPermissions { db: db(), accounts: Arc::clone(&accounts) }),
            Box::new(omgservers_projects::SweepOrphans {
                db: db(),
                tenants: Arc::clone(&tenants),
                heirs: no_bells(),
            }),
            Box::new(omgservers_projects::SweepPermissions { db: db(), accounts: Arc::clone(&accounts) }),
            Box::new(omgservers_versions::SweepOrphans::new(pg_versions)),
            Box::new(omgservers_deployments::SweepOrphans::new(pg_deployments)),
            Box::new(omgservers_runtimes::SweepFailures {
                db: db(),
                ownership: ownership.clone(),
                deployments: Arc::clone(&deployments),
            }),
            Box::new(omgservers_players::SweepOrphans {
                db: db(),
                accounts: Arc::clone(&accounts),
                projects: Arc::clone(&projects),
            }),
            Box::new(RenewBlocks { db: db(), mint }),
        ];
        let runtimes: Arc<dyn Runtimes> = Arc::new(runtimes);
        Ok(Self {
            clock,
            accounts,
            tenants,
            projects,
            versions,
            deployments,
            messaging,
            runtimes,
            players,
            matchmaking,
            duties,
            sweeps,
        })
    }
}
