//! The HTTP listener: sockets, workers, what every request passes through, and how it stops.
//!
//! What is served is given as a function; this knows only `/healthz`, `/readyz` and `/metrics`.

mod connections;
mod drain;
mod health;
mod limit;
mod meters;
mod metrics_listener;
mod middleware;
mod socket;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle, middleware::from_fn, web};
use tokio::task::JoinHandle;

use self::{
    connections::Connections, meters::Meters, metrics_listener::MetricsListener, middleware::Middleware,
};
pub use self::{
    drain::Drain,
    health::{Check, Health},
    limit::AddressLimit,
    socket::ListenSocket,
};
use crate::config::ServerConfig;

/// Adds endpoints to the application; called once in each worker.
pub type Routes = Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>;

/// What the listener needs.
pub struct Parts {
    /// Answers `/healthz`, `/readyz` and `/metrics`.
    pub health: Health,
    /// All other endpoints.
    pub routes: Routes,
    /// What addresses may ask for without a token; `None` is anything.
    pub limit: Option<Arc<AddressLimit>>,
    /// Turned on by [`Http::stop`]; what holds answers back listens to it.
    pub drain: Drain,
    /// A socket for `/metrics` alone; without it `/metrics` is with everything else.
    pub metrics: Option<TcpListener>,
}

/// A listener that runs.
pub struct Http {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where `/metrics` is, if it is apart.
    pub metrics_addr: Option<SocketAddr>,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
    connections: Connections,
    drain: Drain,
    health: Health,
    inherited: bool,
    metrics: Option<MetricsListener>,
}

impl Http {
    /// Starts to listen.
    pub fn start(config: &ServerConfig, socket: ListenSocket, parts: Parts) -> io::Result<Self> {
        let Parts { health, routes, limit, drain, metrics } = parts;
        let metrics = metrics.map(|it| MetricsListener::start(it, &health)).transpose()?;
        let metrics_here = metrics.is_none();
        let addr = socket.listener.local_addr()?;
        let connections = Connections::default();
        let body_limit = config.body_limit_bytes;
        let app = {
            let (health, drain) = (health.clone(), drain.clone());
            move || {
                let middleware =
                    Rc::new(Middleware { drain: drain.clone(), limit: limit.clone(), meters: Meters::new() });
                let (health, routes) = (health.clone(), Arc::clone(&routes));
                App::new()
                    .wrap(from_fn(move |request, next| {
                        middleware::pass(Rc::clone(&middleware), request, next)
                    }))
                    .app_data(web::PayloadConfig::new(body_limit))
                    .configure(move |routes_config| {
                        health.configure(routes_config);
                        if metrics_here {
                            health.configure_metrics(routes_config);
                        }
                    })
                    .configure(move |it| routes(it))
            }
        };
        let workers = match usize::from(config.workers) {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            given => given,
        };
        let most = usize::try_from(config.max_connections).unwrap_or(usize::MAX);
        let server = HttpServer::new(app)
            .workers(workers)
            .max_connections(most.div_ceil(workers))
            .keep_alive(Duration::from_secs(config.keep_alive_seconds.into()))
            .client_request_timeout(Duration::from_secs(config.request_head_seconds.into()))
            // Otherwise a request that waits for something outlives its client.
            .h1_allow_half_closed(false)
            .shutdown_timeout(config.shutdown_grace_seconds.into())
            .disable_signals()
            .on_connect(connections.counter())
            .listen(socket.listener)?
            .run();
        let handle = server.handle();
        let task = tokio::spawn(server);
        let (metrics_addr, inherited) = (metrics.as_ref().map(|it| it.addr), socket.inherited);
        Ok(Self { addr, metrics_addr, handle, task, connections, drain, health, inherited, metrics })
    }

    /// Stops without failing a request: first `/readyz` turns 503, then every answer closes its
    /// connection, then what is under way is finished.
    ///
    /// A socket that others hold too isn't listened to from the drain on: clients that connect wait
    /// in it for the next server. One of our own is listened to until the end, for there is nobody
    /// else to answer.
    pub async fn stop(self, config: &ServerConfig) -> io::Result<()> {
        self.health.unready();
        tokio::time::sleep(Duration::from_secs(config.unready_seconds.into())).await;
        self.drain.begin();
        if self.inherited {
            self.handle.pause().await;
            // The pause is asynchronous: what was accepted before it is counted a moment later.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let most = Duration::from_secs(config.drain_seconds.into());
            if tokio::time::timeout(most, self.connections.none()).await.is_err() {
                tracing::info!(
                    connections = self.connections.count(),
                    "closing connections that stayed silent"
                );
            }
        }
        self.drain.finish();
        // Idle connections are closed at once, others after their answer.
        self.handle.stop(true).await;
        let ended = self.task.await.map_err(io::Error::other)?;
        // The last figures are those of the end.
        if let Some(metrics) = self.metrics {
            metrics.stop().await?;
        }
        ended
    }
}
