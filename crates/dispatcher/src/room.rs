//! Room: the connections of one runtime and its players.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use omgservers_api::ClientId;
use omgservers_ws::FrameKind;
use tokio::time::Instant;

use crate::{
    Bounds,
    peer::{Peer, QueuedFrame},
    queue::{FrameQueue, Pushed, QueueItem},
    quota::{ClientQuota, notify_all},
};

/// A fast hash is safe: the backend mints the ids, so nobody can choose colliding ones.
type ByClient<T> = HashMap<ClientId, Arc<T>, foldhash::fast::RandomState>;

/// Quotas of absent clients that a room keeps before it drops the idle ones.
const SPARE_QUOTAS: usize = 64;

/// Members of a room. A frame takes their lock for reading only.
#[derive(Default)]
pub(crate) struct Room {
    members: RwLock<Members>,
    backlog: Mutex<FrameBacklog>,
}

#[derive(Default)]
pub(crate) struct Members {
    pub(crate) runtime: Option<Arc<Peer>>,
    pub(crate) players: ByClient<Peer>,
    /// Quotas of present clients and of those whose frames are still queued.
    quotas: ByClient<ClientQuota>,
}

impl Members {
    pub(crate) fn is_empty(&self) -> bool {
        self.runtime.is_none() && self.players.is_empty()
    }

    /// Returns the quota of a client: the same for all of its connections.
    pub(crate) fn quota(&mut self, client: ClientId, bounds: &Bounds) -> Arc<ClientQuota> {
        if self.quotas.len() > self.players.len().saturating_mul(2).saturating_add(SPARE_QUOTAS) {
            self.quotas.retain(|it, quota| self.players.contains_key(it) || !quota.is_idle());
        }
        Arc::clone(self.quotas.entry(client).or_insert_with(|| ClientQuota::new(bounds.client_quota)))
    }

    /// Drops the quota of a client that has left, unless frames of it are queued.
    pub(crate) fn forget_quota(&mut self, client: ClientId) {
        if self.quotas.get(&client).is_some_and(|it| it.is_idle()) {
            self.quotas.remove(&client);
        }
    }

    #[cfg(test)]
    pub(crate) fn quotas(&self) -> usize {
        self.quotas.len()
    }
}

/// Frames for a runtime that isn't connected, within the limit of one that is.
#[derive(Default)]
struct FrameBacklog {
    queue: FrameQueue<BacklogEntry>,
    /// Clients whose text is blocked by the full backlog.
    blocked: Vec<Arc<ClientQuota>>,
}

/// Frame with the time at which it was queued.
struct BacklogEntry(Instant, QueuedFrame);

impl QueueItem for BacklogEntry {
    fn kind(&self) -> FrameKind {
        self.1.kind()
    }
    fn size(&self) -> usize {
        self.1.size()
    }
}

impl FrameBacklog {
    /// Drops frames that are too old at `now` and returns how many.
    fn expire(&mut self, now: Instant, backlog_time: Duration) -> usize {
        let mut expired: usize = 0;
        while self.queue.first().is_some_and(|it| now.duration_since(it.0) >= backlog_time) {
            self.queue.pop();
            expired = expired.saturating_add(1);
        }
        if expired > 0 {
            notify_all(std::mem::take(&mut self.blocked));
        }
        expired
    }
}

/// Outcome of a player's frame.
pub(crate) struct EnqueuedFrame {
    pub(crate) pushed: Pushed,
    /// Frames that were dropped because the runtime didn't connect in time.
    pub(crate) expired: usize,
}

impl Room {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Members> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn backlog(&self) -> MutexGuard<'_, FrameBacklog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame for the runtime, or in the backlog while none is connected. Notifies `quota`
    /// later when a text doesn't fit.
    pub(crate) fn to_runtime(
        &self,
        frame: QueuedFrame,
        quota: &Arc<ClientQuota>,
        bounds: &Bounds,
        now: Instant,
    ) -> EnqueuedFrame {
        let members = self.read();
        let frame = match &members.runtime {
            None => frame,
            Some(runtime) => match runtime.push(frame) {
                Ok(pushed) => {
                    if matches!(pushed, Pushed::Full(_)) {
                        runtime.notify_later(quota);
                    }
                    return EnqueuedFrame { pushed, expired: 0 };
                }
                // The runtime is about to leave; its next connection gets the frame.
                Err(frame) => frame,
            },
        };
        // Still under the members' lock. Otherwise a runtime that connects now could miss the
        // frame.
        let mut backlog = self.backlog();
        let expired = backlog.expire(now, bounds.backlog_time);
        let pushed = backlog.queue.push(BacklogEntry(now, frame), bounds.runtime);
        if matches!(pushed, Pushed::Full(_)) && quota.mark_blocked() {
            backlog.blocked.push(Arc::clone(quota));
        }
        EnqueuedFrame { pushed, expired }
    }

    /// Drops frames of the backlog that are too old at `now` and returns how many.
    pub(crate) fn expire(&self, now: Instant, backlog_time: Duration) -> usize {
        self.backlog().expire(now, backlog_time)
    }

    /// Returns when the oldest frame of the backlog will be too old.
    pub(crate) fn due(&self, backlog_time: Duration) -> Option<Instant> {
        let first = self.backlog().queue.first().map(|it| it.0)?;
        first.checked_add(backlog_time)
    }

    /// Makes a connection the runtime's and moves the backlog into its queue. Returns the
    /// connection that it replaces and how many frames were dropped.
    pub(crate) fn enter(
        &self,
        runtime: &Arc<Peer>,
        now: Instant,
        backlog_time: Duration,
    ) -> (Option<Arc<Peer>>, usize) {
        let mut members = self.write();
        let mut backlog = self.backlog();
        let mut lost = backlog.expire(now, backlog_time);
        while let Some(BacklogEntry(_, frame)) = backlog.queue.pop() {
            lost = lost.saturating_add(match runtime.push(frame) {
                Ok(Pushed::Queued(dropped)) => dropped,
                Ok(Pushed::Dropped(dropped) | Pushed::Full(dropped)) => dropped.saturating_add(1),
                Err(_) => 1,
            });
        }
        notify_all(std::mem::take(&mut backlog.blocked));
        (members.runtime.replace(Arc::clone(runtime)), lost)
    }

    /// Returns frames and bytes of the backlog.
    #[cfg(test)]
    pub(crate) fn backlog_size(&self) -> (usize, usize) {
        let backlog = self.backlog();
        (backlog.queue.len(), backlog.queue.bytes())
    }
}
