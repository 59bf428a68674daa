//! Carries the changes of a round out, and moves clients into matches.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use omgservers_api::{
    ClientId, MatchId, Problem, RuntimeId, RuntimeQualifier, TicketId, UserId,
    ids::Id as _,
    interchange::{MatchmakingFailure, command, message},
};
use omgservers_deployments::DeploymentFull;
use omgservers_messaging::{AckHandle, Body, Mailbox, Op};
use omgservers_versions::VersionFull;

use super::{
    rules::changes::{Changes, RequestAnswer, RequestReply, TicketEvent},
    state::JoiningTicket,
};
use crate::{
    PgMatchmaking,
    bodies::{self, MatchRef},
    commits::{CommitOps, apply_groups, bytes_of},
    lobbies::state::WaitingClient,
    problems::is_own_fault,
    state::{DeploymentHandle, DeploymentState},
    store,
};

/// Tickets whose clients move in one call of messaging.
const MOST_JOINED: usize = 250;

impl PgMatchmaking {
    /// Carries the changes of a round out: writes its rows, moves and notifies clients, ends
    /// matches, and answers the requests. Answers how many things have changed.
    pub(crate) async fn apply_changes(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        changes: Changes,
    ) -> Result<usize, Problem> {
        let done = changes.count();
        let (matches, tickets, ended) = (&changes.matches, &changes.tickets, &changes.ended);
        if !(matches.is_empty() && tickets.is_empty() && ended.is_empty()) {
            let slots = [handle.id.slot()];
            self.parts
                .db
                .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                    store::matches::put_matches(&mut tx, handle.id, matches).await?;
                    store::matches::put_tickets(&mut tx, handle.id, tickets).await?;
                    store::matches::delete_tickets(&mut tx, handle.id, ended).await
                })
                .await?;
        }
        self.leave_matches(state, &changes.leaving).await?;
        self.send_failures(handle, &changes.failures, &changes.failed_tickets).await?;
        self.close_matches(handle, state, &changes.closing).await?;
        state.queues.loaded = true;
        self.report(handle, changes.events);
        for answer in changes.answers {
            self.answer(answer);
        }
        Ok(done)
    }

    /// Sends clients why their tickets ended, and only then deletes these.
    async fn send_failures(
        &self,
        handle: &DeploymentHandle,
        failures: &[(Vec<ClientId>, MatchmakingFailure)],
        tickets: &[TicketId],
    ) -> Result<(), Problem> {
        if failures.is_empty() {
            return Ok(());
        }
        let mut groups = Vec::new();
        for (clients, failure) in failures {
            let body = bodies::matchmaking_failure(failure)?;
            let known = clients.iter().filter(|it| self.parts.messaging.client(**it).is_some());
            // A game server may cause any number of them: a full mailbox takes no more.
            groups.extend(known.map(|client| {
                let qualifier = message::MATCHMAKING_FAILURE;
                vec![Op::Inform { client: *client, qualifier, body: body.clone() }]
            }));
        }
        apply_groups(&*self.parts.messaging, groups)?.wait().await?;
        let slots = [handle.id.slot()];
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::matches::delete_tickets(&mut tx, handle.id, tickets).await
            })
            .await
    }

    /// Ends matches whose rows say that they are closing. Repeating it after a failure or a crash
    /// finishes it.
    async fn close_matches(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        closing: &[(MatchId, RuntimeId)],
    ) -> Result<(), Problem> {
        if closing.is_empty() {
            return Ok(());
        }
        let (ids, runtimes): (Vec<MatchId>, Vec<RuntimeId>) = closing.iter().copied().unzip();
        self.close_runtimes(state, &runtimes).await?;
        self.parts.runtimes.stop(&runtimes).await?;
        let slots = [handle.id.slot()];
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::matches::delete_matches(&mut tx, handle.id, &ids).await
            })
            .await?;
        for id in ids {
            state.queues.forget(id);
        }
        Ok(())
    }

    fn report(&self, handle: &DeploymentHandle, events: Vec<TicketEvent>) {
        let deployment = handle.id;
        for event in events {
            match event {
                TicketEvent::Opened => self.meters.opened.increment(1),
                TicketEvent::Refused => self.meters.refused.increment(1),
                TicketEvent::Failed { ticket, mode, reason } => {
                    tracing::info!(ticket.id = %ticket, deployment.id = %deployment, mode, ?reason, "a ticket ended without a match");
                    self.meters.failed.increment(1);
                }
                TicketEvent::Replaced { client, former, ticket } => {
                    tracing::info!(client.id = %client, former = %former, ticket.id = %ticket, "a second request to be matched replaces the first");
                }
                TicketEvent::Logged(line) => {
                    if let Some(log) = &self.parts.config.ticket_log {
                        log.note(deployment, &line);
                    }
                }
            }
        }
    }

    /// A caller that is gone gets no answer.
    fn answer(&self, answer: RequestAnswer) {
        match answer {
            RequestAnswer::Ticket { lobby, counter, reply: RequestReply { to, result } } => {
                let is_answer = !result.as_ref().is_err_and(is_own_fault);
                if let Some(seq) = is_answer.then(|| counter.take()).flatten() {
                    let _gone = self.parts.messaging.runtime_accept(lobby, seq);
                }
                drop(to.send(result));
            }
            RequestAnswer::Found(RequestReply { to, result }) => drop(to.send(result)),
            RequestAnswer::Done(RequestReply { to, result }) => drop(to.send(result)),
        }
    }

    /// Opens the mailboxes of new matches and starts their game servers.
    pub(crate) async fn open_matches(
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
        let mut groups = Vec::with_capacity(new.len());
        for id in &new {
            let Some(opened) = state.queues.matches.get(id) else { continue };
            let (runtime, queue) = (opened.runtime, opened.queue);
            if self.parts.messaging.runtime(runtime).is_some() {
                continue;
            }
            let mode = version.config.modes.get(queue.1).map_or("", |it| it.name.as_str());
            let (matchmaker_id, match_id) = (queue.0, *id);
            let init = MatchRef { matchmaker_id, match_id, mode, version: &version }.init()?;
            let to = Mailbox::Runtime(runtime);
            groups.push(vec![
                Op::OpenRuntime { runtime, deployment, delivery },
                Op::Push { to, qualifier: command::INIT_RUNTIME, body: init },
            ]);
        }
        apply_groups(&*self.parts.messaging, groups)?.wait().await?;
        let wanted: Vec<RuntimeId> = runtimes.into_iter().filter(|it| !states.contains_key(it)).collect();
        self.start_runtimes(full, &wanted, RuntimeQualifier::Match).await?;
        for id in new {
            if let Some(opened) = state.queues.matches.get_mut(&id) {
                opened.opened = true;
            }
        }
        Ok(())
    }

    /// Moves the clients of matched tickets into their matches as soon as the game servers poll.
    /// Nobody has to wait for the commit: if it is lost, the clients join again.
    pub(crate) async fn admit(
        &self,
        state: &mut DeploymentState,
        full: &DeploymentFull,
    ) -> Result<AckHandle, Problem> {
        let joining = state.queues.joining(|client| self.parts.messaging.client(client));
        if joining.is_empty() {
            return Ok(AckHandle::none());
        }
        let users: Vec<UserId> =
            joining.iter().flat_map(|it| &it.clients).map(|(_, info)| info.user).collect();
        let profiles = self.parts.players.profiles(full.deployment.stage_id, &users).await?;
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let mut announcements = HashMap::new();
        let (mut ack, mut commit, mut joined) = (AckHandle::none(), CommitOps::default(), Vec::new());
        for ticket in &joining {
            let ops = self.join_ops(state, &version, &profiles, ticket, &mut announcements)?;
            let bytes = bytes_of(&*self.parts.messaging, &ops);
            if joined.len() >= MOST_JOINED || !commit.fits(bytes) {
                ack = ack.join(self.join(state, &mut commit, &mut joined)?);
            }
            commit.add(ops, bytes);
            joined.push(ticket);
        }
        Ok(ack.join(self.join(state, &mut commit, &mut joined)?))
    }

    /// Moves the clients of tickets. Without a pause: a call that is broken off leaves no client in
    /// a match that its ticket hasn't joined.
    fn join(
        &self,
        state: &mut DeploymentState,
        commit: &mut CommitOps,
        joined: &mut Vec<&JoiningTicket>,
    ) -> Result<AckHandle, Problem> {
        let ack = commit.apply(&*self.parts.messaging)?;
        let now = self.parts.clock.now();
        for ticket in joined.drain(..) {
            self.meters.matched((now - ticket.created).to_std().unwrap_or_default());
            state.queues.join(ticket.id, ticket.match_id);
        }
        Ok(ack)
    }

    /// What moves the clients of a ticket. `announcements` has the assignments that the clients of
    /// a match share.
    fn join_ops(
        &self,
        state: &DeploymentState,
        version: &VersionFull,
        profiles: &HashMap<UserId, Arc<str>>,
        ticket: &JoiningTicket,
        announcements: &mut HashMap<MatchId, Body>,
    ) -> Result<Vec<Op>, Problem> {
        let mut ops = Vec::with_capacity(ticket.clients.len().saturating_mul(4));
        let Some(joined) = state.queues.matches.get(&ticket.match_id) else { return Ok(ops) };
        let mode = version.config.modes.get(joined.queue.1);
        let group = mode.and_then(|mode| mode.groups.get(ticket.group)).map_or("", |it| it.name.as_str());
        let mode = mode.map_or("", |it| it.name.as_str());
        let (matchmaker_id, match_id) = (joined.queue.0, ticket.match_id);
        let named = MatchRef { matchmaker_id, match_id, mode, version };
        for (client, info) in &ticket.clients {
            if info.route == Some(joined.runtime) {
                continue;
            }
            let (client, user) = (*client, info.user);
            let profile = profiles.get(&user).map_or("{}", |it| it);
            let added = bodies::add_client(user, client, Some(group), profile)?;
            let direct = self.direct(joined.published.as_deref(), joined.runtime, client, user)?;
            let announced = match announcements.get(&match_id).filter(|_| direct.is_none()) {
                Some(body) => Body::clone(body),
                None => {
                    let body = named.assignment(joined.runtime, direct)?;
                    announcements.insert(match_id, body.clone());
                    body
                }
            };
            let to = Mailbox::Runtime(joined.runtime);
            ops.push(Op::Push { to, qualifier: command::ADD_MATCH_CLIENT, body: added });
            ops.push(Op::Route { client, to: Some(joined.runtime) });
            let (to, qualifier) = (Mailbox::Client(client), message::RUNTIME_ASSIGNMENT);
            ops.push(Op::Push { to, qualifier, body: announced });
            if let Some(former) = info.route {
                let (to, body) = (Mailbox::Runtime(former), bodies::client(client)?);
                ops.push(Op::Push { to, qualifier: command::DELETE_CLIENT, body });
            }
        }
        Ok(ops)
    }

    /// Moves clients from their matches to the queue for lobbies.
    async fn leave_matches(
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
        state
            .lobbies
            .waiting
            .extend(leaving.iter().map(|(client, _)| WaitingClient { client: *client, since }));
        commit.wait().await
    }

    /// Closes runtimes. Their clients wait for a lobby, in front of the others.
    pub(crate) async fn close_runtimes(
        &self,
        state: &mut DeploymentState,
        runtimes: &[RuntimeId],
    ) -> Result<(), Problem> {
        let clients: Vec<ClientId> =
            runtimes.iter().flat_map(|it| self.parts.messaging.clients_of(*it)).collect();
        let end = |it: &RuntimeId| [Op::Close(Mailbox::Runtime(*it)), Op::Remove(Mailbox::Runtime(*it))];
        let groups = runtimes.iter().map(|it| end(it).into());
        apply_groups(&*self.parts.messaging, groups)?.wait().await?;
        let since = self.parts.clock.ticks();
        let known: HashSet<ClientId> = state.lobbies.waiting.iter().map(|it| it.client).collect();
        for client in clients.into_iter().rev().filter(|it| !known.contains(it)) {
            state.lobbies.waiting.push_front(WaitingClient { client, since });
        }
        Ok(())
    }
}
