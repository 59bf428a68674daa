//! Ranges: the largest sets of tickets in which everybody is close enough to everybody.
//!
//! A set keeps a range if its spread is within each ticket's own greatest difference. Let D be the
//! least of these. Then all of the set lies in a window of width D, and no ticket in it allows less
//! than D. The search inspects all windows for all D; within one, any subset will do.

use crate::{
    open_match::OpenMatch,
    search::{Candidate, Demand},
    ticket_queue::QueueOrder,
};

/// By range: the least value, the greatest, and what everybody allows.
type Window = Vec<Side>;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    low: f64,
    high: f64,
    allowed: f64,
}

pub(crate) struct Windows<'a> {
    base: &'a OpenMatch,
    seed: &'a Candidate<'a>,
    least: u32,
}

impl<'a> Windows<'a> {
    pub(crate) fn new(base: &'a OpenMatch, seed: &'a Candidate<'a>, least: u32) -> Self {
        Self { base, seed, least }
    }

    /// All windows with enough players; one without sides where there is no range.
    pub(crate) fn all(&self, others: &[Candidate<'_>]) -> Vec<Window> {
        let mut found = Vec::new();
        self.narrow(0, others.iter().collect(), &mut Vec::new(), &mut found);
        found
    }

    fn narrow(&self, rule: usize, inside: Vec<&Candidate<'_>>, sides: &mut Window, found: &mut Vec<Window>) {
        let (Some(value), Some(most)) = (self.seed.values.ranges.get(rule), self.seed.stage.ranges.get(rule))
        else {
            found.push(sides.clone());
            return;
        };
        let span = self.base.spans.as_ref().and_then(|it| it.get(rule));
        let (low, high) = span.map_or((*value, *value), |it| (it.0.min(*value), it.1.max(*value)));
        let mut sorted: Vec<(f64, f64, &Candidate<'_>)> = inside
            .into_iter()
            .filter_map(|it| Some((*it.values.ranges.get(rule)?, *it.stage.ranges.get(rule)?, it)))
            .collect();
        sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
        for allowed in widths(&sorted, *most, high - low) {
            let willing: Vec<_> = sorted.iter().filter(|it| it.1 >= allowed).copied().collect();
            // Players before each of them.
            let mut sums = vec![0_u64];
            sums.extend(willing.iter().scan(0_u64, |sum, candidate| {
                *sum += u64::from(candidate.2.size);
                Some(*sum)
            }));
            let mut end_before = None;
            let starts = willing.iter().map(|it| it.0).filter(|it| *it < low && high - *it <= allowed);
            for start in starts.chain([low]) {
                let begin = willing.partition_point(|it| it.0 < start);
                let end = willing.partition_point(|it| it.0 - start <= allowed);
                // One that ends where the one before does is part of it.
                if end_before.replace(end) == Some(end) {
                    continue;
                }
                let before = |index: usize| sums.get(index).copied().unwrap_or(0);
                if before(end) - before(begin) + u64::from(self.seed.size) < u64::from(self.least) {
                    continue;
                }
                let last =
                    end.checked_sub(1).and_then(|it| willing.get(it)).map_or(high, |it| it.0.max(high));
                sides.push(Side { low: start, high: last, allowed });
                if rule + 1 == self.seed.values.ranges.len() {
                    found.push(sides.clone());
                } else {
                    let window = willing.get(begin..end).into_iter().flatten().map(|it| it.2);
                    self.narrow(rule + 1, window.collect(), sides, found);
                }
                sides.pop();
            }
        }
    }
}

/// What somebody allows, and no more than the seed does.
fn widths(sorted: &[(f64, f64, &Candidate<'_>)], most: f64, least: f64) -> Vec<f64> {
    let mut widths: Vec<f64> = Vec::with_capacity(4);
    widths.push(most);
    for (_, allowed, _) in sorted {
        if *allowed < most && *allowed >= least && !widths.contains(allowed) {
            widths.push(*allowed);
        }
    }
    widths
}

/// Whether a ticket is inside.
pub(crate) fn contains(window: &[Side], ticket: &Candidate<'_>) -> bool {
    let mut sides = window.iter().zip(&ticket.values.ranges).zip(&ticket.stage.ranges);
    sides
        .all(|((side, value), allowed)| side.low <= *value && *value <= side.high && *allowed >= side.allowed)
}

/// The first tickets in order of position that fit into one window together with the seed. Each is
/// taken if a window is left that holds all taken ones. Any of them makes a match if there are
/// enough.
pub(crate) fn earliest<'c, 'a>(
    windows: &[Window],
    seed: &'c Candidate<'a>,
    others: &'c [Candidate<'a>],
    demand: &Demand<'_>,
) -> Option<Vec<&'c Candidate<'a>>> {
    let mut left: Vec<&Window> = windows.iter().collect();
    let mut in_order: Vec<&Candidate<'a>> = others.iter().collect();
    in_order.sort_unstable_by_key(|it| it.order);
    let mut chosen = vec![seed];
    let mut players = 1;
    for ticket in in_order {
        if players >= demand.most || left.is_empty() {
            break;
        }
        if left.iter().any(|it| contains(it, ticket)) {
            left.retain(|it| contains(it, ticket));
            chosen.push(ticket);
            players += 1;
        }
    }
    chosen.sort_unstable_by_key(|it| it.order);
    (!left.is_empty() && players >= demand.least).then_some(chosen)
}

/// Places of these tickets.
pub(crate) fn orders(chosen: &[&Candidate<'_>]) -> Vec<QueueOrder> {
    chosen.iter().map(|it| it.order).collect()
}
