//! Finds the open matches that a ticket may join. The index has the values that have to be equal,
//! the free seats, and where the ranges of values begin.
//!
//! Values are cut into cells, a quarter as wide as the greatest difference that a ticket allows. A
//! search meets ten cells at most, and each cell lists its matches by age. So the search reads
//! nothing younger than what it finds. Each difference that a stage allows has its own cells.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, btree_set},
};

use omgservers_api::MatchId;

use crate::{
    compiled_mode::{CompiledMode, Stage},
    open_match::OpenMatch,
    values::{Part, Real, Values},
};

/// Cells in the greatest difference.
const CELLS: f64 = 4.0;
/// OpenMatches with more room than this lie together.
const MOST_CLASSES: u32 = 8;

/// OpenMatches that have players and room.
#[derive(Debug, Default)]
pub(crate) struct OpenMatchIndex(BTreeMap<Level, Cells>);

/// By free seats, then by where values begin.
type Cells = BTreeMap<(u32, Real), BTreeSet<MatchId>>;

/// The matches that tickets of some stages search.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Level {
    reach: Real,
    parts: Vec<Part>,
}

impl OpenMatchIndex {
    /// Puts a match in, or takes it out as it was put in.
    pub(crate) fn put(&mut self, mode: &CompiledMode, id: MatchId, open: &OpenMatch, add: bool) {
        let Some(spans) = &open.spans else { return };
        let low = spans.first().map_or(0.0, |it| it.0);
        let class = class(mode, open.free_seats(mode));
        for (free, reach) in mode.reaches() {
            let Some(parts) = open.key(free) else { continue };
            let (level, position) = (Level { reach: Real(reach), parts }, (class, cell(low, reach)));
            if add {
                self.0.entry(level).or_default().entry(position).or_default().insert(id);
            } else if let Some(cells) = self.0.get_mut(&level) {
                if let Some(keys) = cells.get_mut(&position) {
                    keys.remove(&id);
                    if keys.is_empty() {
                        cells.remove(&position);
                    }
                }
                if cells.is_empty() {
                    self.0.remove(&level);
                }
            }
        }
    }

    /// Iterates over a superset of the matches that a ticket may fit into, the oldest first.
    pub(crate) fn oldest_first(
        &self,
        mode: &CompiledMode,
        stage: &Stage,
        values: &Values,
        size: u32,
    ) -> impl Iterator<Item = MatchId> + '_ {
        let reach = stage.reach();
        let level = Level { reach: Real(reach), parts: values.key(&stage.free) };
        let value = values.first();
        // A difference is rounded otherwise than a sum.
        let (from, to) = (cell((value - reach).next_down(), reach), cell((value + reach).next_up(), reach));
        let mut heap = BinaryHeap::new();
        let classes = class(mode, size)..=MOST_CLASSES.min(mode.max_party);
        if let Some(cells) = self.0.get(&level) {
            let found = classes.clone().flat_map(|class| cells.range((class, from)..=(class, to)));
            heap.extend(found.filter_map(|(_, keys)| Next::of(keys.iter())));
        }
        std::iter::from_fn(move || {
            let Reverse(Next { id, rest }) = heap.pop()?;
            heap.extend(Next::of(rest));
            Some(id)
        })
    }
}

/// The oldest one of a cell that is left.
struct Next<'a> {
    id: MatchId,
    rest: btree_set::Iter<'a, MatchId>,
}

impl<'a> Next<'a> {
    fn of(mut rest: btree_set::Iter<'a, MatchId>) -> Option<Reverse<Self>> {
        let id = *rest.next()?;
        Some(Reverse(Self { id, rest }))
    }
}

impl Ord for Next<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.id.cmp(&other.id)
    }
}
impl PartialOrd for Next<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Next<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
impl Eq for Next<'_> {}

/// Matches with as many free seats as the largest party needs, or more, are of one class.
fn class(mode: &CompiledMode, free_seats: u32) -> u32 {
    free_seats.min(mode.max_party).min(MOST_CLASSES)
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
        /// Everything within reach lies between the inspected cells, and these are few.
        #[test]
        fn what_is_within_reach_is_looked_at(
            value in prop_oneof![-1e3..1e3_f64, -1e18..1e18_f64, any::<f64>().prop_filter("finite", |it| it.is_finite())],
            part in 0.0..=1.0_f64,
            reach in prop_oneof![Just(0.0), Just(f64::INFINITY), 0.001..1e4_f64, 1e-300..1e300_f64],
        ) {
            let (value, other) = (value + 0.0, value + part * reach.min(f64::MAX) + 0.0);
            prop_assume!(other.is_finite() && other - value <= reach);
            for (searched, there) in [(value, other), (other, value)] {
                let from = cell((searched - reach).next_down(), reach);
                let to = cell((searched + reach).next_up(), reach);
                prop_assert!(from <= cell(there, reach) && cell(there, reach) <= to);
                if reach > 0.0 && reach.is_finite() && (searched / reach).abs() < 1e12 {
                    prop_assert!(to.0 - from.0 <= 2.0 * CELLS + 1.0);
                }
            }
        }
    }
}
