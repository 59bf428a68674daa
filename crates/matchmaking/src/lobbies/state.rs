//! What this process knows of the lobbies of a deployment.

use std::sync::Arc;

use omgservers_api::{ClientId, RuntimeId};
use omgservers_core::Ticks;
use omgservers_runtimes::Published;

/// A lobby.
#[derive(Debug, Clone)]
pub(crate) struct Lobby {
    pub(crate) runtime: RuntimeId,
    pub(crate) made: Ticks,
    pub(crate) closing: bool,
    /// Since when its game server polls, in this process.
    pub(crate) ready: Option<Ticks>,
    /// Where players connect to it directly.
    pub(crate) published: Option<Arc<Published>>,
}

impl Lobby {
    pub(crate) fn new(runtime: RuntimeId, made: Ticks, closing: bool) -> Self {
        Self { runtime, made, closing, ready: None, published: None }
    }
}

/// A client without a runtime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitingClient {
    pub(crate) client: ClientId,
    pub(crate) since: Ticks,
}
