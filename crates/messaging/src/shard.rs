//! Maps by id in shards, each with a lock of its own.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use omgservers_api::{ClientId, RuntimeId, Slot, ids::Id};
use smallvec::SmallVec;

use crate::{client_box::ClientBox, runtime_box::RuntimeBox};

/// The backend makes the ids, so no caller can choose colliding ones; a fast hash is enough.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Shards sit in cache lines of their own, so that neighbours don't slow each other down.
#[repr(align(128))]
struct Shard<K, V>(Mutex<Map<K, V>>);

/// A map by mailbox id in [`SHARDS`] shards.
pub(crate) struct MailboxShards<K, V>(Vec<Shard<K, V>>);

/// Clients' mailboxes.
pub(crate) type ClientShards = MailboxShards<ClientId, ClientBox>;
/// Runtimes' mailboxes.
pub(crate) type RuntimeShards = MailboxShards<RuntimeId, RuntimeBox>;

/// One locked shard.
pub(crate) type Guard<'a, K, V> = MutexGuard<'a, Map<K, V>>;

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;

/// The shard of an id: the ids of one slot are a counter, and a multiplication spreads them.
fn shard_of(id: impl Id) -> usize {
    let spread = id.get().unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from(spread >> (u64::BITS - SHARD_BITS)).unwrap_or(0)
}

impl<K: Id + Hash, V> MailboxShards<K, V> {
    pub(crate) fn new() -> Self {
        Self((0..SHARDS).map(|_| Shard(Mutex::new(Map::default()))).collect())
    }

    /// Locks the shard of an id.
    pub(crate) fn lock(&self, id: K) -> Guard<'_, K, V> {
        self.lock_at(shard_of(id))
    }

    #[expect(clippy::indexing_slicing, reason = "an index has six bits, and there are as many shards")]
    pub(crate) fn lock_at(&self, index: usize) -> Guard<'_, K, V> {
        self.0[index & (SHARDS - 1)].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the shards of these ids, always in the same order.
    pub(crate) fn lock_some(&self, ids: impl IntoIterator<Item = K>) -> Locked<'_, K, V> {
        let mut indices: SmallVec<[usize; 1]> = ids.into_iter().map(shard_of).collect();
        indices.sort_unstable();
        indices.dedup();
        Locked(indices.into_iter().map(|it| (it, self.lock_at(it))).collect())
    }

    /// Locks all shards.
    pub(crate) fn lock_all(&self) -> Locked<'_, K, V> {
        Locked((0..SHARDS).map(|it| (it, self.lock_at(it))).collect())
    }

    /// Waits for the release of every lock that was taken before.
    pub(crate) fn pass(&self) {
        for index in 0..SHARDS {
            drop(self.lock_at(index));
        }
    }

    /// Takes out all values of a slot. Locks one shard at a time.
    pub(crate) fn remove_slot(&self, slot: Slot) -> Vec<(K, V)> {
        let mut removed = Vec::new();
        for index in 0..SHARDS {
            removed.extend(self.lock_at(index).extract_if(|id, _| id.slot() == slot));
        }
        removed
    }

    /// What `read` makes of each value of a slot, in no order. Locks one shard at a time.
    pub(crate) fn collect_slot<T>(&self, slot: Slot, mut read: impl FnMut(&V) -> Option<T>) -> Vec<(K, T)> {
        let mut all = Vec::new();
        for index in 0..SHARDS {
            let shard = self.lock_at(index);
            let of_slot = shard.iter().filter(|it| it.0.slot() == slot);
            all.extend(of_slot.filter_map(|(id, it)| Some((*id, read(it)?))));
        }
        all
    }

    /// Visits each value, in no order. Locks one shard at a time.
    pub(crate) fn each(&self, mut visit: impl FnMut(&V)) {
        for index in 0..SHARDS {
            self.lock_at(index).values().for_each(&mut visit);
        }
    }

    /// What `read` makes of each value, by id. Locks one shard at a time.
    pub(crate) fn collect<T>(&self, mut read: impl FnMut(&V) -> Option<T>) -> Vec<(K, T)> {
        let mut all = Vec::new();
        for index in 0..SHARDS {
            all.extend(self.lock_at(index).iter().filter_map(|(id, it)| Some((*id, read(it)?))));
        }
        all.sort_unstable_by_key(|it| it.0);
        all
    }
}

/// Several locked shards.
pub(crate) struct Locked<'a, K, V>(SmallVec<[(usize, Guard<'a, K, V>); 1]>);

impl<K: Id + Hash, V> Locked<'_, K, V> {
    fn map(&self, id: K) -> Option<&Map<K, V>> {
        let at = self.0.binary_search_by_key(&shard_of(id), |it| it.0).ok()?;
        self.0.get(at).map(|it| &*it.1)
    }

    fn map_mut(&mut self, id: K) -> Option<&mut Map<K, V>> {
        let at = self.0.binary_search_by_key(&shard_of(id), |it| it.0).ok()?;
        self.0.get_mut(at).map(|it| &mut *it.1)
    }

    /// A value; `None` also when its shard isn't locked.
    pub(crate) fn get(&self, id: K) -> Option<&V> {
        self.map(id)?.get(&id)
    }

    /// A value to change.
    pub(crate) fn get_mut(&mut self, id: K) -> Option<&mut V> {
        self.map_mut(id)?.get_mut(&id)
    }

    /// Adds a value.
    pub(crate) fn insert(&mut self, id: K, value: V) {
        if let Some(map) = self.map_mut(id) {
            map.insert(id, value);
        }
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, id: K) -> Option<V> {
        self.map_mut(id)?.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use omgservers_api::{
        ClientId, Slot,
        ids::{Id as _, compose},
    };

    use super::*;

    fn id(slot: u16, counter: u32) -> ClientId {
        let id = compose(Slot::new(slot).unwrap(), 3, counter).unwrap();
        ClientId::from_i64(i64::try_from(id.get()).unwrap()).unwrap()
    }

    #[test]
    fn ids_spread_over_the_shards_within_a_slot_and_across_slots() {
        let within = (1..=6_400).map(|it| id(7, it));
        let across = (0..256).flat_map(|slot| (1..=25).map(move |it| id(slot, it)));
        for ids in [within.collect::<Vec<_>>(), across.collect()] {
            let mut found = [0_usize; SHARDS];
            ids.iter().for_each(|it| found[shard_of(*it)] += 1);
            assert!(found.iter().all(|it| (40..=200).contains(it)), "{found:?}");
        }
    }

    #[test]
    fn what_is_not_locked_is_not_seen() {
        let shards = MailboxShards::<ClientId, u8>::new();
        let (one, other) =
            (id(1, 1), (2..).map(|it| id(1, it)).find(|it| shard_of(*it) != shard_of(id(1, 1))).unwrap());
        shards.lock(one).insert(one, 1);
        shards.lock(other).insert(other, 2);
        let mut locked = shards.lock_some([one, one]);
        assert_eq!(locked.get(one), Some(&1));
        assert_eq!(locked.get_mut(other), None);
        assert_eq!(locked.remove(one), Some(1));
        locked.insert(one, 3);
        drop(locked);
        assert_eq!(shards.collect(|it| Some(*it)).len(), 2);
        assert_eq!(shards.lock_all().get(other), Some(&2));
    }
}
