//! A client's mailbox.

use std::sync::Arc;

use omgservers_api::{ClientId, DeploymentId, RuntimeId, UserId, roles::Delivery};
use omgservers_core::Ticks;
use tokio::sync::watch;

use crate::{
    ClientInfo, Standing,
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
    /// Changes with the route, and never comes back.
    pub(crate) assigned: u64,
    pub(crate) inbox: Inbox,
    /// What it said before it had a runtime.
    pub(crate) pending: Option<Box<Queue>>,
    /// Its own counter of the last message that was taken.
    pub(crate) last_seq: Option<u64>,
    /// When that message is durable.
    pub(crate) accepted: Option<Arc<Completion>>,
    /// When what the backend told it last is durable; forgotten some time after that.
    pub(crate) told: Option<Arc<Completion>>,
    /// When it was last heard of; of a closed one also: when it was closed.
    pub(crate) last_seen: Ticks,
    /// There is one only while somebody follows where it stands.
    watch: Option<watch::Sender<Standing>>,
}

impl ClientBox {
    /// `epoch` is that of the client's slot.
    pub(crate) fn new(
        user: UserId,
        deployment: DeploymentId,
        delivery: Delivery,
        now: Ticks,
        epoch: u64,
    ) -> Self {
        Self {
            user,
            deployment,
            delivery,
            route: None,
            assigned: epoch << 32,
            inbox: Inbox::default(),
            pending: None,
            last_seq: None,
            accepted: None,
            told: None,
            last_seen: now,
            watch: None,
        }
    }

    /// Its route has changed, or will.
    pub(crate) fn reassigned(&mut self) {
        self.assigned = self.assigned.saturating_add(1);
    }

    fn standing(&self) -> Standing {
        let somewhere = self.route.is_some() || self.inbox.closed;
        Standing { assigned: self.assigned, told: somewhere && !self.inbox.queue.announces() }
    }

    /// Follows where it stands.
    pub(crate) fn follow(&mut self) -> watch::Receiver<Standing> {
        let standing = self.standing();
        self.watch.get_or_insert_with(|| watch::Sender::new(standing)).subscribe()
    }

    /// Tells those who follow it.
    pub(crate) fn publish(&mut self) {
        let Some(watch) = &self.watch else { return };
        if watch.receiver_count() == 0 {
            self.watch = None;
            return;
        }
        let standing = self.standing();
        watch.send_if_modified(|it| std::mem::replace(it, standing) != standing);
    }

    pub(crate) fn info(&self) -> ClientInfo {
        ClientInfo {
            user: self.user,
            deployment: self.deployment,
            route: self.route,
            assigned: self.assigned,
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
