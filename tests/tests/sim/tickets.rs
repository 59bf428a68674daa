//! Matches and tickets as the database has them, and what must be so about them.

use std::collections::{BTreeMap, BTreeSet};

use omgservers_api::{ClientId, RuntimeId, RuntimeQualifier, config::ModeConfig, ids::Id as _};
use serde_json::Value;

use crate::{
    modes,
    player::Session,
    simulation::{Simulation, Verdict},
};

/// A ticket.
#[derive(Debug)]
struct Ticket {
    id: i64,
    queue: Queue,
    clients: Vec<ClientId>,
    /// Its match and group.
    matched: Option<(i64, i32)>,
    /// It has ended without a match, and its clients are about to learn that.
    ending: bool,
}

/// A match.
#[derive(Debug)]
struct Match {
    queue: Queue,
    runtime: RuntimeId,
    used: bool,
    stopped: bool,
    closing: bool,
    rationale: Value,
}

/// Deployment, matchmaker, mode.
type Queue = (i64, i64, String);

/// What is open.
struct Seen {
    tickets: Vec<Ticket>,
    matches: BTreeMap<i64, Match>,
}

/// What is remembered of what was seen.
#[derive(Default)]
pub(crate) struct Records {
    /// The matches that tickets are in with a client that has come.
    matched: BTreeMap<i64, i64>,
    /// The tickets of matches that take no further ones.
    stopped: BTreeMap<i64, BTreeSet<i64>>,
    /// The matches that somebody has come to.
    started: BTreeSet<i64>,
}

impl Simulation {
    async fn see(&self) -> Seen {
        let query = "select id, deployment_id, matchmaker_id, mode, body, match_id, group_index, \
                     ending is not null from matchmaking.ticket";
        let rows = self.sql.query(query, &[]).await.unwrap();
        let ticket = |row: &tokio_postgres::Row| {
            let body: Value = serde_json::from_str(row.get(4)).unwrap();
            let clients = serde_json::from_value(body["clients"].clone()).unwrap();
            let matched = row.get::<_, Option<i64>>(5).zip(row.get(6));
            let queue = (row.get(1), row.get(2), row.get(3));
            Ticket { id: row.get(0), queue, clients, matched, ending: row.get(7) }
        };
        let tickets = rows.iter().map(ticket).collect();
        let query = "select id, deployment_id, matchmaker_id, mode, runtime_id, used, stopped, closing, \
                     rationale from matchmaking.match";
        let rows = self.sql.query(query, &[]).await.unwrap();
        let entry = |row: &tokio_postgres::Row| {
            let found = Match {
                queue: (row.get(1), row.get(2), row.get(3)),
                runtime: RuntimeId::from_i64(row.get(4)).unwrap(),
                used: row.get(5),
                stopped: row.get(6),
                closing: row.get(7),
                rationale: serde_json::from_str(row.get(8)).unwrap(),
            };
            (row.get(0), found)
        };
        Seen { tickets, matches: rows.iter().map(entry).collect() }
    }

    /// The open ticket of a client, and whether somebody of it has come to its match (or was there:
    /// it closes).
    pub(crate) async fn open_ticket(&self, client: ClientId) -> Option<(i64, bool)> {
        let seen = self.see().await;
        let ticket = seen.tickets.iter().find(|it| !it.ending && it.clients.contains(&client))?;
        let route = |it: &ClientId| self.backend().messaging.client(*it).and_then(|it| it.route);
        let matched = ticket.matched.and_then(|it| seen.matches.get(&it.0));
        let has_come = matched.is_some_and(|found| {
            found.closing || ticket.clients.iter().any(|client| route(client) == Some(found.runtime))
        });
        Some((ticket.id, has_come))
    }

    /// Checks matches and tickets: no client has two, no match has too many players or was made of
    /// too few. (A cancellation before the game server polls leaves the others in a match that
    /// starts with fewer.)
    pub(crate) async fn check_tickets(&mut self) -> Verdict {
        let seen = self.see().await;
        let mut open: BTreeMap<ClientId, i64> = BTreeMap::new();
        for ticket in seen.tickets.iter().filter(|it| !it.ending) {
            for client in &ticket.clients {
                if let Some(other) = open.insert(*client, ticket.id) {
                    return Err(format!("client {client} has the tickets {other} and {}", ticket.id));
                }
            }
            self.check_matched(ticket, &seen)?;
        }
        let mut counts: BTreeMap<&Queue, u32> = BTreeMap::new();
        for (id, found) in &seen.matches {
            let mode = mode_of(&found.queue);
            self.check_match(*id, found, &mode, &seen)?;
            let count = counts.entry(&found.queue).or_default();
            *count += u32::from(!found.closing);
            if mode.max_matches.is_some_and(|most| *count > most) {
                return Err(format!("{:?} has {count} matches", found.queue));
            }
        }
        Ok(())
    }

    /// A client that has come to a match has nothing to do with any other one.
    fn check_matched(&mut self, ticket: &Ticket, seen: &Seen) -> Verdict {
        let id = ticket.id;
        if let Some(matched) = self.records.matched.get(&id)
            && ticket.matched.is_none_or(|it| it.0 != *matched)
        {
            return Err(format!("{ticket:?} was matched, and now it is not with match {matched}"));
        }
        let Some((matched, _)) = ticket.matched else { return Ok(()) };
        let Some(found) = seen.matches.get(&matched).filter(|it| it.queue == ticket.queue) else {
            return Err(format!("{ticket:?} is in match {matched}, which isn't of its queue"));
        };
        let messaging = &self.backend().messaging;
        let has_come = |client: &ClientId| {
            messaging.client(*client).is_some_and(|info| info.route == Some(found.runtime))
        };
        if ticket.clients.iter().any(has_come) {
            self.records.matched.insert(id, matched);
        }
        Ok(())
    }

    fn check_match(&mut self, id: i64, found: &Match, mode: &ModeConfig, seen: &Seen) -> Verdict {
        let here = || seen.tickets.iter().filter(|it| !it.ending && it.matched.is_some_and(|it| it.0 == id));
        let count = |group: Option<usize>| {
            let fits = |it: &i32| group.is_none_or(|group| usize::try_from(*it).unwrap() == group);
            let chosen = here().filter(|it| it.matched.is_some_and(|(_, it)| fits(&it)));
            u32::try_from(chosen.map(|it| it.clients.len()).sum::<usize>()).unwrap()
        };
        let crowded = mode.groups.iter().enumerate().any(|(at, it)| count(Some(at)) > it.max_players);
        let players = count(None);
        if players > mode.max_players || crowded {
            return Err(format!("match {id} {found:?} has too many players"));
        }
        if found.stopped {
            let tickets: BTreeSet<i64> = here().map(|it| it.id).collect();
            let before = self.records.stopped.insert(id, tickets.clone());
            if before.is_some_and(|it| !it.is_superset(&tickets)) {
                return Err(format!("match {id} takes no further players and got {tickets:?}"));
            }
        }
        let began: u64 = found.rationale[0]["tickets"]
            .as_array()
            .map_or(0, |all| all.iter().filter_map(|it| it["players"].as_u64()).sum());
        let least =
            if found.rationale[0]["smaller"] == true { modes::fewest(mode) } else { mode.min_players };
        if !found.rationale[0].is_null() && began < u64::from(least) {
            return Err(format!("match {id} was made of {began} players: {found:?}"));
        }
        let came = !self.backend().messaging.clients_of(found.runtime).is_empty();
        if came && self.records.started.insert(id) && !found.closing && players < least {
            return Err(format!("match {id} starts with {players} players: {found:?}"));
        }
        Ok(())
    }

    /// The tickets of clients that are still there have led somewhere, matches have players, and
    /// nobody waits who could play.
    pub(crate) async fn tickets_at_rest(&self, has_room: bool) -> Verdict {
        let seen = self.see().await;
        let mut waiting: BTreeMap<&Queue, usize> = BTreeMap::new();
        let mut open = BTreeSet::new();
        for ticket in &seen.tickets {
            let active = |it: &ClientId| self.backend().messaging.client(*it).is_some_and(|it| !it.closed);
            if ticket.ending || !ticket.clients.iter().all(active) {
                return Err(format!("{ticket:?} is still there"));
            }
            let runtime = ticket.matched.and_then(|it| seen.matches.get(&it.0)).map(|it| it.runtime);
            let route = |it: &ClientId| self.backend().messaging.client(*it).and_then(|it| it.route);
            if let Some(runtime) = runtime {
                if has_room && ticket.clients.iter().any(|it| route(it) != Some(runtime)) {
                    return Err(format!("{ticket:?} still waits for its match to start"));
                }
            } else {
                *waiting.entry(&ticket.queue).or_default() += ticket.clients.len();
            }
            open.extend(ticket.clients.iter().map(|it| (*it, ticket.queue.2.clone())));
        }
        for (queue, waiting) in waiting {
            // Odd ones out of a mode without a timeout.
            if has_room && (queue.2 != "duel" || waiting > 1) {
                return Err(format!("{waiting} players of {queue:?} still wait"));
            }
        }
        for (id, found) in &seen.matches {
            let members = self.backend().messaging.clients_of(found.runtime);
            let ticketed = |client: &&ClientId| open.contains(&(**client, found.queue.2.clone()));
            if let Some(client) = members.iter().find(|it| !ticketed(it)) {
                return Err(format!("client {client} is in match {id} without a ticket"));
            }
            let expected = seen.tickets.iter().any(|it| it.matched.is_some_and(|it| it.0 == *id));
            if found.closing || (found.used && !expected) {
                return Err(format!("match {id} {found:?} is still there"));
            }
        }
        self.check_owed(&open)
    }

    /// Acknowledged requests have ended, or wait.
    fn check_owed(&self, open: &BTreeSet<(ClientId, String)>) -> Verdict {
        let active = |it: &&Session| !it.silent && !it.is_over();
        for session in self.players.iter().filter_map(|it| it.session.as_ref()).filter(active) {
            for (mode, before) in &session.owed {
                let waits = open.contains(&(session.client, (*mode).to_owned()));
                if !waits && session.ended(mode) <= *before {
                    return Err(format!(
                        "client {} never learned the end of its request for {mode}",
                        session.client
                    ));
                }
            }
        }
        Ok(())
    }

    /// No client is in the books of two game servers, and each client in a book is really there.
    pub(crate) fn check_books(&self) -> Verdict {
        let mut books: BTreeMap<ClientId, RuntimeId> = BTreeMap::new();
        for attempt in self.living() {
            let Some(server) = self.servers.get(&attempt) else { continue };
            for client in server.members.keys() {
                let info = self.backend().messaging.client(*client);
                if info.is_none_or(|it| it.route != Some(attempt.runtime)) {
                    return Err(format!("game server {attempt} still has client {client}"));
                }
                if let Some(other) = books.insert(*client, attempt.runtime) {
                    return Err(format!("client {client} is in the books of {other} and {attempt}"));
                }
            }
        }
        Ok(())
    }

    /// The runtimes of matches that run.
    pub(crate) fn running_matches(&self) -> BTreeSet<RuntimeId> {
        let all = self.running().into_iter().map(|it| it.1.spec);
        all.filter(|it| it.qualifier == RuntimeQualifier::Match).map(|it| it.attempt.runtime).collect()
    }
}

fn mode_of(queue: &Queue) -> ModeConfig {
    modes::named(&queue.2).unwrap()
}
