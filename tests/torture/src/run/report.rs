//! The lines that a run prints, and its summary.

use std::{path::PathBuf, time::Duration};

use comfy_table::{Table, presets::NOTHING};

use crate::{
    history::{Counts, Judge, Violation},
    schedule::Fault,
};

/// How long it took from the end of a fault, or from the start of the server after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Until the server reported that it is ready.
    pub ready: Duration,
    /// Until every player and every game server had been answered since then.
    pub served: Duration,
}

/// The server must be ready again within this time.
pub(super) const BAR: Duration = Duration::from_secs(2);

/// How a run has ended.
#[derive(Debug)]
pub struct Outcome {
    /// What must not have happened.
    pub violations: Vec<Violation>,
    /// What was wrong besides: clients that were never served, or refused without a cause.
    pub findings: Vec<String>,
    /// Rounds after which the server was not ready within 2 s.
    pub slow: Vec<String>,
    /// What was counted.
    pub counts: Counts,
    /// How often the server ended by itself and was started again.
    pub relaunches: u32,
    /// Where the history was written to.
    pub history: Option<PathBuf>,
    /// The summary, for people.
    pub summary: String,
}

struct Row {
    name: String,
    recovery: Recovery,
    relaunched: bool,
}

pub(super) struct Report {
    print: Box<dyn Fn(&str) + Send + Sync>,
    rows: Vec<Row>,
    pub(super) findings: Vec<String>,
    before: Counts,
}

impl Report {
    pub(super) fn new(print: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        Self { print, rows: Vec::new(), findings: Vec::new(), before: Counts::default() }
    }

    pub(super) fn print(&self, line: &str) {
        (self.print)(line);
    }

    /// Prints how a round went.
    pub(super) fn round(&mut self, number: usize, faults: &[Fault], recovery: Recovery, judge: &Judge) {
        let names: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let relaunched = faults.iter().any(|it| matches!(it, Fault::KillServer | Fault::RestartServer));
        self.step(format!("{number}: {}", names.join(", ")), relaunched, recovery, judge);
    }

    /// The same of any step; `relaunched`: the bar holds for it.
    pub(super) fn step(&mut self, name: String, relaunched: bool, recovery: Recovery, judge: &Judge) {
        let counts = judge.counts();
        let before = std::mem::replace(&mut self.before, counts);
        let Recovery { ready, served } = recovery;
        self.print(&format!(
            "{name}: ready after {ready:.2?}, all served after {served:.2?}; {} taken, {} delivered, {} repeated",
            counts.taken.saturating_sub(before.taken),
            counts.deliveries.saturating_sub(before.deliveries),
            counts.repeats.saturating_sub(before.repeats),
        ));
        for violation in judge.verdict() {
            self.print(&format!("  VIOLATION {violation}"));
        }
        for finding in &self.findings {
            self.print(&format!("  WRONG {finding}"));
        }
        self.rows.push(Row { name, recovery, relaunched });
    }

    /// The end.
    pub(super) fn close(
        self,
        violations: Vec<Violation>,
        counts: Counts,
        relaunches: u32,
        history: Option<PathBuf>,
        lasted: Duration,
    ) -> Outcome {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["round", "ready", "all served"]);
        let seconds = |it: Duration| format!("{:.2} s", it.as_secs_f64());
        for Row { name, recovery, .. } in &self.rows {
            table.add_row([name.clone(), seconds(recovery.ready), seconds(recovery.served)]);
        }
        let Counts { taken, deliveries, repeats, tickets, profiles, records } = counts;
        let summary = format!(
            "{table}\n{} rounds in {lasted:.0?}: {taken} messages acknowledged, {deliveries} delivered ({repeats} of \
             them repeated), {tickets} tickets, {profiles} profiles, {records} records; the server ended \
             {relaunches} times by itself; {} violations, {} findings",
            self.rows.len(),
            violations.len(),
            self.findings.len(),
        );
        let late = |it: &&Row| it.relaunched && it.recovery.ready > BAR;
        let slow = self.rows.iter().filter(late);
        let slow =
            slow.map(|it| format!("{}: ready after {}", it.name, seconds(it.recovery.ready))).collect();
        Outcome { violations, findings: self.findings, slow, counts, relaunches, history, summary }
    }
}
