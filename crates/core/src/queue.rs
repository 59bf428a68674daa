//! A keyed work queue, as controllers use it.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Clock, Doorbell, Ticks};

/// Holds the keys of what a worker has to look at, each at most once. Cheap to clone; the clones
/// share the keys.
///
/// A key is due at once ([`enqueue`](Self::enqueue)) or later
/// ([`requeue_after`](Self::requeue_after)); of two times the earlier one wins.
/// [`take_due`](Self::take_due) removes keys, so a key that is enqueued while its worker processes
/// it comes again. The queue holds no work of its own: a worker that fails on a key requeues it. A
/// resync enqueues keys that a crash has lost. Its size is bounded by the number of keys that
/// exist.
///
/// All operations take O(log n) for each key. None of them waits for anything but a short lock.
pub struct WorkQueue<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    clock: Arc<dyn Clock>,
    doorbell: Doorbell,
    state: Mutex<State<K>>,
}

/// When a key is due; keys that are due at the same time keep the order of their arrival.
type Turn = (Ticks, u64);

struct State<K> {
    keys: BTreeMap<Turn, K>,
    turns: HashMap<K, Turn>,
    arrivals: u64,
    /// The worker runs: it asks for its next wake before it sleeps.
    running: bool,
}

/// How much a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Keys that are due.
    pub due: usize,
    /// Keys that become due later.
    pub delayed: usize,
    /// How long the oldest due key has been due.
    pub oldest: Duration,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// Makes an empty queue on the monotonic time of `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State { keys: BTreeMap::new(), turns: HashMap::new(), arrivals: 0, running: false };
        Self { shared: Arc::new(Shared { clock, doorbell: Doorbell::default(), state: Mutex::new(state) }) }
    }

    /// Rings when a key is enqueued, and when the first key becomes due earlier than before. The
    /// driver of the worker waits for it; see [`run`](crate::worker::run).
    pub fn doorbell(&self) -> Doorbell {
        self.shared.doorbell.clone()
    }

    /// Makes `key` due at once and wakes the worker.
    pub fn enqueue(&self, key: K) {
        self.enqueue_all([key]);
    }

    /// Makes all `keys` due at once and wakes the worker, if there are any.
    pub fn enqueue_all(&self, keys: impl IntoIterator<Item = K>) {
        let now = self.shared.clock.ticks();
        let mut state = self.state();
        let mut any = false;
        for key in keys {
            any = true;
            state.schedule(key, now);
        }
        drop(state);
        if any {
            self.shared.doorbell.ring();
        }
    }

    /// Makes `key` due after `delay`, unless it is due earlier already. Wakes a sleeping worker
    /// only when no other key is due before, because the delay that its last run returned is then
    /// too long.
    pub fn requeue_after(&self, key: K, delay: Duration) {
        let at = self.shared.clock.ticks().plus(delay);
        let mut state = self.state();
        let sleeps_too_long = !state.running && state.first().is_none_or(|first| at < first);
        state.schedule(key, at);
        drop(state);
        if sleeps_too_long {
            self.shared.doorbell.ring();
        }
    }

    /// Removes `key`: it needs no work any more.
    pub fn cancel(&self, key: &K) {
        let mut state = self.state();
        if let Some(turn) = state.turns.remove(key) {
            state.keys.remove(&turn);
        }
    }

    /// Removes and returns the keys that are due, at most `most`, in the order in which they became
    /// due. A worker calls it at the start of a run, and [`next_wake`](Self::next_wake) at the end,
    /// which is zero when keys are left.
    pub fn take_due(&self, most: usize) -> Vec<K> {
        let now = self.shared.clock.ticks();
        let mut state = self.state();
        state.running = true;
        let mut due = Vec::new();
        while due.len() < most && state.first().is_some_and(|first| first <= now) {
            let Some((_, key)) = state.keys.pop_first() else { break };
            state.turns.remove(&key);
            due.push(key);
        }
        due
    }

    /// How long until a key is due: zero when one is due, `None` when the queue is empty. What a
    /// worker returns as [`Outcome::requeue_after`](crate::worker::Outcome::requeue_after).
    pub fn next_wake(&self) -> Option<Duration> {
        let now = self.shared.clock.ticks();
        let mut state = self.state();
        state.running = false;
        state.first().map(|first| first.since(now))
    }

    /// How much the queue holds. O(n) in the keys that are due.
    pub fn backlog(&self) -> Backlog {
        let now = self.shared.clock.ticks();
        let state = self.state();
        let due = state.keys.range(..=(now, u64::MAX)).count();
        Backlog {
            due,
            delayed: state.keys.len().saturating_sub(due),
            oldest: state.first().map(|first| now.since(first)).unwrap_or_default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn first(&self) -> Option<Ticks> {
        self.keys.first_key_value().map(|((at, _), _)| *at)
    }

    fn schedule(&mut self, key: K, at: Ticks) {
        if let Some(turn) = self.turns.get(&key) {
            if turn.0 <= at {
                return;
            }
            self.keys.remove(turn);
        }
        self.arrivals = self.arrivals.wrapping_add(1);
        let turn = (at, self.arrivals);
        self.turns.insert(key.clone(), turn);
        self.keys.insert(turn, key);
    }
}

impl<K> std::fmt::Debug for WorkQueue<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).keys.len();
        f.debug_struct("WorkQueue").field("keys", &keys).finish_non_exhaustive()
    }
}
