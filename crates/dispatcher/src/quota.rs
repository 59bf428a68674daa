//! Quota of a client in its runtime's queue, over all of its connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::bounds::QueueLimit;

/// Frames of one client that are queued for its runtime, and their limit.
pub(crate) struct ClientQuota {
    limit: QueueLimit,
    state: Mutex<State>,
    released: Notify,
}

#[derive(Default)]
struct State {
    frames: usize,
    bytes: usize,
    /// A text of the client waits for a permit.
    wants_permit: bool,
    /// The quota is on a list of blocked senders.
    is_listed: bool,
}

/// Permit for one queued frame; dropping it with the frame releases the quota.
pub(crate) struct Permit {
    quota: Arc<ClientQuota>,
    bytes: usize,
}

impl ClientQuota {
    pub(crate) fn new(limit: QueueLimit) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default(), released: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires a permit for a frame; `None` when the quota is used up. With `wait` the client is
    /// notified once half of the quota is free.
    pub(crate) fn acquire(self: &Arc<Self>, bytes: usize, wait: bool) -> Option<Permit> {
        let mut state = self.lock();
        if !self.limit.fits(state.frames, state.bytes, bytes) {
            state.wants_permit |= wait;
            return None;
        }
        state.frames = state.frames.saturating_add(1);
        state.bytes = state.bytes.saturating_add(bytes);
        Some(Permit { quota: Arc::clone(self), bytes })
    }

    /// Whether no frame of the client is queued.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().frames == 0
    }

    /// Waits until a blocked text may fit. For one waiter; cancel-safe.
    pub(crate) async fn released(&self) {
        self.released.notified().await;
    }

    /// Lets a blocked text try again.
    pub(crate) fn notify(&self) {
        self.lock().is_listed = false;
        self.released.notify_one();
    }

    /// Marks the quota as blocked; `false` when it is on a list of blocked senders already.
    pub(crate) fn mark_blocked(&self) -> bool {
        !std::mem::replace(&mut self.lock().is_listed, true)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.quota.lock();
        state.frames = state.frames.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(self.bytes);
        let notifies = state.wants_permit && self.quota.limit.is_half_free(state.frames, state.bytes);
        if notifies {
            state.wants_permit = false;
            drop(state);
            self.quota.released.notify_one();
        }
    }
}

/// Lets every blocked sender try again.
pub(crate) fn notify_all(blocked: Vec<Arc<ClientQuota>>) {
    for quota in blocked {
        quota.notify();
    }
}
