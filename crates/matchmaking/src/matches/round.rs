//! One round of the matchmaker: what was asked, who left and what time has changed becomes one transaction.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc, time::Instant};

use omgservers_api::{
    ClientId, MatchId, Problem, TicketId,
    ids::Id as _,
    interchange::{Attributes, MatchmakingFailure, MatchmakingFailureReason as Reason, message},
};
use omgservers_deployments::DeploymentFull;
use omgservers_matcher::{Moment, Pool};
use omgservers_messaging::{Mailbox, Op};
use omgservers_versions::VersionFull;

use super::{Ask, Held, Match, Place, Queue, Queues, TicketBody, reason_name};
use crate::{
    PgMatchmaking, bodies,
    commands::is_own_fault,
    halls::{Cell, Hall},
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
    pub(crate) cell: &'a Cell,
    pub(crate) version: &'a VersionFull,
    pub(crate) queues: &'a mut Queues,
    pub(crate) changes: Changes,
    pub(crate) now: Moment,
}

impl PgMatchmaking {
    /// Answers what was asked and does what is due. When it fails, what is remembered is read again.
    pub(crate) async fn round(
        &self,
        cell: &Cell,
        hall: &mut Hall,
        full: &DeploymentFull,
        asks: Vec<Ask>,
        allowed: &[(Queue, Option<u32>)],
    ) -> Result<usize, Problem> {
        let begun = Instant::now();
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let matchmakers = self.matchmakers(cell).await?;
        let gone = cell.take_gone();
        // Until it is written nobody knows what is.
        hall.queues.loaded = false;
        let asked = asks.len();
        let ticks = self.parts.clock.ticks();
        let mut round = Round {
            matchmaking: self,
            cell,
            version: &version,
            queues: &mut hall.queues,
            changes: Changes::default(),
            now: moment(ticks),
        };
        round.rehouse(&matchmakers)?;
        for client in gone {
            round.gone(client)?;
        }
        for (queue, allowed) in allowed {
            round.allow(*queue, *allowed)?;
        }
        for ask in asks {
            round.serve(ask, &matchmakers)?;
        }
        round.time_passes()?;
        let changes = round.finish()?;
        let done = self.write(cell, changes, hall).await?;
        self.meters.round(asked, begun.elapsed());
        cell.show(hall);
        Ok(done)
    }

    /// Writes what a round has decided; then tells who is to be told.
    pub(crate) async fn write(
        &self,
        cell: &Cell,
        changes: Changes,
        hall: &mut Hall,
    ) -> Result<usize, Problem> {
        let done =
            changes.tickets.len() + changes.ended.len() + changes.matches.len() + changes.leaving.len();
        if !changes.is_empty() {
            let (matches, tickets, ended) = (&changes.matches, &changes.tickets, &changes.ended);
            let slots = [cell.id.slot()];
            self.parts
                .db
                .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                    store::matches::put_matches(&mut tx, cell.id, matches).await?;
                    store::matches::put_tickets(&mut tx, cell.id, tickets).await?;
                    store::matches::delete_tickets(&mut tx, cell.id, ended).await
                })
                .await?;
            self.leave(hall, &changes.leaving).await?;
            self.tell_failures(cell, &changes.failed, &changes.failed_tickets).await?;
        }
        hall.queues.loaded = true;
        for answer in changes.answers {
            answer();
        }
        Ok(done)
    }

    /// Tells clients why their tickets ended, and only then forgets these.
    pub(crate) async fn tell_failures(
        &self,
        cell: &Cell,
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
        let slots = [cell.id.slot()];
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::matches::delete_tickets(&mut tx, cell.id, tickets).await
            })
            .await
    }
}

/// The matcher's time.
pub(crate) fn moment(ticks: omgservers_core::Ticks) -> Moment {
    Moment(i64::try_from(ticks.0).unwrap_or(i64::MAX))
}

impl Round<'_> {
    fn serve(&mut self, ask: Ask, matchmakers: &[omgservers_api::MatchmakerId]) -> Result<(), Problem> {
        match ask {
            Ask::Add(wish, answer) => {
                let (lobby, note) = (wish.lobby, wish.note.clone());
                let result = self.add(wish, matchmakers)?;
                let messaging = Arc::clone(&self.matchmaking.parts.messaging);
                self.changes.answer(move || {
                    let is_answer = !result.as_ref().is_err_and(is_own_fault);
                    if let Some(seq) = is_answer.then(|| note.take()).flatten() {
                        let _gone = messaging.runtime_accept(lobby, seq);
                    }
                    drop(answer.send(result));
                });
            }
            Ask::Cancel(client, reason, answer) => {
                let had = self.cancel(client, reason)?;
                self.changes.answer(move || drop(answer.send(Ok(had))));
            }
            Ask::Stop(runtime, answer) => {
                let result = self.stop(runtime)?;
                self.changes.answer(move || drop(answer.send(result)));
            }
            Ask::Leave(runtime, client, answer) => {
                let was = self.leave(runtime, client)?;
                self.changes.answer(move || drop(answer.send(Ok(was))));
            }
        }
        Ok(())
    }

    fn time_passes(&mut self) -> Result<(), Problem> {
        let due: Vec<Queue> = self
            .queues
            .pools
            .iter()
            .filter(|(_, pool)| pool.next_deadline().is_some_and(|it| it <= self.now))
            .map(|(queue, _)| *queue)
            .collect();
        for queue in due {
            let now = self.now;
            let effects = self.pool(queue)?.advance(now);
            self.absorb(queue, effects)?;
        }
        Ok(())
    }

    pub(crate) fn pool(&mut self, queue: Queue) -> Result<&mut Pool, Problem> {
        let mode = self.version.config.modes.get(queue.1);
        let mode =
            mode.ok_or_else(|| Problem::internal("a queue of a mode that the version doesn't have"))?;
        let (now, matches) = (self.now, &self.queues.matches);
        Ok(self.queues.pools.entry(queue).or_insert_with(|| {
            let mut pool = Pool::new(mode);
            // Until the next plan says what it may do.
            let living = matches.values().filter(|it| it.queue == queue && it.used).count();
            let living = u32::try_from(living).unwrap_or(u32::MAX);
            let nothing_waits = pool.limit(mode.max_matches.map(|it| it.saturating_sub(living)), now);
            debug_assert!(nothing_waits.is_empty());
            pool
        }))
    }

    pub(crate) fn mode_name(&self, queue: Queue) -> &str {
        self.version.config.modes.get(queue.1).map_or("", |it| &it.name)
    }

    /// Ends an open ticket without a match: its clients are told.
    pub(crate) fn fail(&mut self, id: TicketId, reason: Reason, detail: &str) -> Result<(), Problem> {
        let Some(held) = self.take(id)? else { return Ok(()) };
        let mode = self.mode_name(held.queue).to_owned();
        tracing::info!(ticket.id = %id, deployment.id = %self.cell.id, mode, ?reason, "a ticket ended without a match");
        self.matchmaking.meters.failed.increment(1);
        let row = TicketRow { ending: Some(reason_name(reason)), ..self.row(id, &held)? };
        self.changes.tickets.push(row);
        self.changes.failed_tickets.push(id);
        let failure = MatchmakingFailure { mode, reason, detail: detail.to_owned() };
        self.changes.failed.push((held.clients, failure));
        Ok(())
    }

    /// Takes a ticket out of wherever it is. Who is left in its match may get others to play with.
    pub(crate) fn take(&mut self, id: TicketId) -> Result<Option<Held>, Problem> {
        let Some(held) = self.queues.tickets.remove(&id) else { return Ok(None) };
        for client in &held.clients {
            if self.queues.by_client.get(client) == Some(&id) {
                self.queues.by_client.remove(client);
            }
        }
        match &held.place {
            Place::Waiting => {
                self.pool(held.queue)?.cancel(id);
            }
            Place::Placed { match_id, .. } => {
                let match_id = *match_id;
                self.note_arrivals(match_id);
                let Some(it) = self.queues.matches.get_mut(&match_id) else { return Ok(Some(held)) };
                it.seated.remove(&id);
                it.coming.remove(&id);
                if it.seated.is_empty() {
                    self.regroup(match_id)?;
                } else {
                    for client in &held.clients {
                        self.free_seat(match_id, *client)?;
                    }
                }
            }
        }
        Ok(Some(held))
    }

    /// A match lost somebody before it began: who is left may be too few, or not fit any more without them. They wait
    /// again in their old places, and the match ends.
    pub(crate) fn regroup(&mut self, match_id: MatchId) -> Result<(), Problem> {
        let Some(it) = self.queues.matches.get_mut(&match_id) else { return Ok(()) };
        let coming = std::mem::take(&mut it.coming);
        let (queue, key) = (it.queue, it.key.take());
        if let Some(key) = key {
            self.queues.by_key.remove(&(queue, key));
            self.pool(queue)?.close_match(key);
        }
        self.wait_again(queue, coming)
    }

    /// Lets the pool know of an empty seat.
    pub(crate) fn free_seat(&mut self, match_id: MatchId, client: ClientId) -> Result<(), Problem> {
        let found = self.queues.matches.get(&match_id).map(|it| (it.queue, it.key, it.closing));
        let Some((queue, Some(key), false)) = found else { return Ok(()) };
        let now = self.now;
        let effects = self.pool(queue)?.leave(key, client, now);
        self.absorb(queue, effects)
    }

    pub(crate) fn row(&self, id: TicketId, held: &Held) -> Result<TicketRow, Problem> {
        let (match_id, group, ticket) = match &held.place {
            Place::Waiting => (None, None, self.queues.pools.get(&held.queue).and_then(|it| it.get(id))),
            Place::Placed { match_id, group, ticket } => {
                (Some(*match_id), i32::try_from(*group).ok(), Some(ticket))
            }
        };
        let none = Attributes::default();
        let attributes = ticket.map_or(&none, |it| &it.attributes);
        let body =
            TicketBody { clients: Cow::Borrowed(&held.clients), attributes: Cow::Borrowed(attributes) };
        Ok(TicketRow {
            id,
            matchmaker_id: held.queue.0,
            mode: self.mode_name(held.queue).to_owned(),
            body: serde_json::to_string(&body).map_err(Problem::internal)?,
            match_id,
            group_index: group,
            ending: None,
            created: held.created,
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
            let Some(held) = self.queues.tickets.get(&id) else { continue };
            let row = self.row(id, held)?;
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
