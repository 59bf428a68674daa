//! The pool: waiting tickets and matches that take more players, and what happens between them.

mod steps;

use std::{collections::BTreeSet, sync::Arc};

use omgservers_api::{ClientId, TicketId, config::ModeConfig};

use crate::{
    Effect, Explanation, MatchKey, Moment, Refusal, Seat, Ticket,
    explain::explain,
    index::Index,
    plan::Plan,
    queue::{Handle, Order, Queue, Waiting},
    running::{Matches, Member, Running},
    values::Values,
};

/// One mode of one matchmaker: the tickets that wait and the matches that take more players.
///
/// After every call no match can be formed or filled any more from what waits. The same calls give the same effects:
/// there is no clock, no randomness and no I/O. A moment that is earlier than one before counts as that one.
#[derive(Debug)]
pub struct Pool {
    plan: Plan,
    queue: Queue,
    index: Index,
    matches: Matches,
    /// A match without players, which new ones are searched for with.
    blank: Running,
    timers: BTreeSet<(Moment, Order, Handle)>,
    clock: Moment,
    /// How many more matches may form; `None`: any number.
    room: Option<u32>,
}

impl Pool {
    /// An empty pool. The configuration is one that was validated.
    pub fn new(mode: &ModeConfig) -> Self {
        let plan = Plan::new(mode);
        let blank = Running::new(&plan, Vec::new());
        Self {
            plan,
            queue: Queue::default(),
            index: Index::default(),
            matches: Matches::default(),
            blank,
            timers: BTreeSet::new(),
            clock: Moment(i64::MIN),
            room: None,
        }
    }

    /// Adds a ticket, after what was due by now. It is matched at once if that is possible. One that has waited too
    /// long already (it comes back) is tried once and then expires.
    ///
    /// # Errors
    /// A ticket that can never be matched, or that waits already. Nothing has changed then.
    pub fn add(&mut self, ticket: Ticket, now: Moment) -> Result<Vec<Effect>, Refusal> {
        let values = self.values_of(&ticket)?;
        self.queue.check(&ticket)?;
        let mut effects = self.advance(now);
        let size = u32::try_from(ticket.clients.len()).unwrap_or(u32::MAX);
        let stage = self.plan.stage_at(self.clock.since(ticket.entered));
        self.put(Waiting { ticket, values: Arc::new(values), stage, size, due: None }, &mut effects);
        // Its last moment may be over.
        effects.extend(self.advance(self.clock));
        Ok(effects)
    }

    /// Whether a ticket could be matched, whoever waits.
    ///
    /// # Errors
    /// A ticket that can never be matched.
    pub fn check(&self, ticket: &Ticket) -> Result<(), Refusal> {
        self.values_of(ticket).map(|_values| ())
    }

    fn values_of(&self, ticket: &Ticket) -> Result<Values, Refusal> {
        let most = self.plan.max_party;
        if ticket.clients.is_empty() {
            return Err(Refusal::NoClients);
        }
        if u32::try_from(ticket.clients.len()).is_ok_and(|it| it <= most) {
            let mut seen = BTreeSet::new();
            if let Some(twice) = ticket.clients.iter().find(|it| !seen.insert(**it)) {
                return Err(Refusal::ClientTwice(*twice));
            }
            return Values::of(&self.plan, &ticket.attributes);
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

    /// The tickets that wait, in order of place.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.queue.by_place().map(|it| &it.1.ticket)
    }

    /// What time alone changes: expansions and timeouts that are due, each at its own moment and in their order, as
    /// if the call had come in time.
    pub fn advance(&mut self, now: Moment) -> Vec<Effect> {
        let now = now.max(self.clock);
        let mut effects = Vec::new();
        while let Some((due, _, handle)) = self.timers.first().copied().filter(|it| it.0 <= now) {
            self.clock = self.clock.max(due);
            self.ring(handle, &mut effects);
        }
        self.clock = now;
        effects
    }

    /// When `advance` has something to do; nothing changes before unless another call changes it.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.timers.first().map(|it| it.0)
    }

    /// Brings a match in, for example after a restart or one that was started without players. It takes the key if
    /// that is free, otherwise the next one. The tickets that fit fill it at once. A seat whose attributes don't fit
    /// the rules counts with the rules' defaults, or else with 0.
    pub fn put_match(
        &mut self,
        key: Option<MatchKey>,
        seats: Vec<Seat>,
        now: Moment,
    ) -> (MatchKey, Vec<Effect>) {
        let mut effects = self.advance(now);
        let key = self.matches.next_key(key);
        let members = seats.into_iter().map(|it| Member {
            client: it.client,
            group: it.group,
            values: Arc::new(Values::or_default(&self.plan, &it.attributes)),
        });
        let running = Running::new(&self.plan, members.collect());
        self.matches.insert(&self.plan, key, running);
        self.refill(key, &mut effects);
        (key, effects)
    }

    /// Frees the seat of a client; who fits takes it at once. Nothing happens if it has none.
    pub fn leave(&mut self, key: MatchKey, client: ClientId, now: Moment) -> Vec<Effect> {
        let mut effects = self.advance(now);
        let Some(mut running) = self.matches.remove(&self.plan, key) else { return effects };
        running.members.retain(|it| it.client != client);
        let running = Running::new(&self.plan, running.members);
        self.matches.insert(&self.plan, key, running);
        self.refill(key, &mut effects);
        effects
    }

    /// The match takes no more players, or is gone. Whether it was there.
    pub fn close_match(&mut self, key: MatchKey) -> bool {
        self.matches.remove(&self.plan, key).is_some()
    }

    /// Whether the pool holds a match under this key.
    pub fn has_match(&self, key: MatchKey) -> bool {
        self.matches.get(key).is_some()
    }

    /// How many more matches may form, `None` for any number; each one that forms takes one off. Matches that are
    /// there are filled all the same.
    pub fn limit(&mut self, room: Option<u32>, now: Moment) -> Vec<Effect> {
        let mut effects = self.advance(now);
        self.room = room;
        let mut order = Order::first();
        while self.room != Some(0) {
            let Some((handle, next)) = self.queue.after(order) else { break };
            order = next;
            self.form(handle, &mut effects);
        }
        effects
    }

    /// How many more matches may form, `None` for any number.
    pub fn room(&self) -> Option<u32> {
        self.room
    }

    /// Whether matches may form at all: `limit` with any number or with 0.
    pub fn hold(&mut self, may_form: bool, now: Moment) -> Vec<Effect> {
        self.limit(if may_form { None } else { Some(0) }, now)
    }

    /// Why a ticket isn't matched yet; `None` if it doesn't wait. It looks at every waiting ticket.
    pub fn explain(&self, id: TicketId, now: Moment) -> Option<Explanation> {
        let asked = self.queue.get(self.queue.find(id)?)?;
        Some(explain(&self.plan, &self.queue, asked, self.room == Some(0), now.max(self.clock)))
    }
}
