//! The report as a picture: what is drawn. All of it is computed by pure functions.

use super::{Report, Run, Second};
use crate::number::{count, float};

/// One chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// What is to the right.
    pub x: Axis,
    /// What is upwards; always a logarithmic scale of milliseconds or a linear one of a rate.
    pub y: &'static str,
    /// Whether the upward scale is logarithmic.
    pub logarithmic: bool,
    /// What is drawn.
    pub lines: Vec<PlotLine>,
}

/// What a chart has to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Percentiles, each nine as far from the next as the one before: `-log10(1 - quantile)`.
    Percentile,
    /// Seconds since the start of the window.
    Seconds,
    /// Units per second that were offered.
    Rate,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct PlotLine {
    /// What it is.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// No percentile beyond 99.9999 is drawn.
const MOST_NINES: f64 = 6.0;
/// Latencies below are drawn here, milliseconds.
pub(super) const LEAST_MS: f64 = 0.001;

/// The charts of a report: latency over the rate for a search, by percentile and over time for a
/// single run.
pub fn panels(report: &Report) -> Vec<Panel> {
    if let Some(bound) = report.search {
        return vec![over_rate(&report.runs, ms(bound.p99_us)), kept_up(&report.runs)];
    }
    let run = report.runs.first();
    run.map(|run| vec![by_percentile(run), over_time(run), throughput(run)]).unwrap_or_default()
}

fn ms(us: u64) -> f64 {
    (float(us) / 1_000.0).max(LEAST_MS)
}

/// How far to the right a quantile stands.
fn nines(quantile: f64) -> f64 {
    let rest = 1.0 - quantile.clamp(0.0, 1.0);
    if rest <= 0.0 { MOST_NINES } else { (-rest.log10()).clamp(0.0, MOST_NINES) }
}

fn by_percentile(run: &Run) -> Panel {
    let lines = run.series.iter().filter(|it| !it.curve.is_empty()).map(|series| {
        // The last point stands for all; it belongs where its number does.
        let most = nines(1.0 - 1.0 / float(series.latency.count.max(2)));
        let points = series.curve.iter().map(|it| (nines(it.quantile).min(most), ms(it.us))).collect();
        PlotLine { name: series.name.to_owned(), points }
    });
    Panel {
        title: format!("Latency by percentile at {:.0} per second", run.rate),
        x: Axis::Percentile,
        y: "ms",
        logarithmic: true,
        lines: lines.collect(),
    }
}

fn by_second(run: &Run, name: &str, value: impl Fn(&Second) -> f64) -> PlotLine {
    let seconds = run.timeline.iter().enumerate();
    PlotLine {
        name: name.to_owned(),
        points: seconds.map(|(at, it)| (float(count(at)), value(it))).collect(),
    }
}

fn over_time(run: &Run) -> Panel {
    let p50 = by_second(run, "p50", |it| ms(it.p50_us));
    let p99 = by_second(run, "p99", |it| ms(it.p99_us));
    Panel {
        title: "Latency over time".into(),
        x: Axis::Seconds,
        y: "ms",
        logarithmic: true,
        lines: vec![p50, p99],
    }
}

fn throughput(run: &Run) -> Panel {
    let done = by_second(run, "achieved", |it| float(it.count));
    let offered = run.main().map_or(run.rate, |it| it.offered_per_second);
    let wanted = by_second(run, "offered, mean", |_| offered);
    Panel {
        title: "Throughput over time".into(),
        x: Axis::Seconds,
        y: "per second",
        logarithmic: false,
        lines: vec![done, wanted],
    }
}

/// A value of each run's main series over what was offered, from left to right.
fn by_rate(runs: &[Run], name: &str, value: impl Fn(&super::Series) -> f64) -> PlotLine {
    let mut points: Vec<_> =
        runs.iter().filter_map(Run::main).map(|it| (it.offered_per_second, value(it))).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    PlotLine { name: name.to_owned(), points }
}

fn over_rate(runs: &[Run], bound: f64) -> Panel {
    let lines = vec![
        by_rate(runs, "p50", |it| ms(it.latency.p50_us)),
        by_rate(runs, "p90", |it| ms(it.latency.p90_us)),
        by_rate(runs, "p99", |it| ms(it.latency.p99_us)),
        by_rate(runs, "bound of p99", |_| bound),
    ];
    Panel { title: "Latency over rate".into(), x: Axis::Rate, y: "ms", logarithmic: true, lines }
}

fn kept_up(runs: &[Run]) -> Panel {
    let lines = vec![
        by_rate(runs, "achieved", |it| it.achieved_per_second),
        by_rate(runs, "offered", |it| it.offered_per_second),
    ];
    Panel {
        title: "Achieved over offered rate".into(),
        x: Axis::Rate,
        y: "per second",
        logarithmic: false,
        lines,
    }
}

impl Axis {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Percentile => "percentile",
            Self::Seconds => "seconds",
            Self::Rate => "offered per second",
        }
    }

    pub(super) fn label(self, at: f64) -> String {
        match self {
            // Between two nines there is no percentile that anybody has a name for.
            Self::Percentile if (at - at.round()).abs() > 0.01 => String::new(),
            Self::Percentile => format!("{}", (1.0 - 10.0_f64.powf(-at)) * 100.0).chars().take(7).collect(),
            Self::Seconds | Self::Rate => short(at),
        }
    }
}

pub(super) fn short(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::tests::{report, run, series},
        *,
    };

    fn steps(rates: &[u32]) -> Vec<Run> {
        let step = |rate: f64| run(rate, series(rate, rate * 0.99, 5_000, 0), Some(true));
        rates.iter().map(|it| step(f64::from(*it))).collect()
    }

    proptest! {
        #[test]
        fn a_search_is_drawn_from_left_to_right_whatever_the_order_of_its_steps(rates in prop::collection::vec(1..100_000_u32, 1..20)) {
            for panel in panels(&report(steps(&rates), None)) {
                for line in &panel.lines {
                    prop_assert_eq!(line.points.len(), rates.len());
                    prop_assert!(line.points.is_sorted_by(|one, next| one.0 <= next.0));
                }
            }
        }

        #[test]
        fn more_nines_stand_further_right(one in 0.0..=1.0_f64, other in 0.0..=1.0_f64) {
            let (less, more) = (one.min(other), one.max(other));
            prop_assert!(nines(less) <= nines(more));
            prop_assert!((0.0..=MOST_NINES).contains(&nines(one)));
        }
    }

    #[test]
    fn the_nines_are_labelled_as_percentiles() {
        assert_eq!(Axis::Percentile.label(nines(0.5)), "");
        assert_eq!(Axis::Percentile.label(1.0), "90");
        assert_eq!(Axis::Percentile.label(3.0), "99.9");
    }
}
