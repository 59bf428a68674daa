//! One life of the backend: the services and workers that the server ships, with doorbells, periods
//! and delays in virtual time.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use omgservers_accounts::Accounts;
use omgservers_api::{ClientId, Problem};
use omgservers_auth::Keys;
use omgservers_core::{Clock as _, Db, Doorbell, ManualClock, Mint, Outcome, Ownership, Ticks, Worker};
use omgservers_deployments::Deployments;
use omgservers_matchmaking::Matchmaking;
use omgservers_messaging::{ClientInfo, Mail, Messaging};
use omgservers_players::Players;
use omgservers_projects::Projects;
use omgservers_runtimes::{FakeHosts, HostConfig, Runtimes, RuntimesConfig};
use omgservers_server::wiring::{Infrastructure, ServiceSettings, Services, WiredWorker};
use omgservers_tenants::Tenants;
use omgservers_versions::Versions;

/// How long a step on a simulated host is waited for: they take no time, or hang.
const STEP_TIMEOUT: Duration = Duration::from_millis(3);

/// How soon a worker that fails runs again, as the server does it.
const FIRST_RETRY: Duration = Duration::from_millis(250);

/// What outlives a backend.
pub(crate) struct Environment {
    /// The database, with faults.
    pub(crate) db: Db,
    /// The same without.
    pub(crate) sound: Db,
    pub(crate) keys: Arc<Keys>,
    pub(crate) hosts: FakeHosts,
    pub(crate) pool: Vec<HostConfig>,
    pub(crate) blobs: tempfile::TempDir,
}

/// A worker, and when it runs.
pub(crate) struct ScheduledWorker {
    worker: Box<dyn Worker>,
    doorbell: Doorbell,
    due: Ticks,
}

impl ScheduledWorker {
    fn new(wired: WiredWorker) -> Self {
        // Each worker runs once at the start.
        Self { worker: wired.worker, doorbell: wired.doorbell, due: Ticks::default() }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.worker.name()
    }

    /// Whether the server would run it now: its doorbell has rung, or its time has come.
    pub(crate) fn is_due(&self, now: Ticks) -> bool {
        let rung = self.doorbell.rung().now_or_never().is_some();
        if rung {
            // Kept for the run.
            self.doorbell.ring();
        }
        rung || self.due <= now
    }

    /// One run.
    pub(crate) async fn run(&mut self, now: Ticks) -> Result<Outcome, Problem> {
        let _answered = self.doorbell.rung().now_or_never();
        let result = self.worker.run_once().await;
        let pause = match &result {
            Ok(outcome) => outcome.requeue_after.unwrap_or(self.worker.period()),
            Err(_) => FIRST_RETRY,
        };
        self.due = now.plus(pause.min(self.worker.period()));
        result
    }
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
    /// The calls of players and game servers come here, as those of HTTP do.
    pub(crate) mail: Arc<dyn Mail>,
    pub(crate) runtimes: Arc<dyn Runtimes>,
    pub(crate) players: Arc<dyn Players>,
    pub(crate) matchmaking: Arc<dyn Matchmaking>,
    /// The workers that drive sessions and game servers.
    pub(crate) drivers: Vec<ScheduledWorker>,
    /// The workers that clear away what is left behind.
    pub(crate) sweeps: Vec<ScheduledWorker>,
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
        environment: &Environment,
        wall: chrono::DateTime<chrono::Utc>,
    ) -> anyhow::Result<Self> {
        let clock = ManualClock::default();
        clock.step_wall(wall - clock.now());
        let infrastructure = Infrastructure {
            db: environment.db.clone(),
            clock: Arc::new(clock.clone()),
            // In this order: ids of a former owner must stay below new ones.
            ownership: Ownership::take(&environment.sound, "simulation").await?,
            mint: Mint::take(&environment.sound).await?,
            keys: Arc::clone(&environment.keys),
            hosts: Arc::new(environment.hosts.clone()),
            blobs: environment.blobs.path().to_owned(),
        };
        let settings = ServiceSettings {
            password_cost: 4,
            runtimes: RuntimesConfig { inline: Some(STEP_TIMEOUT), ..RuntimesConfig::default() },
            pool: environment.pool.clone(),
            ..ServiceSettings::default()
        };
        let services = Services::build(&infrastructure, settings).await?;
        let workers = services.workers(&infrastructure).into_iter().map(ScheduledWorker::new);
        let (drivers, sweeps) = workers.partition(drives);
        Ok(Self {
            clock,
            accounts: Arc::clone(&services.accounts),
            tenants: services.tenants(),
            projects: services.projects(),
            versions: services.versions(),
            deployments: services.deployments(),
            messaging: Arc::clone(&services.messaging),
            mail: Arc::clone(&services.facades.mail),
            runtimes: services.runtimes(),
            players: Arc::clone(&services.players),
            matchmaking: Arc::clone(&services.facades.matchmaking),
            drivers,
            sweeps,
        })
    }
}

fn drives(worker: &ScheduledWorker) -> bool {
    let name = worker.name();
    name.starts_with("matchmaking.") || name == "runtimes.reconcile"
}
