//! What is remembered of each deployment, and which ones something happened to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use omgservers_api::{ClientId, DeploymentId, LobbyId, MatchmakerId, RuntimeId};
use omgservers_core::{Doorbell, Ticks};
use omgservers_runtimes::Published;

use crate::{
    matches::{Ask, Queues},
    meters::Depths,
};

/// A lobby.
#[derive(Debug, Clone)]
pub(crate) struct Lobby {
    pub(crate) runtime: RuntimeId,
    pub(crate) made: Ticks,
    pub(crate) closing: bool,
    /// Since when its game server polls, in this process.
    pub(crate) ready: Option<Ticks>,
    /// Where players connect to it directly.
    pub(crate) published: Option<Arc<Published>>,
}

impl Lobby {
    pub(crate) fn new(runtime: RuntimeId, made: Ticks, closing: bool) -> Self {
        Self { runtime, made, closing, ready: None, published: None }
    }
}

/// A client without a runtime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) client: ClientId,
    pub(crate) since: Ticks,
}

/// What a deployment has. Whoever changes routes of its clients holds its lock.
#[derive(Default)]
pub(crate) struct Hall {
    pub(crate) loaded: bool,
    pub(crate) lobbies: BTreeMap<LobbyId, Lobby>,
    pub(crate) waiting: VecDeque<Waiting>,
    /// Lobbies that failed in a row.
    pub(crate) failures: u32,
    pub(crate) retry_at: Ticks,
    /// Matches and tickets.
    pub(crate) queues: Queues,
}

/// A deployment.
pub(crate) struct Cell {
    pub(crate) id: DeploymentId,
    pub(crate) hall: tokio::sync::Mutex<Hall>,
    arrivals: Mutex<Vec<Waiting>>,
    requested: AtomicU32,
    matchmakers: Mutex<Vec<MatchmakerId>>,
    asks: Mutex<Asks>,
    gone: Mutex<Vec<ClientId>>,
    shown: Shown,
}

/// What operators see without the lock of a hall: how it was after the last round.
#[derive(Default)]
struct Shown {
    tickets: AtomicUsize,
    without_lobby: AtomicUsize,
    lobbies: AtomicUsize,
    matches: AtomicUsize,
}

/// What is asked of the matchmaker and not taken by a round yet.
#[derive(Default)]
struct Asks {
    waiting: Vec<Ask>,
    /// Somebody does rounds until nothing waits.
    served: bool,
}

impl Cell {
    /// How a hall is after a round.
    pub(crate) fn show(&self, hall: &Hall) {
        let show = |at: &AtomicUsize, value| at.store(value, Ordering::Relaxed);
        show(&self.shown.tickets, hall.queues.pools.values().map(omgservers_matcher::Pool::len).sum());
        show(&self.shown.without_lobby, hall.waiting.len());
        show(&self.shown.lobbies, hall.lobbies.values().filter(|it| !it.closing).count());
        show(&self.shown.matches, hall.queues.matches.values().filter(|it| !it.closing).count());
    }
    /// The same for operators, with those who have come since.
    pub(crate) fn add_depths(&self, depths: &mut Depths) {
        let shown = |at: &AtomicUsize| at.load(Ordering::Relaxed);
        depths.tickets += shown(&self.shown.tickets);
        depths.without_lobby += shown(&self.shown.without_lobby) + self.waiting();
        depths.lobbies += shown(&self.shown.lobbies);
        depths.matches += shown(&self.shown.matches);
    }
    /// For the next round of the matchmaker. `true` when nobody does rounds: then the caller has to.
    #[must_use = "without a round nothing is answered"]
    pub(crate) fn ask(&self, ask: Ask) -> bool {
        let mut asks = lock(&self.asks);
        asks.waiting.push(ask);
        !std::mem::replace(&mut asks.served, true)
    }
    pub(crate) fn take_asks(&self) -> Vec<Ask> {
        std::mem::take(&mut lock(&self.asks).waiting)
    }
    /// Whether who does rounds may end: nothing waits.
    pub(crate) fn rest(&self) -> bool {
        let mut asks = lock(&self.asks);
        asks.served = !asks.waiting.is_empty();
        !asks.served
    }
    /// Who did rounds ended in the middle of one; who waits hears that nobody answers.
    pub(crate) fn abandon(&self) {
        *lock(&self.asks) = Asks::default();
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
        lock(&self.arrivals).push(Waiting { client, since });
    }
    pub(crate) fn take_arrivals(&self) -> Vec<Waiting> {
        std::mem::take(&mut *lock(&self.arrivals))
    }
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.arrivals).len()
    }
    pub(crate) fn request(&self) {
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
pub(crate) struct Halls {
    cells: Mutex<HashMap<DeploymentId, Arc<Cell>>>,
    dirty: Mutex<BTreeSet<DeploymentId>>,
    deadlines: Mutex<HashMap<DeploymentId, Ticks>>,
    alarm: Mutex<Option<Ticks>>,
    pub(crate) bell: Doorbell,
}

impl Halls {
    pub(crate) fn cell(&self, id: DeploymentId) -> Arc<Cell> {
        let mut cells = lock(&self.cells);
        let made = cells.entry(id).or_insert_with(|| {
            Arc::new(Cell {
                id,
                hall: tokio::sync::Mutex::default(),
                arrivals: Mutex::default(),
                requested: AtomicU32::default(),
                matchmakers: Mutex::default(),
                asks: Mutex::default(),
                gone: Mutex::default(),
                shown: Shown::default(),
            })
        });
        Arc::clone(made)
    }

    pub(crate) fn known(&self) -> Vec<Arc<Cell>> {
        lock(&self.cells).values().cloned().collect()
    }

    pub(crate) fn forget(&self, id: DeploymentId) {
        lock(&self.cells).remove(&id);
        lock(&self.deadlines).remove(&id);
    }

    /// Something happened to a deployment: it is looked at soon.
    pub(crate) fn touch(&self, id: DeploymentId) {
        lock(&self.dirty).insert(id);
        self.bell.ring();
    }

    /// Those that something happened to, and those whose time has come.
    pub(crate) fn due(&self, now: Ticks) -> BTreeSet<DeploymentId> {
        let mut due = std::mem::take(&mut *lock(&self.dirty));
        lock(&self.deadlines).retain(|id, at| {
            let later = *at > now;
            if !later {
                due.insert(*id);
            }
            later
        });
        due
    }

    /// Looks at a deployment again after this time, though nothing may happen.
    pub(crate) fn look_again(self: &Arc<Self>, id: DeploymentId, now: Ticks, after: Option<Duration>) {
        let mut deadlines = lock(&self.deadlines);
        match after {
            Some(after) => deadlines.insert(id, now.plus(after)),
            None => deadlines.remove(&id),
        };
    }

    /// Rings when the first deadline is over; one timer at a time.
    pub(crate) fn arm(self: &Arc<Self>, now: Ticks) {
        let Some(first) = lock(&self.deadlines).values().min().copied() else { return };
        let mut alarm = lock(&self.alarm);
        if alarm.is_some_and(|it| it <= first && it > now) {
            return;
        }
        *alarm = Some(first);
        let (halls, pause) = (Arc::downgrade(self), first.since(now));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(halls) = halls.upgrade() {
                let mut alarm = lock(&halls.alarm);
                if *alarm == Some(first) {
                    *alarm = None;
                }
                halls.bell.ring();
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
