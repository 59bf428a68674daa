//! The ids of one slot.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use omgservers_api::ids::COUNTER_BITS;

/// A block is renewed when this much of it is used.
const RENEW_AT: u32 = 1 << (COUNTER_BITS - 1);

/// The ids of one slot. A deployment's mailboxes share one, so a fresh id costs no lock.
#[derive(Debug)]
pub(super) struct SlotIds {
    /// The block in the upper half, the next counter in the lower one.
    state: AtomicU64,
    spare: Mutex<Option<u32>>,
    /// Somebody asked for an id while there was no block.
    wanted: AtomicBool,
}

/// No block: its counter is one of a used up block.
const NO_BLOCK: u64 = u64::MAX;

fn pack(block: u32, next: u32) -> u64 {
    (u64::from(block) << u32::BITS) | u64::from(next)
}

fn unpack(state: u64) -> (u32, u32) {
    let half = |it: u64| u32::try_from(it & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    (half(state >> u32::BITS), half(state))
}

fn is_used_up(next: u32) -> bool {
    next >> COUNTER_BITS != 0
}

impl SlotIds {
    pub(super) fn new() -> Self {
        Self { state: AtomicU64::new(NO_BLOCK), spare: Mutex::new(None), wanted: AtomicBool::new(false) }
    }

    fn spare(&self) -> MutexGuard<'_, Option<u32>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next(&self) -> Option<(u32, u32)> {
        self.advance().or_else(|| self.next_block())
    }

    fn advance(&self) -> Option<(u32, u32)> {
        let more = |state: u64| if is_used_up(unpack(state).1) { None } else { state.checked_add(1) };
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(unpack)
    }

    fn next_block(&self) -> Option<(u32, u32)> {
        let mut spare = self.spare();
        // Another thread may have begun the next block meanwhile.
        if let Some(made) = self.advance() {
            return Some(made);
        }
        let Some(block) = spare.take() else {
            self.wanted.store(true, Ordering::Relaxed);
            return None;
        };
        self.state.store(pack(block, 1), Ordering::Relaxed);
        Some((block, 0))
    }

    /// Begins a block and forgets the spare one.
    pub(super) fn replace(&self, block: u32) {
        let mut spare = self.spare();
        *spare = None;
        // The counter of the very first block starts at 1, for 0 is no id.
        self.state.store(pack(block, 1), Ordering::Relaxed);
    }

    /// A block for later. One below the present block was taken before this one was
    /// [replaced](Self::replace): ids would go back.
    pub(super) fn keep(&self, block: u32) {
        let mut spare = self.spare();
        self.wanted.store(false, Ordering::Relaxed);
        let state = self.state.load(Ordering::Relaxed);
        if state == NO_BLOCK {
            self.state.store(pack(block, 1), Ordering::Relaxed);
        } else if block > unpack(state).0 && spare.is_none_or(|it| it < block) {
            *spare = Some(block);
        }
    }

    pub(super) fn has_block(&self) -> bool {
        self.state.load(Ordering::Relaxed) != NO_BLOCK
    }

    /// Whether it is time to [keep](Self::keep) another block.
    pub(super) fn is_low(&self) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        self.wanted.load(Ordering::Relaxed)
            || state != NO_BLOCK && unpack(state).1 > RENEW_AT && self.spare().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_up_block_is_followed_by_the_spare_and_then_by_nothing() {
        let last = (1 << COUNTER_BITS) - 1;
        let ids = SlotIds::new();
        ids.state.store(pack(3, last), Ordering::Relaxed);
        ids.keep(7);
        assert_eq!(ids.next(), Some((3, last)));
        assert_eq!(ids.next(), Some((7, 0)));
        assert_eq!(ids.next(), Some((7, 1)));
        ids.state.store(pack(7, 1 << COUNTER_BITS), Ordering::Relaxed);
        assert_eq!(ids.next(), None);
        assert!(ids.is_low(), "a block is asked for");
    }

    #[test]
    fn a_spare_block_from_before_a_renewal_is_not_used() {
        let ids = SlotIds::new();
        ids.replace(3);
        ids.keep(5);
        ids.replace(9);
        assert_eq!((ids.next(), *ids.spare()), (Some((9, 1)), None));
        ids.keep(6);
        assert_eq!(*ids.spare(), None, "the block was taken before the slot was acquired again");
        ids.keep(10);
        assert_eq!(*ids.spare(), Some(10));
    }
}
