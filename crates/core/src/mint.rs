//! New ids. PostgreSQL hands out a block of 2^28 ids per slot, the counter is in memory: no clock, no node
//! number, no coordination.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use omgservers_api::{
    Code, Kind, Problem, Slot,
    ids::{COUNTER_BITS, Id, compose},
};

use crate::{Db, Outcome, Worker, schema::mint};

/// A slot's blocks are used up faster than new ones come. Ask again.
pub const NO_IDS: Code = Code::new(
    "core.no_ids",
    "ID_GENERATOR_FAILED",
    Kind::Unavailable,
    "no fresh ids at the moment; try again",
);

/// A block is renewed when this much of it is used.
const RENEW_AT: u32 = 1 << (COUNTER_BITS - 1);

/// Makes ids. Cheap to clone; any number of mints, in any number of processes, never make the same id.
#[derive(Debug, Clone)]
pub struct Mint {
    slots: Arc<Vec<(Slot, Mutex<Blocks>)>>,
    index: Arc<HashMap<Slot, usize>>,
    turn: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Blocks {
    block: u32,
    next: u32,
    spare: Option<u32>,
}

impl Blocks {
    fn next(&mut self) -> Option<(u32, u32)> {
        if self.next >> COUNTER_BITS != 0 {
            self.block = self.spare.take()?;
            self.next = 0;
        }
        let made = (self.block, self.next);
        self.next += 1;
        Some(made)
    }
}

impl Mint {
    /// Takes a fresh block in each open slot of the database.
    pub async fn take(db: &Db) -> Result<Self, Problem> {
        let mut slots = Vec::new();
        for (slot, block) in take_blocks(db, None).await? {
            // The counter of the very first block starts at 1, for 0 is no id.
            slots.push((slot, Mutex::new(Blocks { block, next: 1, spare: None })));
        }
        slots.sort_unstable_by_key(|it| it.0);
        let index = slots.iter().enumerate().map(|(index, it)| (it.0, index)).collect();
        Ok(Self { slots: Arc::new(slots), index: Arc::new(index), turn: Arc::default() })
    }

    /// The id of a new root, in the open slot whose turn it is. Problems: `core.no_ids`.
    pub fn root<I: Id>(&self) -> Result<I, Problem> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.at(turn.checked_rem(self.slots.len()).unwrap_or(0))
    }

    /// The id of something that belongs to `parent`: in the parent's slot. Ids that one mint makes in a slot
    /// grow. Problems: `core.no_ids`, also when the slot isn't one of this database.
    pub fn child<I: Id>(&self, parent: impl Id) -> Result<I, Problem> {
        let index = self.index.get(&parent.slot()).ok_or_else(|| NO_IDS.detail("no such slot here"))?;
        self.at(*index)
    }

    fn at<I: Id>(&self, index: usize) -> Result<I, Problem> {
        let (slot, blocks) = self.slots.get(index).ok_or(NO_IDS)?;
        let (block, counter) = blocks.lock().unwrap_or_else(PoisonError::into_inner).next().ok_or(NO_IDS)?;
        compose(*slot, block, counter)
            .and_then(|it| i64::try_from(it.get()).ok())
            .and_then(I::from_i64)
            .ok_or_else(|| NO_IDS.into())
    }

    fn running_low(&self) -> Vec<Slot> {
        let low = |blocks: &Blocks| blocks.spare.is_none() && blocks.next > RENEW_AT;
        self.slots
            .iter()
            .filter(|(_, it)| low(&it.lock().unwrap_or_else(PoisonError::into_inner)))
            .map(|it| it.0)
            .collect()
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
            let blocks = self.mint.index.get(slot).and_then(|it| self.mint.slots.get(*it));
            if let Some((_, blocks)) = blocks {
                blocks.lock().unwrap_or_else(PoisonError::into_inner).spare = Some(*block);
            }
        }
        Ok(Outcome::changed(taken.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_up_block_is_followed_by_the_spare_and_then_by_nothing() {
        let last = (1 << COUNTER_BITS) - 1;
        let mut blocks = Blocks { block: 3, next: last, spare: Some(7) };
        assert_eq!(blocks.next(), Some((3, last)));
        assert_eq!(blocks.next(), Some((7, 0)));
        blocks.next = 1 << COUNTER_BITS;
        assert_eq!(blocks.next(), None);
    }
}
