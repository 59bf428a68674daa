//! The services of a server, left to right, and the duties that belong to them.

use std::sync::Arc;

use anyhow::Context as _;
use omgservers_accounts::{Accounts, PgAccounts};
use omgservers_api::Problem;
use omgservers_auth::{Keys, Passwords, Secrets, Tokens};
use omgservers_core::{Clock, Db, Doorbell, Mint, Ownership, Schema, mint::RenewBlocks};
use omgservers_deployments::{Deployments, PgDeployments};
use omgservers_dispatcher::Dispatcher;
use omgservers_matchmaking::{MatchmakingParts, PgMatchmaking};
use omgservers_messaging::{Mailboxes, Messaging};
use omgservers_players::{PgPlayers, PlayersParts};
use omgservers_projects::{PgProjects, Projects};
use omgservers_registry::{CollectGarbage, ForgetProjects, Registry, RegistryTokens};
use omgservers_runtimes::{DockerConnector, PgRuntimes, PullTokens, RuntimesParts};
use omgservers_tenants::{PgTenants, Tenants};
use omgservers_versions::PgVersions;
use tokio_util::sync::CancellationToken;

use crate::{
    addresses::Addresses,
    config::Config,
    data_dir::DataDir,
    figures::Figures,
    settings,
    workers::{WatchOwnership, Workers},
};

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

/// bcrypt's cost: about 60 ms of a core.
const PASSWORD_COST: u32 = 10;

/// What every service stands on.
pub(crate) struct Ground {
    pub(crate) keys: Arc<Keys>,
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mint: Mint,
    pub(crate) ownership: Ownership,
}

/// Rung when something is deleted (or, for deployments, made), for those who look after what belonged to it.
#[derive(Default)]
struct Bells {
    tenant: Doorbell,
    /// For versions.
    project: Doorbell,
    /// For deployments, which go with their stage and with their version.
    stage_or_version: Doorbell,
    deployment: Doorbell,
    /// For repositories, which go with their project.
    repository: Doorbell,
}

/// The services, each made of those to its left.
pub(crate) struct Services {
    pub(crate) accounts: Arc<dyn Accounts>,
    tenants: Arc<dyn Tenants>,
    projects: Arc<dyn Projects>,
    versions: PgVersions,
    deployments: PgDeployments,
    pub(crate) messaging: Arc<dyn Messaging>,
    runtimes: PgRuntimes,
    matchmaking: Arc<PgMatchmaking>,
    registry: Registry,
    registry_tokens: RegistryTokens,
    pub(crate) dispatcher: Arc<Dispatcher>,
    tokens: Arc<Tokens>,
    passwords: Arc<Passwords>,
    bells: Bells,
}

impl Services {
    /// What is looked up when somebody asks for metrics.
    pub(crate) fn figures(&self, ground: &Ground) -> Figures {
        Figures::new(&ground.db, &self.messaging, &self.matchmaking, &self.dispatcher)
    }

    /// Builds all of them. Nothing runs yet but the writers of group commits.
    pub(crate) async fn build(
        ground: &Ground,
        config: &Config,
        data: &DataDir,
        addresses: &Addresses,
    ) -> anyhow::Result<Self> {
        let Ground { keys, db, clock, mint, ownership } = ground;
        let bells = Bells::default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let passwords = Arc::new(Passwords::new(PASSWORD_COST, cores));
        let secrets = Secrets::new(keys);
        let tokens = Arc::new(Tokens::new(Arc::clone(keys), Arc::clone(clock), settings::tokens(config)));

        let accounts: Arc<dyn Accounts> = Arc::new(PgAccounts::new(
            db.clone(),
            Arc::clone(clock),
            mint.clone(),
            Arc::clone(&passwords),
            Arc::new(Secrets::new(keys)),
        ));
        let tenants: Arc<dyn Tenants> = Arc::new(PgTenants::new(
            db.clone(),
            Arc::clone(clock),
            mint.clone(),
            Arc::clone(&accounts),
            vec![bells.tenant.clone()],
        ));
        let projects: Arc<dyn Projects> = Arc::new(PgProjects::new(
            db.clone(),
            Arc::clone(clock),
            mint.clone(),
            Arc::clone(&accounts),
            Arc::clone(&tenants),
            bells.of_projects(),
        ));
        let versions = PgVersions::new(
            db.clone(),
            Arc::clone(clock),
            mint.clone(),
            Arc::clone(&projects),
            vec![bells.stage_or_version.clone()],
        );
        let deployments = PgDeployments::new(
            db.clone(),
            Arc::clone(clock),
            mint.clone(),
            Arc::clone(&projects),
            Arc::new(versions.clone()),
            vec![bells.deployment.clone()],
        );
        let messaging: Arc<dyn Messaging> =
            Mailboxes::open(db, Arc::clone(clock), mint.clone(), ownership.clone(), settings::bounds(config))
                .await
                .context("mailboxes")?;
        let registry_tokens = RegistryTokens::new(
            Arc::clone(&tokens),
            Arc::clone(clock),
            Arc::clone(&accounts),
            Arc::clone(&projects),
        );
        let runtimes = PgRuntimes::new(RuntimesParts {
            db: db.clone(),
            clock: Arc::clone(clock),
            mint: mint.clone(),
            ownership: ownership.clone(),
            secrets,
            connect_key: keys.connect_key().map_err(anyhow::Error::new).context("keys")?,
            pull_tokens: Arc::new(OurTokens(registry_tokens.clone())),
            config: settings::runtimes(config, addresses),
            hosts: Arc::new(DockerConnector::new(settings::docker(config, addresses, data.installation()))),
        });
        runtimes.ensure_pool(&settings::hosts(config, addresses)).await.context("pool")?;
        let players = PgPlayers::new(PlayersParts {
            db: db.clone(),
            clock: Arc::clone(clock),
            tenants: Arc::clone(&tenants),
            projects: Arc::clone(&projects),
            deployments: Arc::new(deployments.clone()),
            most_profile_bytes: config.clients.max_profile_bytes,
        });
        let matchmaking = PgMatchmaking::new(MatchmakingParts {
            db: db.clone(),
            clock: Arc::clone(clock),
            mint: mint.clone(),
            ownership: ownership.clone(),
            projects: Arc::clone(&projects),
            versions: Arc::new(versions.clone()),
            deployments: Arc::new(deployments.clone()),
            messaging: Arc::clone(&messaging),
            runtimes: Arc::new(runtimes.clone()),
            players: Arc::new(players),
            tokens: Arc::clone(&tokens),
            config: settings::matchmaking(config)?,
        });
        let registry = Registry::new(
            db.clone(),
            Arc::clone(clock),
            data.join("registry"),
            Arc::new(versions.clone()),
            Arc::new(deployments.clone()),
        );
        Ok(Self {
            accounts,
            tenants,
            projects,
            versions,
            deployments,
            messaging,
            runtimes,
            matchmaking,
            registry,
            registry_tokens,
            dispatcher: Dispatcher::new(omgservers_dispatcher::Bounds::default()),
            tokens,
            passwords,
            bells,
        })
    }

    /// Starts everything that makes the world match the tables.
    pub(crate) fn start_duties(&self, ground: &Ground, workers: &Workers) {
        let (db, ownership) = (&ground.db, &ground.ownership);
        let alone = Doorbell::default;
        workers.add(WatchOwnership { db: db.clone(), ownership: ownership.clone() }, alone());
        workers.add(RenewBlocks { db: db.clone(), mint: ground.mint.clone() }, alone());

        workers.add(omgservers_tenants::FreeNames { db: db.clone() }, alone());
        let accounts = Arc::clone(&self.accounts);
        workers.add(omgservers_tenants::SweepPermissions { db: db.clone(), accounts }, alone());
        workers.add(
            omgservers_projects::SweepOrphans {
                db: db.clone(),
                tenants: Arc::clone(&self.tenants),
                heirs: self.bells.of_projects(),
            },
            self.bells.tenant.clone(),
        );
        let accounts = Arc::clone(&self.accounts);
        workers.add(omgservers_projects::SweepPermissions { db: db.clone(), accounts }, alone());
        let versions = omgservers_versions::SweepOrphans::new(self.versions.clone());
        workers.add(versions, self.bells.project.clone());
        let deployments = omgservers_deployments::SweepOrphans::new(self.deployments.clone());
        workers.add(deployments, self.bells.stage_or_version.clone());

        workers.add(self.runtimes.reconciler(), self.runtimes.doorbell());
        let runtimes = self.runtimes.clone();
        workers.spawn(|stop| async move { runtimes.watch(stop).await });
        workers.add(
            omgservers_runtimes::SweepFailures {
                db: db.clone(),
                ownership: ownership.clone(),
                deployments: self.deployments(),
            },
            alone(),
        );
        workers.add(
            omgservers_players::SweepOrphans {
                db: db.clone(),
                accounts: Arc::clone(&self.accounts),
                projects: Arc::clone(&self.projects),
            },
            alone(),
        );
        self.start_matchmaking(workers);
        self.start_registry(workers);
    }

    fn start_registry(&self, workers: &Workers) {
        let (registry, projects) = (|| self.registry.clone(), || Arc::clone(&self.projects));
        let collector = Doorbell::default();
        let forget =
            ForgetProjects { registry: registry(), projects: projects(), collector: collector.clone() };
        workers.add(forget, self.bells.repository.clone());
        workers.add(CollectGarbage { registry: registry(), projects: projects() }, collector);
    }

    fn start_matchmaking(&self, workers: &Workers) {
        use omgservers_matchmaking::{ExpireClients, ForgetClosed, Survey, Tend, WatchRuntimes};
        let matchmaking = || Arc::clone(&self.matchmaking);
        let (tend, watch) = (Tend(matchmaking()), WatchRuntimes(matchmaking()));
        let (tended, watched) = (tend.doorbell(), watch.doorbell());
        workers.add(tend, tended);
        workers.add(watch, watched);
        workers.add(Survey(matchmaking()), self.bells.deployment.clone());
        workers.add(ExpireClients(matchmaking()), Doorbell::default());
        workers.add(ForgetClosed(matchmaking()), Doorbell::default());
    }

    /// What the HTTP API stands on.
    pub(crate) fn for_http(
        &self,
        ground: &Ground,
        config: &Config,
        addresses: &Addresses,
        draining: CancellationToken,
    ) -> omgservers_http::Services {
        omgservers_http::Services {
            accounts: Arc::clone(&self.accounts),
            tenants: Arc::clone(&self.tenants),
            projects: Arc::clone(&self.projects),
            versions: Arc::new(self.versions.clone()),
            deployments: self.deployments(),
            messaging: Arc::clone(&self.messaging),
            runtimes: Arc::new(self.runtimes.clone()),
            matchmaking: self.matchmaking.clone(),
            registry: Arc::new(self.registry.clone()),
            registry_tokens: Arc::new(self.registry_tokens.clone()),
            registry_config: Arc::new(settings::registry(config)),
            dispatcher: omgservers_http::dispatcher::Parts {
                dispatcher: Arc::clone(&self.dispatcher),
                messaging: Arc::clone(&self.messaging),
                tokens: Arc::clone(&self.tokens),
                times: omgservers_http::dispatcher::Times::default(),
            },
            tokens: Arc::clone(&self.tokens),
            passwords: Arc::clone(&self.passwords),
            mint: ground.mint.clone(),
            public_url: addresses.public_url.as_str().into(),
            body_limit: config.server.body_limit_bytes,
            draining,
            streams: omgservers_http::stream::Streams::default(),
        }
    }

    fn deployments(&self) -> Arc<dyn Deployments> {
        Arc::new(self.deployments.clone())
    }
}

impl Bells {
    /// A bell wakes one listener, so versions, deployments and repositories have one each.
    fn of_projects(&self) -> Vec<Doorbell> {
        vec![self.project.clone(), self.stage_or_version.clone(), self.repository.clone()]
    }
}

/// The backend mints tokens for its own hosts, so that these need no login.
struct OurTokens(RegistryTokens);

#[async_trait::async_trait]
impl PullTokens for OurTokens {
    async fn token(&self, repository: &str) -> Result<String, Problem> {
        self.0.pull_token(repository)
    }
}
