//! A runtime's mailbox.

use std::{collections::BTreeSet, sync::Arc};

use omgservers_api::{ClientId, DeploymentId, Problem, RuntimeId, ids::SenderSeq, roles::Delivery};
use omgservers_core::Ticks;

use crate::{RuntimeInfo, ack::Completion, inbox::Inbox, journal::RuntimeRow, problems};

/// The state of a runtime.
#[derive(Debug)]
pub(crate) struct RuntimeBox {
    pub(crate) deployment: DeploymentId,
    pub(crate) delivery: Delivery,
    /// The epoch of its slot when it was opened. Durable: a token of its game server names it.
    pub(crate) opened: u64,
    pub(crate) inbox: Inbox,
    /// Its clients: exactly those whose route is this runtime.
    pub(crate) clients: BTreeSet<ClientId>,
    /// Its own counter of the last command that was accepted.
    pub(crate) last_seq: Option<u64>,
    /// The completion of that command.
    pub(crate) accepted: Option<Arc<Completion>>,
    /// The completion of the messages that it sent last.
    pub(crate) last_sent: Option<Arc<Completion>>,
    /// The completion of the last command of the backend to the runtime; dropped some time after it
    /// is durable.
    pub(crate) last_control: Option<Arc<Completion>>,
    /// The time of its last interchange.
    pub(crate) last_seen: Option<Ticks>,
}

impl RuntimeBox {
    pub(crate) fn new(deployment: DeploymentId, delivery: Delivery, opened: u64) -> Self {
        Self {
            deployment,
            delivery,
            opened,
            inbox: Inbox::default(),
            clients: BTreeSet::new(),
            last_seq: None,
            accepted: None,
            last_sent: None,
            last_control: None,
            last_seen: None,
        }
    }

    pub(crate) fn info(&self) -> RuntimeInfo {
        RuntimeInfo {
            deployment: self.deployment,
            clients: self.clients.len(),
            opened: self.opened,
            last_seen: self.last_seen,
            last_seq: self.last_seq.map(SenderSeq),
            unconsumed_bytes: self.inbox.queue.bytes(),
        }
    }

    /// The row that the database stores.
    pub(crate) fn row(&self, runtime: RuntimeId) -> RuntimeRow {
        RuntimeRow {
            runtime,
            deployment: self.deployment,
            delivery: self.delivery,
            opened: self.opened,
            closed: self.inbox.closed,
        }
    }
}

/// The mailbox, if it is open. Problems: `messaging.runtime_not_found`.
pub(crate) fn open(mailbox: Option<&mut RuntimeBox>) -> Result<&mut RuntimeBox, Problem> {
    mailbox.filter(|it| !it.inbox.closed).ok_or_else(|| problems::RUNTIME_NOT_FOUND.into())
}
