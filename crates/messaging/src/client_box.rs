//! A client's mailbox.

use std::sync::Arc;

use omgservers_api::{ClientId, DeploymentId, Problem, RuntimeId, UserId, roles::Delivery};
use omgservers_core::Ticks;
use tokio::sync::watch;

use crate::{
    AssignmentStatus, ClientInfo, StreamPosition,
    ack::Completion,
    inbox::{Inbox, Queue},
    journal::ClientRow,
    problems,
};

/// The state of a client. There may be hundreds of thousands: an idle one owns no memory elsewhere.
#[derive(Debug)]
pub(crate) struct ClientBox {
    pub(crate) user: UserId,
    pub(crate) deployment: DeploymentId,
    pub(crate) delivery: Delivery,
    pub(crate) route: Option<RuntimeId>,
    /// The number of the newest assignment. It grows by one with each decision, and is as durable
    /// as the route.
    pub(crate) assignment: u64,
    pub(crate) inbox: Inbox,
    /// The messages that it sent before it had a runtime.
    pub(crate) pending: Option<Box<Queue>>,
    /// Its newest stream, and the next send of it.
    stream: StreamPosition,
    /// Its own counter of the last message that was accepted.
    pub(crate) last_seq: Option<u64>,
    /// When that message is durable.
    pub(crate) accepted: Option<Arc<Completion>>,
    /// The completion of the last message of the backend to the client; dropped some time after it
    /// is durable.
    pub(crate) last_control: Option<Arc<Completion>>,
    /// The time of the client's last sign of life, or of its close.
    pub(crate) last_seen: Ticks,
    /// There is one only while a stream watches the assignment status.
    watch: Option<watch::Sender<AssignmentStatus>>,
}

impl ClientBox {
    pub(crate) fn new(user: UserId, deployment: DeploymentId, delivery: Delivery, now: Ticks) -> Self {
        Self {
            user,
            deployment,
            delivery,
            route: None,
            assignment: 0,
            inbox: Inbox::default(),
            pending: None,
            stream: StreamPosition::default(),
            last_seq: None,
            accepted: None,
            last_control: None,
            last_seen: now,
            watch: None,
        }
    }

    /// Counts a new assignment: the route has changed, or will.
    pub(crate) fn reassigned(&mut self) {
        self.assignment = self.assignment.saturating_add(1);
    }

    /// Opens a stream; an earlier one sends no more.
    pub(crate) fn open_stream(&mut self) -> StreamPosition {
        self.stream = StreamPosition { stream: self.stream.stream.wrapping_add(1), number: 0 };
        self.stream
    }

    /// Checks whether a send is the next of the newest stream. Problems:
    /// `messaging.stream_replaced`, `messaging.out_of_turn`.
    pub(crate) fn check_turn(&self, position: StreamPosition) -> Result<(), Problem> {
        if position == self.stream {
            Ok(())
        } else if position.stream < self.stream.stream {
            Err(problems::STREAM_REPLACED.into())
        } else {
            Err(problems::OUT_OF_TURN.into())
        }
    }

    /// The send of this position was accepted.
    pub(crate) fn end_turn(&mut self, position: StreamPosition) {
        self.stream = position.next();
    }

    fn status(&self) -> AssignmentStatus {
        let settled = self.route.is_some() || self.inbox.closed;
        let acknowledged = settled && !self.inbox.queue.has_status_message();
        AssignmentStatus { assignment: self.assignment, acknowledged }
    }

    /// Watches its status.
    pub(crate) fn watch(&mut self) -> watch::Receiver<AssignmentStatus> {
        let status = self.status();
        self.watch.get_or_insert_with(|| watch::Sender::new(status)).subscribe()
    }

    /// Publishes the status to the watchers.
    pub(crate) fn publish(&mut self) {
        let Some(watch) = &self.watch else { return };
        if watch.receiver_count() == 0 {
            self.watch = None;
            return;
        }
        let status = self.status();
        watch.send_if_modified(|it| std::mem::replace(it, status) != status);
    }

    pub(crate) fn info(&self) -> ClientInfo {
        ClientInfo {
            user: self.user,
            deployment: self.deployment,
            route: self.route,
            assignment: self.assignment,
            closed: self.inbox.closed,
            last_seen: self.last_seen,
            unconsumed_bytes: self.inbox.queue.bytes(),
            pending_bytes: self.pending.as_ref().map_or(0, |it| it.bytes()),
        }
    }

    /// The row that the database stores.
    pub(crate) fn row(&self, client: ClientId) -> ClientRow {
        ClientRow {
            client,
            user: self.user,
            deployment: self.deployment,
            delivery: self.delivery,
            runtime: self.route,
            assignment: self.assignment,
            closed: self.inbox.closed,
        }
    }
}

/// The mailbox, if it is the user's. Problems: `messaging.client_not_found`,
/// `messaging.foreign_client`.
pub(crate) fn owned(mailbox: Option<&mut ClientBox>, user: UserId) -> Result<&mut ClientBox, Problem> {
    let mailbox = mailbox.ok_or(problems::CLIENT_NOT_FOUND)?;
    if mailbox.user == user { Ok(mailbox) } else { Err(problems::FOREIGN_CLIENT.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_mailbox_is_small() {
        assert!(size_of::<ClientBox>() <= 192, "{}", size_of::<ClientBox>());
    }
}
