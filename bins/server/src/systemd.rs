//! Reports the server's state to systemd, and takes over the listening socket that systemd holds
//! between two servers. Without systemd these functions do nothing.

use std::{net::TcpListener, time::Duration};

use anyhow::Context as _;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// The listening socket that was handed over, if any. To be called first in the process, while
/// there is one thread: it takes the variables out of the environment.
#[expect(clippy::disallowed_methods, reason = "the names of the sockets come in the environment")]
pub fn listener() -> anyhow::Result<Option<TcpListener>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let index = names.split(':').position(|it| it == "http").unwrap_or(0);
    let listener = ListenFd::from_env().take_tcp_listener(index);
    listener.context("the socket that systemd handed over is no listening TCP socket")
}

/// The server takes requests.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The server is about to stop.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("finishing requests")]);
}

/// What the server does, for `systemctl status`.
pub fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// Tells systemd regularly that the process is alive, if it wants to know, until `stop`.
pub async fn watchdog(stop: CancellationToken) {
    let mut microseconds = 0;
    if !sd_notify::watchdog_enabled(false, &mut microseconds) {
        return;
    }
    let mut tick = tokio::time::interval(Duration::from_micros(microseconds) / 3);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => notify(&[NotifyState::Watchdog]),
        }
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::debug!(%error, "systemd can't be told");
    }
}
