//! Groups: who goes where, evenly.

use std::cmp::Ordering;

use crate::{compiled_mode::CompiledMode, open_match::OpenMatch};

/// Steps before the best arrangement so far is taken.
const MOST_STEPS: u32 = 5_000;

/// A ticket's part in a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupItem<'a> {
    pub(crate) size: u32,
    pub(crate) values: &'a [f64],
}

/// The groups of a match while they are filled.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Greatest differences of averages, by balance.
    limits: Vec<f64>,
    groups: Vec<OpenGroup>,
    /// The unevenness of numbers that differ by no more than one.
    even: u64,
    steps: u32,
    best: Option<Best>,
}

#[derive(Debug, Clone, PartialEq)]
struct OpenGroup {
    index: usize,
    min: u32,
    max: u32,
    players: u32,
    sums: Vec<f64>,
}

/// Even numbers first, then averages that are close.
#[derive(Debug)]
struct Best {
    unevenness: u64,
    difference: f64,
    groups: Vec<usize>,
}

impl Groups {
    pub(crate) fn new(mode: &CompiledMode, base: &OpenMatch, mins: &[u32], limits: Vec<f64>) -> Self {
        let facts = mode.groups.iter().zip(mins).zip(&base.counts).zip(&base.sums).enumerate();
        let groups = facts.map(|(index, (((group, min), players), sums))| OpenGroup {
            index,
            min: *min,
            max: group.max,
            players: *players,
            sums: sums.clone(),
        });
        Self { limits, groups: groups.collect(), even: 0, steps: MOST_STEPS, best: None }
    }

    /// The group of each ticket. Arrangements have the groups' least players and are within the
    /// limits. The most even ones win, and of these the one with the closest averages; for many
    /// tickets the best one that was found in time.
    pub(crate) fn arrange(mut self, items: Vec<GroupItem<'_>>) -> Option<Vec<usize>> {
        if self.limits.is_empty() && items.iter().all(|it| it.size == 1) {
            return self.singles(items.len());
        }
        let mut order: Vec<usize> = (0..items.len()).collect();
        // Large parties first, then great values: each next one goes where it is needed.
        let first =
            |it: &usize| items.get(*it).map(|it| (it.size, it.values.first().copied().unwrap_or(0.0)));
        order.sort_by(|one, other| match (first(one), first(other)) {
            (Some(one), Some(other)) => other.0.cmp(&one.0).then(other.1.total_cmp(&one.1)),
            _ => Ordering::Equal,
        });
        let sorted: Vec<GroupItem<'_>> = order.iter().filter_map(|it| items.get(*it)).copied().collect();
        let left = sorted.iter().fold(0_u32, |sum, it| sum.saturating_add(it.size));
        self.even = self.evenly(left);
        self.step(&sorted, left, &mut Vec::with_capacity(sorted.len()));
        let mut placed: Vec<(usize, usize)> = order.into_iter().zip(self.best?.groups).collect();
        placed.sort_unstable();
        Some(placed.into_iter().map(|it| it.1).collect())
    }

    /// Each into the group with the fewest players; first those below what they need.
    fn singles(&mut self, count: usize) -> Option<Vec<usize>> {
        let mut placed = Vec::with_capacity(count);
        for _ in 0..count {
            let open = self.groups.iter_mut().filter(|it| it.players < it.max);
            let next = open.min_by_key(|it| (it.players >= it.min, it.players, it.index))?;
            next.players += 1;
            placed.push(next.index);
        }
        self.groups.iter().all(|it| it.players >= it.min).then_some(placed)
    }

    fn evenly(&self, joining: u32) -> u64 {
        let players = self.groups.iter().map(|it| u64::from(it.players)).sum::<u64>() + u64::from(joining);
        let groups = u64::try_from(self.groups.len()).unwrap_or(1).max(1);
        let (each, rest) = (players / groups, players % groups);
        (groups - rest) * each.saturating_pow(2) + rest * (each + 1).saturating_pow(2)
    }

    fn step(&mut self, items: &[GroupItem<'_>], left: u32, chosen: &mut Vec<usize>) {
        self.steps = self.steps.saturating_sub(1);
        let lack =
            self.groups.iter().map(|it| it.min.saturating_sub(it.players)).fold(0, u32::saturating_add);
        if self.steps == 0 || lack > left {
            return;
        }
        let Some((item, rest)) = items.split_first() else {
            self.keep(chosen);
            return;
        };
        for index in self.in_order(item.size) {
            let Some(group) = self.groups.get_mut(index) else { continue };
            let before = group.clone();
            group.players += item.size;
            for (sum, value) in group.sums.iter_mut().zip(item.values) {
                *sum += value * f64::from(item.size);
            }
            chosen.push(index);
            self.step(rest, left - item.size, chosen);
            chosen.pop();
            if let Some(group) = self.groups.get_mut(index) {
                *group = before;
            }
            // Without balances nothing is better than numbers that are as even as can be.
            if self.limits.is_empty() && self.best.as_ref().is_some_and(|it| it.unevenness == self.even) {
                return;
            }
        }
    }

    /// Groups with room, the one that comes next first. Of groups that are alike, one is enough.
    fn in_order(&self, size: u32) -> Vec<usize> {
        let has_free_seats = |it: &&OpenGroup| it.max.saturating_sub(it.players) >= size;
        let mut open: Vec<&OpenGroup> = self.groups.iter().filter(has_free_seats).collect();
        open.sort_by(|one, other| {
            let key = |it: &OpenGroup| (it.players >= it.min, it.players);
            let sum = |it: &OpenGroup| it.sums.first().copied().unwrap_or(0.0);
            key(one).cmp(&key(other)).then(sum(one).total_cmp(&sum(other))).then(one.index.cmp(&other.index))
        });
        open.dedup_by(|one, other| {
            (one.min, one.max, one.players) == (other.min, other.max, other.players) && one.sums == other.sums
        });
        open.into_iter().map(|it| it.index).collect()
    }

    fn keep(&mut self, chosen: &[usize]) {
        let Some(difference) = differences(&self.groups, &self.limits) else { return };
        let unevenness =
            self.groups.iter().map(|it| u64::from(it.players).saturating_pow(2)).fold(0, u64::saturating_add);
        let better = self
            .best
            .as_ref()
            .is_none_or(|best| (unevenness, difference) < (best.unevenness, best.difference));
        if better {
            self.best = Some(Best { unevenness, difference, groups: chosen.to_vec() });
        }
    }
}

/// The sum of the differences between the greatest and the least average; `None` if one is beyond
/// its limit. Empty groups have no average.
fn differences(groups: &[OpenGroup], limits: &[f64]) -> Option<f64> {
    let mut sum = 0.0;
    for (rule, limit) in limits.iter().enumerate() {
        let difference =
            difference(groups.iter().map(|it| (it.players, it.sums.get(rule).copied().unwrap_or(0.0))));
        if difference > *limit {
            return None;
        }
        sum += difference;
    }
    Some(sum)
}

/// Between the greatest and the least average of groups, given as players and their sum.
pub(crate) fn difference(groups: impl Iterator<Item = (u32, f64)>) -> f64 {
    let averages = groups.filter(|it| it.0 > 0).map(|it| it.1 / f64::from(it.0));
    let (low, high) =
        averages.fold((f64::INFINITY, f64::NEG_INFINITY), |span, it| (span.0.min(it), span.1.max(it)));
    if high >= low { high - low } else { 0.0 }
}
