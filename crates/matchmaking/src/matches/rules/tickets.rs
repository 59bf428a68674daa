//! The part of a round that is about tickets: which wait, and which go into which match.

use std::collections::{BTreeSet, HashSet};

use omgservers_api::{
    ClientId, MatchId, Problem, RuntimeId, TicketId,
    ids::Id as _,
    interchange::{MatchmakingFailure, MatchmakingFailureReason as Reason},
};
use omgservers_matcher::{
    Effect, Millis, Placement, Pool, Rationale, Ticket,
    replay::{LogEvent, LogLine},
};

use super::{changes::TicketEvent, round::Round};
use crate::{
    matches::{
        requests::TicketRequest,
        state::{Match, QueueKey, TicketEntry, TicketState},
    },
    matchmakers::pick,
    problems,
};

impl Round<'_> {
    /// Makes a ticket. The outer problem ends the round, the inner one is the answer.
    pub(super) fn add(&mut self, request: TicketRequest) -> Result<Result<TicketId, Problem>, Problem> {
        let missing = || Problem::internal("a ticket request without an id for its ticket");
        let id = self.ticket_ids.pop_front().ok_or_else(missing)?;
        let queue = match self.queue_of(&request) {
            Ok(queue) => queue,
            Err((reason, problem)) => return Ok(Err(self.refuse(&request, reason, problem))),
        };
        if let Some(same) = self.same_request(&request, queue) {
            return Ok(Ok(same));
        }
        let waiting = self.pool(queue)?.len();
        if waiting >= self.facts.max_tickets {
            let problem =
                problems::QUEUE_FULL.detail(format!("{waiting} tickets of mode {:?} wait", request.mode));
            return Ok(Err(self.refuse(&request, Reason::QueueFull, problem)));
        }
        let ticket = Ticket {
            id,
            position: position_of(id),
            clients: request.clients.clone(),
            attributes: request.attributes.clone(),
            entered: self.now,
        };
        self.put(queue, id, ticket, request)
    }

    fn put(
        &mut self,
        queue: QueueKey,
        id: TicketId,
        ticket: Ticket,
        request: TicketRequest,
    ) -> Result<Result<TicketId, Problem>, Problem> {
        // Refused before it replaces any: a wrong second request leaves the first one as it is.
        if let Err(refusal) = self.pool(queue)?.check(&ticket) {
            let problem = problems::TICKET_REFUSED.detail(refusal.to_string());
            return Ok(Err(self.refuse(&request, Reason::Refused, problem)));
        }
        for client in &request.clients {
            if let Some(former) = self.queues.by_client.get(client).copied() {
                self.changes.events.push(TicketEvent::Replaced { client: *client, former, ticket: id });
                self.log(queue, || LogEvent::Cancel { ticket_id: former });
                self.fail(former, Reason::Replaced, "another request took its place")?;
            }
        }
        let entry = TicketEntry {
            queue,
            created: self.facts.wall,
            clients: request.clients.clone(),
            state: TicketState::Queued,
        };
        self.queues.tickets.insert(id, entry);
        self.queues.by_client.extend(request.clients.iter().map(|it| (*it, id)));
        let entered = self.wall();
        self.log(queue, || LogEvent::Add { ticket: Ticket { entered, ..ticket.clone() } });
        let added = self.in_pool(queue, |pool, now, ids| pool.add(ticket, now, ids))?;
        let effects = added.map_err(|it| Problem::internal(format!("a checked ticket was refused: {it}")))?;
        self.changes.events.push(TicketEvent::Opened);
        self.put_ticket(id);
        self.absorb(queue, effects)?;
        Ok(Ok(id))
    }

    fn log(&mut self, queue: QueueKey, event: impl FnOnce() -> LogEvent) {
        if self.facts.is_logged {
            let (at_ms, mode) = (self.wall().0, Some(self.mode_name(queue).to_owned()));
            self.changes.events.push(TicketEvent::Logged(LogLine { at_ms, mode, event: event() }));
        }
    }

    /// Unlike monotonic time, wall time goes on over restarts.
    fn wall(&self) -> Millis {
        Millis(self.facts.wall.timestamp_millis())
    }

    fn queue_of(&self, request: &TicketRequest) -> Result<QueueKey, (Reason, Problem)> {
        let Some(mode) = self.facts.modes.iter().position(|it| it.name == request.mode) else {
            let problem =
                problems::UNKNOWN_MODE.detail(format!("the version has no mode {:?}", request.mode));
            return Err((Reason::UnknownMode, problem));
        };
        // The clients of a match leave it first.
        if self.queues.by_runtime.contains_key(&request.lobby) {
            let problem = problems::NOT_FOR_MATCHES.detail("only a lobby requests matches for its players");
            return Err((Reason::Refused, problem));
        }
        let mut seen = HashSet::new();
        for client in &request.clients {
            let here = self.facts.clients.get(client);
            if here.is_none_or(|it| it.route != Some(request.lobby) || it.closed) {
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
        let first = request.clients.first().map_or(0, |it| it.get());
        let matchmaker = pick(self.facts.matchmakers, first).ok_or_else(|| {
            (Reason::InternalFailure, Problem::unavailable("the deployment has no matchmaker"))
        })?;
        Ok((matchmaker, mode))
    }

    /// The open ticket of the same request: a repeated one keeps its position.
    fn same_request(&self, request: &TicketRequest, queue: QueueKey) -> Option<TicketId> {
        let id = *self.queues.by_client.get(request.clients.first()?)?;
        let entry = self.queues.tickets.get(&id)?;
        let attributes = match &entry.state {
            TicketState::Queued => &self.queues.pools.get(&entry.queue)?.get(id)?.attributes,
            TicketState::Matched { ticket, .. } => &ticket.attributes,
        };
        let same =
            entry.queue == queue && entry.clients == request.clients && *attributes == request.attributes;
        same.then_some(id)
    }

    /// The runtime gets the problem as its answer; those clients that are with it get a message.
    fn refuse(&mut self, request: &TicketRequest, reason: Reason, problem: Problem) -> Problem {
        self.changes.events.push(TicketEvent::Refused);
        let known = self.facts.clients;
        let here = |it: &ClientId| known.get(it).is_some_and(|it| it.route == Some(request.lobby));
        let clients: BTreeSet<ClientId> = request.clients.iter().copied().filter(here).collect();
        let clients = clients.into_iter().collect();
        let (mode, detail) = (request.mode.clone(), problem.sentence().to_owned());
        self.changes.failures.push((clients, MatchmakingFailure { mode, reason, detail }));
        problem
    }

    /// Ends the ticket of a client unless it has joined a match; `false` when there is none to end.
    pub(super) fn cancel(&mut self, client: ClientId, reason: Reason) -> Result<bool, Problem> {
        let Some(id) = self.queues.by_client.get(&client).copied() else { return Ok(false) };
        if let Some(entry) = self.queues.tickets.get(&id) {
            if self.has_joined(id, entry) {
                return Ok(false);
            }
            let queue = entry.queue;
            self.log(queue, || LogEvent::Cancel { ticket_id: id });
        }
        self.fail(id, reason, "the request was taken back")?;
        Ok(true)
    }

    fn has_joined(&self, id: TicketId, entry: &TicketEntry) -> bool {
        let TicketState::Matched { match_id, .. } = &entry.state else { return false };
        self.queues.matches.get(match_id).is_some_and(|it| it.joined.contains(&id))
    }

    /// Ends the back-fill of a match.
    pub(super) fn stop(&mut self, runtime: RuntimeId) -> Result<Result<(), Problem>, Problem> {
        let Some(id) = self.queues.by_runtime.get(&runtime).copied() else {
            return Ok(Err(problems::NOT_FOR_LOBBIES.detail("a lobby has no matchmaking to stop")));
        };
        self.stop_match(id)?;
        Ok(Ok(()))
    }

    fn stop_match(&mut self, id: MatchId) -> Result<(), Problem> {
        let open = self.queues.matches.get_mut(&id).filter(|it| !it.stopped);
        let Some(stopped) = open else { return Ok(()) };
        // A warm match is never used after this.
        (stopped.stopped, stopped.used) = (true, true);
        self.close_in_pool(id)?;
        self.put_match(id);
        Ok(())
    }

    /// A client goes from its match to a lobby; `false` when it isn't there.
    pub(super) fn leave(&mut self, runtime: RuntimeId, client: ClientId) -> Result<bool, Problem> {
        let is_match = self.queues.by_runtime.contains_key(&runtime);
        let info = self.facts.clients.get(&client);
        if !is_match || info.is_none_or(|it| it.route != Some(runtime) || it.closed) {
            return Ok(false);
        }
        self.unseat(client)?;
        self.changes.leaving.push((client, runtime));
        Ok(true)
    }

    /// A client's session has ended.
    pub(super) fn gone(&mut self, client: ClientId) -> Result<(), Problem> {
        if self.facts.clients.get(&client).is_some_and(|it| !it.closed) {
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
        let Some(entry) = self.queues.tickets.get_mut(&id) else { return Ok(()) };
        entry.clients.retain(|it| *it != client);
        let TicketState::Matched { match_id, ticket, .. } = &mut entry.state else { return Ok(()) };
        ticket.clients.retain(|it| *it != client);
        let (match_id, is_over) = (*match_id, entry.clients.is_empty());
        if is_over {
            self.queues.tickets.remove(&id);
            if let Some(left) = self.queues.matches.get_mut(&match_id) {
                left.joined.remove(&id);
            }
            self.changes.ended.push(id);
        } else {
            self.put_ticket(id);
        }
        self.free_seat(match_id, client)
    }

    /// Tickets of a deleted matchmaker go to another one, with their positions and their times.
    pub(super) fn reassign_matchmaker(&mut self) -> Result<(), Problem> {
        let matchmakers = self.facts.matchmakers;
        let closed = |(queue, pool): (&QueueKey, &Pool)| {
            (!pool.is_empty() && !matchmakers.contains(&queue.0)).then_some(*queue)
        };
        let closed: Vec<QueueKey> = self.queues.pools.iter().filter_map(closed).collect();
        for queue in closed {
            let tickets: Vec<Ticket> = self.pool(queue)?.tickets().cloned().collect();
            for ticket in tickets {
                let by = ticket.clients.first().map_or(0, |it| it.get());
                let Some(matchmaker) = pick(matchmakers, by) else { return Ok(()) };
                let (id, to) = (ticket.id, (matchmaker, queue.1));
                self.pool(queue)?.cancel(id);
                if let Some(entry) = self.queues.tickets.get_mut(&id) {
                    entry.queue = to;
                }
                self.put_ticket(id);
                match self.in_pool(to, |pool, now, ids| pool.add(ticket, now, ids))? {
                    Ok(effects) => self.absorb(to, effects)?,
                    Err(refusal) => self.fail(id, Reason::Refused, &refusal.to_string())?,
                }
            }
        }
        Ok(())
    }

    /// Takes in what a pool has changed.
    pub(super) fn absorb(&mut self, queue: QueueKey, effects: Vec<Effect>) -> Result<(), Problem> {
        for effect in effects {
            match effect {
                Effect::Form { match_id, placements, rationale } => {
                    if !self.queues.matches.contains_key(&match_id) {
                        self.new_match(match_id, queue)?;
                    }
                    if let Some(formed) = self.queues.matches.get_mut(&match_id) {
                        (formed.is_in_pool, formed.used) = (true, true);
                    }
                    self.fill(match_id, placements, rationale);
                }
                Effect::Fill { match_id, placements, rationale } => {
                    self.fill(match_id, placements, rationale);
                }
                Effect::Expire { ticket } => {
                    // The pool has let go of it already.
                    self.fail(ticket.id, Reason::Timeout, "nobody fitting came in time")?;
                }
            }
        }
        Ok(())
    }

    /// Makes a match with the runtime that was minted for it.
    pub(super) fn new_match(&mut self, id: MatchId, queue: QueueKey) -> Result<(), Problem> {
        let runtime = self.new_runtimes.remove(&id);
        let runtime =
            runtime.ok_or_else(|| Problem::internal("a new match without an id for its runtime"))?;
        self.queues.by_runtime.insert(runtime, id);
        self.queues.matches.insert(id, Match::new(runtime, queue, self.facts.wall, self.facts.now));
        self.put_match(id);
        Ok(())
    }

    fn fill(&mut self, id: MatchId, placements: Vec<Placement>, rationale: Rationale) {
        for Placement { ticket, group } in placements {
            let ticket_id = ticket.id;
            let Some(entry) = self.queues.tickets.get_mut(&ticket_id) else { continue };
            entry.state = TicketState::Matched { match_id: id, group, ticket };
            if let Some(filled) = self.queues.matches.get_mut(&id) {
                filled.pending_join.insert(ticket_id);
            }
            self.put_ticket(ticket_id);
        }
        self.queues.expecting.insert(id);
        if let Some(filled) = self.queues.matches.get_mut(&id) {
            filled.explain(rationale);
        }
        self.put_match(id);
    }
}

/// Ids of one slot grow for ever, so they are the order of the queue.
pub(super) fn position_of(id: TicketId) -> u64 {
    u64::try_from(id.get()).unwrap_or(u64::MAX)
}
