//! The report as a picture: charts become an SVG document.

use plotters::{
    coord::Shift,
    prelude::{
        BLACK, ChartBuilder, Color as _, DrawingArea, IntoDrawingArea as _, IntoLogRange as _, LineSeries,
        PathElement, RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
    },
};

use super::{
    Report,
    plot::{LEAST_MS, Panel, panels, short},
};

const SIZE: (u32, u32) = (960, 380);
const COLORS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(23, 190, 207),
];

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{
            Run,
            tests::{report, run, series},
        },
        *,
    };

    fn steps(rates: &[u32]) -> Vec<Run> {
        let step = |rate: f64| run(rate, series(rate, rate * 0.99, 5_000, 0), Some(true));
        rates.iter().map(|it| step(f64::from(*it))).collect()
    }

    proptest! {
        #[test]
        fn all_points_are_inside_of_the_range(values in prop::collection::vec(0.0..1e9_f64, 0..50), logarithmic: bool) {
            let (low, high) = range(values.iter().copied(), logarithmic);
            prop_assert!(low < high && low.is_finite() && high.is_finite());
            let least = if logarithmic { LEAST_MS } else { 0.0 };
            prop_assert!(values.iter().all(|it| (low..=high).contains(&it.max(least))));
        }
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
