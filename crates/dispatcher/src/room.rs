//! A runtime and its players.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use omgservers_api::ClientId;
use tokio::time::Instant;

use crate::{
    peer::{Held, Peer},
    queue::Pushed,
};

/// The members of a room. A frame takes the lock for reading only.
#[derive(Default)]
pub(crate) struct Room {
    members: RwLock<Members>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
pub(crate) struct Members {
    pub(crate) runtime: Option<Arc<Peer>>,
    /// Ids are made by us, so that nobody can choose colliding ones.
    pub(crate) players: HashMap<ClientId, Arc<Peer>, foldhash::fast::RandomState>,
}

impl Members {
    pub(crate) fn is_empty(&self) -> bool {
        self.runtime.is_none() && self.players.is_empty()
    }
}

/// Frames for a runtime that isn't connected, oldest first. Each player's are bounded by its share.
#[derive(Default)]
struct Waiting(VecDeque<(Instant, Held)>);

impl Waiting {
    /// Says how many went.
    fn forget(&mut self, now: Instant, hold: Duration) -> usize {
        let before = self.0.len();
        while self.0.front().is_some_and(|it| now.duration_since(it.0) > hold) {
            self.0.pop_front();
        }
        before.saturating_sub(self.0.len())
    }
}

/// What became of a player's frame.
pub(crate) enum Sent {
    /// The runtime's queue has had it.
    Pushed(Pushed),
    /// It waits for the runtime; so many went because the runtime didn't come in time.
    Waits(usize),
}

impl Room {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Members> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// To the runtime, or to where frames wait for it.
    pub(crate) fn to_runtime(&self, held: Held, hold: Duration) -> Sent {
        let members = self.read();
        if let Some(runtime) = &members.runtime {
            return Sent::Pushed(runtime.push(held));
        }
        // Still under the lock, so that a runtime that comes now gets everything in its order.
        let now = Instant::now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = waiting.forget(now, hold);
        waiting.0.push_back((now, held));
        Sent::Waits(forgotten)
    }

    /// Makes a connection the runtime's and gives it what waits. The one that it takes the place of, and how many
    /// frames went.
    pub(crate) fn enter(&self, runtime: &Arc<Peer>, hold: Duration) -> (Option<Arc<Peer>>, usize) {
        let mut members = self.write();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = waiting.forget(Instant::now(), hold);
        for (_, held) in std::mem::take(&mut waiting.0) {
            lost = lost.saturating_add(match runtime.push(held) {
                Pushed::Taken(dropped) => dropped,
                Pushed::Dropped(dropped) | Pushed::Full(dropped) => dropped.saturating_add(1),
            });
        }
        (members.runtime.replace(Arc::clone(runtime)), lost)
    }
}
