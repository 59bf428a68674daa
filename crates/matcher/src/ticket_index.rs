//! QueuedTicket tickets by what they need to be the same, then by stage and by value.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::{
    compiled_mode::CompiledMode,
    ticket_queue::{Handle, QueueOrder, QueuedTicket},
    values::{Part, Real},
};

/// Tickets that no equal rule keeps apart: those of a level on which some rules are given up, and
/// of higher ones.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// By stage, so that each stage's own greatest difference bounds what is looked at.
    stages: Vec<ByValue>,
    players: u64,
    /// Tickets by size.
    sizes: BTreeMap<u32, u32>,
}

/// By value, or by size where there is no range.
type ByValue = BTreeMap<(Real, QueueOrder), (Handle, u32)>;

#[derive(Debug, Default)]
pub(crate) struct TicketIndex {
    buckets: BTreeMap<Vec<Part>, Bucket>,
}

impl TicketIndex {
    pub(crate) fn insert(&mut self, mode: &CompiledMode, handle: Handle, waiting: &QueuedTicket) {
        let key = (sort(mode, waiting), waiting.order());
        for parts in keys(mode, waiting) {
            let bucket = self.buckets.entry(parts).or_insert_with(|| Bucket {
                stages: mode.stages.iter().map(|_| ByValue::new()).collect(),
                players: 0,
                sizes: BTreeMap::new(),
            });
            bucket.players += u64::from(waiting.size);
            *bucket.sizes.entry(waiting.size).or_default() += 1;
            if let Some(by_value) = bucket.stages.get_mut(waiting.stage) {
                by_value.insert(key, (handle, waiting.size));
            }
        }
    }

    pub(crate) fn remove(&mut self, mode: &CompiledMode, waiting: &QueuedTicket) {
        let key = (sort(mode, waiting), waiting.order());
        for parts in keys(mode, waiting) {
            let Entry::Occupied(mut bucket) = self.buckets.entry(parts) else { continue };
            let index = bucket.get_mut();
            index.players -= u64::from(waiting.size);
            if let Entry::Occupied(mut count) = index.sizes.entry(waiting.size) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
            if let Some(by_value) = index.stages.get_mut(waiting.stage) {
                by_value.remove(&key);
            }
            // One that keeps something is kept for the next ticket; without rules there is always
            // just one.
            if index.players == 0 && !mode.equals.is_empty() {
                bucket.remove();
            }
        }
    }

    pub(crate) fn bucket(&self, parts: &[Part]) -> Option<&Bucket> {
        self.buckets.get(parts)
    }
}

impl Bucket {
    pub(crate) fn players(&self) -> u64 {
        self.players
    }

    /// The sizes that its tickets have.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = u32> {
        self.sizes.keys().copied()
    }

    /// The stages that somebody is in.
    pub(crate) fn stages(&self) -> impl Iterator<Item = usize> {
        self.stages.iter().enumerate().filter(|it| !it.1.is_empty()).map(|it| it.0)
    }

    /// Handle and size of the tickets of a stage with values between these. A bit more is looked
    /// at, because a difference is rounded otherwise than a sum: the caller looks again.
    pub(crate) fn between(&self, stage: usize, low: f64, high: f64) -> impl Iterator<Item = (Handle, u32)> {
        let low = (Real(low.next_down()), QueueOrder::first());
        let high = (Real(high.next_up()), QueueOrder::last());
        let by_value = self.stages.get(stage).filter(|_| low <= high);
        by_value.into_iter().flat_map(move |it| it.range(low..=high)).map(|it| *it.1)
    }

    /// The first tickets of each size, as many as `most` says for the size.
    pub(crate) fn by_size(&self, stage: usize, most: impl Fn(u32) -> usize) -> Vec<(Handle, u32)> {
        let mut found = Vec::new();
        let Some(by_value) = self.stages.get(stage) else { return found };
        let mut from = Real(0.0);
        while let Some((_, (_, size))) = by_value.range((from, QueueOrder::first())..).next() {
            let class = Real(f64::from(*size));
            let all = by_value.range((class, QueueOrder::first())..=(class, QueueOrder::last()));
            found.extend(all.map(|it| *it.1).take(most(*size)));
            from = Real(class.0.next_up());
        }
        found
    }
}

fn sort(mode: &CompiledMode, waiting: &QueuedTicket) -> Real {
    Real(if mode.ranges.is_empty() { f64::from(waiting.size) } else { waiting.values.first() })
}

/// A ticket is in the bucket of its own level and in those of the levels before.
fn keys<'a>(mode: &'a CompiledMode, waiting: &'a QueuedTicket) -> impl Iterator<Item = Vec<Part>> + 'a {
    let level = mode.stage(waiting.stage).level;
    mode.levels().take(level + 1).map(|free| waiting.values.key(free))
}
