//! What this process knows of the lobbies of a deployment.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use omgservers_api::{ClientId, LobbyId, RuntimeId};
use omgservers_core::Ticks;
use omgservers_runtimes::Published;

use crate::health::Failures;

/// The lobbies of a deployment and the clients that wait for one.
#[derive(Default)]
pub(crate) struct Lobbies {
    /// Whether this is what the database and the mailboxes have.
    pub(crate) loaded: bool,
    pub(crate) all: BTreeMap<LobbyId, Lobby>,
    pub(crate) waiting: VecDeque<WaitingClient>,
    /// Lobbies that failed in a row.
    pub(crate) failures: Failures,
}

/// A lobby.
#[derive(Debug, Clone)]
pub(crate) struct Lobby {
    pub(crate) runtime: RuntimeId,
    pub(crate) made: Ticks,
    pub(crate) closing: bool,
    /// When its game server began to take clients, in this process.
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
