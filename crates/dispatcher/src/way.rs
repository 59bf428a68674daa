//! What a client has on the way to its runtime, whatever connections it came by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::bounds::Room;

/// A client's part of the way to its runtime.
pub(crate) struct Way {
    most: Room,
    state: Mutex<State>,
    room: Notify,
}

#[derive(Default)]
struct State {
    frames: usize,
    bytes: usize,
    /// A text of it waits for room in its own part.
    wants: bool,
    /// It is on the list of somebody who wakes it when there is room.
    listed: bool,
}

/// Room for one frame, given back when the frame is sent or dropped.
pub(crate) struct Share {
    way: Arc<Way>,
    bytes: usize,
}

impl Way {
    pub(crate) fn new(most: Room) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::default(), room: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a frame of so many bytes; `None` when there isn't any. Who `waits` is woken when there may be.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize, waits: bool) -> Option<Share> {
        let mut state = self.lock();
        if !self.most.fits(state.frames, state.bytes, bytes) {
            state.wants |= waits;
            return None;
        }
        state.frames = state.frames.saturating_add(1);
        state.bytes = state.bytes.saturating_add(bytes);
        Some(Share { way: Arc::clone(self), bytes })
    }

    /// Whether nothing of it is on the way.
    pub(crate) fn is_idle(&self) -> bool {
        self.lock().frames == 0
    }

    /// Waits until there may be room. For one waiter; may be broken off and called again.
    pub(crate) async fn room(&self) {
        self.room.notified().await;
    }

    /// There may be room.
    pub(crate) fn wake(&self) {
        self.lock().listed = false;
        self.room.notify_one();
    }

    /// Whether it has to be put on a list of those to be woken.
    pub(crate) fn list(&self) -> bool {
        !std::mem::replace(&mut self.lock().listed, true)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.way.lock();
        state.frames = state.frames.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(self.bytes);
        let is_roomy = state.wants && self.way.most.is_roomy(state.frames, state.bytes);
        if is_roomy {
            state.wants = false;
            drop(state);
            self.way.room.notify_one();
        }
    }
}
