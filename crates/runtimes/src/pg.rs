//! [`Runtimes`] on PostgreSQL.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use omgservers_api::{
    DeploymentId, HostId, PoolId, Problem, RuntimeId, Slot,
    details::{ContainerFailure, RuntimeDetails},
    ids::Id as _,
    problem::codes,
};
use omgservers_auth::{ConnectKey, Secrets};
use omgservers_core::{Clock, Db, Doorbell, Mint, Ownership, WorkQueue};
use tokio_util::sync::CancellationToken;

use crate::{
    Host, HostConfig, HostConnector, HostState, NewRuntime, Published, PullTokens, RuntimeState, Runtimes,
    RuntimesConfig, problems,
    rules::{Desired, Observed},
    shared::Shared,
    store::{self, Row},
    worker::{Reconcile, watch},
};

/// What [`PgRuntimes`] is made of.
pub struct RuntimesParts {
    /// Where runtimes and hosts are kept.
    pub db: Db,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids of hosts.
    pub mint: Mint,
    /// The slots of this process.
    pub ownership: Ownership,
    /// Makes the passwords of runtimes.
    pub secrets: Secrets,
    /// What runtimes verify connect tokens with, if players connect to them directly.
    pub connect_key: ConnectKey,
    /// Lets hosts pull.
    pub pull_tokens: Arc<dyn PullTokens>,
    /// How runtimes are run.
    pub config: RuntimesConfig,
    /// Reaches the hosts.
    pub hosts: Arc<dyn HostConnector>,
    /// Receives the deployment of each runtime whose state changes: it runs, it failed, it is gone.
    pub changed: WorkQueue<DeploymentId>,
}

/// The runtimes of one database. Cheap to clone.
#[derive(Clone)]
pub struct PgRuntimes {
    shared: Arc<Shared>,
}

/// Runtimes of different slots are written in different transactions; so many at a time.
const SLOTS_AT_A_TIME: usize = 4;

/// How long a host may take to answer a ping.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(2);

impl PgRuntimes {
    /// Serves runtimes. Nothing runs until [`reconciler`](Self::reconciler) does.
    pub fn new(parts: RuntimesParts) -> Self {
        Self { shared: Shared::new(parts) }
    }

    /// Makes the pool what the operator describes. Hosts that are not described any more take
    /// nothing new, and go when they are empty. Problems: `runtimes.wrong_host`.
    pub async fn ensure_pool(&self, hosts: &[HostConfig]) -> Result<PoolId, Problem> {
        for (index, host) in hosts.iter().enumerate() {
            check_host(index, host, hosts)?;
        }
        let (found, known) = {
            let mut conn = self.shared.db.read().await?;
            (store::pool(&mut conn).await?, store::hosts(&mut conn).await?)
        };
        let pool = found.map_or_else(|| self.shared.mint.root(), Ok)?;
        let wanted: Vec<Host> = hosts
            .iter()
            .map(|it| Ok(Host { pool, id: self.shared.mint.child(pool)?, config: it.clone() }))
            .collect::<Result<_, Problem>>()?;
        let gone: Vec<HostId> = known
            .iter()
            .filter(|it| !hosts.iter().any(|new| new.uri == it.config.uri))
            .map(|it| it.id)
            .collect();
        let at = self.shared.clock.now();
        self.shared
            .db
            .write_owned(&self.shared.ownership, &[pool.slot()], async |mut tx| {
                if found.is_none() {
                    store::insert_pool(&mut tx, pool, at).await?;
                }
                for host in &wanted {
                    store::put_host(&mut tx, host, at).await?;
                }
                for host in &gone {
                    store::drop_host(&mut tx, pool, *host).await?;
                }
                Ok(())
            })
            .await?;
        self.shared.reload_host_clients().await?;
        self.shared.doorbell.ring();
        Ok(pool)
    }

    /// The hosts of the pool.
    pub async fn hosts(&self) -> Result<Vec<Host>, Problem> {
        Ok(self.shared.host_clients().await?.iter().map(|it| it.host.clone()).collect())
    }

    /// The worker that makes containers what the rows say, to be run with
    /// [`doorbell`](Self::doorbell). One at a time.
    pub fn reconciler(&self) -> Reconcile {
        Reconcile::new(Arc::clone(&self.shared))
    }

    /// Wakes the reconciler.
    pub fn doorbell(&self) -> Doorbell {
        self.shared.doorbell.clone()
    }

    /// Listens to the hosts until `stop`, so that the reconciler learns of ends within moments.
    /// Without it the reconciler sees them within its period.
    pub async fn watch(&self, stop: CancellationToken) {
        watch::run(Arc::clone(&self.shared), stop).await;
    }

    fn row(&self, new: &NewRuntime) -> Result<Row, Problem> {
        let limit = |field: &str, value: u32, default: u32| {
            i32::try_from(if value == 0 { default } else { value }).ok().filter(|it| *it > 0).ok_or_else(
                || problems::WRONG_LIMITS.detail(format!("`{field}` must be between 1 and {}", i32::MAX)),
            )
        };
        Ok(Row {
            id: new.id,
            tenant_id: new.tenant,
            deployment_id: new.deployment,
            qualifier: new.qualifier,
            repository: new.image.repository.clone(),
            digest: new.image.digest.clone(),
            cpu: limit("cpu_limit", new.cpu_limit, self.shared.config.default_cpu)?,
            memory: limit("memory_limit", new.memory_limit, self.shared.config.default_memory)?,
            labels: serde_json::to_value(&new.labels).map_err(Problem::internal)?,
            created: self.shared.clock.now(),
            desired: store::RUN.into(),
            observed: store::PENDING.into(),
            epoch: 0,
            host_id: None,
            password_digest: None,
            started: None,
            failures: 0,
            last_failure: None,
            ports: serde_json::to_value(&new.ports).map_err(Problem::internal)?,
            published: None,
            connect_key: None,
        })
    }

    /// Where players connect to these runtimes directly.
    async fn published(&self, rows: &[Row]) -> Result<HashMap<RuntimeId, Published>, Problem> {
        let rows: Vec<&Row> = rows.iter().filter(|it| it.published.is_some()).collect();
        if rows.is_empty() {
            return Ok(HashMap::new());
        }
        let host_clients = self.shared.host_clients().await?;
        let published = |row: &&Row| {
            let host = host_clients.iter().find(|host_client| Some(host_client.host.id) == row.host_id)?;
            let (address, connect_key) = (host.host.config.address().to_owned(), row.connect_key.clone()?);
            Some((row.id, Published { address, ports: row.published(), connect_key }))
        };
        Ok(rows.iter().filter_map(published).collect())
    }

    async fn insert(&self, slot: Slot, rows: Vec<Row>) -> Result<(), Problem> {
        let ids: Vec<RuntimeId> = rows.iter().map(|it| it.id).collect();
        let _mark = self.shared.mark(&ids);
        self.shared
            .db
            .write_owned(&self.shared.ownership, &[slot], async |tx| store::insert(tx, &rows).await)
            .await
    }

    fn state(&self, row: &Row, published: Option<Published>) -> RuntimeState {
        match (row.desired(), row.observed()) {
            (Desired::Stop, _) => RuntimeState::Stopping,
            (Desired::Run, Observed::Pending) => RuntimeState::Starting { failures: row.failures() },
            (Desired::Run, Observed::Running) => RuntimeState::Running {
                started: row.started.unwrap_or(row.created),
                since: self.shared.since(row.id),
                published: published.map(Arc::new),
            },
            (Desired::Run, Observed::Failed) => {
                RuntimeState::Failed(row.last_failure().unwrap_or_else(|| {
                    // The recorder writes both in one statement; this keeps a hand-made row from
                    // being fatal.
                    ContainerFailure {
                        at: row.created,
                        reason: "no reason was recorded".into(),
                        exit_code: None,
                        out_of_memory: false,
                        log_tail: String::new(),
                    }
                }))
            }
        }
    }
}

fn check_host(index: usize, host: &HostConfig, all: &[HostConfig]) -> Result<(), Problem> {
    let wrong = |why: &str| Err(problems::WRONG_HOST.detail(format!("host {}: {why}", host.uri)));
    if !(host.uri.starts_with("unix://") || host.uri.starts_with("tcp://")) {
        return wrong("`uri` must begin with unix:// or tcp://");
    }
    if host.cpu == 0 || i32::try_from(host.cpu).is_err() {
        return wrong("`cpu` must be above 0; 100 is one core");
    }
    if host.memory == 0 || i32::try_from(host.memory).is_err() {
        return wrong("`memory` must be above 0; it is in MiB");
    }
    if all.iter().take(index).any(|it| it.uri == host.uri) {
        return wrong("`uri` is there twice");
    }
    Ok(())
}

#[async_trait::async_trait]
impl Runtimes for PgRuntimes {
    async fn create(&self, new: &[NewRuntime]) -> Result<(), Problem> {
        let mut by_slot: BTreeMap<Slot, Vec<Row>> = BTreeMap::new();
        for runtime in new {
            by_slot.entry(runtime.id.slot()).or_default().push(self.row(runtime)?);
        }
        let writes = by_slot.into_iter().map(|(slot, rows)| self.insert(slot, rows));
        stream::iter(writes).buffer_unordered(SLOTS_AT_A_TIME).try_collect().await
    }

    async fn stop(&self, ids: &[RuntimeId]) -> Result<(), Problem> {
        if ids.is_empty() {
            return Ok(());
        }
        let known = store::by_ids(&mut *self.shared.db.read().await?, ids).await?;
        let mut by_slot: BTreeMap<Slot, Vec<RuntimeId>> = BTreeMap::new();
        for row in known.iter().filter(|it| it.desired() == Desired::Run) {
            by_slot.entry(row.id.slot()).or_default().push(row.id);
        }
        for (slot, ids) in by_slot {
            let _mark = self.shared.mark(&ids);
            self.shared
                .db
                .write_owned(&self.shared.ownership, &[slot], async |tx| store::request_stop(tx, &ids).await)
                .await?;
        }
        Ok(())
    }

    async fn verify(&self, runtime: RuntimeId, password: &str) -> Result<(), Problem> {
        let rows = store::by_ids(&mut *self.shared.db.read().await?, &[runtime]).await?;
        let row = rows.first();
        let digest = row.and_then(|it| it.password_digest.as_deref()).unwrap_or_default();
        let right = self.shared.secrets.matches(password, digest);
        match row {
            Some(row) if right => match (row.desired(), row.observed()) {
                (Desired::Run, Observed::Pending | Observed::Running) => Ok(()),
                _ => Err(problems::STOPPED.into()),
            },
            _ => Err(codes::WRONG_CREDENTIALS.into()),
        }
    }

    async fn states(&self, ids: &[RuntimeId]) -> Result<HashMap<RuntimeId, RuntimeState>, Problem> {
        let (mut states, write) = self.shared.known.get(ids);
        let unknown: Vec<RuntimeId> = ids.iter().copied().filter(|it| !states.contains_key(it)).collect();
        if !unknown.is_empty() {
            let rows = store::by_ids(&mut *self.shared.db.read().await?, &unknown).await?;
            let mut published = self.published(&rows).await?;
            let read = rows.iter().map(|it| (it.id, self.state(it, published.remove(&it.id)))).collect();
            self.shared.known.keep(&read, write);
            states.extend(read);
        }
        Ok(states)
    }

    async fn of_deployment(&self, deployment: DeploymentId) -> Result<Vec<RuntimeDetails>, Problem> {
        let rows = store::of_deployment(&mut *self.shared.db.read().await?, deployment).await?;
        let mut published = self.published(&rows).await?;
        let of = |row: Row| {
            let direct = published.remove(&row.id).filter(|_| row.observed() == Observed::Running);
            details(row, direct)
        };
        Ok(rows.into_iter().map(of).collect())
    }

    async fn failures(&self, deployment: DeploymentId) -> Result<Vec<ContainerFailure>, Problem> {
        store::failures(&mut *self.shared.db.read().await?, deployment).await
    }

    async fn wanted(&self) -> Result<Vec<(RuntimeId, DeploymentId)>, Problem> {
        store::wanted(&mut *self.shared.db.read().await?).await
    }

    async fn ping_host(&self, uri: &str) -> Result<bool, Problem> {
        let host_clients = self.shared.host_clients().await?;
        let host_client =
            host_clients.iter().find(|it| it.host.config.uri == uri).ok_or(problems::UNKNOWN_HOST)?;
        let Ok(client) = host_client.client(self.shared.connector.as_ref()) else { return Ok(false) };
        Ok(tokio::time::timeout(PING_TIMEOUT, client.ping()).await.is_ok_and(|it| it.is_ok()))
    }
}

fn details(row: Row, direct: Option<Published>) -> RuntimeDetails {
    let state = match (row.desired(), row.observed()) {
        (Desired::Stop, _) => "stopping",
        (Desired::Run, Observed::Running) => "running",
        (Desired::Run, Observed::Failed) => "failed",
        (Desired::Run, Observed::Pending) if row.epoch > 0 || row.failures > 0 => "starting",
        (Desired::Run, Observed::Pending) => "pending",
    };
    let (address, ports) = direct.map(|it| (it.address, it.ports)).unzip();
    RuntimeDetails {
        id: row.id,
        qualifier: row.qualifier,
        state: state.into(),
        created: row.created,
        started: row.started,
        clients: 0,
        failures: row.failures(),
        last_failure: row.last_failure(),
        address,
        ports: ports.unwrap_or_default(),
    }
}

impl HostState {
    /// Whether hosts in this state take new containers.
    pub(crate) fn is_open(self) -> bool {
        self == Self::Active
    }
}
