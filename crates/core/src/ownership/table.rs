//! The tenures of one process, in memory.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use omgservers_api::{Slot, ids::SLOTS};
use tokio_util::sync::CancellationToken;

/// How far a process is with a slot that it acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TenureState {
    /// The process reads the slot's data. It may write, and answers nobody.
    Loading = 0,
    /// The process answers.
    Serving = 1,
    /// The process writes what it still has, and answers nobody.
    Draining = 2,
    /// The slot is another process's, or nobody's.
    Lost = 3,
}

/// One process's ownership of one slot at one epoch.
#[derive(Debug)]
pub struct Tenure {
    slot: Slot,
    epoch: i64,
    state: AtomicU8,
    ended: CancellationToken,
}

impl Tenure {
    pub(super) fn new(slot: Slot, epoch: i64, state: TenureState) -> Arc<Self> {
        let state = AtomicU8::new(state.number());
        Arc::new(Self { slot, epoch, state, ended: CancellationToken::new() })
    }

    /// The slot.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The epoch that a fence must find.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// How far the process is with it. A state never goes back.
    pub fn state(&self) -> TenureState {
        match self.state.load(Ordering::Acquire) {
            0 => TenureState::Loading,
            1 => TenureState::Serving,
            2 => TenureState::Draining,
            _ => TenureState::Lost,
        }
    }

    /// Whether another process may own the slot.
    pub fn is_lost(&self) -> bool {
        self.state() == TenureState::Lost
    }

    /// Ends as soon as the process stops to serve the slot.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    fn advance(&self, to: TenureState) {
        self.state.fetch_max(to.number(), Ordering::AcqRel);
        if to > TenureState::Serving {
            self.ended.cancel();
        }
    }

    /// As a fence compares them: the slot's number and the epoch.
    pub fn numbers(&self) -> (i16, i64) {
        (number(self.slot), self.epoch)
    }
}

impl TenureState {
    fn number(self) -> u8 {
        match self {
            Self::Loading => 0,
            Self::Serving => 1,
            Self::Draining => 2,
            Self::Lost => 3,
        }
    }
}

impl PartialOrd for TenureState {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.number().cmp(&other.number()))
    }
}

/// The tenures of this process, by slot.
pub struct SlotTable {
    pub(super) node: String,
    entries: Vec<SlotEntry>,
    /// All slots are another process's.
    is_lost: AtomicBool,
    pub(super) lost: CancellationToken,
}

impl fmt::Debug for SlotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let serving = self.entries.iter().filter(|it| it.serving.load(Ordering::Relaxed)).count();
        f.debug_struct("SlotTable")
            .field("node", &self.node)
            .field("serving", &serving)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
pub(super) struct SlotEntry {
    /// The state of the tenure as hot paths read it.
    serving: AtomicBool,
    tenure: RwLock<Option<Arc<Tenure>>>,
}

impl SlotEntry {
    fn current(&self) -> Option<Arc<Tenure>> {
        self.tenure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the state of `tenure`; the slot's entry follows only while the tenure is the slot's.
    pub(super) fn advance(&self, tenure: &Arc<Tenure>, to: TenureState) {
        let current = self.tenure.write().unwrap_or_else(PoisonError::into_inner);
        tenure.advance(to);
        if current.as_ref().is_some_and(|it| Arc::ptr_eq(it, tenure)) {
            self.serving.store(tenure.state() == TenureState::Serving, Ordering::Release);
        }
    }

    /// Makes `tenure` the slot's, unless it has a later one.
    pub(super) fn serve(&self, tenure: &Arc<Tenure>) {
        let later = self.current().is_some_and(|it| it.epoch > tenure.epoch);
        tenure.advance(if later { TenureState::Lost } else { TenureState::Serving });
        if !later {
            self.put(Arc::clone(tenure));
        }
    }

    pub(super) fn put(&self, tenure: Arc<Tenure>) {
        let mut current = self.tenure.write().unwrap_or_else(PoisonError::into_inner);
        self.serving.store(tenure.state() == TenureState::Serving, Ordering::Release);
        let former = current.replace(Arc::clone(&tenure));
        if let Some(former) = former.filter(|it| !Arc::ptr_eq(it, &tenure)) {
            former.advance(TenureState::Lost);
        }
    }
}

impl Default for SlotTable {
    /// That of a process without a name, for tests without a database.
    fn default() -> Self {
        Self::new("")
    }
}

impl SlotTable {
    pub(super) fn new(node: &str) -> Self {
        let entries = (0..SLOTS).map(|_| SlotEntry::default()).collect();
        Self {
            node: node.to_owned(),
            entries,
            is_lost: AtomicBool::new(false),
            lost: CancellationToken::new(),
        }
    }

    pub(super) fn entry(&self, slot: Slot) -> Option<&SlotEntry> {
        self.entries.get(usize::from(slot.number()))
    }

    pub(super) fn current(&self, slot: Slot) -> Option<Arc<Tenure>> {
        self.entry(slot)?.current()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Arc<Tenure>> {
        self.entries.iter().filter_map(SlotEntry::current).filter(|it| !it.is_lost())
    }

    pub(super) fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    pub(super) fn serving(&self, slot: Slot) -> bool {
        self.entry(slot).is_some_and(|it| it.serving.load(Ordering::Relaxed))
    }
}

/// As the database numbers it.
pub(super) fn number(slot: Slot) -> i16 {
    i16::try_from(slot.number()).unwrap_or(i16::MAX)
}

pub(super) fn slot_of(number: i16) -> Option<Slot> {
    Slot::new(u16::try_from(number).ok()?)
}
