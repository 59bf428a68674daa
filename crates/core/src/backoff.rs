//! Pauses between attempts.

use std::time::Duration;

/// Growing pauses after failures in a row: `first` after the first one, then twice as long each
/// time, `most` at most. Pure: the caller counts failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after one failure.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
}

impl Backoff {
    /// Makes a backoff from its shortest and its longest pause.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    /// Returns the pause after this many failures in a row; zero without a failure.
    pub fn after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let seconds: Vec<u64> = (0..9).map(|failures| backoff.after(failures).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }

    proptest! {
        #[test]
        fn a_pause_never_shrinks_and_stays_within_its_bounds(failures in 1u32..=u32::MAX - 1, first in 1u64..1_000) {
            let backoff = Backoff::new(Duration::from_millis(first), Duration::from_secs(30));
            let pause = backoff.after(failures);
            prop_assert!(pause <= backoff.after(failures + 1));
            prop_assert!((backoff.first..=backoff.most).contains(&pause));
        }
    }
}
