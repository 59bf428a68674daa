//! All rooms of this process.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use omgservers_api::{ClientId, RuntimeId, ids::Id};

use crate::{
    Assignment, Bounds, Closing, Connection, connection::Who, meters::Meters, peer::Peer, room::Room,
    way::Way,
};

/// The rooms of this process. A connection holds its room, so frames never come here.
pub struct Dispatcher {
    rooms: Shards<RuntimeId, Arc<Room>>,
    /// The newest connection of each client.
    seats: Shards<ClientId, Arc<Peer>>,
    pub(crate) bounds: Bounds,
    pub(crate) meters: Meters,
    stopping: AtomicBool,
    open: AtomicUsize,
}

/// The server stops: nobody gets in any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

impl Dispatcher {
    /// Without any room. The metrics recorder must be installed before.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            rooms: Shards::new(),
            seats: Shards::new(),
            bounds,
            meters: Meters::new(),
            stopping: AtomicBool::new(false),
            open: AtomicUsize::new(0),
        })
    }

    /// The bounds that connections keep.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// How many rooms there are, for operators.
    pub fn rooms(&self) -> usize {
        (0..SHARDS).map(|it| self.rooms.lock_at(it).len()).sum()
    }

    /// Connects a runtime. An earlier connection of it ends; its players stay, and what they have sent lately comes
    /// first.
    pub fn runtime(self: &Arc<Self>, runtime: RuntimeId) -> Result<Connection, Refused> {
        let peer = Peer::new(self.bounds.runtime, None);
        let (room, (earlier, lost)) = {
            let mut rooms = self.rooms.lock(runtime);
            let room = Arc::clone(rooms.entry(runtime).or_default());
            let entered = room.enter(&peer, self.bounds.hold);
            (room, entered)
        };
        self.meters.waiting(lost);
        self.end(earlier.as_deref(), Closing::Replaced);
        self.connected(peer, room, Way::new(self.bounds.share), Who::Runtime(runtime))
    }

    /// Connects a player to the room of a runtime, which needs not be there yet. An earlier connection of the client
    /// ends, in whichever room it is. Frames go only as long as `assignment` holds.
    pub fn player(
        self: &Arc<Self>,
        client: ClientId,
        runtime: RuntimeId,
        assignment: Box<dyn Assignment>,
    ) -> Result<Connection, Refused> {
        let peer = Peer::new(self.bounds.player, Some(assignment));
        let earlier = self.seats.lock(client).insert(client, Arc::clone(&peer));
        let (room, way) = {
            let mut rooms = self.rooms.lock(runtime);
            let room = Arc::clone(rooms.entry(runtime).or_default());
            let mut members = room.write();
            members.players.insert(client, Arc::clone(&peer));
            let way = members.way(client, &self.bounds);
            drop(members);
            (room, way)
        };
        self.end(earlier.as_deref(), Closing::Replaced);
        self.connected(peer, room, way, Who::Player(client, runtime))
    }

    fn connected(
        self: &Arc<Self>,
        peer: Arc<Peer>,
        room: Arc<Room>,
        way: Arc<Way>,
        who: Who,
    ) -> Result<Connection, Refused> {
        self.open.fetch_add(1, Ordering::AcqRel);
        who.side(&self.meters).open.increment(1);
        // From here on leaving is a matter of dropping it.
        let connection = Connection::new(Arc::clone(self), room, peer, way, who);
        // After it is in its room: whoever stops meanwhile finds it there, or it finds that.
        if self.stopping.load(Ordering::Acquire) { Err(Refused) } else { Ok(connection) }
    }

    /// Ends all connections, and lets nobody in any more.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        for index in 0..SHARDS {
            let rooms: Vec<_> = self.rooms.lock_at(index).values().cloned().collect();
            for room in rooms {
                let members = room.read();
                for peer in members.players.values().chain(&members.runtime) {
                    self.end(Some(peer), Closing::Stopping);
                }
            }
            // Those whose place in a room another one has taken.
            for peer in self.seats.lock_at(index).values() {
                self.end(Some(peer), Closing::Stopping);
            }
        }
    }

    pub(crate) fn end(&self, peer: Option<&Peer>, closing: Closing) {
        if peer.is_some_and(|it| it.close(closing)) {
            self.meters.closed(closing);
        }
    }

    /// Takes a connection out. Another one that took its place stays.
    pub(crate) fn leave(&self, who: Who, peer: &Arc<Peer>) {
        self.open.fetch_sub(1, Ordering::AcqRel);
        who.side(&self.meters).open.decrement(1);
        if let Who::Player(client, _) = who {
            let mut seats = self.seats.lock(client);
            if seats.get(&client).is_some_and(|it| Arc::ptr_eq(it, peer)) {
                seats.remove(&client);
            }
        }
        let runtime = who.runtime();
        let mut rooms = self.rooms.lock(runtime);
        let Some(room) = rooms.get(&runtime) else { return };
        let mut members = room.write();
        match who {
            Who::Runtime(_) => {
                members.runtime.take_if(|it| Arc::ptr_eq(it, peer));
            }
            Who::Player(client, _) => {
                if members.players.get(&client).is_some_and(|it| Arc::ptr_eq(it, peer)) {
                    members.players.remove(&client);
                    members.forget_way(client);
                }
            }
        }
        let is_empty = members.is_empty();
        drop(members);
        if is_empty {
            rooms.remove(&runtime);
        }
    }

    /// Frames and bytes that wait for a runtime that isn't connected.
    #[cfg(test)]
    pub(crate) fn waits(&self, runtime: RuntimeId) -> (usize, usize) {
        self.rooms.lock(runtime).get(&runtime).map_or((0, 0), |it| it.waits())
    }

    /// Clients of a room that are remembered.
    #[cfg(test)]
    pub(crate) fn ways(&self, runtime: RuntimeId) -> usize {
        self.rooms.lock(runtime).get(&runtime).map_or(0, |it| it.read().ways())
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> (usize, usize) {
        let rooms = (0..SHARDS).map(|it| self.rooms.lock_at(it).len()).sum();
        (rooms, (0..SHARDS).map(|it| self.seats.lock_at(it).len()).sum())
    }
}

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;

/// A map in shards, each with a lock of its own.
struct Shards<K, V>(Vec<Mutex<Map<K, V>>>);

impl<K: Id + Hash, V> Shards<K, V> {
    fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    fn lock(&self, id: K) -> MutexGuard<'_, Map<K, V>> {
        // Ids of one slot are a counter, and a multiplication spreads them.
        let spread = id.get().unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.lock_at(usize::try_from(spread >> (u64::BITS - SHARD_BITS)).unwrap_or(0))
    }

    #[expect(clippy::indexing_slicing, reason = "an index has six bits, and there are as many shards")]
    fn lock_at(&self, index: usize) -> MutexGuard<'_, Map<K, V>> {
        self.0[index & (SHARDS - 1)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
