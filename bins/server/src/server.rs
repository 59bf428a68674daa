//! The map of the system: what there is, what it is made of, and in which order it starts and
//! stops.

use std::{net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use omgservers_auth::Keys;
use omgservers_core::{Db, Mint, Ownership, SystemClock, WorkerRegistry};
use omgservers_messaging::Messaging;
use omgservers_runtimes::DockerConnector;
use tokio_util::sync::CancellationToken;

use crate::{
    addresses::Addresses,
    bootstrap::{NewCredentials, bootstrap},
    config::{Config, ServerConfig},
    data_dir::DataDir,
    database::{self, Database},
    http::{AddressLimit, Drain, Health, Http, ListenSocket, Parts, Routes},
    settings,
    wiring::{Infrastructure, SCHEMAS, Services},
    workers::Workers,
};

/// What there is once per process and not once per server.
#[derive(Default)]
pub struct Process {
    /// A listening socket that was handed over; it replaces `server.bind`.
    pub socket: Option<TcpListener>,
    /// The gauges behind `/metrics`.
    pub metrics: Option<PrometheusHandle>,
}

/// Starts servers.
pub struct Server;

/// A server that runs.
pub struct Running {
    /// Where it listens.
    pub addr: std::net::SocketAddr,
    /// Where `/metrics` is, if it is apart.
    pub metrics_addr: Option<std::net::SocketAddr>,
    /// How it is reached.
    pub addresses: Addresses,
    /// Users that were made in this start.
    pub new_users: Vec<NewCredentials>,
    /// Where their passwords are kept.
    pub credentials_file: PathBuf,
    config: ServerConfig,
    http: Http,
    workers: Workers,
    messaging: Arc<dyn Messaging>,
    ownership: Ownership,
    database: Database,
    /// Locked until everything else has stopped.
    _data: DataDir,
}

impl Server {
    /// Starts a server; when this returns it answers.
    pub async fn start(config: Config, process: Process) -> anyhow::Result<Running> {
        // Infrastructure.
        let data = DataDir::open(&config.data_dir)?;
        let keys = Arc::new(Keys::load_or_create(&data.join("keys")).context("keys")?);
        let database = Database::open(&config, &data).await?;
        let migrated = Db::migrate(database.url(), SCHEMAS).await.context("migrations")?;
        tracing::info!(?migrated, "the database is up to date");
        let db = Db::connect(database.url(), config.database.pool_size).await.context("database")?;
        let ownership = Ownership::take(&db, data.installation()).await.context("slots")?;
        let mint = Mint::take(&db).await.context("ids")?;
        let socket = ListenSocket::open(&config.server, process.socket)?;
        let metrics_socket = ListenSocket::for_metrics(&config.server)?;
        let addresses = Addresses::new(&config, socket.listener.local_addr()?);
        let docker = settings::docker(&config, &addresses, data.installation());
        let infrastructure = Infrastructure {
            db,
            clock: Arc::new(SystemClock::default()),
            mint,
            ownership,
            keys,
            hosts: Arc::new(DockerConnector::new(docker)),
            blobs: data.join("registry"),
        };

        // Services, left to right, and the first users.
        let services = Services::build(&infrastructure, settings::services(&config, &addresses)?).await?;
        let credentials_file = data.join("credentials.txt");
        let new_users = bootstrap(&*services.accounts, &config.bootstrap, &credentials_file).await?;

        // Workers.
        let workers = Workers::new(WorkerRegistry::new(Arc::clone(&infrastructure.clock)));
        services.start_workers(&infrastructure, &workers);
        let limit = AddressLimit::new(&config.limits).map(Arc::new);
        if let Some(limit) = &limit {
            workers.spawn(|stop| forget_addresses(Arc::clone(limit), stop));
        }

        // The face.
        let (drain, metrics) = (Drain::default(), process.metrics);
        let gauges = services.gauges(&infrastructure);
        let checks = vec![
            ("database", database::check(&infrastructure.db)),
            ("messages", database::check_writer(&services.mailboxes)),
        ];
        let health = Health::new(checks, move || {
            gauges.refresh();
            metrics.as_ref().map(PrometheusHandle::render).unwrap_or_default()
        });
        let (rooms, end) = (Arc::clone(&services.dispatcher), drain.end().clone());
        workers.spawn(|_| async move {
            end.cancelled().await;
            rooms.stop();
        });
        let registry = workers.registry();
        let api = services.for_http(&infrastructure, &config, &addresses, drain.token().clone(), registry);
        let routes: Routes = Arc::new(move |app| omgservers_http::routes(&api, app));
        let parts = Parts { health, routes, limit, drain, metrics: metrics_socket };
        let http = Http::start(&config.server, socket, parts).context("HTTP")?;
        Ok(Running {
            addr: http.addr,
            metrics_addr: http.metrics_addr,
            addresses,
            new_users,
            credentials_file,
            config: config.server,
            http,
            workers,
            messaging: services.messaging,
            ownership: infrastructure.ownership,
            database,
            _data: data,
        })
    }
}

impl Running {
    /// Ends when another server has taken the database; then this one must stop.
    pub async fn lost(&self) {
        self.ownership.lost().cancelled().await;
    }

    /// Stops from the outside in: no request fails, nothing that was acknowledged is lost. Game
    /// servers keep running.
    pub async fn stop(self) -> anyhow::Result<()> {
        let timeout = Duration::from_secs(self.config.shutdown_grace_seconds.into());
        let closed = self.http.stop(&self.config).await;
        self.workers.stop(timeout).await;
        let flushed = tokio::time::timeout(timeout, self.messaging.flush()).await;
        // Its writer goes with it, before its database does.
        drop(self.messaging);
        self.database.close(timeout).await;
        closed.context("HTTP")?;
        Ok(flushed.context("messages could not be written in time")??)
    }
}

async fn forget_addresses(limit: Arc<AddressLimit>, stop: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(60));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => limit.forget(),
        }
    }
}
