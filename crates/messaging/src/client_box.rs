//! A client's mailbox.

use std::sync::Arc;

use omgservers_api::{ClientId, DeploymentId, RuntimeId, UserId, roles::Delivery};
use omgservers_core::Ticks;

use crate::{
    ClientInfo,
    commit::Completion,
    inbox::{Inbox, Queue},
    journal::ClientRow,
};

/// What is known of a client. There may be hundreds of thousands: an idle one owns no memory elsewhere.
#[derive(Debug)]
pub(crate) struct ClientBox {
    pub(crate) user: UserId,
    pub(crate) deployment: DeploymentId,
    pub(crate) delivery: Delivery,
    pub(crate) route: Option<RuntimeId>,
    pub(crate) inbox: Inbox,
    /// What it said before it had a runtime.
    pub(crate) pending: Option<Box<Queue>>,
    /// Its own counter of the last message that was taken.
    pub(crate) last_seq: Option<u64>,
    /// When that message is durable.
    pub(crate) accepted: Option<Arc<Completion>>,
    /// When it was last heard of; of a closed one also: when it was closed.
    pub(crate) last_seen: Ticks,
}

impl ClientBox {
    pub(crate) fn new(user: UserId, deployment: DeploymentId, delivery: Delivery, now: Ticks) -> Self {
        Self {
            user,
            deployment,
            delivery,
            route: None,
            inbox: Inbox::default(),
            pending: None,
            last_seq: None,
            accepted: None,
            last_seen: now,
        }
    }

    pub(crate) fn info(&self) -> ClientInfo {
        ClientInfo {
            user: self.user,
            deployment: self.deployment,
            route: self.route,
            closed: self.inbox.closed,
            last_seen: self.last_seen,
        }
    }

    /// As the database keeps it.
    pub(crate) fn row(&self, client: ClientId) -> ClientRow {
        ClientRow {
            client,
            user: self.user,
            deployment: self.deployment,
            delivery: self.delivery,
            runtime: self.route,
            closed: self.inbox.closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_mailbox_is_small() {
        assert!(size_of::<ClientBox>() <= 192, "{}", size_of::<ClientBox>());
    }
}
