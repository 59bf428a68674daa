//! Every room of this process.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use omgservers_api::{ClientId, RuntimeId, ids::Id};
use tokio::time::Instant;

use crate::{
    Assignment, Bounds, Closing, RoomConnection, connection::RoomMember, meters::Meters, peer::Peer,
    quota::ClientQuota, room::Room,
};

/// Rooms of this process. A connection holds its room, so frames take no lock of this.
pub struct Dispatcher {
    rooms: ShardedMap<RuntimeId, Arc<Room>>,
    /// Newest connection of each client.
    newest: ShardedMap<ClientId, Arc<Peer>>,
    pub(crate) bounds: Bounds,
    pub(crate) meters: Meters,
    stopping: AtomicBool,
    open: AtomicUsize,
}

/// The dispatcher stops and accepts no connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl Dispatcher {
    /// Creates a dispatcher without rooms. The metrics recorder must be installed before.
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            rooms: ShardedMap::new(),
            newest: ShardedMap::new(),
            bounds,
            meters: Meters::new(),
            stopping: AtomicBool::new(false),
            open: AtomicUsize::new(0),
        })
    }

    /// Returns the bounds of its connections.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Returns the number of open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Returns the number of rooms.
    pub fn rooms(&self) -> usize {
        (0..SHARDS).map(|it| self.rooms.lock_at(it).len()).sum()
    }

    /// Connects a runtime and ends its earlier connection. Its players stay; the frames of the
    /// backlog come first.
    pub fn runtime(self: &Arc<Self>, runtime: RuntimeId) -> Result<RoomConnection, Stopped> {
        let peer = Peer::new(self.bounds.runtime, None);
        let (room, (earlier, lost)) = {
            let mut rooms = self.rooms.lock(runtime);
            let room = Arc::clone(rooms.entry(runtime).or_default());
            let entered = room.enter(&peer, Instant::now(), self.bounds.backlog_time);
            (room, entered)
        };
        self.meters.expired(lost);
        self.end(earlier.as_deref(), Closing::Replaced);
        self.connected(peer, room, ClientQuota::new(self.bounds.client_quota), RoomMember::Runtime(runtime))
    }

    /// Connects a player to the room of a runtime, which need not be connected yet. Ends the
    /// client's earlier connection, in whichever room it is. Frames pass only while `assignment`
    /// holds.
    pub fn player(
        self: &Arc<Self>,
        client: ClientId,
        runtime: RuntimeId,
        assignment: Box<dyn Assignment>,
    ) -> Result<RoomConnection, Stopped> {
        let peer = Peer::new(self.bounds.player, Some(assignment));
        let earlier = self.newest.lock(client).insert(client, Arc::clone(&peer));
        let (room, quota) = {
            let mut rooms = self.rooms.lock(runtime);
            let room = Arc::clone(rooms.entry(runtime).or_default());
            let mut members = room.write();
            members.players.insert(client, Arc::clone(&peer));
            let quota = members.quota(client, &self.bounds);
            drop(members);
            (room, quota)
        };
        self.end(earlier.as_deref(), Closing::Replaced);
        self.connected(peer, room, quota, RoomMember::Player(client, runtime))
    }

    fn connected(
        self: &Arc<Self>,
        peer: Arc<Peer>,
        room: Arc<Room>,
        quota: Arc<ClientQuota>,
        member: RoomMember,
    ) -> Result<RoomConnection, Stopped> {
        self.open.fetch_add(1, Ordering::AcqRel);
        member.side(&self.meters).open.increment(1);
        // From here on, dropping the connection leaves the room.
        let connection = RoomConnection::new(Arc::clone(self), room, peer, quota, member);
        // Checked after entering the room: either `stop` finds the connection or this sees
        // `stopping`.
        if self.stopping.load(Ordering::Acquire) { Err(Stopped) } else { Ok(connection) }
    }

    /// Ends all connections and accepts no further ones.
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
            // Connections that another one replaced in their room.
            for peer in self.newest.lock_at(index).values() {
                self.end(Some(peer), Closing::Stopping);
            }
        }
    }

    pub(crate) fn end(&self, peer: Option<&Peer>, closing: Closing) {
        if peer.is_some_and(|it| it.close(closing)) {
            self.meters.closed(closing);
        }
    }

    /// Removes a connection from its room. A connection that replaced it stays.
    pub(crate) fn leave(&self, member: RoomMember, peer: &Arc<Peer>) {
        self.open.fetch_sub(1, Ordering::AcqRel);
        member.side(&self.meters).open.decrement(1);
        if let RoomMember::Player(client, _) = member {
            let mut newest = self.newest.lock(client);
            if newest.get(&client).is_some_and(|it| Arc::ptr_eq(it, peer)) {
                newest.remove(&client);
            }
        }
        let runtime = member.runtime();
        let mut rooms = self.rooms.lock(runtime);
        let Some(room) = rooms.get(&runtime) else { return };
        let mut members = room.write();
        match member {
            RoomMember::Runtime(_) => {
                members.runtime.take_if(|it| Arc::ptr_eq(it, peer));
            }
            RoomMember::Player(client, _) => {
                if members.players.get(&client).is_some_and(|it| Arc::ptr_eq(it, peer)) {
                    members.players.remove(&client);
                    members.forget_quota(client);
                }
            }
        }
        let is_empty = members.is_empty();
        drop(members);
        if is_empty {
            rooms.remove(&runtime);
        }
    }

    /// Returns frames and bytes of a runtime's backlog.
    #[cfg(test)]
    pub(crate) fn backlog_size(&self, runtime: RuntimeId) -> (usize, usize) {
        self.rooms.lock(runtime).get(&runtime).map_or((0, 0), |it| it.backlog_size())
    }

    /// Returns the number of quotas that a room keeps.
    #[cfg(test)]
    pub(crate) fn quotas(&self, runtime: RuntimeId) -> usize {
        self.rooms.lock(runtime).get(&runtime).map_or(0, |it| it.read().quotas())
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> (usize, usize) {
        let rooms = (0..SHARDS).map(|it| self.rooms.lock_at(it).len()).sum();
        (rooms, (0..SHARDS).map(|it| self.newest.lock_at(it).len()).sum())
    }
}

type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;

/// Map in shards, each with its own lock.
struct ShardedMap<K, V>(Vec<Mutex<FastMap<K, V>>>);

impl<K: Id + Hash, V> ShardedMap<K, V> {
    fn new() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }

    fn lock(&self, id: K) -> MutexGuard<'_, FastMap<K, V>> {
        // Ids of one slot are consecutive; the multiplication spreads them.
        let spread = id.get().unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.lock_at(usize::try_from(spread >> (u64::BITS - SHARD_BITS)).unwrap_or(0))
    }

    #[expect(clippy::indexing_slicing, reason = "an index has six bits, and there are as many shards")]
    fn lock_at(&self, index: usize) -> MutexGuard<'_, FastMap<K, V>> {
        self.0[index & (SHARDS - 1)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
