//! Finds idle clients without a visit to every mailbox.
//!
//! A heap has the clients by their last sign of life *when they were put in*. A later sign of life
//! doesn't touch the heap. When such a client comes to the top, the tracker puts it back with its
//! newer time.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Mutex, PoisonError},
};

use omgservers_api::ClientId;
use omgservers_core::Ticks;

/// Clients by the time of their last sign of life.
#[derive(Debug, Default)]
pub(crate) struct IdleTracker(Mutex<BinaryHeap<Reverse<(Ticks, ClientId)>>>);

impl IdleTracker {
    /// Watches a client.
    pub(crate) fn watch(&self, client: ClientId, last_seen: Ticks) {
        self.watch_all([(client, last_seen)]);
    }

    /// Watches clients.
    pub(crate) fn watch_all(&self, clients: impl IntoIterator<Item = (ClientId, Ticks)>) {
        let mut heap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heap.extend(clients.into_iter().map(|(client, last_seen)| Reverse((last_seen, client))));
    }

    fn oldest(&self, before: Ticks) -> Option<ClientId> {
        let mut heap = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Reverse((last_seen, _)) = heap.peek()?;
        if *last_seen < before { heap.pop().map(|it| it.0.1) } else { None }
    }

    /// At most `most` clients without a sign of life since `before`. `last_seen` answers the
    /// present time of a client; `None` means that the client isn't watched any more. It is called
    /// without the heap's lock.
    pub(crate) fn since(
        &self,
        before: Ticks,
        most: usize,
        last_seen: impl Fn(ClientId) -> Option<Ticks>,
    ) -> Vec<ClientId> {
        let mut idle = Vec::new();
        while idle.len() < most {
            let Some(client) = self.oldest(before) else { break };
            match last_seen(client) {
                Some(seen) if seen >= before => self.watch(client, seen),
                Some(seen) => idle.push((client, seen)),
                None => {}
            }
        }
        // They stay watched until they are closed or removed. They are put back last, or the loop
        // would find them again.
        self.watch_all(idle.iter().copied());
        idle.into_iter().map(|it| it.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeMap};

    use omgservers_api::ids::Id as _;

    use super::*;

    fn id(number: i64) -> ClientId {
        ClientId::from_i64(number).unwrap()
    }

    #[test]
    fn idle_clients_are_found_again_until_they_are_gone() {
        let idle = IdleTracker::default();
        let mut seen: BTreeMap<ClientId, Ticks> = (1..=4).map(|it| (id(it), Ticks(0))).collect();
        idle.watch_all(seen.iter().map(|it| (*it.0, *it.1)));
        seen.insert(id(2), Ticks(50));
        let idle_since = |seen: &BTreeMap<ClientId, Ticks>, before, most| {
            idle.since(Ticks(before), most, |it| seen.get(&it).copied())
        };
        assert!(idle_since(&seen, 0, 10).is_empty());
        assert_eq!(idle_since(&seen, 10, 2), [id(1), id(3)], "no more than asked for");
        assert_eq!(idle_since(&seen, 10, 10), [id(1), id(3), id(4)]);
        seen.remove(&id(1));
        assert_eq!(idle_since(&seen, 10, 10), [id(3), id(4)]);
        assert_eq!(idle_since(&seen, 60, 10), [id(3), id(4), id(2)]);
    }

    #[test]
    fn a_search_reads_only_clients_that_may_be_idle() {
        let idle = IdleTracker::default();
        idle.watch_all((1..=10_000).map(|it| (id(it), Ticks(u64::try_from(it).unwrap()))));
        let calls = Cell::new(0);
        let found = idle.since(Ticks(6), 100, |client| {
            calls.set(calls.get() + 1);
            Some(Ticks(u64::try_from(client.get()).unwrap()))
        });
        assert_eq!((found.len(), calls.get()), (5, 5));
    }
}
