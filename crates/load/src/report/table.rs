//! The report for people.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets::NOTHING};

use super::{Report, Run, Series};

impl Report {
    /// Tables; latencies in milliseconds.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} at {}: {} players, {:?} arrivals of seed {}\n\n",
            self.scenario, self.url, self.players, self.arrivals, self.seed
        )
        .to_lowercase();
        if self.search.is_some() {
            text.push_str(&print(&self.steps()));
        } else {
            for run in &self.runs {
                text.push_str(&print(&details(run)));
                text.push_str(&beside(run));
            }
        }
        text.push_str(&self.outcome());
        for warning in &self.warnings {
            let _infallible = writeln!(text, "\nwarning: {warning}");
        }
        text
    }

    fn outcome(&self) -> String {
        let Some(bound) = self.search else { return String::new() };
        match self.capacity_per_second {
            Some(rate) => {
                let bound = millis(bound.p99_us);
                format!("\ncapacity: {rate:.0} {} per second with a p99 of at most {bound} ms\n", self.unit)
            }
            None => format!("\ncapacity: no rate keeps a p99 of {} ms\n", millis(bound.p99_us)),
        }
    }

    fn steps(&self) -> Table {
        let mut table = table(&STEP);
        for run in &self.runs {
            table.add_row(step(run));
        }
        right(&mut table, 0..9);
        table
    }
}

const STEP: [&str; 10] =
    ["RATE/s", "ACHIEVED/s", "P50 ms", "P90 ms", "P99 ms", "MAX ms", "FAILED", "LATE P99", "GENERATOR", ""];

/// What stands above the lines of steps.
pub(crate) fn heading() -> String {
    columns(STEP.iter())
}

/// A finished step in one line.
pub(crate) fn line(run: &Run) -> String {
    columns(step(run).iter())
}

fn columns(cells: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let line: Vec<String> = cells.map(|it| format!("{it:>10}")).collect();
    line.join(" ")
}

fn step(run: &Run) -> Vec<String> {
    let Some(main) = run.main() else { return Vec::new() };
    let verdict = match (run.kept, run.generator_is_limit) {
        (Some(true), _) => "holds",
        (_, true) => "generator too slow",
        _ => "too much",
    };
    vec![
        format!("{:.0}", main.offered_per_second),
        format!("{:.0}", main.achieved_per_second),
        millis(main.latency.p50_us),
        millis(main.latency.p90_us),
        millis(main.latency.p99_us),
        millis(main.latency.max_us),
        main.failed.to_string(),
        millis(run.late.p99_us),
        format!("{:.0} %", run.generator_cpu * 100.0),
        verdict.to_owned(),
    ]
}

fn details(run: &Run) -> Table {
    let mut table =
        table(&["", "OFFERED/s", "ACHIEVED/s", "MEAN ms", "P50", "P90", "P99", "P99.9", "MAX", "FAILED"]);
    for series in &run.series {
        let latency = series.latency;
        table.add_row(vec![
            series.name.to_owned(),
            format!("{:.1}", series.offered_per_second),
            format!("{:.1}", series.achieved_per_second),
            format!("{:.2}", latency.mean_us / 1_000.0),
            millis(latency.p50_us),
            millis(latency.p90_us),
            millis(latency.p99_us),
            millis(latency.p999_us),
            millis(latency.max_us),
            series.failed.to_string(),
        ]);
    }
    right(&mut table, 1..10);
    table
}

/// What isn't the server's.
fn beside(run: &Run) -> String {
    let mut text = String::new();
    for Series { name, failed_by_kind, .. } in &run.series {
        for (kind, count) in failed_by_kind {
            let _infallible = writeln!(text, " {name} failed {count} times: {kind}");
        }
    }
    let late = &run.late;
    let _infallible = writeln!(
        text,
        "\n the generator took {:.0} % of a core and began units {} ms late (p99), {} ms at most",
        run.generator_cpu * 100.0,
        millis(late.p99_us),
        millis(late.max_us)
    );
    text
}

/// Microseconds as milliseconds.
pub(crate) fn millis(us: u64) -> String {
    format!("{:.2}", crate::number::float(us) / 1_000.0)
}

fn table(names: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(names);
    table
}

fn right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn print(table: &Table) -> String {
    table.to_string().lines().map(|it| format!("{}\n", it.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{report, run, series};

    #[test]
    fn a_run_is_a_table_of_its_series_with_failures_by_kind() {
        let text = report(vec![run(100.0, series(100.0, 99.5, 8_000, 3), None)], None).text();
        for part in [
            "stream at http://127.0.0.1:8080: 64 players, poisson arrivals of seed 1",
            "99.5",
            "8.00",
            "failed 3 times: 429 a.b",
            "25 % of a core",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn a_search_is_a_table_of_its_steps_with_the_capacity() {
        let runs = vec![
            run(100.0, series(100.0, 100.0, 8_000, 0), Some(true)),
            run(200.0, series(200.0, 120.0, 80_000, 0), Some(false)),
        ];
        let text = report(runs.clone(), Some(100.0)).text();
        for part in
            ["holds", "too much", "capacity: 100 round trips per second with a p99 of at most 20.00 ms"]
        {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(report(runs, None).text().contains("no rate keeps a p99 of 20.00 ms"));
    }
}
