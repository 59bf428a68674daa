//! Which waiting tickets go together with a given one.
//!
//! The answer is the first one in order of position. First comes the earliest ticket that can be in
//! a match with the given one, then the earliest that can be with those two. It goes on so until
//! the match is full.

pub(crate) mod arrange;
mod compose;
mod windows;

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    compiled_mode::{CompiledMode, FewestPlayers, Stage},
    open_match::OpenMatch,
    search::{compose::Composer, windows::Windows},
    ticket_index::{Bucket, TicketIndex},
    ticket_queue::{Handle, QueueOrder, QueuedTicket, TicketQueue},
    values::{Part, Values},
};

/// Largest group for which it is worth to look which numbers parties can add up to.
const MOST_ADDED_UP: u32 = 1_000;

/// What a search for parties, or for teams that have to be balanced, may cost before it gives up.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Subsets that are put into groups.
    pub(crate) subsets: u32,
    /// Tickets that are looked at.
    pub(crate) steps: usize,
}

impl Budget {
    const fn new() -> Self {
        Self { subsets: 400, steps: 50_000 }
    }

    pub(crate) const fn is_spent(&self) -> bool {
        self.subsets == 0 || self.steps == 0
    }
}

/// A ticket that may go with the given one.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<'a> {
    pub(crate) handle: Handle,
    pub(crate) order: QueueOrder,
    pub(crate) size: u32,
    pub(crate) stage: &'a Stage,
    pub(crate) values: &'a Arc<Values>,
}

/// Tickets that make a match, or fill one.
#[derive(Debug)]
pub(crate) struct Found {
    /// In order of place, with the group of each.
    pub(crate) placed: Vec<(Handle, usize)>,
    orders: Vec<QueueOrder>,
}

/// How many players have to come, and may.
#[derive(Debug)]
pub(crate) struct Demand<'a> {
    pub(crate) least: u32,
    pub(crate) most: u32,
    pub(crate) need: &'a FewestPlayers,
}

/// What is looked through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search<'a> {
    pub(crate) mode: &'a CompiledMode,
    pub(crate) queue: &'a TicketQueue,
    pub(crate) index: &'a TicketIndex,
    /// The match that is filled, or an empty one.
    pub(crate) base: &'a OpenMatch,
}

impl<'a> Search<'a> {
    /// The tickets that go with this one.
    pub(crate) fn around(&self, seed: Handle) -> Option<Found> {
        let waiting = self.queue.get(seed)?;
        let seed = self.candidate(seed, waiting);
        if !self.base.admits(seed.stage, seed.values) || self.is_in_base(waiting) {
            return None;
        }
        let mut budget = Budget::new();
        let mut best: Option<Found> = None;
        for need in self.mode.needs(seed.stage) {
            let Some(demand) = self.demand(need) else { continue };
            for free in self.mode.levels().take(seed.stage.level + 1) {
                let parts = seed.values.key(free);
                if self.base.equals.is_some() && self.base.key(free).as_ref() != Some(&parts) {
                    continue;
                }
                let found = self.in_bucket(&seed, &parts, &demand, &mut budget);
                best = best.into_iter().chain(found).reduce(Found::earlier);
            }
        }
        best
    }

    /// This ticket alone, if the match has what it needs then.
    pub(crate) fn alone(&self, handle: Handle) -> Option<Found> {
        let waiting = self.queue.get(handle)?;
        let candidate = self.candidate(handle, waiting);
        if !self.base.admits(candidate.stage, candidate.values) || self.is_in_base(waiting) {
            return None;
        }
        self.mode.needs(candidate.stage).find_map(|need| {
            let demand = self
                .demand(need)
                .filter(|demand| demand.least <= candidate.size && candidate.size <= demand.most)?;
            Composer { mode: self.mode, base: self.base, seed: &candidate, demand: &demand }
                .found(vec![&candidate])
        })
    }

    /// The tickets that the match that is filled admits, one by one.
    pub(crate) fn waiting_for(&self) -> Vec<Candidate<'a>> {
        let free_seats = self.base.free_seats(self.mode);
        let mut found = Vec::new();
        for (level, free) in self.mode.levels().enumerate() {
            let Some(bucket) = self.base.key(free).and_then(|it| self.index.bucket(&it)) else { continue };
            for index in bucket.stages() {
                let stage = self.mode.stage(index);
                if stage.level != level {
                    continue;
                }
                let mut take = |handle: Handle, size: u32| {
                    let waiting = self.queue.get(handle).filter(|_| size <= free_seats);
                    let admitted =
                        |it: &&QueuedTicket| self.base.admits(stage, &it.values) && !self.is_in_base(it);
                    found.extend(waiting.filter(admitted).map(|it| self.candidate(handle, it)));
                };
                let span = self.base.spans.as_ref().and_then(|it| it.first());
                match (span, stage.ranges.first()) {
                    (Some((low, high)), Some(most)) => {
                        bucket.between(index, high - most, low + most).for_each(|it| take(it.0, it.1));
                    }
                    _ => {
                        let most = |size| self.most_of(size, free_seats);
                        bucket.by_size(index, most).into_iter().for_each(|it| take(it.0, it.1));
                    }
                }
            }
        }
        found
    }

    /// Fewest players that a ticket would have to bring, itself included; `None` if the match can't
    /// take them.
    pub(crate) fn lacks(&self, seed: Handle) -> Option<u32> {
        let stage = self.mode.stage(self.queue.get(seed)?.stage);
        self.mode.needs(stage).filter_map(|it| self.demand(it)).map(|it| it.least).min()
    }

    /// How many waiting players may be with the ticket as far as equal values and the first range
    /// go. Its own players count, too; the count ends at the size of a match.
    pub(crate) fn near_players(&self, seed: Handle) -> u32 {
        let Some(seed) = self.queue.get(seed) else { return 0 };
        let stage = self.mode.stage(seed.stage);
        let near = |bucket: &Bucket| {
            let Some(most) = stage.ranges.first() else {
                return u32::try_from(bucket.players()).unwrap_or(u32::MAX);
            };
            let (low, high) = (seed.values.first() - most, seed.values.first() + most);
            let mut sizes = bucket.stages().flat_map(|it| bucket.between(it, low, high)).map(|it| it.1);
            let mut players = 0_u32;
            while players < self.mode.max_players
                && let Some(size) = sizes.next()
            {
                players = players.saturating_add(size);
            }
            players
        };
        let levels = self.mode.levels().take(stage.level + 1);
        levels.filter_map(|free| self.index.bucket(&seed.values.key(free))).map(near).max().unwrap_or(0)
    }

    fn in_bucket(
        &self,
        seed: &Candidate<'a>,
        parts: &[Part],
        demand: &Demand<'_>,
        budget: &mut Budget,
    ) -> Option<Found> {
        let bucket = self.index.bucket(parts)?;
        if bucket.players() < u64::from(demand.least)
            || seed.size > demand.most
            || !self.add_up(demand, bucket.sizes())
        {
            return None;
        }
        let others = self.collect_candidates(bucket, seed, demand);
        let players = others.iter().map(|it| it.size).fold(seed.size, u32::saturating_add);
        if players < demand.least || !self.add_up(demand, others.iter().map(|it| it.size).chain([seed.size]))
        {
            return None;
        }
        let windows = Windows::new(self.base, seed, demand.least).all(&others);
        let single = seed.size == 1 && others.iter().all(|it| it.size == 1);
        let composer = Composer { mode: self.mode, base: self.base, seed, demand };
        let chosen = if single && self.mode.balances.is_empty() {
            windows::earliest(&windows, seed, &others, demand)?
        } else {
            composer.best(&windows, &others, budget)?
        };
        composer.found(chosen)
    }

    /// How many players the match that is filled lacks for this need; `None` if it can't have them.
    pub(crate) fn demand(&self, need: &'a FewestPlayers) -> Option<Demand<'a>> {
        let (mode, base) = (self.mode, self.base);
        let lack = need.groups.iter().zip(&base.counts).map(|it| it.0.saturating_sub(*it.1));
        let free = mode.groups.iter().zip(&base.counts).map(|it| it.0.max.saturating_sub(*it.1));
        let least = need.players.saturating_sub(base.players()).max(lack.fold(0, u32::saturating_add));
        let most = mode.max_players.saturating_sub(base.players()).min(free.fold(0, u32::saturating_add));
        (least <= most).then_some(Demand { least, most, need })
    }

    /// Whether tickets of these sizes can give every group what it needs, if there are enough of
    /// each.
    fn add_up(&self, demand: &Demand<'_>, sizes: impl Iterator<Item = u32>) -> bool {
        if self.mode.max_party < 2 {
            return true;
        }
        let sizes: BTreeSet<u32> = sizes.collect();
        if sizes.contains(&1) || self.mode.groups.iter().any(|it| it.max > MOST_ADDED_UP) {
            return true;
        }
        let mut together = 0_u32;
        for ((group, need), players) in
            self.mode.groups.iter().zip(&demand.need.groups).zip(&self.base.counts)
        {
            let most = greatest_sum(group.max.saturating_sub(*players), &sizes);
            if players.saturating_add(most) < *need {
                return false;
            }
            together = together.saturating_add(most);
        }
        together >= demand.least
    }

    /// Those that ranges allow together with the seed and the match, one by one; without ranges,
    /// the first ones of each size.
    fn collect_candidates(
        &self,
        bucket: &Bucket,
        seed: &Candidate<'a>,
        demand: &Demand<'_>,
    ) -> Vec<Candidate<'a>> {
        let largest = self.base.free_seats(self.mode);
        let mut found = Vec::new();
        for index in bucket.stages() {
            let stage = self.mode.stage(index);
            if demand.need.smaller && !stage.smaller {
                continue;
            }
            let mut take = |handle: Handle, size: u32| {
                let waiting =
                    (size <= largest && handle != seed.handle).then(|| self.queue.get(handle)).flatten();
                let Some(waiting) = waiting.filter(|it| self.is_close(seed, stage, &it.values)) else {
                    return;
                };
                if !self.is_in_base(waiting) {
                    found.push(self.candidate(handle, waiting));
                }
            };
            if self.mode.ranges.is_empty() {
                let most = |size| self.most_of(size, demand.most);
                bucket.by_size(index, most).into_iter().for_each(|it| take(it.0, it.1));
            } else if let Some((low, high)) = self.near(seed, stage) {
                bucket.between(index, low, high).for_each(|it| take(it.0, it.1));
            }
        }
        found
    }

    /// As many tickets of a size as can matter: those behind them are worth the same and came
    /// later. Where teams have to be balanced they are not, but there is an end.
    fn most_of(&self, size: u32, players: u32) -> usize {
        let most = usize::try_from(players / size.max(1)).unwrap_or(usize::MAX);
        let spare = if self.mode.balances.is_empty() { 0 } else { most.saturating_add(32) };
        // The seed is among them, and clients that are in the match already.
        most.saturating_add(spare).saturating_add(1).saturating_add(self.base.members.len())
    }

    /// Where the values of the first range may lie.
    fn near(&self, seed: &Candidate<'_>, stage: &Stage) -> Option<(f64, f64)> {
        let most = seed.stage.ranges.first()?.min(*stage.ranges.first()?);
        let (low, high) = self.span(0, *seed.values.ranges.first()?);
        Some((high - most, low + most))
    }

    fn span(&self, rule: usize, value: f64) -> (f64, f64) {
        let span = self.base.spans.as_ref().and_then(|it| it.get(rule));
        span.map_or((value, value), |it| (it.0.min(value), it.1.max(value)))
    }

    fn is_close(&self, seed: &Candidate<'_>, stage: &Stage, values: &Values) -> bool {
        let limits = seed.stage.ranges.iter().zip(&stage.ranges).map(|it| it.0.min(*it.1));
        let mut both = seed.values.ranges.iter().zip(&values.ranges).zip(limits).enumerate();
        both.all(|(rule, ((seed, value), most))| {
            let (low, high) = self.span(rule, *seed);
            high.max(*value) - low.min(*value) <= most
        })
    }

    fn is_in_base(&self, waiting: &QueuedTicket) -> bool {
        waiting.ticket.clients.iter().any(|it| self.base.has(*it))
    }

    fn candidate(&self, handle: Handle, waiting: &'a QueuedTicket) -> Candidate<'a> {
        Candidate {
            handle,
            order: waiting.order(),
            size: waiting.size,
            stage: self.mode.stage(waiting.stage),
            values: &waiting.values,
        }
    }
}

/// The greatest number up to this one that sizes add up to.
fn greatest_sum(most: u32, sizes: &BTreeSet<u32>) -> u32 {
    let mut sums = BTreeSet::from([0_u32]);
    for number in 1..=most {
        if sizes.iter().any(|it| number.checked_sub(*it).is_some_and(|rest| sums.contains(&rest))) {
            sums.insert(number);
        }
    }
    sums.last().copied().unwrap_or(0)
}

impl Found {
    /// Of two answers the one that is first in order of position; of equal beginnings the longer.
    pub(crate) fn earlier(self, other: Self) -> Self {
        if earlier(&other.orders, &self.orders) { other } else { self }
    }
}

/// Whether the first answer comes before the second.
fn earlier(one: &[QueueOrder], other: &[QueueOrder]) -> bool {
    let differs = one.iter().zip(other).find(|it| it.0 != it.1);
    differs.map_or(one.len() > other.len(), |it| it.0 < it.1)
}
