//! One round of the matchmaker: requests, ended sessions, the health of game servers and the time
//! become changes. It has no effects: the same input gives the same changes.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};
use omgservers_api::{
    ClientId, MatchId, MatchmakerId, Problem, RuntimeId, TicketId,
    config::ModeConfig,
    interchange::{Attributes, MatchmakingFailure, MatchmakingFailureReason as Reason},
};
use omgservers_core::Ticks;
use omgservers_matcher::{MatchIds, Millis, Pool};

use super::{
    Facts, MatchFacts, MatchStep, Plan, QueueFacts,
    changes::{Changes, RequestAnswer, RequestReply, TicketEvent},
    plan,
};
use crate::{
    direct,
    health::{GameServerHealth, ObservedRuntime, PROVEN, health},
    matches::{
        requests::MatchmakerRequest,
        state::{
            ClientFacts, IdSupply, Match, NewMatchIds, QueueKey, Queues, TicketBody, TicketEntry,
            TicketState, millis, reason_name, take_spare,
        },
    },
    store::matches::{MatchRow, TicketRow},
};

/// Matches that one round makes warm; the next one makes the rest.
pub(crate) const MOST_WARMED: u32 = 1_000;

/// What a round knows besides matches and tickets.
pub(crate) struct RoundFacts<'a> {
    /// The modes of the version.
    pub(crate) modes: &'a [ModeConfig],
    pub(crate) matchmakers: &'a [MatchmakerId],
    /// The mailboxes of the clients that the input names.
    pub(crate) clients: &'a ClientFacts,
    /// The most tickets that wait in one mode of one matchmaker.
    pub(crate) max_tickets: usize,
    /// Whether tickets are written down as they come.
    pub(crate) is_logged: bool,
    pub(crate) now: Ticks,
    pub(crate) wall: DateTime<Utc>,
}

/// What happened since the last round.
#[derive(Default)]
pub(crate) struct RoundInput {
    /// Clients whose sessions have ended.
    pub(crate) gone: Vec<ClientId>,
    pub(crate) requests: Vec<MatchmakerRequest>,
    /// A new ticket's id for each ticket request, ascending.
    pub(crate) ticket_ids: VecDeque<TicketId>,
    /// With it the round also closes matches and makes new ones warm.
    pub(crate) review: Option<Review>,
}

/// What the reconciler observes of the matches of a deployment.
pub(crate) struct Review {
    /// The deployment is the newest one of its stage.
    pub(crate) active: bool,
    pub(crate) runtimes: HashMap<RuntimeId, ObservedRuntime>,
    /// In which a match's game server must have polled.
    pub(crate) start_timeout: Duration,
    /// The longest time between two polls.
    pub(crate) max_idle: Duration,
}

/// Decides on one round. After a problem `queues` must be loaded again.
pub(crate) fn decide(
    queues: &mut Queues,
    facts: &RoundFacts<'_>,
    input: RoundInput,
) -> Result<Changes, Problem> {
    let mut round = Round::new(queues, facts);
    round.ticket_ids = input.ticket_ids;
    round.form_delayed()?;
    round.reassign_matchmaker()?;
    for client in input.gone {
        round.gone(client)?;
    }
    let is_reviewed = input.review.is_some();
    if let Some(review) = input.review {
        round.time_passes()?;
        round.review(&review)?;
    }
    for request in input.requests {
        round.answer(request)?;
    }
    round.time_passes()?;
    if is_reviewed {
        let due = round.queues.deadline().map(|it| it.since(facts.now).max(Duration::from_millis(1)));
        round.changes.again = [round.changes.again, due].into_iter().flatten().min();
    }
    round.finish()
}

/// A round while it is being decided.
pub(super) struct Round<'a> {
    pub(super) facts: &'a RoundFacts<'a>,
    pub(super) queues: &'a mut Queues,
    pub(super) changes: Changes,
    pub(super) now: Millis,
    pub(super) ticket_ids: VecDeque<TicketId>,
    /// The runtimes of matches that form.
    pub(super) new_runtimes: HashMap<MatchId, RuntimeId>,
}

impl<'a> Round<'a> {
    pub(super) fn new(queues: &'a mut Queues, facts: &'a RoundFacts<'a>) -> Self {
        let (now, ticket_ids, new_runtimes) = (millis(facts.now), VecDeque::new(), HashMap::new());
        Self { facts, queues, changes: Changes::default(), now, ticket_ids, new_runtimes }
    }

    /// Lets matches form that lacked an id in the round before.
    fn form_delayed(&mut self) -> Result<(), Problem> {
        for queue in std::mem::take(&mut self.queues.new_ids.short) {
            let limit = self.pool(queue)?.match_limit();
            let effects = self.in_pool(queue, |pool, now, ids| pool.limit(limit, now, ids))?;
            self.absorb(queue, effects)?;
        }
        Ok(())
    }

    fn answer(&mut self, request: MatchmakerRequest) -> Result<(), Problem> {
        let answer = match request {
            MatchmakerRequest::Add(request, to) => {
                let (lobby, counter) = (request.lobby, request.counter.clone());
                let result = self.add(request)?;
                RequestAnswer::Ticket { lobby, counter, reply: RequestReply { to, result } }
            }
            MatchmakerRequest::Cancel(client, reason, to) => {
                RequestAnswer::Found(RequestReply { to, result: Ok(self.cancel(client, reason)?) })
            }
            MatchmakerRequest::Stop(runtime, to) => {
                RequestAnswer::Done(RequestReply { to, result: self.stop(runtime)? })
            }
            MatchmakerRequest::Leave(runtime, client, to) => {
                RequestAnswer::Found(RequestReply { to, result: Ok(self.leave(runtime, client)?) })
            }
        };
        self.changes.answers.push(answer);
        Ok(())
    }

    fn time_passes(&mut self) -> Result<(), Problem> {
        let is_due = |pool: &Pool| pool.next_deadline().is_some_and(|it| it <= self.now);
        let due: Vec<QueueKey> = self.queues.pools.iter().filter(|it| is_due(it.1)).map(|it| *it.0).collect();
        for queue in due {
            let effects = self.in_pool(queue, Pool::advance)?;
            self.absorb(queue, effects)?;
        }
        Ok(())
    }

    /// Plans by the health of the game servers, and decides on the plan.
    fn review(&mut self, review: &Review) -> Result<(), Problem> {
        let (matches, idle_after) = self.observe(review);
        let facts = Facts {
            active: review.active,
            start_timeout: review.start_timeout,
            pause: self.queues.failures.pause(self.facts.now),
            queues: self.queue_facts(),
            matches,
        };
        let Plan { steps, allowed, again } = plan(&facts);
        self.changes.again = [again, idle_after].into_iter().flatten().min();
        let failures = self.queues.failures;
        let mut requeued: BTreeMap<QueueKey, BTreeSet<TicketId>> = BTreeMap::new();
        for step in steps {
            match step {
                MatchStep::Discard(id) => {
                    // A match that was on its way out before this process has been counted.
                    if self.queues.matches.get(&id).is_some_and(|it| !it.closing) {
                        self.queues.failures.add(self.facts.now);
                    }
                    self.close(id, &mut requeued)?;
                }
                MatchStep::Close(id) => self.close(id, &mut requeued)?,
                MatchStep::Warm(queue, count) => self.warm(queue, count)?,
            }
        }
        // All of them before any match forms again, and that only within what the plan allows.
        for (queue, tickets) in requeued {
            self.requeue_tickets(queue, tickets)?;
        }
        // The plan didn't know of these failures; the next one does.
        if self.queues.failures == failures {
            for (queue, limit) in allowed {
                let effects = self.in_pool(queue, |pool, now, ids| pool.limit(limit, now, ids))?;
                self.absorb(queue, effects)?;
            }
        }
        Ok(())
    }

    /// Notes the health of the game servers. Answers the facts of the matches, and the time after
    /// which the first game server counts as hung.
    fn observe(&mut self, review: &Review) -> (Vec<MatchFacts>, Option<Duration>) {
        let (now, unknown) = (self.facts.now, ObservedRuntime::default());
        let mut idle_after: Option<Duration> = None;
        let mut facts = Vec::with_capacity(self.queues.matches.len());
        let mut proven = false;
        for (id, observed_match) in &mut self.queues.matches {
            let observed = review.runtimes.get(&observed_match.runtime).unwrap_or(&unknown);
            let (state, left) = if observed_match.closing {
                (GameServerHealth::Broken, None)
            } else if observed_match.opened {
                health(observed, observed_match.ready.is_some(), review.max_idle, now)
            } else {
                (GameServerHealth::Starting, None)
            };
            observed_match.published = direct::published(observed.state.as_ref());
            idle_after = [idle_after, left].into_iter().flatten().min();
            match state {
                GameServerHealth::Ready => observed_match.ready = observed_match.ready.or(Some(now)),
                GameServerHealth::Starting => observed_match.ready = None,
                GameServerHealth::Broken | GameServerHealth::Over => {}
            }
            proven |= observed_match.ready.is_some_and(|since| now.since(since) >= PROVEN);
            facts.push(MatchFacts {
                id: *id,
                queue: observed_match.queue,
                state,
                used: observed_match.used,
                empty: observed_match.is_empty(),
                expects: !observed_match.pending_join.is_empty(),
                age: now.since(observed_match.made),
            });
        }
        if proven {
            self.queues.failures.reset();
        }
        (facts, idle_after)
    }

    fn queue_facts(&self) -> Vec<QueueFacts> {
        let modes = self.facts.modes.iter().enumerate();
        let queues = modes.flat_map(|(index, mode)| {
            self.facts.matchmakers.iter().map(move |matchmaker| QueueFacts {
                queue: (*matchmaker, index),
                min_matches: mode.min_matches,
                max_matches: mode.max_matches,
            })
        });
        queues.collect()
    }

    /// Ends a match. The tickets with a pending join go to `requeued`.
    fn close(
        &mut self,
        id: MatchId,
        requeued: &mut BTreeMap<QueueKey, BTreeSet<TicketId>>,
    ) -> Result<(), Problem> {
        let Some(closed) = self.queues.matches.get_mut(&id) else { return Ok(()) };
        closed.closing = true;
        self.changes.closing.push((id, closed.runtime));
        requeued.entry(closed.queue).or_default().append(&mut closed.pending_join);
        self.close_in_pool(id)?;
        self.put_match(id);
        Ok(())
    }

    /// Makes matches that wait for players, as many as there are ids for.
    fn warm(&mut self, queue: QueueKey, count: u32) -> Result<(), Problem> {
        for _ in 0..count.min(MOST_WARMED) {
            let Some(NewMatchIds { id, runtime }) = self.queues.new_ids.ids.pop_front() else { break };
            self.new_runtimes.insert(id, runtime);
            self.new_match(id, queue)?;
            self.queues.spare.entry(queue).or_default().insert(id);
        }
        Ok(())
    }

    pub(super) fn pool(&mut self, queue: QueueKey) -> Result<&mut Pool, Problem> {
        let mode = self.facts.modes.get(queue.1);
        let mode =
            mode.ok_or_else(|| Problem::internal("a queue of a mode that the version doesn't have"))?;
        let (now, matches) = (self.now, &self.queues.matches);
        Ok(self.queues.pools.entry(queue).or_insert_with(|| {
            let mut pool = Pool::new(mode);
            // Until the next plan says how many matches may form.
            let living = matches.values().filter(|it| it.queue == queue && it.used).count();
            let living = u32::try_from(living).unwrap_or(u32::MAX);
            let limit = mode.max_matches.map(|it| it.saturating_sub(living));
            let nothing_waits = pool.limit(limit, now, &mut || None);
            debug_assert!(nothing_waits.is_empty());
            pool
        }))
    }

    /// Calls a pool with the ids of warm matches, and of new ones, for those that form.
    pub(super) fn in_pool<T>(
        &mut self,
        queue: QueueKey,
        call: impl FnOnce(&mut Pool, Millis, &mut MatchIds<'_>) -> T,
    ) -> Result<T, Problem> {
        self.pool(queue)?;
        let (now, new_runtimes) = (self.now, &mut self.new_runtimes);
        let Queues { pools, matches, spare, new_ids: IdSupply { ids, short, .. }, .. } = &mut *self.queues;
        let pool = pools.get_mut(&queue).ok_or_else(|| Problem::internal("a queue without a pool"))?;
        let mut supply = || {
            take_spare(spare, matches, queue).or_else(|| {
                let Some(new) = ids.pop_front() else {
                    short.insert(queue);
                    return None;
                };
                new_runtimes.insert(new.id, new.runtime);
                Some(new.id)
            })
        };
        Ok(call(pool, now, &mut supply))
    }

    /// Its pool doesn't fill a match any more.
    pub(super) fn close_in_pool(&mut self, id: MatchId) -> Result<(), Problem> {
        let Some(closed) = self.queues.matches.get_mut(&id) else { return Ok(()) };
        let queue = closed.queue;
        if std::mem::take(&mut closed.is_in_pool) {
            self.pool(queue)?.close_match(id);
        }
        Ok(())
    }

    pub(super) fn mode_name(&self, queue: QueueKey) -> &str {
        self.facts.modes.get(queue.1).map_or("", |it| &it.name)
    }

    /// Ends a ticket without a match. Its clients receive the reason.
    pub(super) fn fail(&mut self, id: TicketId, reason: Reason, detail: &str) -> Result<(), Problem> {
        let Some(entry) = self.take(id)? else { return Ok(()) };
        let mode = self.mode_name(entry.queue).to_owned();
        self.changes.events.push(TicketEvent::Failed { ticket: id, mode: mode.clone(), reason });
        let row = TicketRow { ending: Some(reason_name(reason)), ..self.row(id, &entry)? };
        self.changes.tickets.push(row);
        self.changes.failed_tickets.push(id);
        let failure = MatchmakingFailure { mode, reason, detail: detail.to_owned() };
        self.changes.failures.push((entry.clients, failure));
        Ok(())
    }

    /// Takes a ticket out of its pool or its match. The others of its match may get another player.
    fn take(&mut self, id: TicketId) -> Result<Option<TicketEntry>, Problem> {
        let Some(entry) = self.queues.tickets.remove(&id) else { return Ok(None) };
        self.queues.forget_clients(id, &entry.clients);
        match &entry.state {
            TicketState::Queued => {
                self.pool(entry.queue)?.cancel(id);
            }
            TicketState::Matched { match_id, .. } => {
                let match_id = *match_id;
                let Some(left) = self.queues.matches.get_mut(&match_id) else { return Ok(Some(entry)) };
                left.joined.remove(&id);
                left.pending_join.remove(&id);
                if left.joined.is_empty() {
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

    /// A match lost a ticket before it began: the others may be too few, or not fit any more. They
    /// wait again in their old positions, and the match ends.
    pub(super) fn requeue_unstarted(&mut self, match_id: MatchId) -> Result<(), Problem> {
        let Some(unstarted) = self.queues.matches.get_mut(&match_id) else { return Ok(()) };
        let pending_join = std::mem::take(&mut unstarted.pending_join);
        let queue = unstarted.queue;
        self.close_in_pool(match_id)?;
        let limit = self.pool(queue)?.match_limit();
        self.requeue_tickets(queue, pending_join)?;
        // After a failure the next plan says when matches form again.
        if !self.queues.failures.pause(self.facts.now).is_zero() {
            return Ok(());
        }
        let effects = self.in_pool(queue, |pool, now, ids| pool.limit(limit, now, ids))?;
        self.absorb(queue, effects)
    }

    /// Puts tickets back into their old positions. No match forms before the pool gets a new
    /// limit. Otherwise the first of them could get a partner that came later than the second.
    fn requeue_tickets(&mut self, queue: QueueKey, ids: BTreeSet<TicketId>) -> Result<(), Problem> {
        let nothing_forms = self.in_pool(queue, |pool, now, ids| pool.limit(Some(0), now, ids))?;
        self.absorb(queue, nothing_forms)?;
        for id in ids {
            self.requeue_ticket(queue, id)?;
        }
        Ok(())
    }

    fn requeue_ticket(&mut self, queue: QueueKey, id: TicketId) -> Result<(), Problem> {
        let Some(entry) = self.queues.tickets.get_mut(&id) else { return Ok(()) };
        let TicketState::Matched { ticket, .. } = std::mem::replace(&mut entry.state, TicketState::Queued)
        else {
            return Ok(());
        };
        match self.in_pool(queue, |pool, now, ids| pool.add(ticket, now, ids))? {
            Ok(effects) => {
                self.put_ticket(id);
                self.absorb(queue, effects)
            }
            // Its party has shrunk meanwhile, say.
            Err(refusal) => self.fail(id, Reason::Refused, &refusal.to_string()),
        }
    }

    /// Reports an empty seat to the pool.
    pub(super) fn free_seat(&mut self, match_id: MatchId, client: ClientId) -> Result<(), Problem> {
        let open = self.queues.matches.get(&match_id).filter(|it| it.is_in_pool && !it.closing);
        let Some(queue) = open.map(|it| it.queue) else { return Ok(()) };
        let effects = self.in_pool(queue, |pool, now, ids| pool.leave(match_id, client, now, ids))?;
        self.absorb(queue, effects)
    }

    fn row(&self, id: TicketId, entry: &TicketEntry) -> Result<TicketRow, Problem> {
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

    /// A ticket's row is to be written.
    pub(super) fn put_ticket(&mut self, id: TicketId) {
        self.changes.changed_tickets.insert(id);
    }

    /// A match's row is to be written.
    pub(super) fn put_match(&mut self, id: MatchId) {
        self.changes.changed_matches.insert(id);
    }

    /// Makes the rows: of each ticket and match its state at the end of the round.
    pub(super) fn finish(mut self) -> Result<Changes, Problem> {
        for id in std::mem::take(&mut self.changes.changed_tickets) {
            // One that ended has its row already.
            let Some(entry) = self.queues.tickets.get(&id) else { continue };
            let row = self.row(id, entry)?;
            self.changes.tickets.push(row);
        }
        for id in std::mem::take(&mut self.changes.changed_matches) {
            let Some(changed) = self.queues.matches.get(&id) else { continue };
            let row = match_row(id, changed, self.mode_name(changed.queue))?;
            self.changes.matches.push(row);
        }
        Ok(self.changes)
    }
}

fn match_row(id: MatchId, changed: &Match, mode: &str) -> Result<MatchRow, Problem> {
    Ok(MatchRow {
        id,
        matchmaker_id: changed.queue.0,
        mode: mode.to_owned(),
        runtime_id: changed.runtime,
        used: changed.used,
        stopped: changed.stopped,
        closing: changed.closing,
        rationale: serde_json::to_string(&changed.rationale).map_err(Problem::internal)?,
        created: changed.created,
    })
}

#[cfg(test)]
mod tests;
