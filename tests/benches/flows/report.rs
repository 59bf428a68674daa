//! Figures, their bars, and how they are shown.

use serde_json::{Value, json};

use crate::machine::Machine;

/// What a figure has to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
    /// It is shown, and nothing is asked of it.
    None,
}

impl Bar {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bar) => value >= bar,
            // What isn't a number isn't met.
            Self::AtMost(bar) => value <= bar,
            Self::None => true,
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Measurement {
    key: &'static str,
    name: &'static str,
    unit: &'static str,
    ours: f64,
    baseline: Option<(&'static str, f64)>,
    /// Ours in parts of the baseline.
    ratio: Option<f64>,
    bar: Bar,
}

impl Measurement {
    /// `key` is its name for programs.
    pub(crate) fn new(key: &'static str, name: &'static str, unit: &'static str) -> Self {
        Self { key, name, unit, ours: f64::NAN, baseline: None, ratio: None, bar: Bar::None }
    }

    /// Ours and a baseline's.
    pub(crate) fn compared(self, ours: f64, what: &'static str, baseline: f64) -> Self {
        Self { ours, baseline: Some((what, baseline)), ..self }
    }

    /// The ratio of both, which the bar is about.
    pub(crate) fn ratio(self, ratio: f64, bar: Bar) -> Self {
        Self { ratio: Some(ratio), bar, ..self }
    }

    /// A figure without a baseline.
    pub(crate) fn absolute(self, ours: f64, bar: Bar) -> Self {
        Self { ours, bar, ..self }
    }

    fn is_met(&self) -> bool {
        self.bar.is_met(self.ratio.unwrap_or(self.ours))
    }

    fn row(&self) -> [String; 6] {
        let unit = if self.ratio.is_some() { "" } else { self.unit };
        let bar = match self.bar {
            Bar::AtLeast(bar) => format!("≥ {bar} {unit}").trim().to_owned(),
            Bar::AtMost(bar) => format!("≤ {bar} {unit}").trim().to_owned(),
            Bar::None => String::new(),
        };
        let met = match (self.bar, self.is_met()) {
            (Bar::None, _) => "",
            (_, true) => "yes",
            (_, false) => "**no**",
        };
        [
            self.name.to_owned(),
            format!("{} {}", number(self.ours), self.unit),
            self.baseline.map(|it| format!("{} {} ({})", number(it.1), self.unit, it.0)).unwrap_or_default(),
            self.ratio.map(|it| format!("{it:.2}")).unwrap_or_default(),
            bar,
            met.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let (at_least, at_most) = match self.bar {
            Bar::AtLeast(bar) => (Some(bar), None),
            Bar::AtMost(bar) => (None, Some(bar)),
            Bar::None => (None, None),
        };
        json!({
            "key": self.key,
            "name": self.name,
            "unit": self.unit,
            "ours": self.ours,
            "baseline": self.baseline.map(|it| json!({"what": it.0, "value": it.1})),
            "ratio": self.ratio,
            "at_least": at_least,
            "at_most": at_most,
            "met": self.is_met(),
        })
    }
}

/// Three digits that matter, and all before the point.
fn number(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// All figures of a run.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Machine,
    measurements: Vec<Measurement>,
}

impl Report {
    pub(crate) fn new(machine: Machine) -> Self {
        Self { machine, measurements: Vec::new() }
    }

    pub(crate) fn add(&mut self, measurements: Vec<Measurement>) {
        self.measurements.extend(measurements);
    }

    /// Whether every bar is met.
    pub(crate) fn is_met(&self) -> bool {
        self.measurements.iter().all(Measurement::is_met)
    }

    /// For people: a table that is aligned as text and valid Markdown.
    pub(crate) fn markdown(&self) -> String {
        let head = ["Flow", "Ours", "Baseline", "Ratio", "Bar", "Met"].map(str::to_owned);
        let rows: Vec<_> =
            std::iter::once(head).chain(self.measurements.iter().map(Measurement::row)).collect();
        let mut widths = [3; 6];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let line = |cells: &[String; 6]| {
            let cells: Vec<_> =
                cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut table: String = rows.iter().map(line).collect();
        let rule = widths.map(|it| "-".repeat(it));
        let end_of_head = table.find('\n').map_or(0, |it| it + 1);
        table.insert_str(end_of_head, &line(&rule));
        let machine = &self.machine;
        format!(
            "Measured on: {}, {} cores, {}, {},\n{},\nPostgreSQL {}, Docker {}.\n\n{table}",
            machine.cpu,
            machine.cores,
            machine.memory,
            machine.kernel,
            machine.rustc,
            machine.postgresql,
            machine.docker
        )
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        let measurements: Vec<_> = self.measurements.iter().map(Measurement::json).collect();
        json!({"machine": self.machine, "figures": measurements, "met": self.is_met()}).to_string()
    }
}
