//! What a bench has found, for people and for programs.

mod draw;
pub mod plot;
mod table;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::draw::svg;
pub(crate) use self::table::{heading, line, millis};
use crate::{Arrivals, Point, Scenario, Summary};

/// What a bench has found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was done.
    pub scenario: Scenario,
    /// To whom.
    pub url: String,
    /// How beginnings were spread.
    pub arrivals: Arrivals,
    /// What they were drawn from.
    pub seed: u64,
    /// Players, or connections where there are no players.
    pub players: u32,
    /// What one unit of the rate is.
    pub unit: &'static str,
    /// What a search was for; absent in a single run.
    pub search: Option<LatencyBound>,
    /// The highest rate that kept the bound, per second; absent in a single run, and when none
    /// did.
    pub capacity_per_second: Option<f64>,
    /// The runs, in their order. A single one, or the steps of the search.
    pub runs: Vec<Run>,
    /// What makes the figures doubtful.
    pub warnings: Vec<String>,
}

/// What a rate must keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencyBound {
    /// The 99th percentile of the main series, µs.
    pub p99_us: u64,
}

/// A run at one rate.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Units per second that were asked for.
    pub rate: f64,
    /// Seconds that are counted.
    pub seconds: u64,
    /// The main series first.
    pub series: Vec<Series>,
    /// The main series by second.
    pub timeline: Vec<Second>,
    /// How late the generator began units.
    pub late: Summary,
    /// The part of a core that the generator took, 0 to 1.
    pub generator_cpu: f64,
    /// Whether the generator itself was the limit.
    pub generator_is_limit: bool,
    /// Whether the rate kept the bound of a search.
    #[serde(rename = "held")]
    pub kept: Option<bool>,
}

/// One kind of thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// What.
    pub name: &'static str,
    /// How many should have been done.
    pub begun: u64,
    /// The same per second.
    pub offered_per_second: f64,
    /// What was done per second.
    pub achieved_per_second: f64,
    /// From the intended beginning to the end.
    pub latency: Summary,
    /// How many weren't done.
    pub failed: u64,
    /// Why.
    pub failed_by_kind: BTreeMap<String, u64>,
    /// Latency by quantile.
    pub curve: Vec<Point>,
}

/// What ended within a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Second {
    /// How many.
    pub count: u64,
    /// Half took no longer, µs.
    pub p50_us: u64,
    /// 99 of 100 took no longer, µs.
    pub p99_us: u64,
}

impl Run {
    /// The main series.
    pub fn main(&self) -> Option<&Series> {
        self.series.first()
    }
}

impl Series {
    /// Whether the server kept up: it did what was asked for, and within the bound.
    pub fn holds(&self, bound: LatencyBound) -> bool {
        let keeps_up = self.achieved_per_second >= KEEPS_UP * self.offered_per_second;
        let fails = crate::number::float(self.failed) > MOST_FAILED * crate::number::float(self.begun);
        self.begun > 0 && self.latency.count > 0 && self.latency.p99_us <= bound.p99_us && keeps_up && !fails
    }
}

/// What has to be achieved of what is offered.
const KEEPS_UP: f64 = 0.95;
/// The part that may fail.
const MOST_FAILED: f64 = 0.001;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn series(offered: f64, achieved: f64, p99_us: u64, failed: u64) -> Series {
        let latency = Summary {
            count: 1_000,
            mean_us: 900.0,
            p50_us: p99_us / 4,
            p90_us: p99_us / 2,
            p99_us,
            p999_us: p99_us * 2,
            max_us: p99_us * 3,
        };
        Series {
            name: "round trip",
            begun: 1_000,
            offered_per_second: offered,
            achieved_per_second: achieved,
            latency,
            failed,
            failed_by_kind: BTreeMap::from([("429 a.b".to_owned(), failed)])
                .into_iter()
                .filter(|it| it.1 > 0)
                .collect(),
            curve: vec![
                Point { quantile: 0.5, us: p99_us / 4 },
                Point { quantile: 0.99, us: p99_us },
                Point { quantile: 1.0, us: p99_us * 3 },
            ],
        }
    }

    pub(crate) fn run(rate: f64, main: Series, kept: Option<bool>) -> Run {
        let second = Second { count: 100, p50_us: main.latency.p50_us, p99_us: main.latency.p99_us };
        Run {
            rate,
            seconds: 3,
            series: vec![main],
            timeline: vec![second; 3],
            late: Summary { count: 1_000, p50_us: 60, p99_us: 200, ..Summary::default() },
            generator_cpu: 0.25,
            generator_is_limit: false,
            kept,
        }
    }

    pub(crate) fn report(runs: Vec<Run>, capacity: Option<f64>) -> Report {
        Report {
            scenario: Scenario::Stream,
            url: "http://127.0.0.1:8080".into(),
            arrivals: Arrivals::Poisson,
            seed: 1,
            players: 64,
            unit: "round trips",
            search: runs.iter().any(|it| it.kept.is_some()).then_some(LatencyBound { p99_us: 20_000 }),
            capacity_per_second: capacity,
            runs,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_rate_holds_that_keeps_the_bound_and_keeps_up_without_failures() {
        let bound = LatencyBound { p99_us: 20_000 };
        assert!(series(100.0, 99.0, 20_000, 0).holds(bound));
        assert!(series(100.0, 99.0, 20_000, 1).holds(bound));
        assert!(!series(100.0, 99.0, 20_001, 0).holds(bound), "too slow");
        assert!(!series(100.0, 94.0, 20_000, 0).holds(bound), "doesn't keep up");
        assert!(!series(100.0, 99.0, 20_000, 2).holds(bound), "fails");
        assert!(!Series { begun: 0, ..series(0.0, 0.0, 0, 0) }.holds(bound), "nothing was done");
    }

    #[test]
    fn programs_get_every_figure() {
        let report = report(vec![run(100.0, series(100.0, 99.0, 8_000, 3), None)], None);
        let json: serde_json::Value = serde_json::to_value(&report).unwrap();
        assert_eq!(json["scenario"], "stream");
        assert_eq!(json["arrivals"], "poisson");
        let main = &json["runs"][0]["series"][0];
        assert_eq!((main["latency"]["p99_us"].as_u64(), main["failed"].as_u64()), (Some(8_000), Some(3)));
        assert_eq!(main["failed_by_kind"]["429 a.b"], 3);
        assert_eq!(main["curve"][1]["quantile"], 0.99);
    }
}
