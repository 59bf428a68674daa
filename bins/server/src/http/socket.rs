//! The listening socket.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};

use anyhow::Context as _;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use crate::config::ServerConfig;

/// What waits while all workers are busy.
const BACKLOG: i32 = 4096;

/// A socket to listen on.
pub struct ListenSocket {
    /// The socket.
    pub listener: TcpListener,
    /// Somebody else holds it too, so that clients can wait in it while no server runs.
    pub inherited: bool,
}

impl ListenSocket {
    /// The one that was handed over, or one of our own where the configuration says.
    pub fn open(config: &ServerConfig, handed: Option<TcpListener>) -> anyhow::Result<Self> {
        if let Some(listener) = handed {
            return Ok(Self { listener, inherited: true });
        }
        Ok(Self { listener: listen(&config.bind, "server.bind")?, inherited: false })
    }

    /// The one for `/metrics` alone, if the configuration wants one.
    pub fn for_metrics(config: &ServerConfig) -> anyhow::Result<Option<TcpListener>> {
        config.metrics_bind.as_ref().map(|it| listen(it, "server.metrics_bind")).transpose()
    }
}

/// Listens where the setting `key` says.
fn listen(address: &str, key: &'static str) -> anyhow::Result<TcpListener> {
    let mut last = None;
    for candidate in address.to_socket_addrs().context(key)? {
        match bind(candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let reason = last.map_or_else(|| "it names no address".to_owned(), |it| it.to_string());
    anyhow::bail!("can't listen on {address} ({key}): {reason}")
}

/// Binds an address that connections of an earlier server may still use, as the standard library
/// does. Its queue is longer than the one of the standard library.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}
