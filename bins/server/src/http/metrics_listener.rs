//! A listener for `/metrics` alone, so that only the network of those who watch reaches it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use actix_web::{App, HttpServer, dev::ServerHandle};
use tokio::task::JoinHandle;

use super::Health;

/// A listener that runs.
pub(super) struct MetricsListener {
    /// Where it listens.
    pub(super) addr: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<io::Result<()>>,
}

impl MetricsListener {
    pub(super) fn start(listener: TcpListener, health: &Health) -> io::Result<Self> {
        let (addr, health) = (listener.local_addr()?, health.clone());
        let app = move || {
            let health = health.clone();
            App::new().configure(move |it| health.configure_metrics(it))
        };
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run();
        let handle = server.handle();
        Ok(Self { addr, handle, task: tokio::spawn(server) })
    }

    pub(super) async fn stop(self) -> io::Result<()> {
        self.handle.stop(false).await;
        self.task.await.map_err(io::Error::other)?
    }
}
