//! Which rate to try next: doubling until one is too high, then halving the gap.

/// How often a rate that failed is tried again: a machine does other things, too.
const SECOND_CHANCES: u32 = 1;
/// Below this a search that began too high gives up, per second.
const LOWEST: f64 = 0.5;

/// The search for the highest rate that holds.
#[derive(Debug, Clone)]
pub struct RateSearch {
    /// The highest that kept the bound.
    good: Option<f64>,
    /// The lowest that didn't.
    bad: Option<f64>,
    first: f64,
    most: f64,
    /// What the gap may be in the end, as a part of the rate.
    precision: f64,
    failures: u32,
}

impl RateSearch {
    /// Begins at `first` and never asks for more than `most`, both per second and above 0. The
    /// search ends when the answer is known up to the part `precision`, e.g. 0.05.
    pub fn new(first: f64, most: f64, precision: f64) -> Self {
        let first = first.clamp(LOWEST, most.max(LOWEST));
        Self {
            good: None,
            bad: None,
            first,
            most: most.max(first),
            precision: precision.max(0.001),
            failures: 0,
        }
    }

    /// The rate to try; `None` when the search is over.
    pub fn rate(&self) -> Option<f64> {
        let next = match (self.good, self.bad) {
            (None, None) => self.first,
            (Some(good), None) if good >= self.most => return None,
            (Some(good), None) => (good * 2.0).min(self.most),
            (None, Some(bad)) => Some(bad / 2.0).filter(|it| *it >= LOWEST)?,
            (Some(good), Some(bad)) if bad <= good * (1.0 + self.precision) => return None,
            (Some(good), Some(bad)) => f64::midpoint(good, bad),
        };
        Some(next)
    }

    /// Records whether [`rate`](Self::rate) kept the bound.
    pub fn record(&mut self, kept: bool) {
        let Some(rate) = self.rate() else { return };
        if kept {
            self.good = Some(rate);
            self.failures = 0;
        } else if self.failures < SECOND_CHANCES {
            self.failures += 1;
        } else {
            self.bad = Some(rate);
            self.failures = 0;
        }
    }

    /// The highest rate that kept the bound.
    pub fn found(&self) -> Option<f64> {
        self.good
    }

    /// Whether a higher rate is known not to hold; else the search ended at its bound.
    pub fn is_bounded(&self) -> bool {
        self.bad.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Searches where everything up to `limit` holds; answers the rates that were tried.
    fn search(first: f64, most: f64, limit: f64) -> (RateSearch, Vec<f64>) {
        let mut search = RateSearch::new(first, most, 0.05);
        let mut tried = Vec::new();
        while let Some(rate) = search.rate() {
            tried.push(rate);
            assert!(tried.len() < 100, "no end: {tried:?}");
            search.record(rate <= limit);
        }
        (search, tried)
    }

    proptest! {
        #[test]
        fn the_limit_is_found_up_to_the_precision(first in 1.0..10_000.0_f64, limit in 1.0..100_000.0_f64) {
            let (search, tried) = search(first, 1e6, limit);
            let found = search.found().unwrap();
            prop_assert!(found <= limit && limit <= found * 1.05, "{found} for {limit}");
            prop_assert!(search.is_bounded());
            prop_assert!(tried.len() <= 60);
        }

        #[test]
        fn nothing_above_the_bound_is_tried(first in 1.0..10_000.0_f64, most in 1.0..10_000.0_f64, limit in 0.0..20_000.0_f64) {
            let (search, tried) = search(first, most, limit);
            prop_assert!(tried.iter().all(|it| *it <= most && *it > 0.0));
            if limit >= most {
                prop_assert_eq!(search.found(), Some(most));
                prop_assert!(!search.is_bounded());
            }
        }
    }

    #[test]
    fn one_bad_moment_is_forgiven() {
        let mut search = RateSearch::new(100.0, 100.0, 0.05);
        search.record(false);
        assert_eq!(search.rate(), Some(100.0));
        search.record(true);
        assert_eq!((search.rate(), search.found()), (None, Some(100.0)));
    }

    #[test]
    fn where_nothing_holds_nothing_is_found() {
        let (search, tried) = search(64.0, 1e6, 0.0);
        assert_eq!(search.found(), None);
        assert!(tried.last().unwrap() < &1.0);
    }
}
