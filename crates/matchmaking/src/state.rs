//! The state of each deployment in memory.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use omgservers_api::{ClientId, DeploymentId, LobbyId, MatchmakerId};
use omgservers_core::Ticks;

use crate::{
    lobbies::state::{Lobby, WaitingClient},
    matches::{MatchmakerRequest, state::Queues},
    meters::Depths,
};

/// What a deployment has. Whoever changes routes of its clients holds its lock.
#[derive(Default)]
pub(crate) struct DeploymentState {
    pub(crate) loaded: bool,
    pub(crate) lobbies: BTreeMap<LobbyId, Lobby>,
    pub(crate) waiting: VecDeque<WaitingClient>,
    /// Lobbies that failed in a row.
    pub(crate) failures: u32,
    pub(crate) retry_at: Ticks,
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

/// What operators see without the lock of a state: how it was after the last round.
#[derive(Default)]
struct DepthGauges {
    tickets: AtomicUsize,
    without_lobby: AtomicUsize,
    lobbies: AtomicUsize,
    matches: AtomicUsize,
}

/// What is asked of the matchmaker and not taken by a round yet.
#[derive(Default)]
struct RequestQueue {
    waiting: Vec<MatchmakerRequest>,
    /// Somebody does rounds until nothing waits.
    served: bool,
}

impl DeploymentHandle {
    /// How a state is after a round.
    pub(crate) fn show(&self, state: &DeploymentState) {
        let show = |at: &AtomicUsize, value| at.store(value, Ordering::Relaxed);
        show(&self.gauges.tickets, state.queues.pools.values().map(omgservers_matcher::Pool::len).sum());
        show(&self.gauges.without_lobby, state.waiting.len());
        show(&self.gauges.lobbies, state.lobbies.values().filter(|it| !it.closing).count());
        show(&self.gauges.matches, state.queues.matches.values().filter(|it| !it.closing).count());
    }
    /// The same for operators, with those who have come since.
    pub(crate) fn add_depths(&self, depths: &mut Depths) {
        let gauges = |at: &AtomicUsize| at.load(Ordering::Relaxed);
        depths.tickets += gauges(&self.gauges.tickets);
        depths.without_lobby += gauges(&self.gauges.without_lobby) + self.waiting();
        depths.lobbies += gauges(&self.gauges.lobbies);
        depths.matches += gauges(&self.gauges.matches);
    }
    /// For the next round of the matchmaker. `true` when nobody does rounds: then the caller has to.
    #[must_use = "without a round nothing is answered"]
    pub(crate) fn enqueue(&self, request: MatchmakerRequest) -> bool {
        let mut requests = lock(&self.requests);
        requests.waiting.push(request);
        !std::mem::replace(&mut requests.served, true)
    }
    pub(crate) fn take_requests(&self) -> Vec<MatchmakerRequest> {
        std::mem::take(&mut lock(&self.requests).waiting)
    }
    /// Whether who does rounds may end: nothing waits.
    pub(crate) fn rest(&self) -> bool {
        let mut requests = lock(&self.requests);
        requests.served = !requests.waiting.is_empty();
        !requests.served
    }
    /// Who did rounds ended in the middle of one; who waits hears that nobody answers.
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
    /// A client that waits for its first runtime. The tender takes it in.
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
    /// So many lobbies were opened; requests are served first.
    pub(crate) fn served(&self, count: u32) {
        let less = |it: u32| Some(it.saturating_sub(count));
        let _before = self.requested.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
    pub(crate) fn matchmakers(&self) -> MutexGuard<'_, Vec<MatchmakerId>> {
        lock(&self.matchmakers)
    }
}

/// All deployments that something was done for since the start.
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
