//! Time. Services decide by [`Clock`] alone, so that tests can move their time.
//! `tests/tests/architecture` lists the crates that read the time of the machine for deadlines of
//! calls, heartbeats and metrics.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, SubsecRound as _, Utc};

/// Milliseconds on a clock that never goes back and starts near 0 with the process. For durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticks(pub u64);

impl Ticks {
    /// Returns the time since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
    /// Returns the point `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The source of time.
pub trait Clock: Send + Sync {
    /// Returns wall time in microseconds, as PostgreSQL keeps it: for display and for the expiry of
    /// tokens.
    fn now(&self) -> DateTime<Utc>;
    /// Returns monotonic time: for everything else.
    fn ticks(&self) -> Ticks;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
    fn ticks(&self) -> Ticks {
        Ticks(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock for tests: it stands still until the test moves it.
#[derive(Debug, Clone)]
pub struct ManualClock {
    wall: Arc<Mutex<DateTime<Utc>>>,
    ticks: Arc<AtomicU64>,
}

impl Default for ManualClock {
    fn default() -> Self {
        let start = DateTime::UNIX_EPOCH + chrono::Duration::days(20_000);
        Self { wall: Arc::new(Mutex::new(start)), ticks: Arc::default() }
    }
}

impl ManualClock {
    /// Advances wall time and monotonic time.
    pub fn advance(&self, by: Duration) {
        self.step_wall(chrono::Duration::from_std(by).unwrap_or(chrono::Duration::MAX));
        self.ticks.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
    /// Steps wall time only, also backwards, as an operator may.
    pub fn step_wall(&self, by: chrono::Duration) {
        let mut wall = self.wall.lock().unwrap_or_else(PoisonError::into_inner);
        *wall = wall.checked_add_signed(by).unwrap_or(*wall);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.wall.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn ticks(&self) -> Ticks {
        Ticks(self.ticks.load(Ordering::SeqCst))
    }
}
