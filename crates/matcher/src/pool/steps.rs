//! What happens to a ticket: it is put into a match, a match forms, its rules widen, it expires.

use std::sync::Arc;

use crate::{
    Effect, MatchKey, Placement, Pool, Rationale,
    queue::{Handle, Order, Waiting},
    running::{Member, Running},
    search::{Found, Search},
};

impl Pool {
    pub(super) fn take(&mut self, handle: Handle) -> Option<Waiting> {
        let waiting = self.queue.remove(handle)?;
        self.index.remove(&self.plan, &waiting);
        if let Some(due) = waiting.due {
            self.timers.remove(&(due, waiting.order(), handle));
        }
        Some(waiting)
    }

    pub(super) fn set_timer(&mut self, handle: Handle) {
        let Some(waiting) = self.queue.get_mut(handle) else { return };
        let after = self.plan.next_after(waiting.stage);
        waiting.due = after.map(|it| waiting.ticket.entered.plus(it));
        if let Some(due) = waiting.due {
            self.timers.insert((due, waiting.order(), handle));
        }
    }

    /// What is due for one ticket: the next stage, or its end.
    pub(super) fn ring(&mut self, handle: Handle, effects: &mut Vec<Effect>) {
        let Some(mut waiting) = self.take(handle) else { return };
        if waiting.stage + 1 >= self.plan.stages.len() {
            effects.push(Effect::Expire { ticket: waiting.ticket });
            return;
        }
        waiting.stage += 1;
        self.put(waiting, effects);
    }

    /// Into the queue, and from there into a match if there is one.
    pub(super) fn put(&mut self, waiting: Waiting, effects: &mut Vec<Effect>) {
        let handle = self.queue.insert(waiting);
        if let Some(it) = self.queue.get(handle) {
            self.index.insert(&self.plan, handle, it);
        }
        self.set_timer(handle);
        self.match_up(handle, effects);
    }

    /// Into the oldest match that the ticket fits into, or else into a new one.
    fn match_up(&mut self, handle: Handle, effects: &mut Vec<Effect>) {
        match self.oldest(handle) {
            Some((key, found)) => {
                self.fill(key, &found, effects);
                self.refill(key, effects);
            }
            None => self.form(handle, effects),
        }
    }

    /// The oldest match that a ticket can join, and who joins it then.
    fn oldest(&self, handle: Handle) -> Option<(MatchKey, Found)> {
        let it = self.queue.get(handle)?;
        let mut joinable = self.matches.joinable(&self.plan, self.plan.stage(it.stage), &it.values, it.size);
        // Counted once, and only if a match lacks players: for all such matches the same.
        let mut near = None;
        joinable.find_map(|key| Some((key, self.joins(key, handle, &mut near)?)))
    }

    fn search<'a>(&'a self, base: &'a Running) -> Search<'a> {
        Search { plan: &self.plan, queue: &self.queue, index: &self.index, base }
    }

    /// The tickets that get into a match with this one: itself alone if the match has, or reaches, what it needs.
    /// `near` is how many players wait who could come with it, once somebody has counted.
    fn joins(&self, key: MatchKey, handle: Handle, near: &mut Option<u32>) -> Option<Found> {
        let base = self.matches.get(key)?;
        let search = self.search(base);
        let alone = search.alone(handle);
        if alone.is_some() || base.reaches(&self.plan.normal) {
            return alone;
        }
        let near = *near.get_or_insert_with(|| search.near_players(handle));
        if search.lacks(handle)? > near {
            return None;
        }
        search.around(handle)
    }

    pub(super) fn form(&mut self, handle: Handle, effects: &mut Vec<Effect>) {
        if self.room == Some(0) {
            return;
        }
        let Some(found) = self.search(&self.blank).around(handle) else { return };
        self.room = self.room.map(|it| it - 1);
        let key = self.matches.next_key(None);
        let running = Running::new(&self.plan, Vec::new());
        let (placements, rationale) = self.seat(key, running, &found);
        effects.push(Effect::Form { key, placements, rationale });
        self.refill(key, effects);
    }

    fn fill(&mut self, key: MatchKey, found: &Found, effects: &mut Vec<Effect>) {
        let Some(running) = self.matches.remove(&self.plan, key) else { return };
        let (placements, rationale) = self.seat(key, running, found);
        effects.push(Effect::Fill { key, placements, rationale });
    }

    fn seat(&mut self, key: MatchKey, mut running: Running, found: &Found) -> (Vec<Placement>, Rationale) {
        let pool = self.queue.len();
        let joined: Vec<(Waiting, usize)> =
            found.placed.iter().filter_map(|it| Some((self.take(it.0)?, it.1))).collect();
        for (waiting, group) in &joined {
            for client in &waiting.ticket.clients {
                running.join(Member { client: *client, group: *group, values: Arc::clone(&waiting.values) });
            }
        }
        let rationale = Rationale::new(&self.plan, pool, &joined, &running, self.clock);
        self.matches.insert(&self.plan, key, running);
        let placement = |(waiting, group): (Waiting, usize)| Placement { ticket: waiting.ticket, group };
        (joined.into_iter().map(placement).collect(), rationale)
    }

    /// Gives the free seats of a match to tickets that wait, in order of place.
    pub(super) fn refill(&mut self, key: MatchKey, effects: &mut Vec<Effect>) {
        while let Some(found) = self.first_joins(key) {
            self.fill(key, &found, effects);
        }
    }

    fn first_joins(&self, key: MatchKey) -> Option<Found> {
        let base = self.matches.get(key)?;
        if base.room(&self.plan) == 0 || self.queue.len() == 0 {
            return None;
        }
        if base.members.is_empty() {
            // Who could fill it would have formed a match.
            let mut order = Order::first();
            while self.room == Some(0) {
                let (handle, next) = self.queue.after(order)?;
                if let Some(found) = self.joins(key, handle, &mut None) {
                    return Some(found);
                }
                order = next;
            }
            return None;
        }
        let mut waiting = self.search(base).waiting_for();
        waiting.sort_unstable_by_key(|it| it.order);
        waiting.iter().find_map(|it| self.joins(key, it.handle, &mut None))
    }
}
