//! A runtime and its players.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use omgservers_api::ClientId;
use tokio::time::Instant;

use crate::{
    Bounds,
    peer::{Held, Peer},
    queue::{self, Pushed, Queue},
    way::Way,
    wire::Kind,
};

/// Ids are made by us, so that nobody can choose colliding ones.
type ByClient<T> = HashMap<ClientId, Arc<T>, foldhash::fast::RandomState>;

/// Clients that may be remembered though they aren't here, before somebody looks whether they have to be.
const SPARE_WAYS: usize = 64;

/// The members of a room. A frame takes the lock for reading only.
#[derive(Default)]
pub(crate) struct Room {
    members: RwLock<Members>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
pub(crate) struct Members {
    pub(crate) runtime: Option<Arc<Peer>>,
    pub(crate) players: ByClient<Peer>,
    /// What each client has on the way: of those that are here, and of those whose frames are still on it.
    ways: ByClient<Way>,
}

impl Members {
    pub(crate) fn is_empty(&self) -> bool {
        self.runtime.is_none() && self.players.is_empty()
    }

    /// The way of a client that comes: the same for all of its connections.
    pub(crate) fn way(&mut self, client: ClientId, bounds: &Bounds) -> Arc<Way> {
        if self.ways.len() > self.players.len().saturating_mul(2).saturating_add(SPARE_WAYS) {
            self.ways.retain(|it, way| self.players.contains_key(it) || !way.is_idle());
        }
        Arc::clone(self.ways.entry(client).or_insert_with(|| Way::new(bounds.share)))
    }

    /// A client has left.
    pub(crate) fn forget_way(&mut self, client: ClientId) {
        if self.ways.get(&client).is_some_and(|it| it.is_idle()) {
            self.ways.remove(&client);
        }
    }

    #[cfg(test)]
    pub(crate) fn ways(&self) -> usize {
        self.ways.len()
    }
}

/// Frames for a runtime that isn't connected, under the bounds of one that is.
#[derive(Default)]
struct Waiting {
    queue: Queue<Since>,
    /// Those whose text found no room.
    blocked: Vec<Arc<Way>>,
}

struct Since(Instant, Held);

impl queue::Waiting for Since {
    fn kind(&self) -> Kind {
        self.1.kind()
    }
    fn size(&self) -> usize {
        self.1.size()
    }
}

impl Waiting {
    /// Drops what has waited too long, and says how many that were.
    fn forget(&mut self, hold: Duration) -> usize {
        let now = Instant::now();
        let mut forgotten: usize = 0;
        while self.queue.first().is_some_and(|it| now.duration_since(it.0) >= hold) {
            self.queue.pop();
            forgotten = forgotten.saturating_add(1);
        }
        if forgotten > 0 {
            wake(std::mem::take(&mut self.blocked));
        }
        forgotten
    }
}

/// Lets everybody who waits for room try again.
pub(crate) fn wake(blocked: Vec<Arc<Way>>) {
    for way in blocked {
        way.wake();
    }
}

/// What became of a player's frame.
pub(crate) struct Sent {
    pub(crate) pushed: Pushed,
    /// So many others went because the runtime didn't come in time.
    pub(crate) forgotten: usize,
}

impl Room {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Members> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Members> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To the runtime, or to where frames wait for it. `way` is woken when a text that finds no room may find some.
    pub(crate) fn to_runtime(&self, held: Held, way: &Arc<Way>, bounds: &Bounds) -> Sent {
        let members = self.read();
        let held = match &members.runtime {
            None => held,
            Some(runtime) => match runtime.push(held) {
                Ok(pushed) => {
                    if matches!(pushed, Pushed::Full(_)) {
                        runtime.wake_later(way);
                    }
                    return Sent { pushed, forgotten: 0 };
                }
                // It is about to leave: the next one gets it.
                Err(held) => held,
            },
        };
        // Still under the lock, so that a runtime that comes now gets everything in its order.
        let mut waiting = self.waiting();
        let forgotten = waiting.forget(bounds.hold);
        let pushed = waiting.queue.push(Since(Instant::now(), held), bounds.runtime);
        if matches!(pushed, Pushed::Full(_)) && way.list() {
            waiting.blocked.push(Arc::clone(way));
        }
        Sent { pushed, forgotten }
    }

    /// Drops what has waited too long for a runtime, and says how many frames that were.
    pub(crate) fn forget(&self, hold: Duration) -> usize {
        self.waiting().forget(hold)
    }

    /// When the next of what waits for a runtime will have waited too long.
    pub(crate) fn due(&self, hold: Duration) -> Option<Instant> {
        let first = self.waiting().queue.first().map(|it| it.0)?;
        first.checked_add(hold)
    }

    /// Makes a connection the runtime's and gives it what waits. The one that it takes the place of, and how many
    /// frames went.
    pub(crate) fn enter(&self, runtime: &Arc<Peer>, hold: Duration) -> (Option<Arc<Peer>>, usize) {
        let mut members = self.write();
        let mut waiting = self.waiting();
        let mut lost = waiting.forget(hold);
        while let Some(Since(_, held)) = waiting.queue.pop() {
            lost = lost.saturating_add(match runtime.push(held) {
                Ok(Pushed::Taken(dropped)) => dropped,
                Ok(Pushed::Dropped(dropped) | Pushed::Full(dropped)) => dropped.saturating_add(1),
                Err(_) => 1,
            });
        }
        wake(std::mem::take(&mut waiting.blocked));
        (members.runtime.replace(Arc::clone(runtime)), lost)
    }

    /// Frames and bytes that wait for a runtime.
    #[cfg(test)]
    pub(crate) fn waits(&self) -> (usize, usize) {
        let waiting = self.waiting();
        (waiting.queue.len(), waiting.queue.bytes())
    }
}
