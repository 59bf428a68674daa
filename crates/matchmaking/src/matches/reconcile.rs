//! The tender's view of matches: what is becomes facts, the plan of the facts is carried out.

use std::{collections::HashMap, time::Duration};

use omgservers_api::{Problem, RuntimeId, ids::Id as _};
use omgservers_core::Ticks;
use omgservers_deployments::DeploymentFull;
use omgservers_runtimes::RuntimeState;

use super::{
    rules::{Facts, MatchFacts, MatchState, QueueFacts, plan},
    state::Match,
};
use crate::{
    PgMatchmaking, direct,
    state::{DeploymentHandle, DeploymentState},
    store,
};

/// A match that was ready for this long ends a row of failures.
const PROVEN: Duration = Duration::from_secs(30);

/// What was done about matches, and after what time to look again though nothing happened.
pub(crate) struct MatchesReconciled {
    pub(crate) done: usize,
    pub(crate) again: Option<Duration>,
}

impl PgMatchmaking {
    pub(crate) async fn reconcile_matches(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        active: bool,
    ) -> Result<MatchesReconciled, Problem> {
        self.load_queues(handle, state, full).await?;
        let mut done = self.round(handle, state, full, Vec::new(), &[]).await?;
        let (facts, deadline) = self.match_facts(handle, state, full, active).await?;
        let plan = plan(&facts);
        done += plan.steps.len();
        let failures = state.queues.failures;
        self.apply_match_steps(handle, state, full, plan.steps).await?;
        // The plan didn't know of what has failed just now; the next one does.
        let allowed = if state.queues.failures == failures { plan.allowed } else { Vec::new() };
        done += self.round(handle, state, full, Vec::new(), &allowed).await?;
        let now = self.parts.clock.ticks();
        let due = state.queues.deadline().map(|it| it.since(now).max(Duration::from_millis(1)));
        let again = [plan.again, deadline, due].into_iter().flatten().min();
        Ok(MatchesReconciled { done, again })
    }

    async fn match_facts(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
        full: &DeploymentFull,
        active: bool,
    ) -> Result<(Facts, Option<Duration>), Problem> {
        let now = self.parts.clock.ticks();
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let matchmakers = self.matchmakers(handle).await?;
        let runtimes: Vec<RuntimeId> = state.queues.matches.values().map(|it| it.runtime).collect();
        let states = self.parts.runtimes.states(&runtimes).await?;
        let (matches, deadline) = self.observe_matches(state, &states, now);
        let modes = version.config.modes.iter().enumerate();
        let queues = modes.flat_map(|(index, mode)| {
            matchmakers.iter().map(move |matchmaker| QueueFacts {
                queue: (*matchmaker, index),
                min_matches: mode.min_matches,
                max_matches: mode.max_matches,
            })
        });
        let facts = Facts {
            active,
            start_timeout: self.parts.config.match_start_timeout,
            pause: state.queues.retry_at.since(now),
            queues: queues.collect(),
            matches,
        };
        Ok((facts, deadline))
    }

    fn observe_matches(
        &self,
        state: &mut DeploymentState,
        states: &HashMap<RuntimeId, RuntimeState>,
        now: Ticks,
    ) -> (Vec<MatchFacts>, Option<Duration>) {
        let mut deadline: Option<Duration> = None;
        let mut facts = Vec::with_capacity(state.queues.matches.len());
        let mut proven = false;
        for (id, it) in &mut state.queues.matches {
            let (state, left) = self.match_state(it, states.get(&it.runtime), now);
            it.published = direct::published(states.get(&it.runtime));
            deadline = [deadline, left].into_iter().flatten().min();
            match state {
                MatchState::Ready => it.ready = it.ready.or(Some(now)),
                MatchState::Starting => it.ready = None,
                MatchState::Broken | MatchState::Over => {}
            }
            proven |= it.ready.is_some_and(|since| now.since(since) >= PROVEN);
            facts.push(MatchFacts {
                id: *id,
                queue: it.queue,
                state,
                used: it.used,
                empty: it.is_empty(),
                expects: !it.pending_join.is_empty(),
                age: now.since(it.made),
            });
        }
        if proven {
            state.queues.failures = 0;
        }
        (facts, deadline)
    }

    /// Where a match stands, and after what time its game server counts as hung.
    fn match_state(
        &self,
        it: &Match,
        state: Option<&RuntimeState>,
        now: Ticks,
    ) -> (MatchState, Option<Duration>) {
        if it.closing {
            return (MatchState::Broken, None);
        }
        if !it.opened {
            return (MatchState::Starting, None);
        }
        let Some(info) = self.parts.messaging.runtime(it.runtime) else { return (MatchState::Broken, None) };
        let running = match state {
            Some(RuntimeState::Running { since, .. }) => Some(*since),
            Some(RuntimeState::Failed(failure)) if failure.exit_code == Some(0) && it.ready.is_some() => {
                return (MatchState::Over, None);
            }
            Some(RuntimeState::Failed(_) | RuntimeState::Stopping) => return (MatchState::Broken, None),
            Some(RuntimeState::Starting { .. }) | None => None,
        };
        // A container counts from its start, not from the row: its image may take long to come.
        let Some(heard) = info.last_seen.or(running) else { return (MatchState::Starting, None) };
        let silent = now.since(heard);
        let Some(left) = self.parts.config.runtime_inactive.checked_sub(silent) else {
            return (MatchState::Broken, None);
        };
        let ready = info.last_seen.is_some() && running.is_some();
        let state = if ready { MatchState::Ready } else { MatchState::Starting };
        (state, Some(left.saturating_add(Duration::from_millis(1))))
    }

    /// Ends all matches and tickets of a deployment that is gone. Its clients are told already.
    pub(crate) async fn tear_down_matches(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
    ) -> Result<usize, Problem> {
        state.queues = super::state::Queues::default();
        drop((handle.take_requests(), handle.take_gone()));
        let rows = store::matches::matches(&mut *self.parts.db.read().await?, handle.id).await?;
        let slots = [handle.id.slot()];
        let runtimes: Vec<RuntimeId> = rows.iter().map(|it| it.runtime_id).collect();
        self.close_runtimes(state, &runtimes).await?;
        self.parts.runtimes.stop(&runtimes).await?;
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::matches::delete_all(&mut tx, handle.id).await
            })
            .await?;
        Ok(rows.len())
    }
}
