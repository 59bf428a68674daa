//! When units of load begin: planned beforehand and independent of the server.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rand_distr::Exp1;
use serde::Serialize;

use crate::number::float;

/// How the beginnings are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// As if very many people decided for themselves: gaps are exponential.
    Poisson,
    /// One gap is like the other.
    Constant,
}

/// The beginnings, as times since the start, growing; ends before `until`.
#[derive(Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    /// Per second.
    rate: f64,
    until: Duration,
    rng: StdRng,
    /// The last one of a Poisson process, seconds.
    last: f64,
    number: u64,
}

impl Schedule {
    /// `rate` beginnings per second on average. The same arguments give the same schedule. A rate
    /// that isn't a positive number gives an empty one.
    pub fn new(arrivals: Arrivals, rate: f64, until: Duration, seed: u64) -> Self {
        Self { arrivals, rate, until, rng: StdRng::seed_from_u64(seed), last: 0.0, number: 0 }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if !self.rate.is_finite() || self.rate <= 0.0 {
            return None;
        }
        let seconds = match self.arrivals {
            Arrivals::Poisson => {
                let gap: f64 = self.rng.sample(Exp1);
                self.last += gap / self.rate;
                self.last
            }
            // Each from the start, so that errors of rounding don't add up.
            Arrivals::Constant => float(self.number) / self.rate,
        };
        self.number += 1;
        Duration::try_from_secs_f64(seconds).ok().filter(|it| *it < self.until)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(arrivals: Arrivals, rate: f64, seconds: u64, seed: u64) -> Vec<Duration> {
        Schedule::new(arrivals, rate, Duration::from_secs(seconds), seed).collect()
    }

    proptest! {
        #[test]
        fn beginnings_grow_and_end_in_time(rate in 0.1..5_000.0_f64, seconds in 0..5_u64, seed: u64, poisson: bool) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let times = all(arrivals, rate, seconds, seed);
            prop_assert!(times.is_sorted());
            prop_assert!(times.iter().all(|it| *it < Duration::from_secs(seconds)));
            prop_assert_eq!(times, all(arrivals, rate, seconds, seed));
        }

        #[test]
        fn there_are_as_many_as_the_rate_says(rate in 20.0..2_000.0_f64, seed: u64) {
            let expected = rate * 10.0;
            let constant = float(u64::try_from(all(Arrivals::Constant, rate, 10, seed).len()).unwrap());
            prop_assert!((constant - expected).abs() <= 1.0);
            // Six times the standard deviation.
            let poisson = float(u64::try_from(all(Arrivals::Poisson, rate, 10, seed).len()).unwrap());
            prop_assert!((poisson - expected).abs() <= 6.0 * expected.sqrt(), "{} of {}", poisson, expected);
        }
    }

    #[test]
    fn gaps_of_poisson_arrivals_are_exponential() {
        let times = all(Arrivals::Poisson, 1_000.0, 20, 7);
        let gaps: Vec<f64> = times.windows(2).map(|it| (it[1] - it[0]).as_secs_f64() * 1_000.0).collect();
        let share = |above: f64| {
            float(u64::try_from(gaps.iter().filter(|it| **it > above).count()).unwrap())
                / float(u64::try_from(gaps.len()).unwrap())
        };
        for above in [0.5_f64, 1.0, 2.0, 3.0] {
            assert!((share(above) - (-above).exp()).abs() < 0.02, "above {above}: {}", share(above));
        }
    }

    #[test]
    fn another_seed_is_another_schedule_and_no_rate_is_none() {
        assert_ne!(all(Arrivals::Poisson, 100.0, 1, 1), all(Arrivals::Poisson, 100.0, 1, 2));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(all(Arrivals::Poisson, rate, 1, 1).is_empty());
        }
    }
}
