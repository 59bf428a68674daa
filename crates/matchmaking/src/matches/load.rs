//! Brings in what the database has, and finishes what a crash left half done.

use std::collections::HashMap;

use omgservers_api::{
    ClientId, MatchId, Problem,
    interchange::{MatchmakingFailure, MatchmakingFailureReason as Reason},
};
use omgservers_deployments::DeploymentFull;
use omgservers_matcher::{Millis, Seat, Ticket};
use omgservers_versions::VersionFull;

use super::{
    round::{Changes, Round},
    state::{Match, QueueKey, Queues, TicketBody, TicketEntry, TicketState, millis},
    tickets::position_of,
};
use crate::{
    PgMatchmaking,
    state::{DeploymentHandle, DeploymentState},
    store::{
        self,
        matches::{MatchRow, TicketRow},
    },
};

impl PgMatchmaking {
    /// Reads matches and tickets, unless what is remembered is what the database has.
    pub(crate) async fn load_queues(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
    ) -> Result<(), Problem> {
        if state.queues.loaded {
            return Ok(());
        }
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let (matches, tickets) = {
            let mut conn = self.parts.db.read().await?;
            let matches = store::matches::matches(&mut conn, handle.id).await?;
            (matches, store::matches::tickets(&mut conn, handle.id).await?)
        };
        let former = std::mem::take(&mut state.queues);
        state.queues.failures = former.failures;
        state.queues.retry_at = former.retry_at;
        for row in matches {
            let known = former.matches.get(&row.id).cloned();
            self.load_match(&mut state.queues, row, &version, known)?;
        }
        let now = millis(self.parts.clock.ticks());
        let queues = &mut state.queues;
        let mut round =
            Round { matchmaking: self, handle, version: &version, queues, changes: Changes::default(), now };
        let (mut waiting, mut waiting_again) = (Vec::new(), Vec::new());
        for row in tickets {
            let (id, match_id) = (row.id, row.match_id);
            waiting.extend(round.load_ticket(row)?);
            let is_there = round
                .queues
                .tickets
                .get(&id)
                .is_some_and(|it| matches!(it.state, TicketState::Matched { .. }));
            waiting_again.extend(match_id.filter(|_| !is_there));
        }
        // Where somebody is, it goes on without those who didn't come back.
        waiting_again.retain(|it| round.queues.matches.get(it).is_some_and(|it| it.joined.is_empty()));
        round.load_seats()?;
        for id in waiting_again {
            round.requeue_unstarted(id)?;
        }
        for (ticket, was_placed) in waiting {
            round.load_waiting(ticket, was_placed)?;
        }
        round.evict_unticketed();
        let changes = round.finish()?;
        self.write(handle, changes, state).await?;
        Ok(())
    }

    fn load_match(
        &self,
        queues: &mut Queues,
        row: MatchRow,
        version: &VersionFull,
        former: Option<Match>,
    ) -> Result<(), Problem> {
        let queue = (row.matchmaker_id, mode_index(version, &row.mode)?);
        let now = self.parts.clock.ticks();
        let (made, ready, published) =
            former.map_or((now, None, None), |it| (it.made, it.ready, it.published));
        queues.by_runtime.insert(row.runtime_id, row.id);
        let it = Match {
            ready,
            published,
            closing: row.closing,
            stopped: row.stopped,
            used: row.used,
            rationale: serde_json::from_str(&row.rationale).map_err(Problem::internal)?,
            ..Match::new(row.runtime_id, queue, row.created, made)
        };
        if !it.used && !it.closing {
            queues.spare.entry(queue).or_default().insert(row.id);
        }
        queues.matches.insert(row.id, it);
        Ok(())
    }
}

fn mode_index(version: &VersionFull, name: &str) -> Result<usize, Problem> {
    let found = version.config.modes.iter().position(|it| it.name == name);
    found.ok_or_else(|| Problem::internal(format!("the version has no mode {name:?} any more")))
}

impl Round<'_> {
    /// A ticket that waits is answered: it goes into its pool when all matches are there.
    fn load_ticket(&mut self, row: TicketRow) -> Result<Option<(Ticket, bool)>, Problem> {
        let queue = (row.matchmaker_id, mode_index(self.version, &row.mode)?);
        let TicketBody { clients, attributes } =
            serde_json::from_str(&row.body).map_err(Problem::internal)?;
        let (mut clients, attributes) = (clients.into_owned(), attributes.into_owned());
        if let Some(reason) = &row.ending {
            let reason: Reason = serde_json::from_str(reason).map_err(Problem::internal)?;
            let detail = "the request ended while the backend was away".to_owned();
            self.changes.ending(row.id, clients, MatchmakingFailure { mode: row.mode, reason, detail });
            return Ok(None);
        }
        let all = clients.len();
        clients.retain(|it| self.is_open(*it));
        let entered = self.entered(&row);
        let ticket = Ticket {
            id: row.id,
            position: position_of(row.id),
            clients: clients.clone(),
            attributes,
            entered,
        };
        let entry =
            |state: TicketState| TicketEntry { queue, created: row.created, clients: clients.clone(), state };
        let runtime = row.match_id.and_then(|it| Some((it, self.queues.matches.get(&it)?)));
        // Who was still to come into a match that closes was written to wait again, so its tickets are of who was there.
        let joined = runtime
            .is_some_and(|(_, it)| it.closing || clients.iter().any(|client| self.is_with(*client, it)));
        let expected = runtime.is_some_and(|(_, it)| !it.closing && !it.stopped);
        let id = row.id;
        match row.match_id.zip(row.group_index.and_then(|it| usize::try_from(it).ok())) {
            _ if clients.is_empty() => self.changes.end(id),
            Some((match_id, group)) if joined || (expected && clients.len() == all) => {
                self.queues.tickets.insert(id, entry(TicketState::Matched { match_id, group, ticket }));
                self.queues.by_client.extend(clients.iter().map(|it| (*it, id)));
                if let Some(it) = self.queues.matches.get_mut(&match_id) {
                    if joined {
                        it.joined.insert(id);
                    } else {
                        it.pending_join.insert(id);
                        self.queues.expecting.insert(match_id);
                    }
                }
            }
            _ => {
                self.queues.tickets.insert(id, entry(TicketState::Queued));
                self.queues.by_client.extend(clients.iter().map(|it| (*it, id)));
                if clients.len() < all {
                    // A party that lost somebody before it had a match isn't what was asked for.
                    self.fail(id, Reason::Cancelled, "a member of the party has left")?;
                    return Ok(None);
                }
                return Ok(Some((ticket, row.match_id.is_some())));
            }
        }
        Ok(None)
    }

    fn entered(&self, row: &TicketRow) -> Millis {
        let age = self.matchmaking.parts.clock.now().signed_duration_since(row.created).num_milliseconds();
        Millis(self.now.0.saturating_sub(age.max(0)))
    }

    fn is_open(&self, client: ClientId) -> bool {
        self.matchmaking.parts.messaging.client(client).is_some_and(|it| !it.closed)
    }

    fn is_with(&self, client: ClientId, it: &Match) -> bool {
        self.matchmaking.parts.messaging.client(client).is_some_and(|info| info.route == Some(it.runtime))
    }

    /// Tells the pools which matches take more players.
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
            let seats = seats.remove(&id).unwrap_or_default();
            let effects = self.in_pool(queue, |pool, now, ids| pool.put_match(id, seats, now, ids))?;
            if let Some(it) = self.queues.matches.get_mut(&id) {
                it.is_in_pool = true;
            }
            self.absorb(queue, effects)?;
        }
        Ok(())
    }

    fn load_waiting(&mut self, ticket: Ticket, was_placed: bool) -> Result<(), Problem> {
        let id = ticket.id;
        let Some(queue) = self.queues.tickets.get(&id).map(|it| it.queue) else { return Ok(()) };
        match self.in_pool(queue, |pool, now, ids| pool.add(ticket, now, ids))? {
            Ok(effects) => {
                if was_placed {
                    self.put_ticket(id);
                }
                self.absorb(queue, effects)
            }
            Err(refusal) => self.fail(id, Reason::Refused, &refusal.to_string()),
        }
    }

    /// Clients that are with a match without a ticket were on their way out.
    fn evict_unticketed(&mut self) {
        for it in self.queues.matches.values().filter(|it| !it.closing) {
            let clients = self.matchmaking.parts.messaging.clients_of(it.runtime);
            let strange = clients.into_iter().filter(|it| !self.queues.by_client.contains_key(it));
            self.changes.leaving.extend(strange.map(|client| (client, it.runtime)));
        }
    }
}
