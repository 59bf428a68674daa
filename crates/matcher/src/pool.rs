//! The pool: waiting tickets and matches that take more players, and what happens between them.

mod steps;

use std::{collections::BTreeSet, sync::Arc};

use omgservers_api::{ClientId, MatchId, TicketId, config::ModeConfig};

use crate::{
    Effect, Explanation, Millis, Refusal, Seat, Ticket,
    compiled_mode::CompiledMode,
    explain::explain,
    open_match::{OpenMatch, OpenMatchMember},
    open_matches::OpenMatches,
    ticket_index::TicketIndex,
    ticket_queue::{Handle, QueueOrder, QueuedTicket, TicketQueue},
    values::Values,
};

/// One mode of one matchmaker: the tickets that wait and the matches that take more players.
///
/// After every call no match can be formed or filled any more from what waits. The same calls give
/// the same effects: there is no clock, no randomness and no I/O. A moment that is earlier than one
/// before counts as that one.
#[derive(Debug)]
pub struct Pool {
    mode: CompiledMode,
    queue: TicketQueue,
    index: TicketIndex,
    matches: OpenMatches,
    /// A match without players, which new ones are searched for with.
    blank: OpenMatch,
    timers: BTreeSet<(Millis, QueueOrder, Handle)>,
    clock: Millis,
    /// How many more matches may form; `None`: any number.
    match_limit: Option<u32>,
}

/// Supplies the ids of matches that form. `None` lets nothing form.
pub type MatchIds<'a> = dyn FnMut() -> Option<MatchId> + 'a;

/// What a call has changed so far, and where the ids of new matches come from.
struct PoolOutcome<'a> {
    effects: Vec<Effect>,
    ids: &'a mut (dyn FnMut() -> Option<MatchId> + 'a),
}

impl<'a> PoolOutcome<'a> {
    fn new(ids: &'a mut MatchIds<'_>) -> Self {
        Self { effects: Vec::new(), ids }
    }
}

impl Pool {
    /// An empty pool. The configuration is one that was validated.
    pub fn new(mode: &ModeConfig) -> Self {
        let mode = CompiledMode::new(mode);
        let blank = OpenMatch::new(&mode, Vec::new());
        Self {
            mode,
            queue: TicketQueue::default(),
            index: TicketIndex::default(),
            matches: OpenMatches::default(),
            blank,
            timers: BTreeSet::new(),
            clock: Millis(i64::MIN),
            match_limit: None,
        }
    }

    /// Adds a ticket, after what was due by now. It is matched at once if that is possible. One
    /// that has waited too long already (it comes back) is tried once and then expires.
    ///
    /// # Errors
    /// A ticket that can never be matched, or that waits already. Nothing has changed then.
    pub fn add(
        &mut self,
        ticket: Ticket,
        now: Millis,
        ids: &mut MatchIds<'_>,
    ) -> Result<Vec<Effect>, Refusal> {
        let values = self.values_of(&ticket)?;
        self.queue.check(&ticket)?;
        let mut out = PoolOutcome::new(ids);
        self.pass_time(now, &mut out);
        let size = u32::try_from(ticket.clients.len()).unwrap_or(u32::MAX);
        let stage = self.mode.stage_at(self.clock.since(ticket.entered));
        self.put(QueuedTicket { ticket, values: Arc::new(values), stage, size, due: None }, &mut out);
        // Its deadline may have passed already.
        self.pass_time(self.clock, &mut out);
        Ok(out.effects)
    }

    /// Whether a ticket could be matched, whoever waits.
    ///
    /// # Errors
    /// A ticket that can never be matched.
    pub fn check(&self, ticket: &Ticket) -> Result<(), Refusal> {
        self.values_of(ticket).map(|_values| ())
    }

    fn values_of(&self, ticket: &Ticket) -> Result<Values, Refusal> {
        let most = self.mode.max_party;
        if ticket.clients.is_empty() {
            return Err(Refusal::NoClients);
        }
        if u32::try_from(ticket.clients.len()).is_ok_and(|it| it <= most) {
            let mut seen = BTreeSet::new();
            if let Some(twice) = ticket.clients.iter().find(|it| !seen.insert(**it)) {
                return Err(Refusal::ClientTwice(*twice));
            }
            return Values::of(&self.mode, &ticket.attributes);
        }
        Err(Refusal::PartyTooLarge { size: ticket.clients.len(), most })
    }

    /// Takes a ticket out; `None` if it doesn't wait.
    pub fn cancel(&mut self, id: TicketId) -> Option<Ticket> {
        self.take(self.queue.find(id)?).map(|it| it.ticket)
    }

    /// A ticket that waits.
    pub fn get(&self, id: TicketId) -> Option<&Ticket> {
        self.queue.find(id).and_then(|it| self.queue.get(it)).map(|it| &it.ticket)
    }

    /// How many tickets wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.queue.len() == 0
    }

    /// How many clients wait.
    pub fn players(&self) -> u64 {
        self.queue.players()
    }

    /// The tickets that wait, in order of position.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.queue.by_position().map(|it| &it.1.ticket)
    }

    /// Makes the changes of time alone: expansions and timeouts that are due, each at its own
    /// moment. Their order is as if the call had come in time.
    pub fn advance(&mut self, now: Millis, ids: &mut MatchIds<'_>) -> Vec<Effect> {
        let mut out = PoolOutcome::new(ids);
        self.pass_time(now, &mut out);
        out.effects
    }

    fn pass_time(&mut self, now: Millis, out: &mut PoolOutcome<'_>) {
        let now = now.max(self.clock);
        while let Some((due, _, handle)) = self.timers.first().copied().filter(|it| it.0 <= now) {
            self.clock = self.clock.max(due);
            self.fire_timer(handle, out);
        }
        self.clock = now;
    }

    /// When `advance` has something to do; nothing changes before unless another call changes it.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.timers.first().map(|it| it.0)
    }

    /// Brings a match in, for example after a restart or one that was started without players. It
    /// replaces one with the same id. The tickets that fit fill it at once. A seat whose attributes
    /// don't fit the rules counts with the rules' defaults, or else with 0.
    pub fn put_match(
        &mut self,
        id: MatchId,
        seats: Vec<Seat>,
        now: Millis,
        ids: &mut MatchIds<'_>,
    ) -> Vec<Effect> {
        let mut out = PoolOutcome::new(ids);
        self.pass_time(now, &mut out);
        self.close_match(id);
        let members = seats.into_iter().map(|seat| OpenMatchMember {
            client: seat.client,
            group: seat.group,
            values: Arc::new(Values::or_default(&self.mode, &seat.attributes)),
        });
        let open = OpenMatch::new(&self.mode, members.collect());
        self.matches.insert(&self.mode, id, open);
        self.refill(id, &mut out);
        out.effects
    }

    /// Frees the seat of a client; who fits takes it at once. Nothing happens if it has none.
    pub fn leave(
        &mut self,
        id: MatchId,
        client: ClientId,
        now: Millis,
        ids: &mut MatchIds<'_>,
    ) -> Vec<Effect> {
        let mut out = PoolOutcome::new(ids);
        self.pass_time(now, &mut out);
        let Some(mut open) = self.matches.remove(&self.mode, id) else { return out.effects };
        open.members.retain(|it| it.client != client);
        let open = OpenMatch::new(&self.mode, open.members);
        self.matches.insert(&self.mode, id, open);
        self.refill(id, &mut out);
        out.effects
    }

    /// The match takes no more players, or is gone. Whether it was there.
    pub fn close_match(&mut self, id: MatchId) -> bool {
        self.matches.remove(&self.mode, id).is_some()
    }

    /// How many more matches may form, `None` for any number; each one that forms takes one off.
    /// Open matches are still filled.
    pub fn limit(&mut self, matches: Option<u32>, now: Millis, ids: &mut MatchIds<'_>) -> Vec<Effect> {
        let mut out = PoolOutcome::new(ids);
        self.pass_time(now, &mut out);
        self.match_limit = matches;
        let mut order = QueueOrder::first();
        while self.match_limit != Some(0) {
            let Some((handle, next)) = self.queue.after(order) else { break };
            order = next;
            self.form(handle, &mut out);
        }
        out.effects
    }

    /// How many more matches may form, `None` for any number.
    pub fn match_limit(&self) -> Option<u32> {
        self.match_limit
    }

    /// Why a ticket isn't matched yet; `None` if it doesn't wait. It looks at every waiting ticket.
    pub fn explain(&self, id: TicketId, now: Millis) -> Option<Explanation> {
        let asked = self.queue.get(self.queue.find(id)?)?;
        Some(explain(&self.mode, &self.queue, asked, self.match_limit == Some(0), now.max(self.clock)))
    }
}
