//! The state of each deployment in memory.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use omgservers_api::{ClientId, DeploymentId, MatchmakerId};
use omgservers_core::Ticks;

use crate::{
    lobbies::state::{Lobbies, WaitingClient},
    matches::{MatchmakerRequest, state::Queues},
    meters::Depths,
};

/// What a deployment has. A task that changes routes of its clients holds its lock.
#[derive(Default)]
pub(crate) struct DeploymentState {
    pub(crate) lobbies: Lobbies,
    /// Matches and tickets.
    pub(crate) queues: Queues,
}

/// A deployment.
pub(crate) struct DeploymentHandle {
    pub(crate) id: DeploymentId,
    pub(crate) state: tokio::sync::Mutex<DeploymentState>,
    arrivals: Mutex<Vec<WaitingClient>>,
    requested: AtomicU32,
    matchmakers: Mutex<Vec<MatchmakerId>>,
    requests: Mutex<RequestQueue>,
    gone: Mutex<Vec<ClientId>>,
    gauges: DepthGauges,
}

/// The depths after the last round, to be read without the lock of a state.
#[derive(Default)]
struct DepthGauges {
    tickets: AtomicUsize,
    without_lobby: AtomicUsize,
    lobbies: AtomicUsize,
    matches: AtomicUsize,
}

/// The requests that no round has taken yet.
#[derive(Default)]
struct RequestQueue {
    waiting: Vec<MatchmakerRequest>,
    /// A task takes rounds until no request waits.
    served: bool,
}

impl DeploymentHandle {
    /// Publishes the depths after a round.
    pub(crate) fn show(&self, state: &DeploymentState) {
        let show = |at: &AtomicUsize, value| at.store(value, Ordering::Relaxed);
        show(&self.gauges.tickets, state.queues.queued());
        show(&self.gauges.without_lobby, state.lobbies.waiting.len());
        show(&self.gauges.lobbies, state.lobbies.all.values().filter(|it| !it.closing).count());
        show(&self.gauges.matches, state.queues.matches.values().filter(|it| !it.closing).count());
    }
    /// Adds the depths, with the clients that have come since.
    pub(crate) fn add_depths(&self, depths: &mut Depths) {
        let gauges = |at: &AtomicUsize| at.load(Ordering::Relaxed);
        depths.tickets += gauges(&self.gauges.tickets);
        depths.without_lobby += gauges(&self.gauges.without_lobby) + self.waiting();
        depths.lobbies += gauges(&self.gauges.lobbies);
        depths.matches += gauges(&self.gauges.matches);
    }
    /// Enqueues a request for the next round; `true` when no task takes rounds: then the caller has
    /// to start one.
    #[must_use = "without a round nothing is answered"]
    pub(crate) fn enqueue(&self, request: MatchmakerRequest) -> bool {
        let mut requests = lock(&self.requests);
        requests.waiting.push(request);
        !std::mem::replace(&mut requests.served, true)
    }
    pub(crate) fn take_requests(&self) -> Vec<MatchmakerRequest> {
        std::mem::take(&mut lock(&self.requests).waiting)
    }
    /// Whether the task that takes rounds may end: no request waits.
    pub(crate) fn rest(&self) -> bool {
        let mut requests = lock(&self.requests);
        requests.served = !requests.waiting.is_empty();
        !requests.served
    }
    /// The task ended in the middle of a round: the callers that wait get no answer.
    pub(crate) fn abandon(&self) {
        *lock(&self.requests) = RequestQueue::default();
    }
    /// A client's session has ended.
    pub(crate) fn is_gone(&self, client: ClientId) {
        lock(&self.gone).push(client);
    }
    pub(crate) fn take_gone(&self) -> Vec<ClientId> {
        std::mem::take(&mut *lock(&self.gone))
    }
    /// A client waits for its first runtime. The reconciler takes it in.
    pub(crate) fn arrive(&self, client: ClientId, since: Ticks) {
        lock(&self.arrivals).push(WaitingClient { client, since });
    }
    pub(crate) fn take_arrivals(&self) -> Vec<WaitingClient> {
        std::mem::take(&mut *lock(&self.arrivals))
    }
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.arrivals).len()
    }
    pub(crate) fn request_lobby(&self) {
        self.requested.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn requested(&self) -> u32 {
        self.requested.load(Ordering::Relaxed)
    }
    /// So many lobbies were opened. Requests come first.
    pub(crate) fn served(&self, count: u32) {
        let less = |it: u32| Some(it.saturating_sub(count));
        let _before = self.requested.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
    pub(crate) fn matchmakers(&self) -> MutexGuard<'_, Vec<MatchmakerId>> {
        lock(&self.matchmakers)
    }
}

/// All deployments that this process has worked for.
#[derive(Default)]
pub(crate) struct StateMap {
    handles: Mutex<HashMap<DeploymentId, Arc<DeploymentHandle>>>,
}

impl StateMap {
    pub(crate) fn handle(&self, id: DeploymentId) -> Arc<DeploymentHandle> {
        let mut handles = lock(&self.handles);
        let made = handles.entry(id).or_insert_with(|| {
            Arc::new(DeploymentHandle {
                id,
                state: tokio::sync::Mutex::default(),
                arrivals: Mutex::default(),
                requested: AtomicU32::default(),
                matchmakers: Mutex::default(),
                requests: Mutex::default(),
                gone: Mutex::default(),
                gauges: DepthGauges::default(),
            })
        });
        Arc::clone(made)
    }

    pub(crate) fn known(&self) -> Vec<Arc<DeploymentHandle>> {
        lock(&self.handles).values().cloned().collect()
    }

    pub(crate) fn forget(&self, id: DeploymentId) {
        lock(&self.handles).remove(&id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
