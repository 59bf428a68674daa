//! One round of the matchmaker: what was asked, who left and what time has changed becomes one transaction.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc, time::Instant};

use omgservers_api::{
    ClientId, MatchId, Problem, TicketId,
    ids::Id as _,
    interchange::{Attributes, MatchmakingFailure, MatchmakingFailureReason as Reason, message},
};
use omgservers_deployments::DeploymentFull;
use omgservers_matcher::{MatchIds, Millis, Pool};
use omgservers_messaging::{Mailbox, Op};
use omgservers_versions::VersionFull;

use super::{
    requests::MatchmakerRequest,
    state::{Match, QueueKey, Queues, TicketBody, TicketEntry, TicketState, millis, reason_name, take_spare},
};
use crate::{
    PgMatchmaking, bodies,
    problems::is_own_fault,
    state::{DeploymentHandle, DeploymentState},
    store::{
        self,
        matches::{MatchRow, TicketRow},
    },
};

/// What a round writes, and what it says when that is written.
#[derive(Default)]
pub(crate) struct Changes {
    /// Open tickets that have changed.
    changed_tickets: BTreeSet<TicketId>,
    changed_matches: BTreeSet<MatchId>,
    tickets: Vec<TicketRow>,
    matches: Vec<MatchRow>,
    ended: Vec<TicketId>,
    failed: Vec<(Vec<ClientId>, MatchmakingFailure)>,
    failed_tickets: Vec<TicketId>,
    /// Clients that leave a match, and its runtime.
    pub(crate) leaving: Vec<(ClientId, omgservers_api::RuntimeId)>,
    answers: Vec<Box<dyn FnOnce() + Send>>,
}

impl Changes {
    fn is_empty(&self) -> bool {
        self.tickets.is_empty()
            && self.ended.is_empty()
            && self.matches.is_empty()
            && self.failed.is_empty()
            && self.leaving.is_empty()
    }
    pub(crate) fn answer(&mut self, answer: impl FnOnce() + Send + 'static) {
        self.answers.push(Box::new(answer));
    }
    /// Whoever is really with the lobby that asked is told.
    pub(crate) fn refuse(&mut self, clients: Vec<ClientId>, failure: MatchmakingFailure) {
        self.failed.push((clients, failure));
    }
    /// A ticket that ended before a crash, and whose clients may not have been told.
    pub(crate) fn ending(&mut self, id: TicketId, clients: Vec<ClientId>, failure: MatchmakingFailure) {
        self.failed_tickets.push(id);
        self.failed.push((clients, failure));
    }
    /// A ticket is gone, and nobody needs to be told.
    pub(crate) fn end(&mut self, id: TicketId) {
        self.ended.push(id);
    }
}

/// What a round looks at and changes.
pub(crate) struct Round<'a> {
    pub(crate) matchmaking: &'a PgMatchmaking,
    pub(crate) handle: &'a DeploymentHandle,
    pub(crate) version: &'a VersionFull,
    pub(crate) queues: &'a mut Queues,
    pub(crate) changes: Changes,
    pub(crate) now: Millis,
}

impl PgMatchmaking {
    /// Answers what was asked and does what is due. When it fails, what is remembered is read again.
    pub(crate) async fn round(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        requests: Vec<MatchmakerRequest>,
        allowed: &[(QueueKey, Option<u32>)],
    ) -> Result<usize, Problem> {
        let begun = Instant::now();
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let matchmakers = self.matchmakers(handle).await?;
        let gone = handle.take_gone();
        // Until it is written nobody knows what is.
        state.queues.loaded = false;
        let asked = requests.len();
        let ticks = self.parts.clock.ticks();
        let mut round = Round {
            matchmaking: self,
            handle,
            version: &version,
            queues: &mut state.queues,
            changes: Changes::default(),
            now: millis(ticks),
        };
        round.reassign_matchmaker(&matchmakers)?;
        for client in gone {
            round.gone(client)?;
        }
        for (queue, allowed) in allowed {
            round.allow(*queue, *allowed)?;
        }
        for ask in requests {
            round.serve(ask, &matchmakers)?;
        }
        round.time_passes()?;
        let changes = round.finish()?;
        let done = self.write(handle, changes, state).await?;
        self.meters.round(asked, begun.elapsed());
        handle.show(state);
        Ok(done)
    }

    /// Writes what a round has decided; then tells who is to be told.
    pub(crate) async fn write(
        &self,
        handle: &DeploymentHandle,
        changes: Changes,
        state: &mut DeploymentState,
    ) -> Result<usize, Problem> {
        let done =
            changes.tickets.len() + changes.ended.len() + changes.matches.len() + changes.leaving.len();
        if !changes.is_empty() {
            let (matches, tickets, ended) = (&changes.matches, &changes.tickets, &changes.ended);
            let slots = [handle.id.slot()];
            self.parts
                .db
                .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                    store::matches::put_matches(&mut tx, handle.id, matches).await?;
                    store::matches::put_tickets(&mut tx, handle.id, tickets).await?;
                    store::matches::delete_tickets(&mut tx, handle.id, ended).await
                })
                .await?;
            self.leave(state, &changes.leaving).await?;
            self.send_failures(handle, &changes.failed, &changes.failed_tickets).await?;
        }
        state.queues.loaded = true;
        for answer in changes.answers {
            answer();
        }
        Ok(done)
    }

    /// Tells clients why their tickets ended, and only then forgets these.
    pub(crate) async fn send_failures(
        &self,
        handle: &DeploymentHandle,
        failed: &[(Vec<ClientId>, MatchmakingFailure)],
        tickets: &[TicketId],
    ) -> Result<(), Problem> {
        if failed.is_empty() {
            return Ok(());
        }
        let mut ops = Vec::new();
        for (clients, failure) in failed {
            let body = bodies::matchmaking_failure(failure)?;
            let to = clients.iter().filter(|it| self.parts.messaging.client(**it).is_some());
            ops.extend(to.map(|client| Op::Push {
                to: Mailbox::Client(*client),
                qualifier: message::MATCHMAKING_FAILURE,
                body: body.clone(),
            }));
        }
        self.parts.messaging.apply(ops)?.wait().await?;
        let slots = [handle.id.slot()];
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::matches::delete_tickets(&mut tx, handle.id, tickets).await
            })
            .await
    }
}

impl Round<'_> {
    fn serve(
        &mut self,
        ask: MatchmakerRequest,
        matchmakers: &[omgservers_api::MatchmakerId],
    ) -> Result<(), Problem> {
        match ask {
            MatchmakerRequest::Add(request, answer) => {
                let (lobby, note) = (request.lobby, request.note.clone());
                let result = self.add(request, matchmakers)?;
                let messaging = Arc::clone(&self.matchmaking.parts.messaging);
                self.changes.answer(move || {
                    let is_answer = !result.as_ref().is_err_and(is_own_fault);
                    if let Some(seq) = is_answer.then(|| note.take()).flatten() {
                        let _gone = messaging.runtime_accept(lobby, seq);
                    }
                    drop(answer.send(result));
                });
            }
            MatchmakerRequest::Cancel(client, reason, answer) => {
                let had = self.cancel(client, reason)?;
                self.changes.answer(move || drop(answer.send(Ok(had))));
            }
            MatchmakerRequest::Stop(runtime, answer) => {
                let result = self.stop(runtime)?;
                self.changes.answer(move || drop(answer.send(result)));
            }
            MatchmakerRequest::Leave(runtime, client, answer) => {
                let was = self.leave(runtime, client)?;
                self.changes.answer(move || drop(answer.send(Ok(was))));
            }
        }
        Ok(())
    }

    fn time_passes(&mut self) -> Result<(), Problem> {
        let due: Vec<QueueKey> = self
            .queues
            .pools
            .iter()
            .filter(|(_, pool)| pool.next_deadline().is_some_and(|it| it <= self.now))
            .map(|(queue, _)| *queue)
            .collect();
        for queue in due {
            let effects = self.in_pool(queue, Pool::advance)?;
            self.absorb(queue, effects)?;
        }
        Ok(())
    }

    pub(crate) fn pool(&mut self, queue: QueueKey) -> Result<&mut Pool, Problem> {
        let mode = self.version.config.modes.get(queue.1);
        let mode =
            mode.ok_or_else(|| Problem::internal("a queue of a mode that the version doesn't have"))?;
        let (now, matches) = (self.now, &self.queues.matches);
        Ok(self.queues.pools.entry(queue).or_insert_with(|| {
            let mut pool = Pool::new(mode);
            // Until the next plan says what it may do.
            let living = matches.values().filter(|it| it.queue == queue && it.used).count();
            let living = u32::try_from(living).unwrap_or(u32::MAX);
            let limit = mode.max_matches.map(|it| it.saturating_sub(living));
            let nothing_waits = pool.limit(limit, now, &mut || None);
            debug_assert!(nothing_waits.is_empty());
            pool
        }))
    }

    /// Calls a pool, with the ids of matches that are kept warm, and of new ones, for those that form.
    pub(crate) fn in_pool<T>(
        &mut self,
        queue: QueueKey,
        call: impl FnOnce(&mut Pool, Millis, &mut MatchIds<'_>) -> T,
    ) -> Result<T, Problem> {
        self.pool(queue)?;
        let (mint, deployment, now) = (&self.matchmaking.parts.mint, self.handle.id, self.now);
        let Queues { pools, matches, spare, .. } = &mut *self.queues;
        let pool = pools.get_mut(&queue).ok_or_else(|| Problem::internal("a queue without a pool"))?;
        let mut failed = None;
        let mut ids = || {
            take_spare(spare, matches, queue)
                .or_else(|| mint.child(deployment).map_err(|problem| failed = Some(problem)).ok())
        };
        let answer = call(pool, now, &mut ids);
        failed.map_or(Ok(answer), Err)
    }

    /// Its pool doesn't fill a match any more.
    pub(crate) fn close_in_pool(&mut self, id: MatchId) -> Result<(), Problem> {
        let Some(it) = self.queues.matches.get_mut(&id) else { return Ok(()) };
        let queue = it.queue;
        if std::mem::take(&mut it.is_in_pool) {
            self.pool(queue)?.close_match(id);
        }
        Ok(())
    }

    pub(crate) fn mode_name(&self, queue: QueueKey) -> &str {
        self.version.config.modes.get(queue.1).map_or("", |it| &it.name)
    }

    /// Ends an open ticket without a match: its clients are told.
    pub(crate) fn fail(&mut self, id: TicketId, reason: Reason, detail: &str) -> Result<(), Problem> {
        let Some(entry) = self.take(id)? else { return Ok(()) };
        let mode = self.mode_name(entry.queue).to_owned();
        tracing::info!(ticket.id = %id, deployment.id = %self.handle.id, mode, ?reason, "a ticket ended without a match");
        self.matchmaking.meters.failed.increment(1);
        let row = TicketRow { ending: Some(reason_name(reason)), ..self.row(id, &entry)? };
        self.changes.tickets.push(row);
        self.changes.failed_tickets.push(id);
        let failure = MatchmakingFailure { mode, reason, detail: detail.to_owned() };
        self.changes.failed.push((entry.clients, failure));
        Ok(())
    }

    /// Takes a ticket out of wherever it is. Who is left in its match may get others to play with.
    pub(crate) fn take(&mut self, id: TicketId) -> Result<Option<TicketEntry>, Problem> {
        let Some(entry) = self.queues.tickets.remove(&id) else { return Ok(None) };
        for client in &entry.clients {
            if self.queues.by_client.get(client) == Some(&id) {
                self.queues.by_client.remove(client);
            }
        }
        match &entry.state {
            TicketState::Queued => {
                self.pool(entry.queue)?.cancel(id);
            }
            TicketState::Matched { match_id, .. } => {
                let match_id = *match_id;
                self.sync_joined(match_id);
                let Some(it) = self.queues.matches.get_mut(&match_id) else { return Ok(Some(entry)) };
                it.joined.remove(&id);
                it.pending_join.remove(&id);
                if it.joined.is_empty() {
                    self.requeue_unstarted(match_id)?;
                } else {
                    for client in &entry.clients {
                        self.free_seat(match_id, *client)?;
                    }
                }
            }
        }
        Ok(Some(entry))
    }

    /// A match lost somebody before it began: who is left may be too few, or not fit any more without them. They wait
    /// again in their old places, and the match ends.
    pub(crate) fn requeue_unstarted(&mut self, match_id: MatchId) -> Result<(), Problem> {
        let Some(it) = self.queues.matches.get_mut(&match_id) else { return Ok(()) };
        let pending_join = std::mem::take(&mut it.pending_join);
        let queue = it.queue;
        self.close_in_pool(match_id)?;
        self.requeue_tickets(queue, pending_join)
    }

    /// Lets the pool know of an empty seat.
    pub(crate) fn free_seat(&mut self, match_id: MatchId, client: ClientId) -> Result<(), Problem> {
        let open = self.queues.matches.get(&match_id).filter(|it| it.is_in_pool && !it.closing);
        let Some(queue) = open.map(|it| it.queue) else { return Ok(()) };
        let effects = self.in_pool(queue, |pool, now, ids| pool.leave(match_id, client, now, ids))?;
        self.absorb(queue, effects)
    }

    pub(crate) fn row(&self, id: TicketId, entry: &TicketEntry) -> Result<TicketRow, Problem> {
        let (match_id, group, ticket) = match &entry.state {
            TicketState::Queued => {
                (None, None, self.queues.pools.get(&entry.queue).and_then(|it| it.get(id)))
            }
            TicketState::Matched { match_id, group, ticket } => {
                (Some(*match_id), i32::try_from(*group).ok(), Some(ticket))
            }
        };
        let none = Attributes::default();
        let attributes = ticket.map_or(&none, |it| &it.attributes);
        let body =
            TicketBody { clients: Cow::Borrowed(&entry.clients), attributes: Cow::Borrowed(attributes) };
        Ok(TicketRow {
            id,
            matchmaker_id: entry.queue.0,
            mode: self.mode_name(entry.queue).to_owned(),
            body: serde_json::to_string(&body).map_err(Problem::internal)?,
            match_id,
            group_index: group,
            ending: None,
            created: entry.created,
        })
    }

    /// Notes that a ticket or its place is to be written.
    pub(crate) fn put_ticket(&mut self, id: TicketId) {
        self.changes.changed_tickets.insert(id);
    }

    /// Notes that a match is to be written.
    pub(crate) fn put_match(&mut self, id: MatchId) {
        self.changes.changed_matches.insert(id);
    }

    /// What is to be written: of each ticket and match what has become of it in the end.
    pub(crate) fn finish(mut self) -> Result<Changes, Problem> {
        for id in std::mem::take(&mut self.changes.changed_tickets) {
            // One that ended has its row already.
            let Some(entry) = self.queues.tickets.get(&id) else { continue };
            let row = self.row(id, entry)?;
            self.changes.tickets.push(row);
        }
        for id in std::mem::take(&mut self.changes.changed_matches) {
            let Some(it) = self.queues.matches.get(&id) else { continue };
            let row = match_row(id, it, self.mode_name(it.queue))?;
            self.changes.matches.push(row);
        }
        Ok(self.changes)
    }
}

pub(crate) fn match_row(id: MatchId, it: &Match, mode: &str) -> Result<MatchRow, Problem> {
    Ok(MatchRow {
        id,
        matchmaker_id: it.queue.0,
        mode: mode.to_owned(),
        runtime_id: it.runtime,
        used: it.used,
        stopped: it.stopped,
        closing: it.closing,
        rationale: serde_json::to_string(&it.rationale).map_err(Problem::internal)?,
        created: it.created,
    })
}
