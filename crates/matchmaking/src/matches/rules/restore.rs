//! Restores matches and tickets from their rows, and decides how to finish what a crash left half
//! done.

use std::collections::HashMap;

use omgservers_api::{
    ClientId, MatchId, Problem, RuntimeId,
    interchange::{MatchmakingFailure, MatchmakingFailureReason as Reason},
};
use omgservers_matcher::{Millis, Seat, Ticket};

use super::{
    changes::Changes,
    round::{Round, RoundFacts},
    tickets::position_of,
};
use crate::{
    matches::state::{Match, QueueKey, Queues, TicketBody, TicketEntry, TicketState},
    store::matches::{MatchRow, TicketRow},
};

/// The rows of a deployment.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoredQueues {
    pub(crate) matches: Vec<MatchRow>,
    pub(crate) tickets: Vec<TicketRow>,
}

/// Builds `queues` from rows. `former` is what this process knew before; `members` are the clients
/// that are with the runtimes of the matches. `facts` has the mailboxes of all tickets' clients.
pub(crate) fn restore(
    queues: &mut Queues,
    facts: &RoundFacts<'_>,
    stored: StoredQueues,
    former: &Queues,
    members: &HashMap<RuntimeId, Vec<ClientId>>,
) -> Result<Changes, Problem> {
    let mut round = Round::new(queues, facts);
    for row in stored.matches {
        let known = former.matches.get(&row.id);
        round.load_match(row, known)?;
    }
    let (mut waiting, mut waiting_again) = (Vec::new(), Vec::new());
    for row in stored.tickets {
        let (id, match_id) = (row.id, row.match_id);
        waiting.extend(round.load_ticket(row)?);
        let entry = round.queues.tickets.get(&id);
        let is_matched = entry.is_some_and(|it| matches!(it.state, TicketState::Matched { .. }));
        waiting_again.extend(match_id.filter(|_| !is_matched));
    }
    // A match with clients goes on without those that didn't come back.
    waiting_again.retain(|id| round.queues.matches.get(id).is_some_and(|it| it.joined.is_empty()));
    round.load_seats()?;
    for id in waiting_again {
        round.requeue_unstarted(id)?;
    }
    for (ticket, was_matched) in waiting {
        round.load_waiting(ticket, was_matched)?;
    }
    round.evict_unticketed(members);
    round.finish()
}

/// The clients of these rows.
pub(crate) fn clients_of(tickets: &[TicketRow]) -> Result<Vec<ClientId>, Problem> {
    let mut clients = Vec::with_capacity(tickets.len());
    for row in tickets {
        let body: TicketBody<'_> = serde_json::from_str(&row.body).map_err(Problem::internal)?;
        clients.extend_from_slice(&body.clients);
    }
    Ok(clients)
}

impl Round<'_> {
    fn load_match(&mut self, row: MatchRow, former: Option<&Match>) -> Result<(), Problem> {
        let queue = (row.matchmaker_id, self.mode_index(&row.mode)?);
        let (made, ready, published) =
            former.map_or((self.facts.now, None, None), |it| (it.made, it.ready, it.published.clone()));
        self.queues.by_runtime.insert(row.runtime_id, row.id);
        let loaded = Match {
            ready,
            published,
            closing: row.closing,
            stopped: row.stopped,
            used: row.used,
            rationale: serde_json::from_str(&row.rationale).map_err(Problem::internal)?,
            ..Match::new(row.runtime_id, queue, row.created, made)
        };
        if !loaded.used && !loaded.closing {
            self.queues.spare.entry(queue).or_default().insert(row.id);
        }
        self.queues.matches.insert(row.id, loaded);
        Ok(())
    }

    fn mode_index(&self, name: &str) -> Result<usize, Problem> {
        let found = self.facts.modes.iter().position(|it| it.name == name);
        found.ok_or_else(|| Problem::internal(format!("the version has no mode {name:?} any more")))
    }

    /// Answers a ticket that waits, and whether it was matched before: it goes into its pool when
    /// all matches are there.
    fn load_ticket(&mut self, row: TicketRow) -> Result<Option<(Ticket, bool)>, Problem> {
        let queue = (row.matchmaker_id, self.mode_index(&row.mode)?);
        let TicketBody { clients, attributes } =
            serde_json::from_str(&row.body).map_err(Problem::internal)?;
        let (mut clients, attributes) = (clients.into_owned(), attributes.into_owned());
        let id = row.id;
        if let Some(reason) = &row.ending {
            // Its clients may not have received that it ended.
            let reason: Reason = serde_json::from_str(reason).map_err(Problem::internal)?;
            let detail = "the request ended while the backend was away".to_owned();
            self.changes.failed_tickets.push(id);
            self.changes.failures.push((clients, MatchmakingFailure { mode: row.mode, reason, detail }));
            return Ok(None);
        }
        let all = clients.len();
        clients.retain(|it| self.is_open(*it));
        let (entered, position) = (self.entered(&row), position_of(id));
        let ticket = Ticket { id, position, clients: clients.clone(), attributes, entered };
        let entry =
            |state: TicketState| TicketEntry { queue, created: row.created, clients: clients.clone(), state };
        let known = row.match_id.and_then(|it| self.queues.matches.get(&it));
        // When a match closes, its pending tickets are requeued first. Those that are still stored
        // with it had joined.
        let joined =
            known.is_some_and(|it| it.closing || clients.iter().any(|client| self.is_with(*client, it)));
        let expected = known.is_some_and(|it| !it.closing && !it.stopped);
        match row.match_id.zip(row.group_index.and_then(|it| usize::try_from(it).ok())) {
            _ if clients.is_empty() => self.changes.ended.push(id),
            Some((match_id, group)) if joined || (expected && clients.len() == all) => {
                self.queues.tickets.insert(id, entry(TicketState::Matched { match_id, group, ticket }));
                self.queues.by_client.extend(clients.iter().map(|it| (*it, id)));
                if let Some(entered) = self.queues.matches.get_mut(&match_id) {
                    if joined {
                        entered.joined.insert(id);
                    } else {
                        entered.pending_join.insert(id);
                        self.queues.expecting.insert(match_id);
                    }
                }
            }
            _ => {
                self.queues.tickets.insert(id, entry(TicketState::Queued));
                self.queues.by_client.extend(clients.iter().map(|it| (*it, id)));
                if clients.len() < all {
                    // A party that lost a member before it had a match isn't what was requested.
                    self.fail(id, Reason::Cancelled, "a member of the party has left")?;
                    return Ok(None);
                }
                return Ok(Some((ticket, row.match_id.is_some())));
            }
        }
        Ok(None)
    }

    fn entered(&self, row: &TicketRow) -> Millis {
        let age = self.facts.wall.signed_duration_since(row.created).num_milliseconds();
        Millis(self.now.0.saturating_sub(age.max(0)))
    }

    fn is_open(&self, client: ClientId) -> bool {
        self.facts.clients.get(&client).is_some_and(|it| !it.closed)
    }

    fn is_with(&self, client: ClientId, entered: &Match) -> bool {
        self.facts.clients.get(&client).is_some_and(|it| it.route == Some(entered.runtime))
    }

    /// Brings the matches that take more players into their pools.
    fn load_seats(&mut self) -> Result<(), Problem> {
        let open: Vec<(MatchId, QueueKey)> = self
            .queues
            .matches
            .iter()
            .filter(|(_, it)| it.used && !it.stopped && !it.closing && !it.is_empty())
            .map(|(id, it)| (*id, it.queue))
            .collect();
        let mut seats: HashMap<MatchId, Vec<Seat>> = HashMap::new();
        for entry in self.queues.tickets.values() {
            let TicketState::Matched { match_id, group, ticket } = &entry.state else { continue };
            seats.entry(*match_id).or_default().extend(entry.clients.iter().map(|client| Seat {
                client: *client,
                group: *group,
                attributes: ticket.attributes.clone(),
            }));
        }
        for (id, queue) in open {
            let mut seats = seats.remove(&id).unwrap_or_default();
            seats.sort_unstable_by_key(|it| it.client);
            let effects = self.in_pool(queue, |pool, now, ids| pool.put_match(id, seats, now, ids))?;
            if let Some(loaded) = self.queues.matches.get_mut(&id) {
                loaded.is_in_pool = true;
            }
            self.absorb(queue, effects)?;
        }
        Ok(())
    }

    fn load_waiting(&mut self, ticket: Ticket, was_matched: bool) -> Result<(), Problem> {
        let id = ticket.id;
        let Some(queue) = self.queues.tickets.get(&id).map(|it| it.queue) else { return Ok(()) };
        match self.in_pool(queue, |pool, now, ids| pool.add(ticket, now, ids))? {
            Ok(effects) => {
                if was_matched {
                    self.put_ticket(id);
                }
                self.absorb(queue, effects)
            }
            Err(refusal) => self.fail(id, Reason::Refused, &refusal.to_string()),
        }
    }

    /// Clients that are with a match without a ticket were on their way out of it.
    fn evict_unticketed(&mut self, members: &HashMap<RuntimeId, Vec<ClientId>>) {
        for open in self.queues.matches.values().filter(|it| !it.closing) {
            let clients = members.get(&open.runtime).into_iter().flatten().copied();
            let unticketed = clients.filter(|it| !self.queues.by_client.contains_key(it));
            self.changes.leaving.extend(unticketed.map(|client| (client, open.runtime)));
        }
    }
}
