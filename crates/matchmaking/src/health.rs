//! The health of game servers, and the pauses after those that failed: for lobbies and matches
//! alike.

use std::time::Duration;

use omgservers_core::{Backoff, Ticks};
use omgservers_messaging::RuntimeInfo;
use omgservers_runtimes::RuntimeState;

/// A runtime that was ready for this long ends a row of failures.
pub(crate) const PROVEN: Duration = Duration::from_secs(30);

/// The health of a game server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GameServerHealth {
    /// It hasn't polled yet.
    Starting,
    /// It takes clients.
    Ready,
    /// It failed or hung.
    Broken,
    /// It ended by itself, without an error, after it was ready.
    Over,
}

/// What the services on the left report of a runtime.
#[derive(Debug, Clone, Default)]
pub(crate) struct ObservedRuntime {
    /// `None`: its mailbox is closed or unknown.
    pub(crate) mailbox: Option<RuntimeInfo>,
    /// `None`: nobody wants it to run.
    pub(crate) state: Option<RuntimeState>,
}

/// Derives the health, and the time after which the game server counts as hung unless it polls.
/// `max_idle` is the longest time without a poll.
pub(crate) fn health(
    observed: &ObservedRuntime,
    was_ready: bool,
    max_idle: Duration,
    now: Ticks,
) -> (GameServerHealth, Option<Duration>) {
    let Some(mailbox) = observed.mailbox else { return (GameServerHealth::Broken, None) };
    let running = match &observed.state {
        Some(RuntimeState::Running { since, .. }) => Some(*since),
        Some(RuntimeState::Failed(failure)) if failure.exit_code == Some(0) && was_ready => {
            return (GameServerHealth::Over, None);
        }
        Some(RuntimeState::Failed(_) | RuntimeState::Stopping) => return (GameServerHealth::Broken, None),
        Some(RuntimeState::Starting { .. }) | None => None,
    };
    // The time runs from the start of the container: its image may take long to come.
    let Some(last) = mailbox.last_seen.or(running) else { return (GameServerHealth::Starting, None) };
    let Some(left) = max_idle.checked_sub(now.since(last)) else { return (GameServerHealth::Broken, None) };
    // Before its start is confirmed its ports aren't known, and it may turn out to have failed.
    let is_ready = mailbox.last_seen.is_some() && running.is_some();
    let health = if is_ready { GameServerHealth::Ready } else { GameServerHealth::Starting };
    (health, Some(left.saturating_add(Duration::from_millis(1))))
}

/// The failures in a row of the lobbies or matches of a deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    count: u32,
    retry_at: Ticks,
}

impl Failures {
    /// Each failure in a row makes the pause before the next start longer.
    pub(crate) fn add(&mut self, now: Ticks) {
        self.count = self.count.saturating_add(1);
        self.retry_at = now.plus(pause_after(self.count));
    }

    /// One has proven itself.
    pub(crate) fn reset(&mut self) {
        self.count = 0;
    }

    /// How long nothing may be started yet.
    pub(crate) fn pause(&self, now: Ticks) -> Duration {
        self.retry_at.since(now)
    }
}

/// The pause after so many failures in a row: the first one is replaced at once.
fn pause_after(failures: u32) -> Duration {
    const REPLACEMENT: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    REPLACEMENT.after(failures.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use omgservers_api::{DeploymentId, ids::Id as _};

    use super::*;

    const MAX_IDLE: Duration = Duration::from_secs(30);

    fn observed(last_seen: Option<u64>, running: Option<u64>) -> ObservedRuntime {
        let deployment = DeploymentId::from_i64(1).unwrap();
        let last_seen = last_seen.map(Ticks);
        let started = |since| RuntimeState::Running {
            started: DateTime::UNIX_EPOCH,
            since: Ticks(since),
            published: None,
        };
        ObservedRuntime {
            mailbox: Some(RuntimeInfo {
                deployment,
                clients: 0,
                opened: 1,
                last_seen,
                last_seq: None,
                unconsumed_bytes: 0,
            }),
            state: running.map(started),
        }
    }

    fn health_at(now: u64, observed: &ObservedRuntime) -> GameServerHealth {
        health(observed, false, MAX_IDLE, Ticks(now)).0
    }

    #[test]
    fn a_game_server_is_ready_when_it_runs_and_polls() {
        assert_eq!(health_at(5, &observed(None, None)), GameServerHealth::Starting);
        assert_eq!(health_at(5, &observed(None, Some(1))), GameServerHealth::Starting);
        assert_eq!(health_at(5, &observed(Some(2), None)), GameServerHealth::Starting);
        assert_eq!(health_at(5, &observed(Some(2), Some(1))), GameServerHealth::Ready);
    }

    #[test]
    fn a_game_server_that_polls_no_more_is_broken_and_its_clock_runs_before() {
        let polled = observed(Some(1_000), Some(1));
        let left = health(&polled, true, MAX_IDLE, Ticks(11_000)).1;
        assert_eq!(left, Some(Duration::from_millis(20_001)));
        assert_eq!(health_at(31_000, &polled), GameServerHealth::Ready);
        assert_eq!(health_at(31_001, &polled), GameServerHealth::Broken);
        let closed = ObservedRuntime { mailbox: None, ..polled };
        assert_eq!(health_at(1_000, &closed), GameServerHealth::Broken);
    }

    #[test]
    fn pauses_grow_up_to_a_minute() {
        let seconds: Vec<u64> = (0..12).map(|it| pause_after(it).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        let mut failures = Failures::default();
        for _ in 0..3 {
            failures.add(Ticks(1_000));
        }
        assert_eq!(failures.pause(Ticks(1_500)), Duration::from_millis(1_500));
        failures.reset();
        failures.add(Ticks(9_000));
        assert_eq!(failures.pause(Ticks(9_000)), Duration::ZERO);
    }
}
