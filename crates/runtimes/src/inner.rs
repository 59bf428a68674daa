//! What the service, the reconciler and the watchers of hosts share.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use omgservers_api::{DeploymentId, HostId, Problem, RuntimeId};
use omgservers_auth::{ConnectKey, Secrets};
use omgservers_core::{Clock, Db, Doorbell, Mint, Ownership, Ticks};

use crate::{
    Host, RuntimeState, RuntimesConfig,
    host::{Attempt, ContainerHost, HostConnector, HostError, HostEvent, PullTokens, Status},
    store,
};

pub(crate) struct Inner {
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
    pub(crate) bell: Doorbell,
    /// Tells others that the state of a runtime has changed.
    pub(crate) changed: Doorbell,
    /// Whose they are: deployments of runtimes whose state has changed.
    changed_of: Mutex<HashSet<DeploymentId>>,
    /// States as the rows have them.
    pub(crate) known: Known,
    /// When this process began.
    pub(crate) began: Ticks,
    /// When runtimes began to run, as far as this process saw it.
    pub(crate) since: Mutex<HashMap<RuntimeId, Ticks>>,
    links: Mutex<Option<Vec<Arc<Link>>>>,
    signals: Mutex<Signals>,
}

/// What the reconciler was told since its last run. Bounded by what there is: telling twice is the same.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Runtimes whose rows changed.
    pub(crate) dirty: HashSet<RuntimeId>,
    /// What containers are said to be.
    pub(crate) seen: HashMap<(HostId, Attempt), Status>,
    /// Whether hosts answered when they were last asked.
    pub(crate) pulses: HashMap<HostId, bool>,
    /// Hosts to list at once.
    pub(crate) relist: HashSet<HostId>,
}

impl Signals {
    /// A host didn't answer.
    pub(crate) fn missed(&mut self, host: HostId) {
        self.pulses.insert(host, false);
    }

    /// A host is to be listed at once.
    pub(crate) fn list(&mut self, host: HostId) {
        self.relist.insert(host);
    }
}

/// A host and, once it was needed, its client.
pub(crate) struct Link {
    pub(crate) host: Host,
    client: Mutex<Option<Arc<dyn ContainerHost>>>,
}

fn lock<T>(it: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
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

impl Inner {
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
            bell: Doorbell::default(),
            changed: Doorbell::default(),
            changed_of: Mutex::default(),
            known: Known::default(),
            began,
            since: Mutex::default(),
            links: Mutex::default(),
            signals: Mutex::default(),
        })
    }

    /// The hosts of the pool, in the order of their ids.
    pub(crate) async fn links(&self) -> Result<Vec<Arc<Link>>, Problem> {
        if let Some(links) = &*lock(&self.links) {
            return Ok(links.clone());
        }
        self.reload_links().await
    }

    /// The same, read anew; clients of hosts that stay as they are stay too.
    pub(crate) async fn reload_links(&self) -> Result<Vec<Arc<Link>>, Problem> {
        let hosts = store::hosts(&mut *self.db.read().await?).await?;
        self.known.clear();
        let mut links = lock(&self.links);
        let old = links.take().unwrap_or_default();
        let fresh: Vec<Arc<Link>> = hosts
            .into_iter()
            .map(|host| old.iter().find(|it| it.host == host).cloned().unwrap_or_else(|| Link::new(host)))
            .collect();
        Ok(links.insert(fresh).clone())
    }

    /// Marks rows as changed when it goes: also when the caller is cancelled in the middle of the change.
    pub(crate) fn mark(&self, ids: &[RuntimeId]) -> Mark<'_> {
        Mark { inner: self, ids: ids.to_vec() }
    }

    /// Tells the reconciler something and wakes it.
    pub(crate) fn signal(&self, tell: impl FnOnce(&mut Signals)) {
        tell(&mut lock(&self.signals));
        self.bell.ring();
    }

    /// Notes that a host answered; that alone wakes nobody.
    pub(crate) fn note_answer(&self, host: HostId) {
        lock(&self.signals).pulses.insert(host, true);
    }

    /// Tells the reconciler of an event.
    pub(crate) fn signal_event(&self, host: HostId, event: HostEvent) {
        self.signal(|it| {
            it.seen.insert((host, event.attempt), event.status);
        });
    }

    /// Takes what was told.
    pub(crate) fn take_signals(&self) -> Signals {
        std::mem::take(&mut lock(&self.signals))
    }

    /// Puts rows back that couldn't be read.
    pub(crate) fn put_back(&self, ids: impl IntoIterator<Item = RuntimeId>) {
        lock(&self.signals).dirty.extend(ids);
    }

    /// Tells others that the state of a runtime of this deployment has changed.
    pub(crate) fn tell(&self, deployment: DeploymentId) {
        lock(&self.changed_of).insert(deployment);
        self.changed.ring();
    }

    /// Takes the deployments that others were told of.
    pub(crate) fn take_told(&self) -> Vec<DeploymentId> {
        std::mem::take(&mut *lock(&self.changed_of)).into_iter().collect()
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

/// States that were read: only this process writes the rows, so they hold until it does. What is known of a row is
/// forgotten after each write of it, and what was read while rows were written isn't kept.
#[derive(Default)]
pub(crate) struct Known(Mutex<KnownStates>);

#[derive(Default)]
struct KnownStates {
    states: HashMap<RuntimeId, RuntimeState>,
    /// Grows with each write.
    writes: u64,
}

impl Known {
    /// What is known, and the number of the last write.
    pub(crate) fn get(&self, ids: &[RuntimeId]) -> (HashMap<RuntimeId, RuntimeState>, u64) {
        let known = lock(&self.0);
        let found = |id: &RuntimeId| Some((*id, known.states.get(id)?.clone()));
        (ids.iter().filter_map(found).collect(), known.writes)
    }

    /// Keeps what was read after a write, unless another one came since.
    pub(crate) fn keep(&self, states: &HashMap<RuntimeId, RuntimeState>, write: u64) {
        let mut known = lock(&self.0);
        if known.writes == write {
            known.states.extend(states.iter().map(|(id, it)| (*id, it.clone())));
        }
    }

    /// Forgets everything: hosts were described anew, and states tell where their runtimes are.
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

    /// Forgets what is known of rows when it goes: also when the writer is cancelled in the middle.
    pub(crate) fn stale<'a>(&'a self, ids: &'a [RuntimeId]) -> Stale<'a> {
        Stale { known: self, ids }
    }
}

/// See [`Known::stale`].
pub(crate) struct Stale<'a> {
    known: &'a Known,
    ids: &'a [RuntimeId],
}

impl Drop for Stale<'_> {
    fn drop(&mut self) {
        self.known.forget(self.ids);
    }
}

/// See [`Inner::mark`].
pub(crate) struct Mark<'a> {
    inner: &'a Inner,
    ids: Vec<RuntimeId>,
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        self.inner.known.forget(&ids);
        self.inner.signal(|it| it.dirty.extend(ids));
    }
}
