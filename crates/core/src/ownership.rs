//! Which slots this process owns, and the check that it still does.
//!
//! Owned data lives in the memory of one process. A process owns a slot for one [`Tenure`]: at an
//! epoch that grows each time a process acquires the slot. A transaction that writes owned tables
//! reads the epoch `for share`. So a process that lost a slot can't write it, and serves it no
//! more.

mod table;

use std::sync::Arc;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use omgservers_api::{Code, Kind, Problem, Slot};
use tokio_util::sync::CancellationToken;

pub use self::table::{SlotTable, Tenure, TenureState};
use self::table::{number, slot_of};
use crate::{
    Conn, Db, Mint,
    schema::{mint, slot},
};

/// Another process took the slots.
pub const NOT_OWNER: Code =
    Code::new("core.not_owner", "WRONG_SHARD", Kind::Gone, "another server owns this part of the data now");

/// The slots of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Ownership {
    /// One server: it owns every slot of the database, and loses all of them at once.
    Whole(Arc<SlotTable>),
    /// One of several servers: it acquires, releases and loses each slot by itself.
    Slots(Arc<SlotTable>),
}

impl Ownership {
    /// Takes all slots of the database for `node`. Whoever had them can't write them any more. Take
    /// the [`Mint`] after this: ids of the former owner must stay below new ones. Problems:
    /// `unavailable`.
    pub async fn take(db: &Db, node: &str) -> Result<Self, Problem> {
        let taken: Vec<(i16, i64)> = db
            .write(async |conn| {
                Ok(diesel::update(slot::table)
                    .set((slot::node.eq(node), slot::epoch.eq(slot::epoch + 1)))
                    .returning((slot::number, slot::epoch))
                    .load(conn)
                    .await?)
            })
            .await?;
        let table = SlotTable::new(node);
        for (number, epoch) in taken {
            if let Some((slot, entry)) = slot_of(number).and_then(|it| Some((it, table.entry(it)?))) {
                entry.put(Tenure::new(slot, epoch, TenureState::Serving));
            }
        }
        Ok(Self::Whole(Arc::new(table)))
    }

    /// Owns no slot yet. `node` names this process; no two processes of a database share a name.
    pub fn slots(node: &str) -> Self {
        Self::Slots(Arc::new(SlotTable::new(node)))
    }

    /// Whether slots are lost one by one.
    pub fn by_slot(&self) -> bool {
        matches!(self, Self::Slots(_))
    }

    fn table(&self) -> &SlotTable {
        match self {
            Self::Whole(table) | Self::Slots(table) => table,
        }
    }

    /// Acquires `slots`, each at its next epoch and with a fresh block of ids, in one transaction.
    /// Their earlier owner can't write them any more. A tenure that this process still serves of
    /// one of them is lost first, also when this fails. The new tenures are
    /// [loading](TenureState::Loading), and unknown here until [`serve`](Self::serve). Otherwise a
    /// request that began in an earlier tenure could end in a later one. Write with
    /// [`Db::write_fenced`] meanwhile. Problems: `unavailable`, `core.not_owner` for a slot that
    /// the database doesn't have, `internal` when this owns [all slots](Self::Whole).
    pub async fn acquire(&self, db: &Db, ids: &Mint, slots: &[Slot]) -> Result<Vec<Arc<Tenure>>, Problem> {
        let Self::Slots(table) = self else {
            return Err(Problem::internal("one server owns all slots and acquires none"));
        };
        for tenure in slots.iter().filter_map(|it| table.current(*it)) {
            self.lose(&tenure);
        }
        let numbers: Vec<i16> = slots.iter().map(|it| number(*it)).collect();
        let (epochs, blocks) = db
            .write(async |conn| {
                let epochs: Vec<(i16, i64)> =
                    diesel::update(slot::table.filter(slot::number.eq_any(&numbers)))
                        .set((slot::node.eq(&table.node), slot::epoch.eq(slot::epoch + 1)))
                        .returning((slot::number, slot::epoch))
                        .load(conn)
                        .await?;
                // After the update, which waits for transactions of the former owner: its blocks
                // are lower.
                let blocks: Vec<(i16, i32)> =
                    diesel::update(mint::table.filter(mint::number.eq_any(&numbers)))
                        .set(mint::next_block.eq(mint::next_block + 1))
                        .returning((mint::number, mint::next_block - 1))
                        .load(conn)
                        .await?;
                Ok((epochs, blocks))
            })
            .await?;
        for (slot, block) in blocks {
            let renewed = slot_of(slot).zip(u32::try_from(block).ok());
            let (slot, block) = renewed.ok_or_else(|| NOT_OWNER.detail("a slot has no blocks left"))?;
            ids.renew(slot, block);
        }
        let mut tenures = Vec::with_capacity(slots.len());
        for slot in slots {
            let epoch = epochs.iter().find(|it| it.0 == number(*slot)).ok_or(NOT_OWNER)?.1;
            tenures.push(Tenure::new(*slot, epoch, TenureState::Loading));
        }
        Ok(tenures)
    }

    /// Gives a slot up, after everything that this process has of it is written. `false` when
    /// another process took it before. Problems: `unavailable`: then the slot may still be this
    /// process's in the database, and it is lost here.
    pub async fn release(&self, db: &Db, ids: &Mint, tenure: &Arc<Tenure>) -> Result<bool, Problem> {
        self.lose(tenure);
        ids.retire(tenure.slot());
        let (number, epoch) = tenure.numbers();
        let node = &self.table().node;
        let released = db
            .write(async |conn| {
                let mine = slot::table
                    .filter(slot::number.eq(number).and(slot::node.eq(node)).and(slot::epoch.eq(epoch)));
                Ok(diesel::update(mine)
                    .set((slot::node.eq(""), slot::epoch.eq(slot::epoch + 1)))
                    .execute(conn)
                    .await?)
            })
            .await?;
        Ok(released > 0)
    }

    /// Begins to answer requests, unless the tenure was lost meanwhile. The caller has loaded the
    /// slot's data, and nothing in memory is of an earlier tenure.
    pub fn serve(&self, tenure: &Arc<Tenure>) {
        if let Some(entry) = self.table().entry(tenure.slot()) {
            entry.serve(tenure);
        }
    }

    /// Nobody is answered any more; what is known is still written.
    pub fn drain(&self, tenure: &Arc<Tenure>) {
        self.advance(tenure, TenureState::Draining);
    }

    /// The slot is another process's. Of a server that owns all slots every slot is.
    pub fn lose(&self, tenure: &Arc<Tenure>) {
        match self {
            Self::Slots(_) => self.advance(tenure, TenureState::Lost),
            Self::Whole(_) => self.lose_all(),
        }
    }

    fn advance(&self, tenure: &Arc<Tenure>, to: TenureState) {
        if let Some(entry) = self.table().entry(tenure.slot()) {
            entry.advance(tenure, to);
        }
    }

    /// Every slot is another process's.
    pub fn lose_all(&self) {
        let table = self.table();
        table.lose();
        table.all().for_each(|it| self.advance(&it, TenureState::Lost));
        table.lost.cancel();
    }

    /// Ends when another process has taken all slots of this one. The server must stop then.
    pub fn lost(&self) -> &CancellationToken {
        &self.table().lost
    }

    /// Whether this process answers requests about the slot. One load; asked under the lock of what
    /// is changed. A server that owns all slots answers for every number: what isn't there is not
    /// found.
    pub fn serving(&self, slot: Slot) -> bool {
        match self {
            Self::Whole(table) => !table.is_lost(),
            Self::Slots(table) => table.serving(slot),
        }
    }

    /// Whether another process has taken all slots of this one.
    pub fn is_lost(&self) -> bool {
        self.table().is_lost()
    }

    /// The slot's newest tenure, also when it is lost.
    pub fn newest(&self, slot: Slot) -> Option<Arc<Tenure>> {
        self.table().current(slot)
    }

    /// The slot's present tenure. Problems: `core.not_owner`.
    pub fn tenure(&self, slot: Slot) -> Result<Arc<Tenure>, Problem> {
        self.table().current(slot).filter(|it| !it.is_lost()).ok_or_else(|| NOT_OWNER.into())
    }

    /// The tenures of this process, by slot.
    pub fn tenures(&self) -> Vec<Arc<Tenure>> {
        self.table().all().collect()
    }

    /// The epoch of each of `slots`, sorted by slot, without repeats: what a fence must find.
    /// Problems: `core.not_owner`.
    pub fn expected(&self, slots: impl IntoIterator<Item = Slot>) -> Result<Vec<(i16, i64)>, Problem> {
        let mut slots: Vec<Slot> = slots.into_iter().collect();
        slots.sort_unstable();
        slots.dedup();
        slots.into_iter().map(|it| Ok(self.tenure(it)?.numbers())).collect()
    }

    /// Compares what a fence read with what it must find, and answers the slots that differ.
    /// Exactly the tenures that were expected there are lost from now on; of a server that owns all
    /// slots every one is.
    pub fn compare(&self, expected: &[(i16, i64)], mut found: Vec<(i16, i64)>) -> Vec<Slot> {
        found.sort_unstable();
        let differs = |it: &&(i16, i64)| found.binary_search(it).is_err();
        let lost: Vec<(Slot, i64)> =
            expected.iter().filter(differs).filter_map(|it| Some((slot_of(it.0)?, it.1))).collect();
        match self {
            Self::Whole(_) if !lost.is_empty() => self.lose_all(),
            Self::Whole(_) => {}
            // A tenure of a later epoch isn't what was compared.
            Self::Slots(table) => lost
                .iter()
                .filter_map(|(slot, epoch)| table.current(*slot).filter(|it| it.epoch() == *epoch))
                .for_each(|it| self.lose(&it)),
        }
        lost.into_iter().map(|it| it.0).collect()
    }

    /// Compares all slots of this process with the database, without a fence. Answers those that it
    /// has lost. Problems: `unavailable`.
    pub async fn verify(&self, db: &Db) -> Result<Vec<Slot>, Problem> {
        let expected: Vec<(i16, i64)> = self.table().all().map(|it| it.numbers()).collect();
        let found = slot::table.select((slot::number, slot::epoch)).load(&mut *db.read().await?).await?;
        Ok(self.compare(&expected, found))
    }

    /// The fence: locks the rows of `expected` against a take-over until the transaction ends.
    pub(crate) async fn check(&self, conn: &mut Conn, expected: &[(i16, i64)]) -> Result<(), Problem> {
        let numbers: Vec<i16> = expected.iter().map(|it| it.0).collect();
        let found: Vec<(i16, i64)> = slot::table
            .filter(slot::number.eq_any(numbers))
            .select((slot::number, slot::epoch))
            .order(slot::number)
            .for_share()
            .load(conn)
            .await?;
        if self.compare(expected, found).is_empty() { Ok(()) } else { Err(NOT_OWNER.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owns(ownership: &Ownership, slot: u16, epoch: i64) -> Arc<Tenure> {
        let slot = Slot::new(slot).unwrap();
        let tenure = Tenure::new(slot, epoch, TenureState::Loading);
        ownership.table().entry(slot).unwrap().put(Arc::clone(&tenure));
        tenure
    }

    #[test]
    fn a_slot_is_served_between_loading_and_draining_only() {
        let ownership = Ownership::slots("a");
        let tenure = owns(&ownership, 7, 3);
        assert!(!ownership.serving(tenure.slot()));
        ownership.serve(&tenure);
        assert!(ownership.serving(tenure.slot()) && !tenure.ended().is_cancelled());
        ownership.drain(&tenure);
        assert!(!ownership.serving(tenure.slot()) && tenure.ended().is_cancelled());
        ownership.serve(&tenure);
        assert!(!ownership.serving(tenure.slot()), "a state never goes back");
    }

    #[test]
    fn exactly_the_slots_whose_epoch_differs_are_lost() {
        let ownership = Ownership::slots("a");
        let (kept, lost) = (owns(&ownership, 1, 5), owns(&ownership, 2, 5));
        ownership.serve(&kept);
        ownership.serve(&lost);
        let expected = ownership.expected([lost.slot(), kept.slot(), kept.slot()]).unwrap();
        assert_eq!(expected, [(1, 5), (2, 5)]);
        assert!(ownership.compare(&expected, vec![(2, 5), (1, 5)]).is_empty());
        assert_eq!(ownership.compare(&expected, vec![(2, 6), (1, 5)]), [lost.slot()]);
        assert!(lost.is_lost() && ownership.serving(kept.slot()) && !ownership.serving(lost.slot()));
        assert!(ownership.expected([lost.slot()]).unwrap_err().is(NOT_OWNER));
        assert!(!ownership.lost().is_cancelled());
    }

    #[test]
    fn a_fence_of_an_earlier_tenure_does_not_lose_the_present_one() {
        let ownership = Ownership::slots("a");
        let earlier = owns(&ownership, 1, 5);
        let present = owns(&ownership, 1, 7);
        ownership.serve(&present);
        assert!(earlier.is_lost());
        assert_eq!(ownership.compare(&[(1, 5)], vec![(1, 7)]), [present.slot()]);
        ownership.lose(&earlier);
        assert!(ownership.serving(present.slot()) && !present.is_lost());
    }

    #[test]
    fn one_server_loses_all_slots_at_once() {
        let Ownership::Slots(table) = Ownership::slots("a") else { unreachable!() };
        let ownership = Ownership::Whole(table);
        let (one, other) = (owns(&ownership, 1, 5), owns(&ownership, 2, 5));
        ownership.serve(&one);
        ownership.serve(&other);
        assert_eq!(ownership.compare(&[(1, 5)], Vec::new()), [one.slot()]);
        assert!(ownership.lost().is_cancelled() && other.is_lost() && !ownership.serving(other.slot()));
    }
}
