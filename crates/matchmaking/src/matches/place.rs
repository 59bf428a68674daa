//! What a round decides: who waits, who is placed where.

use std::collections::HashSet;

use omgservers_api::{
    ClientId, MatchId, MatchmakerId, Problem, RuntimeId, TicketId,
    ids::Id as _,
    interchange::{MatchmakingFailure, MatchmakingFailureReason as Reason},
};
use omgservers_matcher::{
    Effect, MatchKey, Moment, Placement, Pool, Rationale, Ticket,
    replay::{LogEvent, LogLine},
};

use super::{Held, Match, Place, Queue, Wish, round::Round};
use crate::problems;

impl Round<'_> {
    /// A new ticket. The outer problem ends the round, the inner one is the answer.
    pub(crate) fn add(
        &mut self,
        wish: Wish,
        matchmakers: &[MatchmakerId],
    ) -> Result<Result<TicketId, Problem>, Problem> {
        let queue = match self.queue_of(&wish, matchmakers) {
            Ok(queue) => queue,
            Err((reason, problem)) => return Ok(Err(self.refuse(&wish, reason, problem))),
        };
        if let Some(same) = self.same_wish(&wish, queue) {
            return Ok(Ok(same));
        }
        let waiting = self.pool(queue)?.len();
        if waiting >= self.matchmaking.parts.config.max_tickets {
            let problem =
                problems::QUEUE_FULL.detail(format!("{waiting} tickets of mode {:?} wait", wish.mode));
            return Ok(Err(self.refuse(&wish, Reason::QueueFull, problem)));
        }
        let id: TicketId = self.matchmaking.parts.mint.child(self.cell.id)?;
        let ticket = Ticket {
            id,
            place: place_of(id),
            clients: wish.clients.clone(),
            attributes: wish.attributes.clone(),
            entered: self.now,
        };
        self.put(queue, id, ticket, wish)
    }

    fn put(
        &mut self,
        queue: Queue,
        id: TicketId,
        ticket: Ticket,
        wish: Wish,
    ) -> Result<Result<TicketId, Problem>, Problem> {
        // Refused before anything is replaced: a wrong second wish leaves the first one as it is.
        if let Err(refusal) = self.pool(queue)?.check(&ticket) {
            let problem = problems::TICKET_REFUSED.detail(refusal.to_string());
            return Ok(Err(self.refuse(&wish, Reason::Refused, problem)));
        }
        for client in &wish.clients {
            if let Some(former) = self.queues.by_client.get(client).copied() {
                tracing::info!(client.id = %client, former = %former, ticket.id = %id, "a second wish to be matched replaces the first");
                self.log(queue, LogEvent::Cancel { ticket_id: former });
                self.fail(former, Reason::Replaced, "another request took its place")?;
            }
        }
        let held = Held {
            queue,
            created: self.matchmaking.parts.clock.now(),
            clients: wish.clients.clone(),
            place: Place::Waiting,
        };
        self.queues.tickets.insert(id, held);
        self.queues.by_client.extend(wish.clients.iter().map(|it| (*it, id)));
        let now = self.now;
        let logged = Ticket { entered: self.wall(), ..ticket.clone() };
        self.log(queue, LogEvent::Add { ticket: logged });
        let added = self.pool(queue)?.add(ticket, now);
        let effects = added.map_err(|it| Problem::internal(format!("a checked ticket was refused: {it}")))?;
        self.matchmaking.meters.opened.increment(1);
        self.put_ticket(id);
        self.absorb(queue, effects)?;
        Ok(Ok(id))
    }

    /// Writes down what came, if that is wanted.
    fn log(&self, queue: Queue, event: LogEvent) {
        let Some(log) = &self.matchmaking.parts.config.ticket_log else { return };
        let (at_ms, mode) = (self.wall().0, Some(self.mode_name(queue).to_owned()));
        log.note(self.cell.id, &LogLine { at_ms, mode, event });
    }

    /// Unlike monotonic time it goes on over restarts.
    fn wall(&self) -> Moment {
        Moment(self.matchmaking.parts.clock.now().timestamp_millis())
    }

    fn queue_of(&self, wish: &Wish, matchmakers: &[MatchmakerId]) -> Result<Queue, (Reason, Problem)> {
        let modes = &self.version.config.modes;
        let Some(mode) = modes.iter().position(|it| it.name == wish.mode) else {
            let problem = problems::UNKNOWN_MODE.detail(format!("the version has no mode {:?}", wish.mode));
            return Err((Reason::UnknownMode, problem));
        };
        // Its clients are matched already: they leave it first.
        if self.queues.by_runtime.contains_key(&wish.lobby) {
            let problem = problems::NOT_FOR_MATCHES.detail("only a lobby asks for players to be matched");
            return Err((Reason::Refused, problem));
        }
        let mut seen = HashSet::new();
        for client in &wish.clients {
            let here = self.matchmaking.parts.messaging.client(*client);
            if here.is_none_or(|it| it.route != Some(wish.lobby) || it.closed) {
                let problem =
                    problems::CLIENT_NOT_HERE.detail(format!("client {client} isn't with this runtime"));
                return Err((Reason::Refused, problem));
            }
            if !seen.insert(client) {
                let problem =
                    problems::TICKET_REFUSED.detail(format!("client {client} is in `clients` twice"));
                return Err((Reason::Refused, problem));
            }
        }
        let first = wish.clients.first().map_or(0, |it| it.get());
        let matchmaker = crate::pg::pick(matchmakers, first).ok_or_else(|| {
            (Reason::InternalFailure, Problem::unavailable("the deployment has no matchmaker"))
        })?;
        Ok((matchmaker, mode))
    }

    /// Asked again word for word: the first one keeps its place.
    fn same_wish(&self, wish: &Wish, queue: Queue) -> Option<TicketId> {
        let id = *self.queues.by_client.get(wish.clients.first()?)?;
        let held = self.queues.tickets.get(&id)?;
        let attributes = match &held.place {
            Place::Waiting => &self.queues.pools.get(&held.queue)?.get(id)?.attributes,
            Place::Placed { ticket, .. } => &ticket.attributes,
        };
        let same = held.queue == queue && held.clients == wish.clients && *attributes == wish.attributes;
        same.then_some(id)
    }

    /// The runtime gets the problem; the player is told as well.
    fn refuse(&mut self, wish: &Wish, reason: Reason, problem: Problem) -> Problem {
        self.matchmaking.meters.refused.increment(1);
        let messaging = &self.matchmaking.parts.messaging;
        let here = |it: &ClientId| messaging.client(*it).is_some_and(|it| it.route == Some(wish.lobby));
        let clients = wish.clients.iter().copied().filter(here).collect();
        let (mode, detail) = (wish.mode.clone(), problem.sentence().to_owned());
        self.changes.refuse(clients, MatchmakingFailure { mode, reason, detail });
        problem
    }

    /// Ends the open ticket of a client, with its party's.
    pub(crate) fn cancel(&mut self, client: ClientId, reason: Reason) -> Result<bool, Problem> {
        let Some(id) = self.queues.by_client.get(&client).copied() else { return Ok(false) };
        if let Some(Held { place: Place::Placed { match_id, .. }, .. }) = self.queues.tickets.get(&id) {
            self.note_arrivals(*match_id);
        }
        if self.queues.tickets.get(&id).is_some_and(|it| self.is_seated(id, it)) {
            return Ok(false);
        }
        if let Some(held) = self.queues.tickets.get(&id) {
            self.log(held.queue, LogEvent::Cancel { ticket_id: id });
        }
        self.fail(id, reason, "the request was taken back")?;
        Ok(true)
    }

    fn is_seated(&self, id: TicketId, held: &Held) -> bool {
        let Place::Placed { match_id, .. } = &held.place else { return false };
        self.queues.matches.get(match_id).is_some_and(|it| it.seated.contains(&id))
    }

    /// No back-fill of this match any more.
    pub(crate) fn stop(&mut self, runtime: RuntimeId) -> Result<Result<(), Problem>, Problem> {
        let Some(id) = self.queues.by_runtime.get(&runtime).copied() else {
            return Ok(Err(problems::NOT_FOR_LOBBIES.detail("a lobby has no matchmaking to stop")));
        };
        self.stop_match(id)?;
        Ok(Ok(()))
    }

    fn stop_match(&mut self, id: MatchId) -> Result<(), Problem> {
        let Some(it) = self.queues.matches.get_mut(&id).filter(|it| !it.stopped) else { return Ok(()) };
        // One that is kept warm is never used after this.
        (it.stopped, it.used) = (true, true);
        let (queue, key) = (it.queue, it.key.take());
        if let Some(key) = key {
            self.queues.by_key.remove(&(queue, key));
            self.pool(queue)?.close_match(key);
        }
        self.put_match(id);
        Ok(())
    }

    /// A client goes from its match to a lobby.
    pub(crate) fn leave(&mut self, runtime: RuntimeId, client: ClientId) -> Result<bool, Problem> {
        let is_match = self.queues.by_runtime.contains_key(&runtime);
        let info = self.matchmaking.parts.messaging.client(client);
        if !is_match || info.is_none_or(|it| it.route != Some(runtime) || it.closed) {
            return Ok(false);
        }
        self.unseat(client)?;
        self.changes.leaving.push((client, runtime));
        Ok(true)
    }

    /// A client's session has ended.
    pub(crate) fn gone(&mut self, client: ClientId) -> Result<(), Problem> {
        if self.matchmaking.parts.messaging.client(client).is_some_and(|it| !it.closed) {
            return Ok(());
        }
        if !self.cancel(client, Reason::Cancelled)? {
            self.unseat(client)?;
        }
        Ok(())
    }

    /// Takes a client off its ticket. The rest of its party stays in the match.
    fn unseat(&mut self, client: ClientId) -> Result<(), Problem> {
        let Some(id) = self.queues.by_client.remove(&client) else { return Ok(()) };
        let Some(held) = self.queues.tickets.get_mut(&id) else { return Ok(()) };
        held.clients.retain(|it| *it != client);
        let Place::Placed { match_id, ticket, .. } = &mut held.place else { return Ok(()) };
        ticket.clients.retain(|it| *it != client);
        let (match_id, is_over) = (*match_id, held.clients.is_empty());
        if is_over {
            self.queues.tickets.remove(&id);
            if let Some(it) = self.queues.matches.get_mut(&match_id) {
                it.seated.remove(&id);
            }
            self.changes.end(id);
        } else {
            self.put_ticket(id);
        }
        self.free_seat(match_id, client)
    }

    /// Tickets that wait at a matchmaker that is no more go to another one, with their place in the order and their
    /// time.
    pub(crate) fn rehouse(&mut self, matchmakers: &[MatchmakerId]) -> Result<(), Problem> {
        let closed = |(queue, pool): (&Queue, &Pool)| {
            (!pool.is_empty() && !matchmakers.contains(&queue.0)).then_some(*queue)
        };
        let closed: Vec<Queue> = self.queues.pools.iter().filter_map(closed).collect();
        for queue in closed {
            let tickets: Vec<Ticket> = self.pool(queue)?.tickets().cloned().collect();
            for ticket in tickets {
                let by = ticket.clients.first().map_or(0, |it| it.get());
                let Some(matchmaker) = crate::pg::pick(matchmakers, by) else { return Ok(()) };
                let (id, now, to) = (ticket.id, self.now, (matchmaker, queue.1));
                self.pool(queue)?.cancel(id);
                if let Some(held) = self.queues.tickets.get_mut(&id) {
                    held.queue = to;
                }
                self.put_ticket(id);
                match self.pool(to)?.add(ticket, now) {
                    Ok(effects) => self.absorb(to, effects)?,
                    Err(refusal) => self.fail(id, Reason::Refused, &refusal.to_string())?,
                }
            }
        }
        Ok(())
    }

    /// How many more matches a queue may form.
    pub(crate) fn allow(&mut self, queue: Queue, allowed: Option<u32>) -> Result<(), Problem> {
        let now = self.now;
        let effects = self.pool(queue)?.limit(allowed, now);
        self.absorb(queue, effects)
    }

    /// Does what the matcher says.
    pub(crate) fn absorb(&mut self, queue: Queue, effects: Vec<Effect>) -> Result<(), Problem> {
        for effect in effects {
            match effect {
                Effect::Form { key, placements, rationale } => {
                    let id = self.match_for(queue)?;
                    if let Some(it) = self.queues.matches.get_mut(&id) {
                        (it.key, it.used) = (Some(key), true);
                    }
                    self.queues.by_key.insert((queue, key), id);
                    self.place(id, placements, rationale)?;
                }
                Effect::Fill { key, placements, rationale } => {
                    self.fill(queue, key, placements, rationale)?
                }
                Effect::Expire { ticket } => {
                    // The pool has let go of it already.
                    self.fail(ticket.id, Reason::Timeout, "nobody fitting came in time")?;
                }
            }
        }
        Ok(())
    }

    fn fill(
        &mut self,
        queue: Queue,
        key: MatchKey,
        placements: Vec<Placement>,
        rationale: Rationale,
    ) -> Result<(), Problem> {
        let id = self.queues.by_key.get(&(queue, key)).copied();
        let id = id.ok_or_else(|| Problem::internal("the matcher filled a match that isn't there"))?;
        self.place(id, placements, rationale)
    }

    /// One that is kept warm, if there is one, else a new one.
    fn match_for(&mut self, queue: Queue) -> Result<MatchId, Problem> {
        self.queues.take_spare(queue).map_or_else(|| self.new_match(queue), Ok)
    }

    pub(crate) fn new_match(&mut self, queue: Queue) -> Result<MatchId, Problem> {
        let parts = &self.matchmaking.parts;
        let id: MatchId = parts.mint.child(self.cell.id)?;
        let it = Match::new(parts.mint.child(self.cell.id)?, queue, parts.clock.now(), parts.clock.ticks());
        self.queues.by_runtime.insert(it.runtime, id);
        self.queues.matches.insert(id, it);
        self.put_match(id);
        Ok(id)
    }

    fn place(
        &mut self,
        id: MatchId,
        placements: Vec<Placement>,
        rationale: Rationale,
    ) -> Result<(), Problem> {
        for Placement { ticket, group } in placements {
            let ticket_id = ticket.id;
            let Some(held) = self.queues.tickets.get_mut(&ticket_id) else { continue };
            held.place = Place::Placed { match_id: id, group, ticket };
            if let Some(it) = self.queues.matches.get_mut(&id) {
                it.coming.insert(ticket_id);
            }
            self.put_ticket(ticket_id);
        }
        self.queues.expecting.insert(id);
        if let Some(it) = self.queues.matches.get_mut(&id) {
            it.explain(rationale);
        }
        self.put_match(id);
        Ok(())
    }
}

/// Ids of one slot grow for ever, so they are the order of the queue.
pub(crate) fn place_of(id: TicketId) -> u64 {
    u64::try_from(id.get()).unwrap_or(u64::MAX)
}
