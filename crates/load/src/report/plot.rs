//! The report as a picture. What is drawn is computed by pure functions; drawing is the library's.

use plotters::{
    coord::Shift,
    prelude::{
        BLACK, ChartBuilder, Color as _, DrawingArea, IntoDrawingArea as _, IntoLogRange as _, LineSeries,
        PathElement, RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
    },
};

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
    pub lines: Vec<Line>,
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
pub struct Line {
    /// What it is.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

/// No percentile beyond 99.9999 is drawn.
const MOST_NINES: f64 = 6.0;
/// Latencies below are drawn here, milliseconds.
const LEAST_MS: f64 = 0.001;
const SIZE: (u32, u32) = (960, 380);
const COLORS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(23, 190, 207),
];

/// The charts of a report: latency over the rate for a search, by percentile and over time for a single run.
pub fn panels(report: &Report) -> Vec<Panel> {
    if let Some(bound) = report.search {
        return vec![over_rate(&report.runs, ms(bound.p99_us)), kept_up(&report.runs)];
    }
    let run = report.runs.first();
    run.map(|run| vec![by_percentile(run), over_time(run), throughput(run)]).unwrap_or_default()
}

/// The charts as an SVG document. Errors: a library that can't draw.
pub fn svg(report: &Report) -> anyhow::Result<String> {
    let panels = panels(report);
    let height = SIZE.1.saturating_mul(u32::try_from(panels.len()).unwrap_or(1).max(1));
    let mut text = String::new();
    {
        let page = SVGBackend::with_string(&mut text, (SIZE.0, height)).into_drawing_area();
        page.fill(&WHITE)?;
        for (area, panel) in page.split_evenly((panels.len().max(1), 1)).iter().zip(&panels) {
            draw(area, panel)?;
        }
        page.present()?;
    }
    Ok(text)
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
    let lines = run.series.iter().filter(|it| !it.curve.is_empty()).map(|it| {
        // The last point stands for all; it belongs where its number does.
        let most = nines(1.0 - 1.0 / float(it.latency.count.max(2)));
        let points = it.curve.iter().map(|it| (nines(it.quantile).min(most), ms(it.us))).collect();
        Line { name: it.name.to_owned(), points }
    });
    Panel {
        title: format!("Latency by percentile at {:.0} per second", run.rate),
        x: Axis::Percentile,
        y: "ms",
        logarithmic: true,
        lines: lines.collect(),
    }
}

fn by_second(run: &Run, name: &str, value: impl Fn(&Second) -> f64) -> Line {
    let seconds = run.timeline.iter().enumerate();
    Line { name: name.to_owned(), points: seconds.map(|(at, it)| (float(count(at)), value(it))).collect() }
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
fn by_rate(runs: &[Run], name: &str, value: impl Fn(&super::Series) -> f64) -> Line {
    let mut points: Vec<_> =
        runs.iter().filter_map(Run::main).map(|it| (it.offered_per_second, value(it))).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    Line { name: name.to_owned(), points }
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

/// The smallest range with all values and some room; never empty.
fn range(values: impl Iterator<Item = f64>, logarithmic: bool) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values.filter(|it| it.is_finite()) {
        low = low.min(value);
        high = high.max(value);
    }
    if low > high {
        return if logarithmic { (0.1, 10.0) } else { (0.0, 1.0) };
    }
    if logarithmic {
        (low.max(LEAST_MS) / 1.5, high.max(LEAST_MS) * 1.5)
    } else {
        (0.0, (high * 1.1).max(1.0))
    }
}

fn draw(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel) -> anyhow::Result<()> {
    let points = || panel.lines.iter().flat_map(|it| &it.points);
    let (left, right) = range(points().map(|it| it.0), false);
    let (low, high) = range(points().map(|it| it.1), panel.logarithmic);
    let mut chart = ChartBuilder::on(area);
    chart.caption(&panel.title, ("sans-serif", 18)).margin(12);
    chart.x_label_area_size(36).y_label_area_size(64);
    // The two scales are two types of the library's.
    macro_rules! lines_on {
        ($y:expr) => {{
            let mut chart = chart.build_cartesian_2d(left..right, $y)?;
            let mut mesh = chart.configure_mesh();
            mesh.x_desc(panel.x.name()).y_desc(panel.y).x_labels(8).y_labels(8);
            mesh.x_label_formatter(&|it| panel.x.label(*it)).y_label_formatter(&|it| short(*it)).draw()?;
            for (line, color) in panel.lines.iter().zip(COLORS.iter().cycle()) {
                let drawn =
                    chart.draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))?;
                drawn.label(&line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], *color));
            }
            let mut legend = chart.configure_series_labels();
            legend.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8));
            legend.border_style(BLACK.mix(0.3)).draw()?;
        }};
    }
    if panel.logarithmic {
        lines_on!((low..high).log_scale());
    } else {
        lines_on!(low..high);
    }
    Ok(())
}

impl Axis {
    const fn name(self) -> &'static str {
        match self {
            Self::Percentile => "percentile",
            Self::Seconds => "seconds",
            Self::Rate => "offered per second",
        }
    }

    fn label(self, at: f64) -> String {
        match self {
            Self::Percentile => format!("{}", (1.0 - 10.0_f64.powf(-at)) * 100.0).chars().take(7).collect(),
            Self::Seconds | Self::Rate => short(at),
        }
    }
}

fn short(value: f64) -> String {
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
        fn all_points_are_inside_of_the_range(values in prop::collection::vec(0.0..1e9_f64, 0..50), logarithmic: bool) {
            let (low, high) = range(values.iter().copied(), logarithmic);
            prop_assert!(low < high && low.is_finite() && high.is_finite());
            let least = if logarithmic { LEAST_MS } else { 0.0 };
            prop_assert!(values.iter().all(|it| (low..=high).contains(&it.max(least))));
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
        assert_eq!(Axis::Percentile.label(nines(0.5)), "50");
        assert_eq!(Axis::Percentile.label(1.0), "90");
        assert_eq!(Axis::Percentile.label(3.0), "99.9");
    }

    #[test]
    fn a_picture_has_all_lines_with_their_names() {
        let drawn = svg(&report(vec![run(100.0, series(100.0, 99.0, 8_000, 0), None)], None)).unwrap();
        assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"), "{drawn}");
        for text in [
            "Latency by percentile at 100 per second",
            "round trip",
            "Throughput over time",
            "achieved",
            "p99",
        ] {
            assert!(drawn.contains(text), "{text} is missing");
        }
        assert!(drawn.matches("<polyline").count() >= 5);
        let searched = svg(&report(steps(&[100, 200, 150]), Some(200.0))).unwrap();
        assert!(searched.contains("Latency over rate") && searched.contains("bound of p99"));
    }

    #[test]
    fn nothing_measured_is_an_empty_picture_and_no_failure() {
        let mut empty = run(100.0, series(0.0, 0.0, 0, 0), None);
        empty.timeline.clear();
        empty.series[0].curve.clear();
        assert!(svg(&report(vec![empty], None)).unwrap().starts_with("<svg"));
    }
}
