//! Parties and balanced teams: which subset of a window's tickets fills the groups.

use crate::{
    compiled_mode::CompiledMode,
    open_match::OpenMatch,
    search::{
        Budget, Candidate, Demand, Found,
        arrange::{self, Groups},
        earlier,
        windows::{self, Side},
    },
};

pub(crate) struct Composer<'s, 'a> {
    pub(crate) mode: &'s CompiledMode,
    pub(crate) base: &'s OpenMatch,
    pub(crate) seed: &'s Candidate<'a>,
    pub(crate) demand: &'s Demand<'s>,
}

struct Walk<'c, 'a> {
    in_order: Vec<&'c Candidate<'a>>,
    /// Players from here on.
    behind: Vec<u32>,
    chosen: Vec<&'c Candidate<'a>>,
    /// Sizes of which one was left out. Those behind it are worth the same, unless teams have to be
    /// balanced.
    closed: Vec<u32>,
}

impl<'s, 'a> Composer<'s, 'a> {
    /// The best of all windows.
    pub(crate) fn best<'c>(
        &self,
        windows: &[Vec<Side>],
        others: &'c [Candidate<'a>],
        budget: &mut Budget,
    ) -> Option<Vec<&'c Candidate<'a>>>
    where
        's: 'c,
    {
        let mut best: Option<Vec<&Candidate<'a>>> = None;
        for window in windows {
            if budget.is_spent() {
                break;
            }
            budget.steps = budget.steps.saturating_sub(others.len() / 4);
            let mut in_order: Vec<_> = others.iter().filter(|it| windows::contains(window, it)).collect();
            in_order.sort_unstable_by_key(|it| it.order);
            let Some(found) = self.walk(in_order, budget) else { continue };
            if best.as_ref().is_none_or(|it| earlier(&windows::orders(&found), &windows::orders(it))) {
                best = Some(found);
            }
        }
        best
    }

    fn walk<'c>(
        &self,
        in_order: Vec<&'c Candidate<'a>>,
        budget: &mut Budget,
    ) -> Option<Vec<&'c Candidate<'a>>>
    where
        's: 'c,
    {
        let mut behind = vec![0_u32; in_order.len()];
        let mut sum = 0_u32;
        for (slot, ticket) in behind.iter_mut().zip(&in_order).rev() {
            sum = sum.saturating_add(ticket.size);
            *slot = sum;
        }
        let seed: &'c Candidate<'a> = self.seed;
        let mut walk = Walk { in_order, behind, chosen: vec![seed], closed: Vec::new() };
        self.step(&mut walk, 0, seed.size, budget).then(|| {
            walk.chosen.sort_unstable_by_key(|it| it.order);
            walk.chosen
        })
    }

    /// With the next ticket, or else without it. Whether a match was found.
    fn step(&self, walk: &mut Walk<'_, 'a>, mut index: usize, players: u32, budget: &mut Budget) -> bool {
        let closed = walk.closed.len();
        loop {
            budget.steps = budget.steps.saturating_sub(1);
            if budget.is_spent() {
                break;
            }
            let behind = walk.behind.get(index).copied().unwrap_or(0);
            if players.saturating_add(behind) < self.demand.least {
                break;
            }
            let Some(ticket) = walk.in_order.get(index).copied().filter(|_| players < self.demand.most)
            else {
                budget.subsets -= 1;
                if players >= self.demand.least && self.arrange(&walk.chosen).is_some() {
                    return true;
                }
                break;
            };
            index += 1;
            let fits = ticket.size <= self.demand.most - players && !walk.closed.contains(&ticket.size);
            if !fits {
                continue;
            }
            walk.chosen.push(ticket);
            if self.step(walk, index, players + ticket.size, budget) {
                return true;
            }
            walk.chosen.pop();
            if self.mode.balances.is_empty() {
                walk.closed.push(ticket.size);
            }
        }
        walk.closed.truncate(closed);
        false
    }

    fn arrange(&self, chosen: &[&Candidate<'a>]) -> Option<Vec<usize>> {
        let limits = (0..self.mode.balances.len()).map(|rule| {
            chosen.iter().filter_map(|it| it.stage.balances.get(rule)).copied().fold(f64::INFINITY, f64::min)
        });
        let items = chosen.iter().map(|it| arrange::GroupItem { size: it.size, values: &it.values.balances });
        Groups::new(self.mode, self.base, &self.demand.need.groups, limits.collect()).arrange(items.collect())
    }

    /// Tickets that were chosen, with their groups.
    pub(crate) fn found(&self, chosen: Vec<&Candidate<'a>>) -> Option<Found> {
        let groups = self.arrange(&chosen)?;
        Some(Found {
            placed: chosen.iter().map(|it| it.handle).zip(groups).collect(),
            orders: windows::orders(&chosen),
        })
    }
}
