//! The tender's view of matches: what is becomes facts, the plan of the facts is carried out.

use std::{collections::HashMap, time::Duration};

use omgservers_api::{Problem, RuntimeId, ids::Id as _};
use omgservers_core::Ticks;
use omgservers_deployments::DeploymentFull;
use omgservers_runtimes::RuntimeState;

use super::{
    Match,
    rules::{Facts, MatchFacts, MatchState, QueueFacts, plan},
};
use crate::{
    PgMatchmaking, direct,
    halls::{Cell, Hall},
    store,
};

/// A match that was ready for this long ends a row of failures.
const PROVEN: Duration = Duration::from_secs(30);

/// What was done about matches, and after what time to look again though nothing happened.
pub(crate) struct Tended {
    pub(crate) done: usize,
    pub(crate) again: Option<Duration>,
}

impl PgMatchmaking {
    pub(crate) async fn tend_matches(
        &self,
        cell: &Cell,
        hall: &mut Hall,
        full: &DeploymentFull,
        active: bool,
    ) -> Result<Tended, Problem> {
        self.load_queues(cell, hall, full).await?;
        let mut done = self.round(cell, hall, full, Vec::new(), &[]).await?;
        let (facts, deadline) = self.match_facts(cell, hall, full, active).await?;
        let plan = plan(&facts);
        done += plan.steps.len();
        let failures = hall.queues.failures;
        self.act_on_matches(cell, hall, full, plan.steps).await?;
        // The plan didn't know of what has failed just now; the next one does.
        let allowed = if hall.queues.failures == failures { plan.allowed } else { Vec::new() };
        done += self.round(cell, hall, full, Vec::new(), &allowed).await?;
        let now = self.parts.clock.ticks();
        let due = hall.queues.deadline().map(|it| it.since(now).max(Duration::from_millis(1)));
        let again = [plan.again, deadline, due].into_iter().flatten().min();
        Ok(Tended { done, again })
    }

    async fn match_facts(
        &self,
        cell: &Cell,
        hall: &mut Hall,
        full: &DeploymentFull,
        active: bool,
    ) -> Result<(Facts, Option<Duration>), Problem> {
        let now = self.parts.clock.ticks();
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let matchmakers = self.matchmakers(cell).await?;
        let runtimes: Vec<RuntimeId> = hall.queues.matches.values().map(|it| it.runtime).collect();
        let states = self.parts.runtimes.states(&runtimes).await?;
        let (matches, deadline) = self.look_at_matches(hall, &states, now);
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
            pause: hall.queues.retry_at.since(now),
            queues: queues.collect(),
            matches,
        };
        Ok((facts, deadline))
    }

    fn look_at_matches(
        &self,
        hall: &mut Hall,
        states: &HashMap<RuntimeId, RuntimeState>,
        now: Ticks,
    ) -> (Vec<MatchFacts>, Option<Duration>) {
        let mut deadline: Option<Duration> = None;
        let mut facts = Vec::with_capacity(hall.queues.matches.len());
        let mut proven = false;
        for (id, it) in &mut hall.queues.matches {
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
                expects: !it.coming.is_empty(),
                age: now.since(it.made),
            });
        }
        if proven {
            hall.queues.failures = 0;
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
    pub(crate) async fn dissolve_matches(&self, cell: &Cell, hall: &mut Hall) -> Result<usize, Problem> {
        hall.queues = super::Queues::default();
        drop((cell.take_asks(), cell.take_gone()));
        let rows = store::matches::matches(&mut *self.parts.db.read().await?, cell.id).await?;
        let slots = [cell.id.slot()];
        let runtimes: Vec<RuntimeId> = rows.iter().map(|it| it.runtime_id).collect();
        self.empty_runtimes(hall, &runtimes).await?;
        self.parts.runtimes.stop(&runtimes).await?;
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::matches::delete_all(&mut tx, cell.id).await
            })
            .await?;
        Ok(rows.len())
    }
}
