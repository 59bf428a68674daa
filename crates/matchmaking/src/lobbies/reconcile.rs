//! Collects the facts of lobbies, has their plan made and carried out.

use std::{collections::HashSet, time::Duration};

use omgservers_api::{ClientId, DeploymentId, Problem, RuntimeId, RuntimeQualifier};
use omgservers_deployments::DeploymentFull;

use super::{
    apply::{OnClose, Retirement},
    rules::{DeploymentFacts, LobbyFacts, WaitingFacts, plan},
    state::{Lobby, WaitingClient},
};
use crate::{
    PgMatchmaking, direct,
    health::{GameServerHealth, PROVEN, health},
    state::{DeploymentHandle, DeploymentState},
    store,
};

/// The pause after a retirement was refused. Without it the reconciler would retry at once, and
/// again, until a deploy or a deletion that broke off is swept.
const RETIRE_PAUSE: Duration = Duration::from_secs(1);

/// What a turn has done for lobbies.
#[derive(Debug, Default)]
pub(crate) struct LobbiesOutcome {
    /// How many things have changed.
    pub(crate) done: usize,
    /// After what time to plan again though nothing happened.
    pub(crate) again: Option<Duration>,
    /// The deployment was a replaced one and is gone.
    pub(crate) retired: bool,
}

impl PgMatchmaking {
    /// Does what lobbies and waiting clients need.
    pub(crate) async fn reconcile_lobbies(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        active: bool,
    ) -> Result<LobbiesOutcome, Problem> {
        self.enqueue_arrivals(handle, state, handle.id);
        let (facts, idle_after) = self.lobby_facts(handle, state, full, active).await?;
        let (steps, again) = plan(&facts);
        let planned = steps.len();
        let retirement = self.apply_steps(handle, state, full, steps).await?;
        let is_refused = retirement == Retirement::Refused;
        let retry_after = is_refused.then_some(RETIRE_PAUSE);
        Ok(LobbiesOutcome {
            done: planned - usize::from(is_refused),
            again: [again, idle_after, retry_after].into_iter().flatten().min(),
            retired: retirement == Retirement::Retired,
        })
    }

    /// Reads lobbies and waiting clients unless memory has them, and finishes what a crash left
    /// half done.
    pub(crate) async fn load_lobbies(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
    ) -> Result<(), Problem> {
        if state.lobbies.loaded {
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
            state.lobbies.all.entry(row.id).or_insert(lobby).closing |= row.closing;
        }
        let known: HashSet<ClientId> = state.lobbies.waiting.iter().map(|it| it.client).collect();
        for (client, info) in self.parts.messaging.clients_in(handle.id) {
            let waits = info.route.is_none() && !info.closed;
            if waits && !known.contains(&client) {
                state.lobbies.waiting.push_back(WaitingClient { client, since: now });
            }
        }
        state.lobbies.loaded = true;
        Ok(())
    }

    /// New clients wait behind the others. Those that left or have a runtime wait no more.
    fn enqueue_arrivals(&self, handle: &DeploymentHandle, state: &mut DeploymentState, id: DeploymentId) {
        let arrivals = handle.take_arrivals();
        if !arrivals.is_empty() {
            let mut known: HashSet<ClientId> = state.lobbies.waiting.iter().map(|it| it.client).collect();
            state.lobbies.waiting.extend(arrivals.into_iter().filter(|it| known.insert(it.client)));
        }
        state.lobbies.waiting.retain(|waiting| {
            let info = self.parts.messaging.client(waiting.client);
            info.is_some_and(|it| it.deployment == id && it.route.is_none() && !it.closed)
        });
    }

    /// Notes the health of the game servers. Answers the facts, and the time after which the first
    /// game server counts as hung.
    async fn lobby_facts(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        active: bool,
    ) -> Result<(DeploymentFacts, Option<Duration>), Problem> {
        let now = self.parts.clock.ticks();
        let runtimes: Vec<RuntimeId> = state.lobbies.all.values().map(|it| it.runtime).collect();
        let observed = self.observe_runtimes(&runtimes).await?;
        let mut idle_after: Option<Duration> = None;
        let mut lobbies = Vec::with_capacity(state.lobbies.all.len());
        for (id, lobby) in &mut state.lobbies.all {
            let Some(observed) = observed.get(&lobby.runtime) else { continue };
            let (state, left) = if lobby.closing {
                (GameServerHealth::Broken, None)
            } else {
                health(observed, lobby.ready.is_some(), self.parts.config.runtime_inactive, now)
            };
            // Nobody plays in a lobby to its end.
            let state = if state == GameServerHealth::Over { GameServerHealth::Broken } else { state };
            lobby.published = direct::published(observed.state.as_ref());
            idle_after = [idle_after, left].into_iter().flatten().min();
            if state == GameServerHealth::Ready {
                lobby.ready.get_or_insert(now);
            }
            let clients = u32::try_from(observed.mailbox.map_or(0, |it| it.clients)).unwrap_or(u32::MAX);
            lobbies.push(LobbyFacts { id: *id, state, clients, age: now.since(lobby.made) });
        }
        let is_proven = |it: &Lobby| it.ready.is_some_and(|since| now.since(since) >= PROVEN);
        if state.lobbies.all.values().any(is_proven) {
            state.lobbies.failures.reset();
        }
        let min_lifetime = match full.config.lobby.min_lifetime {
            0 => self.parts.config.lobby_min_lifetime,
            seconds => Duration::from_secs(u64::from(seconds)),
        };
        let waited = |it: &WaitingClient| WaitingFacts { client: it.client, waited: now.since(it.since) };
        let facts = DeploymentFacts {
            active,
            min_lobbies: full.config.min_lobbies,
            max_lobbies: full.config.max_lobbies,
            capacity: full.config.lobby.max_assignments,
            min_lifetime,
            wait_timeout: self.parts.config.wait_timeout,
            pause: state.lobbies.failures.pause(now),
            requested: handle.requested(),
            lobbies,
            matches: state.queues.matches.len(),
            waiting: state.lobbies.waiting.iter().map(waited).collect(),
        };
        Ok((facts, idle_after))
    }

    /// Ends all lobbies of a deployment that is gone.
    pub(crate) async fn tear_down_lobbies(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
    ) -> Result<usize, Problem> {
        let rows = store::lobbies(&mut *self.parts.db.read().await?, handle.id).await?;
        let count = rows.len();
        for row in rows {
            let made = self.parts.clock.ticks();
            let lobby = Lobby::new(row.runtime_id, made, row.closing);
            state.lobbies.all.entry(row.id).or_insert(lobby);
            self.close_lobby(handle, state, row.id, OnClose::Disconnect).await?;
        }
        Ok(count)
    }
}
