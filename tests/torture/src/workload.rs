//! Players and game servers that send each other numbered messages, and note what they receive.

pub(crate) mod bodies;
pub(crate) mod call;
pub(crate) mod card;
pub(crate) mod game;
pub(crate) mod hosts;
pub(crate) mod inbox;
pub(crate) mod log;
pub(crate) mod orders;
pub(crate) mod outbox;
pub(crate) mod polling;
pub(crate) mod sdk;
pub(crate) mod stream;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use omgservers_client::Client;
use tokio::sync::watch;

use self::{
    card::{Card, Seat},
    log::Log,
};

/// What everybody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everybody sends, receives and answers.
    Play,
    /// Nobody sends anything new; messages under way are brought to their end.
    Rest,
    /// Players do nothing, game servers send so much to each of them.
    FillPlayers,
    /// Game servers do nothing, players send so much.
    FillGames,
    /// Nobody does anything.
    Still,
    /// It is over.
    Over,
}

/// What all players and game servers share.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) log: Log,
    pub(crate) seed: u64,
    /// About how long a player pauses between two exchanges.
    pub(crate) pace: Duration,
    mode: watch::Sender<Mode>,
    /// Of a hundred requests, so many are broken off.
    pub(crate) drops: AtomicU32,
    /// How often the server went down.
    pub(crate) downs: AtomicU64,
    /// How much each sends when mailboxes are filled.
    pub(crate) fill: AtomicU64,
    cards: RwLock<HashMap<u64, Arc<Card>>>,
    seats: Mutex<HashMap<u64, Arc<Seat>>>,
    /// What nobody expected and no record has.
    oddities: Mutex<Vec<String>>,
}

impl Workload {
    pub(crate) fn new(client: Client, address: SocketAddr, seed: u64, pace: Duration) -> Self {
        Self {
            client,
            address,
            log: Log::default(),
            seed,
            pace,
            mode: watch::Sender::new(Mode::Play),
            drops: AtomicU32::new(0),
            downs: AtomicU64::new(0),
            fill: AtomicU64::new(0),
            cards: RwLock::default(),
            seats: Mutex::default(),
            oddities: Mutex::default(),
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Waits until everybody does something else than this.
    pub(crate) async fn other_than(&self, mode: Mode) {
        let mut modes = self.mode.subscribe();
        let _gone = modes.wait_for(|it| *it != mode).await;
    }

    pub(crate) fn add_card(&self, card: Arc<Card>) {
        self.cards.write().unwrap_or_else(PoisonError::into_inner).insert(card.client, card);
    }

    pub(crate) fn card(&self, client: u64) -> Option<Arc<Card>> {
        self.cards.read().unwrap_or_else(PoisonError::into_inner).get(&client).cloned()
    }

    pub(crate) fn cards(&self) -> Vec<Arc<Card>> {
        self.cards.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A game server's seat, once: `None` when it has one already.
    pub(crate) fn take_seat(&self, seat: &Arc<Seat>) -> Option<()> {
        let mut seats = lock(&self.seats);
        if seats.contains_key(&seat.runtime) {
            return None;
        }
        seats.insert(seat.runtime, Arc::clone(seat));
        Some(())
    }

    /// The game servers that are not over.
    pub(crate) fn seats(&self) -> Vec<Arc<Seat>> {
        lock(&self.seats).values().filter(|it| !it.is_over()).cloned().collect()
    }

    pub(crate) fn odd(&self, what: String) {
        lock(&self.oddities).push(what);
    }

    pub(crate) fn take_oddities(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.oddities))
    }

    pub(crate) fn down_count(&self) -> u64 {
        self.downs.load(Ordering::Acquire)
    }
}

/// Nothing panics while it holds one of these locks; if something did, the value would still be
/// whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
