//! Latencies as HDR histograms: microseconds, three significant digits.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::number::micros;

/// The longest latency that has its own value, µs: an hour.
const LONGEST: u64 = 3_600_000_000;
/// Points of a curve for each halving of the distance to 1.
const TICKS: u32 = 4;

/// Latencies of one kind.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

/// What they come to, µs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many there are.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half of them took no longer.
    pub p50_us: u64,
    /// 90 of 100 took no longer.
    pub p90_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// 999 of 1000 took no longer.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// A point of the curve of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The part of all that took no longer, 0 to 1.
    pub quantile: f64,
    /// Than this, µs.
    pub us: u64,
}

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        let bounded = Histogram::new_with_bounds(1, LONGEST, 3);
        #[expect(clippy::expect_used, reason = "the bounds are constants, and right")]
        Self(bounded.expect("bounds of a histogram"))
    }

    /// Adds one; below 1 µs counts as 1 µs, above an hour as an hour.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(micros(latency).max(1));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that the part `quantile` of all doesn't exceed, µs; 0 when there are none.
    pub fn at(&self, quantile: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(quantile) }
    }

    /// What they come to.
    pub fn summary(&self) -> Summary {
        if self.0.is_empty() {
            return Summary::default();
        }
        Summary {
            count: self.count(),
            mean_us: (self.0.mean() * 10.0).round() / 10.0,
            p50_us: self.at(0.5),
            p90_us: self.at(0.9),
            p99_us: self.at(0.99),
            p999_us: self.at(0.999),
            max_us: self.0.max(),
        }
    }

    /// The curve by quantile, growing in both.
    pub fn curve(&self) -> Vec<Point> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let step = self.0.iter_quantiles(TICKS);
        step.map(|it| Point { quantile: it.quantile_iterated_to(), us: it.value_iterated_to() }).collect()
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(times: &[u64]) -> Latencies {
        let mut latencies = Latencies::new();
        for time in times {
            latencies.record(Duration::from_micros(*time));
        }
        latencies
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_times(mut times in prop::collection::vec(1..10_000_000_u64, 1..500)) {
            let latencies = of(&times);
            times.sort_unstable();
            for (quantile, percent) in [(0.5, 50), (0.9, 90), (0.99, 99), (1.0, 100)] {
                let exact = times[(times.len() * percent).div_ceil(100) - 1];
                let told = latencies.at(quantile);
                // Three digits.
                prop_assert!(told >= exact && told <= exact + exact / 500 + 1, "{told} for {exact} at {quantile}");
            }
            let summary = latencies.summary();
            prop_assert_eq!(summary.count, u64::try_from(times.len()).unwrap());
            prop_assert!(summary.p50_us <= summary.p90_us && summary.p90_us <= summary.p99_us);
            prop_assert!(summary.p99_us <= summary.p999_us && summary.p999_us <= summary.max_us);
        }

        #[test]
        fn the_curve_grows_and_ends_at_the_longest(times in prop::collection::vec(1..10_000_000_u64, 1..500)) {
            let latencies = of(&times);
            let curve = latencies.curve();
            prop_assert!(curve.is_sorted_by(|one, next| one.quantile <= next.quantile && one.us <= next.us));
            prop_assert!(curve.iter().all(|it| (0.0..=1.0).contains(&it.quantile)));
            prop_assert_eq!(curve.last().unwrap().us, latencies.summary().max_us);
        }
    }

    #[test]
    fn nothing_has_no_latency_and_extremes_stay_in_bounds() {
        assert_eq!(of(&[]).summary(), Summary::default());
        assert!(of(&[]).curve().is_empty());
        let summary = of(&[0, LONGEST * 2]).summary();
        assert_eq!((summary.count, summary.p50_us), (2, 1));
        assert!(summary.max_us >= LONGEST && summary.max_us < LONGEST + LONGEST / 500);
    }
}
