//! New ids. PostgreSQL hands out a block of 2^28 ids per slot, the counter is in memory: no clock,
//! no node number, no coordination.

mod slot_ids;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use omgservers_api::{
    Code, Kind, Problem, Slot,
    ids::{Id, SLOTS, compose},
};

use self::slot_ids::SlotIds;
use crate::{Db, Outcome, Worker, schema::mint};

/// A slot's blocks are used up faster than new ones come. Ask again.
pub const NO_IDS: Code = Code::new(
    "core.no_ids",
    "ID_GENERATOR_FAILED",
    Kind::Unavailable,
    "no fresh ids at the moment; try again",
);

/// Makes ids. Cheap to clone; any number of mints, in any number of processes, never make the same
/// id.
#[derive(Debug, Clone)]
pub struct Mint {
    /// By the number of the slot.
    slots: Arc<[SlotIds]>,
    /// Where new roots go.
    roots: Arc<RwLock<Vec<Slot>>>,
    turn: Arc<AtomicUsize>,
}

impl Mint {
    /// Has no block in any slot: for a process that [acquires](crate::Ownership::acquire) slots.
    pub fn empty() -> Self {
        let slots = (0..SLOTS).map(|_| SlotIds::new()).collect();
        Self { slots, roots: Arc::default(), turn: Arc::default() }
    }

    /// Takes a fresh block in each open slot of the database. Problems: `unavailable`.
    pub async fn take(db: &Db) -> Result<Self, Problem> {
        let mint = Self::empty();
        let mut blocks = take_blocks(db, None).await?;
        blocks.sort_unstable_by_key(|it| it.0);
        for (slot, block) in blocks {
            mint.renew(slot, block);
        }
        Ok(mint)
    }

    /// The id of a new root, in the slot whose turn it is of those that this process serves.
    /// Problems: `core.no_ids`.
    pub fn root<I: Id>(&self) -> Result<I, Problem> {
        let slot = {
            let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            turn.checked_rem(roots.len()).and_then(|it| roots.get(it).copied()).ok_or(NO_IDS)?
        };
        self.at(slot)
    }

    /// The id of something that belongs to `parent`: in the parent's slot. Ids that one mint makes
    /// in a slot grow. Problems: `core.no_ids`; when the mint has no block in the slot,
    /// [`RenewBlocks`] takes one.
    pub fn child<I: Id>(&self, parent: impl Id) -> Result<I, Problem> {
        self.at(parent.slot())
    }

    /// Takes a block in a slot of another process unless there is one, so that
    /// [`child`](Self::child) has ids. Problems: `unavailable`, `core.no_ids` for a slot that the
    /// database doesn't have.
    pub async fn prepare(&self, db: &Db, slot: Slot) -> Result<(), Problem> {
        let ids = self.slots.get(usize::from(slot.number())).ok_or(NO_IDS)?;
        if ids.has_block() {
            return Ok(());
        }
        let taken = take_blocks(db, Some(&[slot])).await?;
        let (_, block) = taken.into_iter().next().ok_or_else(|| NO_IDS.detail("no such slot here"))?;
        ids.keep(block);
        Ok(())
    }

    /// Goes on in a fresh block of a slot that this process has acquired. What is left of the
    /// former block is given up: an owner in between has handed out ids above it.
    pub fn renew(&self, slot: Slot, block: u32) {
        let Some(ids) = self.slots.get(usize::from(slot.number())) else { return };
        ids.replace(block);
        let mut roots = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(position) = roots.binary_search(&slot) {
            roots.insert(position, slot);
        }
    }

    /// Makes no more roots in a slot that this process gave up.
    pub fn retire(&self, slot: Slot) {
        self.roots.write().unwrap_or_else(PoisonError::into_inner).retain(|it| *it != slot);
    }

    fn at<I: Id>(&self, slot: Slot) -> Result<I, Problem> {
        let ids = self.slots.get(usize::from(slot.number())).ok_or(NO_IDS)?;
        let (block, counter) = ids.next().ok_or(NO_IDS)?;
        compose(slot, block, counter)
            .and_then(|it| i64::try_from(it.get()).ok())
            .and_then(I::from_i64)
            .ok_or_else(|| NO_IDS.into())
    }

    fn running_low(&self) -> Vec<Slot> {
        (0..SLOTS).zip(&*self.slots).filter(|it| it.1.is_low()).filter_map(|it| Slot::new(it.0)).collect()
    }
}

async fn take_blocks(db: &Db, only: Option<&[Slot]>) -> Result<Vec<(Slot, u32)>, Problem> {
    let only: Option<Vec<i16>> =
        only.map(|it| it.iter().map(|slot| i16::try_from(slot.number()).unwrap_or(i16::MAX)).collect());
    let taken: Vec<(i16, i32)> = db
        .write(async |conn| {
            let next = (mint::number, mint::next_block - 1);
            let add = mint::next_block.eq(mint::next_block + 1);
            Ok(match &only {
                Some(slots) => {
                    let some = mint::table.filter(mint::number.eq_any(slots));
                    diesel::update(some).set(add).returning(next).load(conn).await?
                }
                None => diesel::update(mint::table).set(add).returning(next).load(conn).await?,
            })
        })
        .await?;
    let read =
        |(slot, block): (i16, i32)| Some((Slot::new(u16::try_from(slot).ok()?)?, u32::try_from(block).ok()?));
    taken.into_iter().map(|it| read(it).ok_or_else(|| NO_IDS.detail("a slot has no blocks left"))).collect()
}

/// Takes the next block of slots whose block is half used.
#[derive(Debug, Clone)]
pub struct RenewBlocks {
    /// Where blocks come from.
    pub db: Db,
    /// Who uses them.
    pub mint: Mint,
}

#[async_trait::async_trait]
impl Worker for RenewBlocks {
    fn name(&self) -> &'static str {
        "core.renew_blocks"
    }
    fn description(&self) -> &'static str {
        "Takes a new block of ids for each slot whose block is half used."
    }
    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }
    async fn run_once(&mut self) -> Result<Outcome, Problem> {
        let low = self.mint.running_low();
        if low.is_empty() {
            return Ok(Outcome::default());
        }
        let taken = take_blocks(&self.db, Some(&low)).await?;
        for (slot, block) in &taken {
            if let Some(ids) = self.mint.slots.get(usize::from(slot.number())) {
                ids.keep(*block);
            }
        }
        Ok(Outcome::changed(taken.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_without_a_block_makes_no_id_and_asks_for_one() {
        let mint = Mint::empty();
        let parent = omgservers_api::TenantId::from_i64(5 << 51 | 1).unwrap();
        assert!(mint.root::<omgservers_api::TenantId>().unwrap_err().is(NO_IDS));
        assert!(mint.child::<omgservers_api::TenantId>(parent).unwrap_err().is(NO_IDS));
        assert_eq!(mint.running_low(), [parent.slot()]);
        mint.renew(parent.slot(), 2);
        assert_eq!(mint.child::<omgservers_api::TenantId>(parent).unwrap().slot(), parent.slot());
    }
}
