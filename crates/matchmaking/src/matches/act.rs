//! What a plan asks for, and what moves clients in and out of matches.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use omgservers_api::{
    ClientId, MatchId, Problem, RuntimeId, RuntimeQualifier, TicketId, UserId,
    ids::Id as _,
    interchange::{command, message},
};
use omgservers_deployments::DeploymentFull;
use omgservers_messaging::{AckHandle, Body, Mailbox, Op};
use omgservers_versions::VersionFull;

use super::{
    Held, Place, Queue,
    round::{Changes, Round, moment},
    rules::Step,
};
use crate::{
    PgMatchmaking,
    bodies::{self, MatchWords},
    halls::{Cell, Hall, Waiting},
    rules::pause_after,
    store,
};

/// Clients that are moved in one call of messaging.
const MOST_MOVED: usize = 500;

/// Matches that are made warm in one transaction; the next plan asks for the rest.
const MOST_WARMED: u32 = 1_000;

/// A client that joins a match.
struct Joining {
    client: ClientId,
    user: UserId,
    from: Option<RuntimeId>,
    match_id: MatchId,
    group: usize,
}

impl PgMatchmaking {
    pub(crate) async fn act_on_matches(
        &self,
        cell: &Cell,
        hall: &mut Hall,
        full: &DeploymentFull,
        steps: Vec<Step>,
    ) -> Result<(), Problem> {
        let (mut closing, mut warm) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Discard(id) => {
                    self.count_match_failure(hall, id);
                    closing.push(id);
                }
                Step::Close(id) => closing.push(id),
                Step::Warm(queue, count) => warm.push((queue, count)),
                // All together, below.
                Step::Admit(_) => {}
            }
        }
        self.close_matches(cell, hall, full, &closing).await?;
        for (queue, count) in warm {
            self.warm(cell, hall, full, queue, count).await?;
        }
        self.open_matches(cell, hall, full).await?;
        self.admit(hall, full).await?.wait().await
    }

    /// Each match in a row that broke makes the pause before the next one longer.
    fn count_match_failure(&self, hall: &mut Hall, id: MatchId) {
        let queues = &mut hall.queues;
        if queues.matches.get(&id).is_some_and(|it| !it.closing) {
            queues.failures = queues.failures.saturating_add(1);
            queues.retry_at = self.parts.clock.ticks().plus(pause_after(queues.failures));
        }
    }

    /// Makes matches that wait for players.
    async fn warm(
        &self,
        cell: &Cell,
        hall: &mut Hall,
        full: &DeploymentFull,
        queue: Queue,
        count: u32,
    ) -> Result<(), Problem> {
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        hall.queues.loaded = false;
        let now = moment(self.parts.clock.ticks());
        let queues = &mut hall.queues;
        let mut round =
            Round { matchmaking: self, cell, version: &version, queues, changes: Changes::default(), now };
        for _ in 0..count.min(MOST_WARMED) {
            let id = round.new_match(queue)?;
            round.queues.spare.entry(queue).or_default().insert(id);
        }
        let changes = round.finish()?;
        self.write(cell, changes, hall).await?;
        Ok(())
    }

    /// Lets the game servers of new matches start.
    async fn open_matches(&self, cell: &Cell, hall: &mut Hall, full: &DeploymentFull) -> Result<(), Problem> {
        let new: Vec<MatchId> =
            hall.queues.matches.iter().filter(|(_, it)| !it.opened && !it.closing).map(|it| *it.0).collect();
        if new.is_empty() {
            return Ok(());
        }
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let (deployment, delivery) = (cell.id, full.config.delivery);
        let runtimes: Vec<RuntimeId> =
            new.iter().filter_map(|it| hall.queues.matches.get(it)).map(|it| it.runtime).collect();
        // Those that were read from the database may be wanted already.
        let states = self.parts.runtimes.states(&runtimes).await?;
        let mut ops = Vec::with_capacity(new.len().saturating_mul(2));
        for id in &new {
            let Some(it) = hall.queues.matches.get(id) else { continue };
            if self.parts.messaging.runtime(it.runtime).is_some() {
                continue;
            }
            let mode = version.config.modes.get(it.queue.1).map_or("", |it| it.name.as_str());
            let (matchmaker_id, match_id) = (it.queue.0, *id);
            let init = MatchWords { matchmaker_id, match_id, mode, version: &version }.init()?;
            let to = Mailbox::Runtime(it.runtime);
            ops.push(Op::OpenRuntime { runtime: it.runtime, deployment, delivery });
            ops.push(Op::Push { to, qualifier: command::INIT_RUNTIME, body: init });
        }
        self.parts.messaging.apply(ops)?.wait().await?;
        let wanted: Vec<RuntimeId> = runtimes.into_iter().filter(|it| !states.contains_key(it)).collect();
        self.start_runtimes(full, &wanted, RuntimeQualifier::Match).await?;
        for id in new {
            if let Some(it) = hall.queues.matches.get_mut(&id) {
                it.opened = true;
            }
        }
        Ok(())
    }

    /// Lets everybody who was placed in a match whose game server polls join it. Nobody has to wait for the commit: if
    /// it is lost, who was placed is admitted again.
    pub(crate) async fn admit(&self, hall: &mut Hall, full: &DeploymentFull) -> Result<AckHandle, Problem> {
        let matches = &hall.queues.matches;
        hall.queues.expecting.retain(|id| matches.get(id).is_some_and(|it| !it.coming.is_empty()));
        let (mut joining, mut tickets) = (Vec::new(), Vec::new());
        for id in &hall.queues.expecting {
            let Some(it) = matches.get(id).filter(|it| it.ready.is_some() && !it.closing) else { continue };
            for ticket in &it.coming {
                let Some(Held { clients, place: Place::Placed { group, .. }, .. }) =
                    hall.queues.tickets.get(ticket)
                else {
                    continue;
                };
                tickets.push((*id, *ticket));
                let open = |it: &ClientId| {
                    self.parts.messaging.client(*it).filter(|it| !it.closed).map(|info| (*it, info))
                };
                joining.extend(clients.iter().filter_map(open).map(|(client, info)| Joining {
                    client,
                    user: info.user,
                    from: info.route,
                    match_id: *id,
                    group: *group,
                }));
            }
        }
        if tickets.is_empty() {
            return Ok(AckHandle::none());
        }
        let users: Vec<UserId> = joining.iter().map(|it| it.user).collect();
        let profiles = self.parts.players.profiles(full.deployment.stage_id, &users).await?;
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let mut commit = AckHandle::none();
        for chunk in joining.chunks(MOST_MOVED) {
            let ops = self.join_ops(hall, &version, &profiles, chunk)?;
            commit = commit.join(self.parts.messaging.apply(ops)?);
        }
        let now = self.parts.clock.now();
        for (id, ticket) in tickets {
            if let Some(held) = hall.queues.tickets.get(&ticket) {
                self.meters.matched((now - held.created).to_std().unwrap_or_default());
            }
            if let Some(it) = hall.queues.matches.get_mut(&id) {
                it.coming.remove(&ticket);
                it.seated.insert(ticket);
            }
        }
        Ok(commit)
    }

    fn join_ops(
        &self,
        hall: &Hall,
        version: &VersionFull,
        profiles: &HashMap<UserId, Arc<str>>,
        joining: &[Joining],
    ) -> Result<Vec<Op>, Problem> {
        let mut announcements = HashMap::new();
        let mut ops = Vec::with_capacity(joining.len().saturating_mul(4));
        for it in joining {
            let Some(entry) = hall.queues.matches.get(&it.match_id) else { continue };
            if it.from == Some(entry.runtime) {
                continue;
            }
            let mode = version.config.modes.get(entry.queue.1);
            let group = mode.and_then(|mode| mode.groups.get(it.group)).map_or("", |it| it.name.as_str());
            let mode = mode.map_or("", |it| it.name.as_str());
            let profile = profiles.get(&it.user).map_or("{}", |it| it);
            let added = bodies::add_client(it.user, it.client, Some(group), profile)?;
            let (matchmaker_id, match_id) = (entry.queue.0, it.match_id);
            let words = MatchWords { matchmaker_id, match_id, mode, version };
            let direct = self.direct(entry.published.as_deref(), entry.runtime, it.client, it.user)?;
            let announced = match announcements.get(&match_id).filter(|_| direct.is_none()) {
                Some(body) => Body::clone(body),
                None => {
                    let body = words.assignment(entry.runtime, direct)?;
                    announcements.insert(match_id, body.clone());
                    body
                }
            };
            let to = Mailbox::Runtime(entry.runtime);
            ops.push(Op::Push { to, qualifier: command::ADD_MATCH_CLIENT, body: added });
            ops.push(Op::Route { client: it.client, to: Some(entry.runtime) });
            let (to, qualifier) = (Mailbox::Client(it.client), message::RUNTIME_ASSIGNMENT);
            ops.push(Op::Push { to, qualifier, body: announced });
            if let Some(former) = it.from {
                let (to, body) = (Mailbox::Runtime(former), bodies::client(it.client)?);
                ops.push(Op::Push { to, qualifier: command::DELETE_CLIENT, body });
            }
        }
        Ok(ops)
    }

    /// Clients that leave their match wait for a lobby.
    pub(crate) async fn leave(
        &self,
        hall: &mut Hall,
        leaving: &[(ClientId, RuntimeId)],
    ) -> Result<(), Problem> {
        let mut ops = Vec::new();
        for (client, runtime) in leaving {
            let (to, body) = (Mailbox::Runtime(*runtime), bodies::client(*client)?);
            ops.push(Op::Push { to, qualifier: command::DELETE_CLIENT, body });
            ops.push(Op::Route { client: *client, to: None });
        }
        if ops.is_empty() {
            return Ok(());
        }
        let commit = self.parts.messaging.apply(ops)?;
        let since = self.parts.clock.ticks();
        hall.waiting.extend(leaving.iter().map(|(client, _)| Waiting { client: *client, since }));
        commit.wait().await
    }

    /// Closes matches: who is in them goes to a lobby, who was to come waits again in the old place. Repeating it after
    /// a failure or a crash finishes it.
    pub(crate) async fn close_matches(
        &self,
        cell: &Cell,
        hall: &mut Hall,
        full: &DeploymentFull,
        ids: &[MatchId],
    ) -> Result<(), Problem> {
        let known = |id: &MatchId| hall.queues.matches.get(id).map(|it| (*id, it.runtime, it.queue));
        let closing: Vec<(MatchId, RuntimeId, Queue)> = ids.iter().filter_map(known).collect();
        if closing.is_empty() {
            return Ok(());
        }
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let is_loaded = std::mem::replace(&mut hall.queues.loaded, false);
        let now = moment(self.parts.clock.ticks());
        let queues = &mut hall.queues;
        let mut round =
            Round { matchmaking: self, cell, version: &version, queues, changes: Changes::default(), now };
        let mut again: BTreeMap<Queue, BTreeSet<TicketId>> = BTreeMap::new();
        for (id, _, queue) in &closing {
            again.entry(*queue).or_default().extend(round.begin_closing(*id)?);
        }
        for (queue, tickets) in again {
            round.wait_again(queue, tickets)?;
        }
        let changes = round.finish()?;
        self.write(cell, changes, hall).await?;
        hall.queues.loaded = false;
        let runtimes: Vec<RuntimeId> = closing.iter().map(|it| it.1).collect();
        self.empty_runtimes(hall, &runtimes).await?;
        self.parts.runtimes.stop(&runtimes).await?;
        let (slots, ids) = ([cell.id.slot()], closing.iter().map(|it| it.0).collect::<Vec<_>>());
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::matches::delete_matches(&mut tx, cell.id, &ids).await
            })
            .await?;
        for id in ids {
            hall.queues.forget(id);
        }
        hall.queues.loaded = is_loaded;
        Ok(())
    }

    /// The clients of runtimes that end wait for a lobby, in front of the others.
    pub(crate) async fn empty_runtimes(
        &self,
        hall: &mut Hall,
        runtimes: &[RuntimeId],
    ) -> Result<(), Problem> {
        let clients: Vec<ClientId> =
            runtimes.iter().flat_map(|it| self.parts.messaging.clients_of(*it)).collect();
        let end = |it: &RuntimeId| [Op::Close(Mailbox::Runtime(*it)), Op::Remove(Mailbox::Runtime(*it))];
        self.parts.messaging.apply(runtimes.iter().flat_map(end).collect())?.wait().await?;
        let since = self.parts.clock.ticks();
        let known: HashSet<ClientId> = hall.waiting.iter().map(|it| it.client).collect();
        for client in clients.into_iter().rev().filter(|it| !known.contains(it)) {
            hall.waiting.push_front(Waiting { client, since });
        }
        Ok(())
    }
}

impl super::Queues {
    /// A match is gone, and the tickets of who was in it.
    fn forget(&mut self, id: MatchId) {
        let Some(it) = self.matches.remove(&id) else { return };
        self.by_runtime.remove(&it.runtime);
        for ticket in it.seated {
            let Some(held) = self.tickets.remove(&ticket) else { continue };
            for client in held.clients {
                if self.by_client.get(&client) == Some(&ticket) {
                    self.by_client.remove(&client);
                }
            }
        }
    }
}

impl Round<'_> {
    /// Answers the tickets of those who were still to come.
    fn begin_closing(&mut self, id: MatchId) -> Result<BTreeSet<TicketId>, Problem> {
        self.note_arrivals(id);
        let Some(it) = self.queues.matches.get_mut(&id) else { return Ok(BTreeSet::new()) };
        it.closing = true;
        let coming = std::mem::take(&mut it.coming);
        let (queue, key) = (it.queue, it.key.take());
        if let Some(key) = key {
            self.queues.by_key.remove(&(queue, key));
            self.pool(queue)?.close_match(key);
        }
        self.put_match(id);
        Ok(coming)
    }

    /// Who is with the match already was admitted, though nobody may have noted it: a call can be broken off in between.
    pub(crate) fn note_arrivals(&mut self, id: MatchId) {
        let Some(it) = self.queues.matches.get_mut(&id) else { return };
        let (runtime, messaging) = (it.runtime, &self.matchmaking.parts.messaging);
        let with = |client: &ClientId| messaging.client(*client).is_some_and(|it| it.route == Some(runtime));
        let held = |id: &TicketId| self.queues.tickets.get(id);
        let came: Vec<TicketId> = it
            .coming
            .iter()
            .copied()
            .filter(|id| held(id).is_some_and(|it| it.clients.iter().any(with)))
            .collect();
        for ticket in came {
            it.coming.remove(&ticket);
            it.seated.insert(ticket);
        }
    }

    /// Tickets whose match didn't start go back to their old places, and only then matches form again: the first one
    /// isn't matched with somebody who came later than the second.
    pub(crate) fn wait_again(&mut self, queue: Queue, ids: BTreeSet<TicketId>) -> Result<(), Problem> {
        let (now, room) = (self.now, self.pool(queue)?.room());
        let nothing_forms = self.pool(queue)?.limit(Some(0), now);
        self.absorb(queue, nothing_forms)?;
        for id in ids {
            self.go_back(queue, id)?;
        }
        // After a failure the next plan says when.
        if moment(self.queues.retry_at) > now {
            return Ok(());
        }
        let effects = self.pool(queue)?.limit(room, now);
        self.absorb(queue, effects)
    }

    fn go_back(&mut self, queue: Queue, id: TicketId) -> Result<(), Problem> {
        let Some(held) = self.queues.tickets.get_mut(&id) else { return Ok(()) };
        let Place::Placed { ticket, .. } = std::mem::replace(&mut held.place, Place::Waiting) else {
            return Ok(());
        };
        let now = self.now;
        let effects = match self.pool(queue)?.add(ticket, now) {
            Ok(effects) => effects,
            Err(refusal) => {
                // Its party has shrunk meanwhile, say.
                let detail = refusal.to_string();
                return self.fail(
                    id,
                    omgservers_api::interchange::MatchmakingFailureReason::Refused,
                    &detail,
                );
            }
        };
        self.put_ticket(id);
        self.absorb(queue, effects)
    }
}
