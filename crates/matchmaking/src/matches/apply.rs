//! What a plan requests for, and what moves clients in and out of matches.

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
    round::{Changes, Round},
    rules::Step,
    state::{QueueKey, TicketEntry, TicketState, millis},
};
use crate::{
    PgMatchmaking,
    bodies::{self, MatchRef},
    lobbies::{rules::pause_after, state::WaitingClient},
    state::{DeploymentHandle, DeploymentState},
    store,
};

/// Clients that are moved in one call of messaging.
const MOST_MOVED: usize = 500;

/// Matches that are made warm in one transaction; the next plan requests for the rest.
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
    pub(crate) async fn apply_match_steps(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        steps: Vec<Step>,
    ) -> Result<(), Problem> {
        let (mut closing, mut warm) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Discard(id) => {
                    self.count_match_failure(state, id);
                    closing.push(id);
                }
                Step::Close(id) => closing.push(id),
                Step::Warm(queue, count) => warm.push((queue, count)),
            }
        }
        self.close_matches(handle, state, full, &closing).await?;
        for (queue, count) in warm {
            self.warm(handle, state, full, queue, count).await?;
        }
        self.open_matches(handle, state, full).await?;
        self.admit(state, full).await?.wait().await
    }

    /// Each match in a row that broke makes the pause before the next one longer.
    fn count_match_failure(&self, state: &mut DeploymentState, id: MatchId) {
        let queues = &mut state.queues;
        if queues.matches.get(&id).is_some_and(|it| !it.closing) {
            queues.failures = queues.failures.saturating_add(1);
            queues.retry_at = self.parts.clock.ticks().plus(pause_after(queues.failures));
        }
    }

    /// Makes matches that wait for players.
    async fn warm(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        queue: QueueKey,
        count: u32,
    ) -> Result<(), Problem> {
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        state.queues.loaded = false;
        let now = millis(self.parts.clock.ticks());
        let queues = &mut state.queues;
        let mut round =
            Round { matchmaking: self, handle, version: &version, queues, changes: Changes::default(), now };
        for _ in 0..count.min(MOST_WARMED) {
            let id = self.parts.mint.child(handle.id)?;
            round.new_match(id, queue)?;
            round.queues.spare.entry(queue).or_default().insert(id);
        }
        let changes = round.finish()?;
        self.write(handle, changes, state).await?;
        Ok(())
    }

    /// Lets the game servers of new matches start.
    async fn open_matches(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
    ) -> Result<(), Problem> {
        let new: Vec<MatchId> =
            state.queues.matches.iter().filter(|(_, it)| !it.opened && !it.closing).map(|it| *it.0).collect();
        if new.is_empty() {
            return Ok(());
        }
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let (deployment, delivery) = (handle.id, full.config.delivery);
        let runtimes: Vec<RuntimeId> =
            new.iter().filter_map(|it| state.queues.matches.get(it)).map(|it| it.runtime).collect();
        // Those that were read from the database may be wanted already.
        let states = self.parts.runtimes.states(&runtimes).await?;
        let mut ops = Vec::with_capacity(new.len().saturating_mul(2));
        for id in &new {
            let Some(it) = state.queues.matches.get(id) else { continue };
            if self.parts.messaging.runtime(it.runtime).is_some() {
                continue;
            }
            let mode = version.config.modes.get(it.queue.1).map_or("", |it| it.name.as_str());
            let (matchmaker_id, match_id) = (it.queue.0, *id);
            let init = MatchRef { matchmaker_id, match_id, mode, version: &version }.init()?;
            let to = Mailbox::Runtime(it.runtime);
            ops.push(Op::OpenRuntime { runtime: it.runtime, deployment, delivery });
            ops.push(Op::Push { to, qualifier: command::INIT_RUNTIME, body: init });
        }
        self.parts.messaging.apply(ops)?.wait().await?;
        let wanted: Vec<RuntimeId> = runtimes.into_iter().filter(|it| !states.contains_key(it)).collect();
        self.start_runtimes(full, &wanted, RuntimeQualifier::Match).await?;
        for id in new {
            if let Some(it) = state.queues.matches.get_mut(&id) {
                it.opened = true;
            }
        }
        Ok(())
    }

    /// Lets everybody who was placed in a match whose game server polls join it. Nobody has to wait for the commit: if
    /// it is lost, who was placed is admitted again.
    pub(crate) async fn admit(
        &self,
        state: &mut DeploymentState,
        full: &DeploymentFull,
    ) -> Result<AckHandle, Problem> {
        let matches = &state.queues.matches;
        state.queues.expecting.retain(|id| matches.get(id).is_some_and(|it| !it.pending_join.is_empty()));
        let (mut joining, mut tickets) = (Vec::new(), Vec::new());
        for id in &state.queues.expecting {
            let Some(it) = matches.get(id).filter(|it| it.ready.is_some() && !it.closing) else { continue };
            for ticket in &it.pending_join {
                let Some(TicketEntry { clients, state: TicketState::Matched { group, .. }, .. }) =
                    state.queues.tickets.get(ticket)
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
            let ops = self.join_ops(state, &version, &profiles, chunk)?;
            commit = commit.join(self.parts.messaging.apply(ops)?);
        }
        let now = self.parts.clock.now();
        for (id, ticket) in tickets {
            if let Some(entry) = state.queues.tickets.get(&ticket) {
                self.meters.matched((now - entry.created).to_std().unwrap_or_default());
            }
            if let Some(it) = state.queues.matches.get_mut(&id) {
                it.pending_join.remove(&ticket);
                it.joined.insert(ticket);
            }
        }
        Ok(commit)
    }

    fn join_ops(
        &self,
        state: &DeploymentState,
        version: &VersionFull,
        profiles: &HashMap<UserId, Arc<str>>,
        joining: &[Joining],
    ) -> Result<Vec<Op>, Problem> {
        let mut announcements = HashMap::new();
        let mut ops = Vec::with_capacity(joining.len().saturating_mul(4));
        for it in joining {
            let Some(entry) = state.queues.matches.get(&it.match_id) else { continue };
            if it.from == Some(entry.runtime) {
                continue;
            }
            let mode = version.config.modes.get(entry.queue.1);
            let group = mode.and_then(|mode| mode.groups.get(it.group)).map_or("", |it| it.name.as_str());
            let mode = mode.map_or("", |it| it.name.as_str());
            let profile = profiles.get(&it.user).map_or("{}", |it| it);
            let added = bodies::add_client(it.user, it.client, Some(group), profile)?;
            let (matchmaker_id, match_id) = (entry.queue.0, it.match_id);
            let words = MatchRef { matchmaker_id, match_id, mode, version };
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
        state: &mut DeploymentState,
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
        state.waiting.extend(leaving.iter().map(|(client, _)| WaitingClient { client: *client, since }));
        commit.wait().await
    }

    /// Closes matches: who is in them goes to a lobby, who was to come waits again in the old place. Repeating it after
    /// a failure or a crash finishes it.
    pub(crate) async fn close_matches(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        ids: &[MatchId],
    ) -> Result<(), Problem> {
        let known = |id: &MatchId| state.queues.matches.get(id).map(|it| (*id, it.runtime, it.queue));
        let closing: Vec<(MatchId, RuntimeId, QueueKey)> = ids.iter().filter_map(known).collect();
        if closing.is_empty() {
            return Ok(());
        }
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let is_loaded = std::mem::replace(&mut state.queues.loaded, false);
        let now = millis(self.parts.clock.ticks());
        let queues = &mut state.queues;
        let mut round =
            Round { matchmaking: self, handle, version: &version, queues, changes: Changes::default(), now };
        let mut again: BTreeMap<QueueKey, BTreeSet<TicketId>> = BTreeMap::new();
        for (id, _, queue) in &closing {
            again.entry(*queue).or_default().extend(round.begin_closing(*id)?);
        }
        for (queue, tickets) in again {
            round.requeue_tickets(queue, tickets)?;
        }
        let changes = round.finish()?;
        self.write(handle, changes, state).await?;
        state.queues.loaded = false;
        let runtimes: Vec<RuntimeId> = closing.iter().map(|it| it.1).collect();
        self.close_runtimes(state, &runtimes).await?;
        self.parts.runtimes.stop(&runtimes).await?;
        let (slots, ids) = ([handle.id.slot()], closing.iter().map(|it| it.0).collect::<Vec<_>>());
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::matches::delete_matches(&mut tx, handle.id, &ids).await
            })
            .await?;
        for id in ids {
            state.queues.forget(id);
        }
        state.queues.loaded = is_loaded;
        Ok(())
    }

    /// The clients of runtimes that end wait for a lobby, in front of the others.
    pub(crate) async fn close_runtimes(
        &self,
        state: &mut DeploymentState,
        runtimes: &[RuntimeId],
    ) -> Result<(), Problem> {
        let clients: Vec<ClientId> =
            runtimes.iter().flat_map(|it| self.parts.messaging.clients_of(*it)).collect();
        let end = |it: &RuntimeId| [Op::Close(Mailbox::Runtime(*it)), Op::Remove(Mailbox::Runtime(*it))];
        self.parts.messaging.apply(runtimes.iter().flat_map(end).collect())?.wait().await?;
        let since = self.parts.clock.ticks();
        let known: HashSet<ClientId> = state.waiting.iter().map(|it| it.client).collect();
        for client in clients.into_iter().rev().filter(|it| !known.contains(it)) {
            state.waiting.push_front(WaitingClient { client, since });
        }
        Ok(())
    }
}

impl super::state::Queues {
    /// A match is gone, and the tickets of who was in it.
    fn forget(&mut self, id: MatchId) {
        let Some(it) = self.matches.remove(&id) else { return };
        self.by_runtime.remove(&it.runtime);
        for ticket in it.joined {
            let Some(entry) = self.tickets.remove(&ticket) else { continue };
            for client in entry.clients {
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
        self.sync_joined(id);
        let Some(it) = self.queues.matches.get_mut(&id) else { return Ok(BTreeSet::new()) };
        it.closing = true;
        let pending_join = std::mem::take(&mut it.pending_join);
        self.close_in_pool(id)?;
        self.put_match(id);
        Ok(pending_join)
    }

    /// Who is with the match already was admitted, though nobody may have noted it: a call can be broken off in between.
    pub(crate) fn sync_joined(&mut self, id: MatchId) {
        let Some(it) = self.queues.matches.get_mut(&id) else { return };
        let (runtime, messaging) = (it.runtime, &self.matchmaking.parts.messaging);
        let with = |client: &ClientId| messaging.client(*client).is_some_and(|it| it.route == Some(runtime));
        let entry = |id: &TicketId| self.queues.tickets.get(id);
        let came: Vec<TicketId> = it
            .pending_join
            .iter()
            .copied()
            .filter(|id| entry(id).is_some_and(|it| it.clients.iter().any(with)))
            .collect();
        for ticket in came {
            it.pending_join.remove(&ticket);
            it.joined.insert(ticket);
        }
    }

    /// Tickets whose match didn't start go back to their old places, and only then matches form again: the first one
    /// isn't matched with somebody who came later than the second.
    pub(crate) fn requeue_tickets(
        &mut self,
        queue: QueueKey,
        ids: BTreeSet<TicketId>,
    ) -> Result<(), Problem> {
        let limit = self.pool(queue)?.match_limit();
        let nothing_forms = self.in_pool(queue, |pool, now, ids| pool.limit(Some(0), now, ids))?;
        self.absorb(queue, nothing_forms)?;
        for id in ids {
            self.requeue_ticket(queue, id)?;
        }
        // After a failure the next plan says when.
        if millis(self.queues.retry_at) > self.now {
            return Ok(());
        }
        let effects = self.in_pool(queue, |pool, now, ids| pool.limit(limit, now, ids))?;
        self.absorb(queue, effects)
    }

    fn requeue_ticket(&mut self, queue: QueueKey, id: TicketId) -> Result<(), Problem> {
        let Some(entry) = self.queues.tickets.get_mut(&id) else { return Ok(()) };
        let TicketState::Matched { ticket, .. } = std::mem::replace(&mut entry.state, TicketState::Queued)
        else {
            return Ok(());
        };
        let effects = match self.in_pool(queue, |pool, now, ids| pool.add(ticket, now, ids))? {
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
