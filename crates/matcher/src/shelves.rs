//! Where the matches that have room are found: by what has to be the same, by how much room there is, and by where
//! their values begin.
//!
//! Values are cut into cells, a quarter as wide as what a ticket may look for, so that a search meets ten of them at most,
//! and in each the matches lie in the order of their age. The oldest of all is the least of ten: nothing has to be looked
//! at that is younger than what is found. There are cells for each difference that a stage allows.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, btree_set},
};

use crate::{
    MatchKey,
    plan::{Plan, Stage},
    running::Running,
    values::{Part, Real, Values},
};

/// Cells in the greatest difference.
const CELLS: f64 = 4.0;
/// Matches with more room than this lie together.
const MOST_CLASSES: u32 = 8;

/// Matches that have players and room.
#[derive(Debug, Default)]
pub(crate) struct Shelves(BTreeMap<Shelf, Cells>);

/// By room, then by where values begin.
type Cells = BTreeMap<(u32, Real), BTreeSet<MatchKey>>;

/// What tickets of some stages look at.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shelf {
    reach: Real,
    parts: Vec<Part>,
}

impl Shelves {
    /// Puts a match in, or takes it out as it was put in.
    pub(crate) fn put(&mut self, plan: &Plan, key: MatchKey, running: &Running, add: bool) {
        let Some(spans) = &running.spans else { return };
        let low = spans.first().map_or(0.0, |it| it.0);
        let class = class(plan, running.room(plan));
        for (free, reach) in plan.reaches() {
            let Some(parts) = running.key(free) else { continue };
            let (shelf, place) = (Shelf { reach: Real(reach), parts }, (class, cell(low, reach)));
            if add {
                self.0.entry(shelf).or_default().entry(place).or_default().insert(key);
            } else if let Some(cells) = self.0.get_mut(&shelf) {
                if let Some(keys) = cells.get_mut(&place) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        cells.remove(&place);
                    }
                }
                if cells.is_empty() {
                    self.0.remove(&shelf);
                }
            }
        }
    }

    /// The matches that a ticket may fit into, the oldest first, and some that it doesn't fit into.
    pub(crate) fn oldest_first(
        &self,
        plan: &Plan,
        stage: &Stage,
        values: &Values,
        size: u32,
    ) -> impl Iterator<Item = MatchKey> + '_ {
        let reach = stage.reach();
        let shelf = Shelf { reach: Real(reach), parts: values.key(&stage.free) };
        let value = values.first();
        // A difference is rounded otherwise than a sum.
        let (from, to) = (cell((value - reach).next_down(), reach), cell((value + reach).next_up(), reach));
        let mut heap = BinaryHeap::new();
        let classes = class(plan, size)..=MOST_CLASSES.min(plan.max_party);
        if let Some(cells) = self.0.get(&shelf) {
            let found = classes.clone().flat_map(|class| cells.range((class, from)..=(class, to)));
            heap.extend(found.filter_map(|(_, keys)| Next::of(keys.iter())));
        }
        std::iter::from_fn(move || {
            let Reverse(Next { key, rest }) = heap.pop()?;
            heap.extend(Next::of(rest));
            Some(key)
        })
    }
}

/// The oldest one of a cell that is left.
struct Next<'a> {
    key: MatchKey,
    rest: btree_set::Iter<'a, MatchKey>,
}

impl<'a> Next<'a> {
    fn of(mut rest: btree_set::Iter<'a, MatchKey>) -> Option<Reverse<Self>> {
        let key = *rest.next()?;
        Some(Reverse(Self { key, rest }))
    }
}

impl Ord for Next<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}
impl PartialOrd for Next<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Next<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl Eq for Next<'_> {}

/// Matches with as much room as the largest party needs, or more, are all the same.
fn class(plan: &Plan, room: u32) -> u32 {
    room.min(plan.max_party).min(MOST_CLASSES)
}

/// In which cell a value lies. It never falls when the value grows.
fn cell(value: f64, reach: f64) -> Real {
    if reach.is_infinite() {
        return Real(0.0);
    }
    if reach == 0.0 {
        return Real(value);
    }
    // Without a negative zero, as values are.
    Real((value / reach * CELLS).floor() + 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is within reach lies between the cells that are looked at, and these are few.
        #[test]
        fn what_is_within_reach_is_looked_at(
            value in prop_oneof![-1e3..1e3_f64, -1e18..1e18_f64, any::<f64>().prop_filter("finite", |it| it.is_finite())],
            part in 0.0..=1.0_f64,
            reach in prop_oneof![Just(0.0), Just(f64::INFINITY), 0.001..1e4_f64, 1e-300..1e300_f64],
        ) {
            let (value, other) = (value + 0.0, value + part * reach.min(f64::MAX) + 0.0);
            prop_assume!(other.is_finite() && other - value <= reach);
            for (asked, there) in [(value, other), (other, value)] {
                let from = cell((asked - reach).next_down(), reach);
                let to = cell((asked + reach).next_up(), reach);
                prop_assert!(from <= cell(there, reach) && cell(there, reach) <= to);
                if reach > 0.0 && reach.is_finite() && (asked / reach).abs() < 1e12 {
                    prop_assert!(to.0 - from.0 <= 2.0 * CELLS + 1.0);
                }
            }
        }
    }
}
