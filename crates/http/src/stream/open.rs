//! Which streams are open.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use omgservers_api::ClientId;
use tokio_util::sync::CancellationToken;

/// The open player streams of this process: one for each client. Cheap to clone.
#[derive(Clone)]
pub struct Streams(Arc<Inner>);

struct Inner {
    gauge: Gauge,
    opened: Counter,
    next: AtomicU64,
    open: Mutex<HashMap<ClientId, (u64, CancellationToken)>>,
}

impl Default for Streams {
    /// None is open. The metrics recorder must be installed before.
    fn default() -> Self {
        describe_gauge!("omgservers_player_streams", "Open player streams.");
        describe_counter!("omgservers_player_streams_opened_total", "Player streams that were opened.");
        let (gauge, opened) =
            (gauge!("omgservers_player_streams"), counter!("omgservers_player_streams_opened_total"));
        gauge.set(0.0);
        Self(Arc::new(Inner { gauge, opened, next: AtomicU64::default(), open: Mutex::default() }))
    }
}

impl Streams {
    /// How many are open.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// Opens a client's stream and cancels its earlier one.
    pub(crate) fn open(&self, client: ClientId) -> Open {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let replaced = CancellationToken::new();
        let before = self.0.lock().insert(client, (number, replaced.clone()));
        if let Some((_, before)) = before {
            before.cancel();
        }
        self.0.gauge.increment(1.0);
        self.0.opened.increment(1);
        Open { streams: self.clone(), client, number, replaced }
    }
}

impl Inner {
    /// Nothing panics while it holds this lock; if something did, the map would still be whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<ClientId, (u64, CancellationToken)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("open", &self.count()).finish()
    }
}

/// A stream that is open as long as this lives.
pub(crate) struct Open {
    streams: Streams,
    client: ClientId,
    number: u64,
    /// Fires when another stream of the client takes this one's place.
    pub(crate) replaced: CancellationToken,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.0.gauge.decrement(1.0);
        let mut open = self.streams.0.lock();
        // The one that took its place stays.
        if open.get(&self.client).is_some_and(|it| it.0 == self.number) {
            open.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_one_stream_and_the_newest_stays() {
        let streams = Streams::default();
        let (one, other) = ("1".parse().unwrap(), "2".parse().unwrap());
        let (first, alone) = (streams.open(one), streams.open(other));
        let second = streams.open(one);
        assert!(first.replaced.is_cancelled() && !second.replaced.is_cancelled());
        assert!(!alone.replaced.is_cancelled());
        drop(first);
        assert_eq!(streams.count(), 2, "what was replaced takes nothing with it");
        let third = streams.open(one);
        assert!(second.replaced.is_cancelled());
        drop((second, third, alone));
        assert_eq!(streams.count(), 0);
    }
}
