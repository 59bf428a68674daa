//! Waits until a moment more exactly than the timer of the runtime, which knows only milliseconds.

use std::{
    io,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;

/// Shorter waits aren't worth two calls of the system each: at high rates some units begin
/// together, at most so late.
const SHORTEST: Duration = Duration::from_micros(50);
/// After so many moments that were in the past already, others may run.
const MOST_AT_ONCE: u32 = 16;

/// A timer of the system's.
pub(crate) struct Pacer {
    /// It is read like a pipe: each expiry is eight bytes.
    timer: Receiver,
    at_once: u32,
}

impl Pacer {
    /// Needs a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { timer: Receiver::from_owned_fd_unchecked(timer)?, at_once: 0 })
    }

    /// Waits until `at`.
    pub(crate) async fn until(&mut self, at: Instant) -> io::Result<()> {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.at_once += 1;
            if self.at_once >= MOST_AT_ONCE {
                self.at_once = 0;
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        self.at_once = 0;
        let value = Timespec::try_from(left.max(SHORTEST)).map_err(io::Error::other)?;
        let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec { it_interval: interval, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        loop {
            self.timer.readable().await?;
            match self.timer.try_read(&mut [0_u8; 8]) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_never_ends_early_and_past_moments_are_at_once() {
        let mut pacer = Pacer::new().unwrap();
        for micros in [1, 30, 200, 1_500, 20_000] {
            let at = Instant::now() + Duration::from_micros(micros);
            pacer.until(at).await.unwrap();
            assert!(Instant::now() >= at);
        }
        let begun = Instant::now();
        for _ in 0..1_000 {
            pacer.until(begun).await.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn others_run_while_it_is_behind() {
        let mut pacer = Pacer::new().unwrap();
        let other = tokio::spawn(async {});
        let past = Instant::now();
        for _ in 0..100 {
            pacer.until(past).await.unwrap();
        }
        assert!(other.is_finished());
    }
}
