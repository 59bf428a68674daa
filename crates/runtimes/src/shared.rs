//! What the service, the reconciler and the watchers of hosts share.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use omgservers_api::{DeploymentId, HostId, Problem, RuntimeId};
use omgservers_auth::{ConnectKey, Secrets};
use omgservers_core::{Clock, Db, Doorbell, Mint, Ownership, Ticks, WorkQueue};

use crate::{
    Host, RuntimeState, RuntimesConfig,
    host::{Attempt, ContainerHost, ContainerStatus, HostConnector, HostError, HostEvent, PullTokens},
    store,
};

pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mint: Mint,
    pub(crate) ownership: Ownership,
    pub(crate) secrets: Secrets,
    pub(crate) connect_key: ConnectKey,
    pub(crate) pull_tokens: Arc<dyn PullTokens>,
    pub(crate) config: RuntimesConfig,
    pub(crate) connector: Arc<dyn HostConnector>,
    /// Wakes the reconciler.
    pub(crate) doorbell: Doorbell,
    /// The deployments of runtimes whose state has changed.
    pub(crate) changed: WorkQueue<DeploymentId>,
    /// States as the rows have them.
    pub(crate) known: StateCache,
    /// When this process began.
    pub(crate) began: Ticks,
    /// When runtimes began to run, as far as this process saw it.
    pub(crate) since: Mutex<HashMap<RuntimeId, Ticks>>,
    host_clients: Mutex<Option<Vec<Arc<HostClient>>>>,
    signals: Mutex<ReconcilerSignals>,
}

/// Signals to the reconciler since its last run. Bounded by the number of runtimes, containers and
/// hosts.
#[derive(Debug, Default)]
pub(crate) struct ReconcilerSignals {
    /// Runtimes whose rows changed.
    pub(crate) dirty: HashSet<RuntimeId>,
    /// The states of containers in events.
    pub(crate) seen: HashMap<(HostId, Attempt), ContainerStatus>,
    /// Whether hosts answered their last ping.
    pub(crate) pulses: HashMap<HostId, bool>,
    /// Hosts to list at once.
    pub(crate) relist: HashSet<HostId>,
}

impl ReconcilerSignals {
    /// Records that a host didn't answer.
    pub(crate) fn missed(&mut self, host: HostId) {
        self.pulses.insert(host, false);
    }

    /// Lets the reconciler list a host at once.
    pub(crate) fn list(&mut self, host: HostId) {
        self.relist.insert(host);
    }
}

/// A host and, once it was needed, its client.
pub(crate) struct HostClient {
    pub(crate) host: Host,
    client: Mutex<Option<Arc<dyn ContainerHost>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HostClient {
    fn new(host: Host) -> Arc<Self> {
        Arc::new(Self { host, client: Mutex::new(None) })
    }

    /// The host's client.
    pub(crate) fn client(&self, connector: &dyn HostConnector) -> Result<Arc<dyn ContainerHost>, HostError> {
        let mut client = lock(&self.client);
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        Ok(Arc::clone(client.insert(connector.connect(&self.host)?)))
    }
}

impl Shared {
    pub(crate) fn new(parts: crate::RuntimesParts) -> Arc<Self> {
        let crate::RuntimesParts {
            db,
            clock,
            mint,
            ownership,
            secrets,
            connect_key,
            pull_tokens,
            config,
            hosts,
            changed,
        } = parts;
        let began = clock.ticks();
        Arc::new(Self {
            db,
            clock,
            mint,
            ownership,
            secrets,
            connect_key,
            pull_tokens,
            config,
            connector: hosts,
            doorbell: Doorbell::default(),
            changed,
            known: StateCache::default(),
            began,
            since: Mutex::default(),
            host_clients: Mutex::default(),
            signals: Mutex::default(),
        })
    }

    /// The hosts of the pool, in the order of their ids.
    pub(crate) async fn host_clients(&self) -> Result<Vec<Arc<HostClient>>, Problem> {
        if let Some(host_clients) = &*lock(&self.host_clients) {
            return Ok(host_clients.clone());
        }
        self.reload_host_clients().await
    }

    /// The same, read anew; clients of hosts that stay as they are stay too.
    pub(crate) async fn reload_host_clients(&self) -> Result<Vec<Arc<HostClient>>, Problem> {
        let hosts = store::hosts(&mut *self.db.read().await?).await?;
        self.known.clear();
        let mut host_clients = lock(&self.host_clients);
        let old = host_clients.take().unwrap_or_default();
        let fresh: Vec<Arc<HostClient>> = hosts
            .into_iter()
            .map(|host| {
                old.iter().find(|it| it.host == host).cloned().unwrap_or_else(|| HostClient::new(host))
            })
            .collect();
        Ok(host_clients.insert(fresh).clone())
    }

    /// Marks rows as changed when the guard is dropped, also when the caller is cancelled during
    /// the change.
    pub(crate) fn mark(&self, ids: &[RuntimeId]) -> Mark<'_> {
        Mark { shared: self, ids: ids.to_vec() }
    }

    /// Changes the signals and wakes the reconciler.
    pub(crate) fn signal(&self, change: impl FnOnce(&mut ReconcilerSignals)) {
        change(&mut lock(&self.signals));
        self.doorbell.ring();
    }

    /// Records that a host answered, without a wake-up.
    pub(crate) fn note_answer(&self, host: HostId) {
        lock(&self.signals).pulses.insert(host, true);
    }

    /// Passes an event to the reconciler.
    pub(crate) fn signal_event(&self, host: HostId, event: HostEvent) {
        self.signal(|signals| {
            signals.seen.insert((host, event.attempt), event.status);
        });
    }

    /// Takes the signals.
    pub(crate) fn take_signals(&self) -> ReconcilerSignals {
        std::mem::take(&mut lock(&self.signals))
    }

    /// Marks rows again that couldn't be read.
    pub(crate) fn requeue(&self, ids: impl IntoIterator<Item = RuntimeId>) {
        lock(&self.signals).dirty.extend(ids);
    }

    pub(crate) fn set_since(&self, id: RuntimeId, since: Option<Ticks>) {
        let mut all = lock(&self.since);
        match since {
            Some(ticks) => drop(all.insert(id, ticks)),
            None => drop(all.remove(&id)),
        }
    }

    /// Since when a runtime runs on the clock of this process.
    pub(crate) fn since(&self, id: RuntimeId) -> Ticks {
        lock(&self.since).get(&id).copied().unwrap_or(self.began)
    }
}

/// Caches states that were read. Only this process writes the rows, so a state holds until the next
/// write of its row, which drops it. States that were read during a write are not cached.
#[derive(Default)]
pub(crate) struct StateCache(Mutex<CachedStates>);

#[derive(Default)]
struct CachedStates {
    states: HashMap<RuntimeId, RuntimeState>,
    /// Grows with each write.
    writes: u64,
}

impl StateCache {
    /// Returns the cached states of `ids`, and the number of the last write.
    pub(crate) fn get(&self, ids: &[RuntimeId]) -> (HashMap<RuntimeId, RuntimeState>, u64) {
        let known = lock(&self.0);
        let found = |id: &RuntimeId| Some((*id, known.states.get(id)?.clone()));
        (ids.iter().filter_map(found).collect(), known.writes)
    }

    /// Caches states that were read after the given write, unless another one came since.
    pub(crate) fn keep(&self, states: &HashMap<RuntimeId, RuntimeState>, write: u64) {
        let mut known = lock(&self.0);
        if known.writes == write {
            known.states.extend(states.iter().map(|(id, it)| (*id, it.clone())));
        }
    }

    /// Drops all states, because they name the hosts of their runtimes, and the hosts have changed.
    fn clear(&self) {
        let mut known = lock(&self.0);
        known.writes = known.writes.wrapping_add(1);
        known.states.clear();
    }

    fn forget(&self, ids: &[RuntimeId]) {
        let mut known = lock(&self.0);
        known.writes = known.writes.wrapping_add(1);
        for id in ids {
            known.states.remove(id);
        }
    }

    /// Drops the states of rows when the guard is dropped, also when the writer is cancelled.
    pub(crate) fn stale<'a>(&'a self, ids: &'a [RuntimeId]) -> Stale<'a> {
        Stale { known: self, ids }
    }
}

/// See [`StateCache::stale`].
pub(crate) struct Stale<'a> {
    known: &'a StateCache,
    ids: &'a [RuntimeId],
}

impl Drop for Stale<'_> {
    fn drop(&mut self) {
        self.known.forget(self.ids);
    }
}

/// See [`Shared::mark`].
pub(crate) struct Mark<'a> {
    shared: &'a Shared,
    ids: Vec<RuntimeId>,
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        self.shared.known.forget(&ids);
        self.shared.signal(|it| it.dirty.extend(ids));
    }
}
