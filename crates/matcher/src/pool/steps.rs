//! What happens to a ticket: it is put into a match, a match forms, its rules widen, it expires.

use std::sync::Arc;

use omgservers_api::MatchId;

use crate::{
    Effect, Placement, Pool, Rationale,
    open_match::{OpenMatch, OpenMatchMember},
    pool::PoolOutcome,
    search::{Found, Search},
    ticket_queue::{Handle, QueueOrder, QueuedTicket},
};

impl Pool {
    pub(super) fn take(&mut self, handle: Handle) -> Option<QueuedTicket> {
        let waiting = self.queue.remove(handle)?;
        self.index.remove(&self.mode, &waiting);
        if let Some(due) = waiting.due {
            self.timers.remove(&(due, waiting.order(), handle));
        }
        Some(waiting)
    }

    pub(super) fn set_timer(&mut self, handle: Handle) {
        let Some(waiting) = self.queue.get_mut(handle) else { return };
        let after = self.mode.next_after(waiting.stage);
        waiting.due = after.map(|it| waiting.ticket.entered.plus(it));
        if let Some(due) = waiting.due {
            self.timers.insert((due, waiting.order(), handle));
        }
    }

    /// What is due for one ticket: the next stage, or its end.
    pub(super) fn fire_timer(&mut self, handle: Handle, out: &mut PoolOutcome<'_>) {
        let Some(mut waiting) = self.take(handle) else { return };
        if waiting.stage + 1 >= self.mode.stages.len() {
            out.effects.push(Effect::Expire { ticket: waiting.ticket });
            return;
        }
        waiting.stage += 1;
        self.put(waiting, out);
    }

    /// Into the queue, and from there into a match if there is one.
    pub(super) fn put(&mut self, waiting: QueuedTicket, out: &mut PoolOutcome<'_>) {
        let handle = self.queue.insert(waiting);
        if let Some(ticket) = self.queue.get(handle) {
            self.index.insert(&self.mode, handle, ticket);
        }
        self.set_timer(handle);
        self.match_up(handle, out);
    }

    /// Into the oldest match that the ticket fits into, or else into a new one.
    fn match_up(&mut self, handle: Handle, out: &mut PoolOutcome<'_>) {
        match self.oldest(handle) {
            Some((id, found)) => {
                self.fill(id, &found, out);
                self.refill(id, out);
            }
            None => self.form(handle, out),
        }
    }

    /// The oldest match that a ticket can join, and who joins it then.
    fn oldest(&self, handle: Handle) -> Option<(MatchId, Found)> {
        let ticket = self.queue.get(handle)?;
        let mut joinable =
            self.matches.joinable(&self.mode, self.mode.stage(ticket.stage), &ticket.values, ticket.size);
        // Counted once, and only if a match lacks players: for all such matches the same.
        let mut near = None;
        joinable.find_map(|id| Some((id, self.joins(id, handle, &mut near)?)))
    }

    fn search<'a>(&'a self, base: &'a OpenMatch) -> Search<'a> {
        Search { mode: &self.mode, queue: &self.queue, index: &self.index, base }
    }

    /// The tickets that get into a match with this one: itself alone if the match has, or reaches,
    /// what it needs. `near` is how many players wait who could come with it, once somebody has
    /// counted.
    fn joins(&self, id: MatchId, handle: Handle, near: &mut Option<u32>) -> Option<Found> {
        let base = self.matches.get(id)?;
        let search = self.search(base);
        let alone = search.alone(handle);
        if alone.is_some() || base.reaches(&self.mode.normal) {
            return alone;
        }
        let near = *near.get_or_insert_with(|| search.near_players(handle));
        if search.lacks(handle)? > near {
            return None;
        }
        search.around(handle)
    }

    pub(super) fn form(&mut self, handle: Handle, out: &mut PoolOutcome<'_>) {
        if self.match_limit == Some(0) {
            return;
        }
        let Some(found) = self.search(&self.blank).around(handle) else { return };
        // Without an id, or with one that is in use, nothing forms: the caller checks its supply.
        let Some(id) = (out.ids)().filter(|it| self.matches.get(*it).is_none()) else { return };
        self.match_limit = self.match_limit.map(|it| it - 1);
        let open = OpenMatch::new(&self.mode, Vec::new());
        let (placements, rationale) = self.seat(id, open, &found);
        out.effects.push(Effect::Form { match_id: id, placements, rationale });
        self.refill(id, out);
    }

    fn fill(&mut self, id: MatchId, found: &Found, out: &mut PoolOutcome<'_>) {
        let Some(open) = self.matches.remove(&self.mode, id) else { return };
        let (placements, rationale) = self.seat(id, open, found);
        out.effects.push(Effect::Fill { match_id: id, placements, rationale });
    }

    fn seat(&mut self, id: MatchId, mut open: OpenMatch, found: &Found) -> (Vec<Placement>, Rationale) {
        let pool = self.queue.len();
        let joined: Vec<(QueuedTicket, usize)> =
            found.placed.iter().filter_map(|it| Some((self.take(it.0)?, it.1))).collect();
        for (waiting, group) in &joined {
            for client in &waiting.ticket.clients {
                open.join(OpenMatchMember {
                    client: *client,
                    group: *group,
                    values: Arc::clone(&waiting.values),
                });
            }
        }
        let rationale = Rationale::new(&self.mode, pool, &joined, &open, self.clock);
        self.matches.insert(&self.mode, id, open);
        let placement = |(waiting, group): (QueuedTicket, usize)| Placement { ticket: waiting.ticket, group };
        (joined.into_iter().map(placement).collect(), rationale)
    }

    /// Gives the free seats of a match to tickets that wait, in order of position.
    pub(super) fn refill(&mut self, id: MatchId, out: &mut PoolOutcome<'_>) {
        while let Some(found) = self.first_joins(id) {
            self.fill(id, &found, out);
        }
    }

    fn first_joins(&self, id: MatchId) -> Option<Found> {
        let base = self.matches.get(id)?;
        if base.free_seats(&self.mode) == 0 || self.queue.len() == 0 {
            return None;
        }
        if base.members.is_empty() {
            // Who could fill it would have formed a match.
            let mut order = QueueOrder::first();
            while self.match_limit == Some(0) {
                let (handle, next) = self.queue.after(order)?;
                if let Some(found) = self.joins(id, handle, &mut None) {
                    return Some(found);
                }
                order = next;
            }
            return None;
        }
        let mut waiting = self.search(base).waiting_for();
        waiting.sort_unstable_by_key(|it| it.order);
        waiting.iter().find_map(|it| self.joins(id, it.handle, &mut None))
    }
}
