//! Pauses between attempts.

use std::time::Duration;

use omgservers_api::Problem;
use tokio::time::Instant;

use crate::http::transient;

/// How an exchange is repeated when the backend doesn't answer, answers 5xx or asks to slow down
/// (429).
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// About how long the first pause is; each further one is twice as long.
    pub initial_backoff: Duration,
    /// About how long a pause is at most.
    pub max_backoff: Duration,
    /// How long after the first failure it is tried again; `None` is for ever.
    pub give_up_after: Option<Duration>,
}

impl Retry {
    /// For players: a minute.
    pub const PLAYER: Self = Self {
        initial_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(5),
        give_up_after: Some(Duration::from_secs(60)),
    };
    /// For runtimes: for ever, with pauses of up to a minute. Who runs them ends them.
    pub const RUNTIME: Self = Self {
        initial_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(60),
        give_up_after: None,
    };

    pub(crate) fn start(self) -> Attempts {
        Attempts { retry: self, failed: 0, since: None }
    }
}

/// The attempts of one exchange.
#[derive(Debug)]
pub(crate) struct Attempts {
    retry: Retry,
    failed: u32,
    since: Option<Instant>,
}

impl Attempts {
    /// Pauses after a failure; the problem comes back when it is no use to go on.
    pub(crate) async fn pause(&mut self, problem: Problem) -> Result<(), Problem> {
        tokio::time::sleep(self.next(problem)?).await;
        Ok(())
    }

    /// How long to pause after a failure.
    pub(crate) fn next(&mut self, problem: Problem) -> Result<Duration, Problem> {
        if !transient(&problem) {
            return Err(problem);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.retry.give_up_after.is_some_and(|it| since.elapsed() >= it) {
            return Err(problem);
        }
        let pause = self.retry.length(self.failed, rand::random_range(0.5..1.0));
        self.failed = self.failed.saturating_add(1);
        Ok(pause.max(problem.pause().unwrap_or_default()))
    }
}

impl Retry {
    /// Pause number `failed`; `jitter`, 0.5 to 1, keeps many clients from coming back at the same
    /// moment.
    fn length(self, failed: u32, jitter: f64) -> Duration {
        let factor = 1u32.checked_shl(failed).unwrap_or(u32::MAX);
        self.initial_backoff.saturating_mul(factor).min(self.max_backoff).mul_f64(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let retry = Retry {
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(60),
            give_up_after: None,
        };
        assert_eq!(retry.length(0, 1.0), Duration::from_millis(100));
        assert_eq!(retry.length(3, 1.0), Duration::from_millis(800));
        assert_eq!(retry.length(10, 1.0), Duration::from_secs(60));
        assert_eq!(retry.length(4_000_000, 0.5), Duration::from_secs(30));
    }
}
