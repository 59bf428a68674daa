//! The tender: makes a deployment's lobbies match what its players need.

use std::{collections::HashSet, sync::Arc, time::Duration};

use omgservers_api::{
    ClientId, DeploymentId, Kind, Problem, RuntimeId, RuntimeQualifier, ids::Id as _, interchange::Reason,
};
use omgservers_core::{Existence, Ticks};
use omgservers_deployments::DeploymentFull;
use omgservers_runtimes::RuntimeState;

use crate::{
    PgMatchmaking, direct,
    effects::disconnect_ops,
    lobbies::{
        apply::OnClose,
        rules::{self, Facts, LobbyFacts, LobbyState, WaitingFacts},
        state::{Lobby, WaitingClient},
    },
    state::{DeploymentHandle, DeploymentState},
    store,
};

/// Rounds of plan and action in one run; what is left after them is left to the next one.
const MOST_ROUNDS: usize = 8;
/// A lobby that was ready for this long ends a row of failures.
const PROVEN: Duration = Duration::from_secs(30);

impl PgMatchmaking {
    /// Looks at one deployment and does what it needs. Answers how many things were done.
    pub(crate) async fn reconcile(&self, id: DeploymentId) -> Result<usize, Problem> {
        let handle = self.states.handle(id);
        let mut state = handle.state.lock().await;
        let Some((full, active)) = self.living(id).await? else {
            return self.tear_down(&handle, &mut state).await;
        };
        self.load(&handle, &mut state, &full).await?;
        let mut done = 0;
        for _ in 0..MOST_ROUNDS {
            let matches = self.reconcile_matches(&handle, &mut state, &full, active).await?;
            self.enqueue_arrivals(&handle, &mut state, id);
            let (facts, deadline) = self.facts(&handle, &mut state, &full, active).await?;
            let (steps, again) = rules::plan(&facts);
            done += matches.done;
            if steps.is_empty() && matches.done == 0 {
                let again = [again, deadline, matches.again].into_iter().flatten().min();
                if let Some(again) = again {
                    self.parts.changed.requeue_after(id, again);
                }
                return Ok(done);
            }
            done += steps.len();
            if !self.apply_steps(&handle, &mut state, &full, steps).await? {
                return Ok(done);
            }
        }
        self.parts.changed.enqueue(id);
        Ok(done)
    }

    /// The deployment and whether it is its stage's newest; `None` when it is gone.
    async fn living(&self, id: DeploymentId) -> Result<Option<(Arc<DeploymentFull>, bool)>, Problem> {
        let full = match self.parts.deployments.full(id).await {
            Ok(full) => full,
            Err(problem) if problem.kind() == Kind::NotFound => return Ok(None),
            Err(problem) => return Err(problem),
        };
        match self.parts.deployments.newest(full.deployment.stage_id).await {
            Ok(newest) if newest.deployment.id == id => return Ok(Some((full, true))),
            Err(problem) if problem.kind() != Kind::NotFound => return Err(problem),
            _ => {}
        }
        let exist = self.parts.deployments.exist(&[id]).await?;
        // A deployment whose database doesn't answer goes on.
        let is_gone = exist.get(&id) == Some(&Existence::No);
        Ok((!is_gone).then_some((full, false)))
    }

    /// Brings in what the database and the mailboxes have, once per process, and finishes what a crash left half
    /// done.
    pub(crate) async fn load(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
    ) -> Result<(), Problem> {
        if state.loaded {
            return Ok(());
        }
        let now = self.parts.clock.ticks();
        let rows = store::lobbies(&mut *self.parts.db.read().await?, handle.id).await?;
        let ids: Vec<RuntimeId> = rows.iter().map(|it| it.runtime_id).collect();
        let states = self.parts.runtimes.states(&ids).await?;
        for row in rows {
            if !row.closing {
                if self.parts.messaging.runtime(row.runtime_id).is_none() {
                    self.open_mailbox(full, row.id, row.runtime_id).await?;
                }
                if !states.contains_key(&row.runtime_id) {
                    self.start_runtimes(full, &[row.runtime_id], RuntimeQualifier::Lobby).await?;
                }
            }
            let lobby = Lobby::new(row.runtime_id, now, row.closing);
            state.lobbies.entry(row.id).or_insert(lobby).closing |= row.closing;
        }
        let known: HashSet<ClientId> = state.waiting.iter().map(|it| it.client).collect();
        for (client, info) in self.parts.messaging.clients_in(handle.id) {
            let waits = info.route.is_none() && !info.closed;
            if waits && !known.contains(&client) {
                state.waiting.push_back(WaitingClient { client, since: now });
            }
        }
        state.loaded = true;
        Ok(())
    }

    /// New clients wait behind the others; those that left, or have a runtime, don't wait.
    fn enqueue_arrivals(&self, handle: &DeploymentHandle, state: &mut DeploymentState, id: DeploymentId) {
        let arrivals = handle.take_arrivals();
        if !arrivals.is_empty() {
            let mut known: HashSet<ClientId> = state.waiting.iter().map(|it| it.client).collect();
            state.waiting.extend(arrivals.into_iter().filter(|it| known.insert(it.client)));
        }
        state.waiting.retain(|it| {
            let info = self.parts.messaging.client(it.client);
            info.is_some_and(|it| it.deployment == id && it.route.is_none() && !it.closed)
        });
    }

    async fn facts(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        active: bool,
    ) -> Result<(Facts, Option<Duration>), Problem> {
        let now = self.parts.clock.ticks();
        let ids: Vec<RuntimeId> = state.lobbies.values().map(|it| it.runtime).collect();
        let states = self.parts.runtimes.states(&ids).await?;
        let mut deadline: Option<Duration> = None;
        let mut lobbies = Vec::with_capacity(state.lobbies.len());
        for (id, lobby) in &mut state.lobbies {
            let info = self.parts.messaging.runtime(lobby.runtime);
            let (state, left) = self.lobby_state(lobby, states.get(&lobby.runtime), now);
            lobby.published = direct::published(states.get(&lobby.runtime));
            deadline = [deadline, left].into_iter().flatten().min();
            if state == LobbyState::Ready {
                lobby.ready.get_or_insert(now);
            }
            let clients = u32::try_from(info.map_or(0, |it| it.clients)).unwrap_or(u32::MAX);
            lobbies.push(LobbyFacts { id: *id, state, clients, age: now.since(lobby.made) });
        }
        if state.lobbies.values().any(|it| it.ready.is_some_and(|since| now.since(since) >= PROVEN)) {
            state.failures = 0;
        }
        let min_lifetime = match full.config.lobby.min_lifetime {
            0 => self.parts.config.lobby_min_lifetime,
            seconds => Duration::from_secs(u64::from(seconds)),
        };
        let waited = |it: &WaitingClient| WaitingFacts { client: it.client, waited: now.since(it.since) };
        let facts = Facts {
            active,
            min_lobbies: full.config.min_lobbies,
            max_lobbies: full.config.max_lobbies,
            capacity: full.config.lobby.max_assignments,
            min_lifetime,
            wait_timeout: self.parts.config.wait_timeout,
            pause: state.retry_at.since(now),
            requested: handle.requested(),
            lobbies,
            matches: state.queues.matches.len(),
            waiting: state.waiting.iter().map(waited).collect(),
        };
        Ok((facts, deadline))
    }

    /// Where a lobby stands, and after what time it counts as hung.
    fn lobby_state(
        &self,
        lobby: &Lobby,
        state: Option<&RuntimeState>,
        now: Ticks,
    ) -> (LobbyState, Option<Duration>) {
        let polled = self.parts.messaging.runtime(lobby.runtime).map(|it| it.last_seen);
        let running = match state {
            Some(RuntimeState::Running { since, .. }) => Some(*since),
            Some(RuntimeState::Starting { .. }) | None => None,
            Some(RuntimeState::Failed(_) | RuntimeState::Stopping) => return (LobbyState::Broken, None),
        };
        let Some(last_seen) = polled.filter(|_| !lobby.closing) else { return (LobbyState::Broken, None) };
        // A container counts from its start, not from the row: its image may take long to come.
        let Some(heard) = last_seen.or(running) else { return (LobbyState::Starting, None) };
        let silent = now.since(heard);
        if silent > self.parts.config.runtime_inactive {
            return (LobbyState::Broken, None);
        }
        let left = (self.parts.config.runtime_inactive - silent).saturating_add(Duration::from_millis(1));
        // Before the start is confirmed its ports aren't known, and it may turn out to have failed.
        let ready = last_seen.is_some() && running.is_some();
        (if ready { LobbyState::Ready } else { LobbyState::Starting }, Some(left))
    }

    /// Ends everything of a deployment that is gone: its clients are told, its lobbies closed.
    pub(crate) async fn tear_down(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
    ) -> Result<usize, Problem> {
        let mut ops = Vec::new();
        for (client, info) in self.parts.messaging.clients_in(handle.id) {
            if !info.closed {
                ops.extend(disconnect_ops(client, info.route, Reason::InternalFailure)?);
            }
        }
        let mut done = ops.len();
        self.parts.messaging.apply(ops)?.wait().await?;
        done += self.tear_down_matches(handle, state).await?;
        let rows = store::lobbies(&mut *self.parts.db.read().await?, handle.id).await?;
        for row in rows {
            let made = self.parts.clock.ticks();
            let lobby = Lobby::new(row.runtime_id, made, row.closing);
            state.lobbies.entry(row.id).or_insert(lobby);
            self.close_lobby(handle, state, row.id, OnClose::Disconnect).await?;
            done += 1;
        }
        let slots = [handle.id.slot()];
        done += self
            .parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::delete_matchmakers(&mut tx, handle.id).await
            })
            .await?;
        self.states.forget(handle.id);
        Ok(done)
    }
}
