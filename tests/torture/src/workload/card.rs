//! What is known of a player and of a game server, by all.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use omgservers_api::{ClientId, RuntimeId};

use super::lock;

/// A player.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) client: u64,
    pub(crate) client_id: ClientId,
    pub(crate) user: u64,
    pub(crate) user_id: String,
    pub(crate) password: String,
    pub(crate) token: Mutex<String>,
    /// Sent and not acknowledged.
    pub(crate) unacknowledged: AtomicU64,
    /// Sent and not given up, and received by no game server.
    unsettled: Mutex<HashSet<u64>>,
    /// It shall send nothing until it is assigned again: its game server wants to send it away.
    pub(crate) mute: AtomicBool,
    /// A ticket request is under way, or a ticket is open.
    pub(crate) has_ticket: AtomicBool,
    pub(crate) profiles: AtomicU64,
    /// Its last assigned game server; 0 before.
    pub(crate) runtime: AtomicU64,
    /// It has sent what it was to send.
    pub(crate) filled: AtomicBool,
    pub(crate) over: AtomicBool,
    served: Mutex<Option<Instant>>,
}

impl Card {
    pub(crate) fn new(client_id: ClientId, client: u64, user: u64, password: String, token: String) -> Self {
        Self {
            client,
            client_id,
            user,
            user_id: user.to_string(),
            password,
            token: Mutex::new(token),
            unacknowledged: AtomicU64::new(0),
            unsettled: Mutex::default(),
            mute: AtomicBool::new(false),
            has_ticket: AtomicBool::new(false),
            profiles: AtomicU64::new(0),
            runtime: AtomicU64::new(0),
            filled: AtomicBool::new(false),
            over: AtomicBool::new(false),
            served: Mutex::new(None),
        }
    }

    pub(crate) fn token(&self) -> String {
        lock(&self.token).clone()
    }

    pub(crate) fn sent(&self, number: u64) {
        lock(&self.unsettled).insert(number);
    }

    /// A game server has it, or it was given up.
    pub(crate) fn settle(&self, number: u64) {
        lock(&self.unsettled).remove(&number);
    }

    /// Whether all that it sent has arrived and was acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.unacknowledged.load(Ordering::Acquire) == 0 && lock(&self.unsettled).is_empty()
    }

    /// A request that was begun then was answered.
    pub(crate) fn serve(&self, begun: Instant) {
        let mut served = lock(&self.served);
        *served = (*served).max(Some(begun));
    }

    pub(crate) fn served_since(&self, when: Instant) -> bool {
        self.over.load(Ordering::Acquire) || lock(&self.served).is_some_and(|it| it >= when)
    }
}

/// A game server.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) runtime: u64,
    pub(crate) runtime_id: RuntimeId,
    pub(crate) password: String,
    pub(crate) container: String,
    pub(crate) is_match: bool,
    /// It does nothing, as its container.
    pub(crate) frozen: AtomicBool,
    /// Commands that were not answered.
    pub(crate) queued: AtomicU64,
    pub(crate) filled: AtomicBool,
    over: AtomicBool,
    served: Mutex<Option<Instant>>,
}

impl Seat {
    pub(crate) fn new(
        runtime_id: RuntimeId,
        runtime: u64,
        password: String,
        container: String,
        is_match: bool,
    ) -> Self {
        Self {
            runtime,
            runtime_id,
            password,
            container,
            is_match,
            frozen: AtomicBool::new(false),
            queued: AtomicU64::new(0),
            filled: AtomicBool::new(false),
            over: AtomicBool::new(false),
            served: Mutex::new(None),
        }
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(crate) fn serve(&self, begun: Instant) {
        let mut served = lock(&self.served);
        *served = (*served).max(Some(begun));
    }

    pub(crate) fn served_since(&self, when: Instant) -> bool {
        self.is_over() || lock(&self.served).is_some_and(|it| it >= when)
    }
}
