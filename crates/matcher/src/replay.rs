//! A recorded log against a rule set, offline: would these rules have been better?
//!
//! The log has what came; the pool decides anew, in virtual time. Nobody knows what the players
//! would have done otherwise: a cancellation takes effect if its ticket still waits then.

mod log;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead},
};

use omgservers_api::{MatchId, TicketId, config::ModeConfig, ids::Id as _};

pub use self::{
    log::{LogEvent, LogLine},
    report::{ReplayReport, RuleSpread, Spread},
};
use crate::{Effect, Millis, Placement, Pool, Rationale, Ticket};

/// How to replay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Milliseconds that a match takes more players after it has formed; `None`: until it is full.
    pub open_ms: Option<i64>,
}

/// A log that can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It can't be read.
    #[error("line {line}: {error}")]
    Read {
        /// From 1.
        line: usize,
        /// Why.
        error: io::Error,
    },
    /// A line is none of a log.
    #[error("line {line}: {why}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// No ticket is for the mode.
    #[error("the log has no ticket for the mode `{mode}`, only for: {found}")]
    NoTicket {
        /// The mode.
        mode: String,
        /// The modes that it has tickets for.
        found: String,
    },
}

/// Runs the pool of a mode over a log.
///
/// # Errors
/// The first line that isn't one of a log, or a log without tickets for the mode.
pub fn replay(mode: &ModeConfig, log: impl BufRead, options: Options) -> Result<ReplayReport, ReplayError> {
    let mut run = ReplayRun {
        pool: Pool::new(mode),
        options,
        seen: BTreeSet::new(),
        formed: 0,
        matches: BTreeMap::new(),
        closing: BTreeSet::new(),
        waited: Vec::new(),
        report: ReplayReport { mode: mode.name.clone(), ..ReplayReport::default() },
    };
    let mut found = BTreeSet::new();
    for (index, line) in log.lines().enumerate() {
        let number = index + 1;
        let line = line.map_err(|error| ReplayError::Read { line: number, error })?;
        if line.trim().is_empty() {
            continue;
        }
        let line = read(&line).map_err(|why| ReplayError::Line { line: number, why })?;
        match (line.event, line.mode) {
            (LogEvent::Add { .. }, None) => {
                return Err(ReplayError::Line { line: number, why: "missing field `mode`".to_owned() });
            }
            (LogEvent::Add { ticket }, Some(name)) => {
                if name == mode.name {
                    run.add(ticket, Millis(line.at_ms));
                }
                found.insert(name);
            }
            (LogEvent::Cancel { ticket_id }, _) => run.cancel(ticket_id, Millis(line.at_ms)),
        }
    }
    if found.contains(&mode.name) {
        return Ok(run.end());
    }
    let found: Vec<String> = found.iter().map(|it| format!("`{it}`")).collect();
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    Err(ReplayError::NoTicket { mode: mode.name.clone(), found })
}

fn read(line: &str) -> Result<LogLine, String> {
    serde_json::from_str(line).map_err(|error| {
        // Its own line is always the first.
        let text = error.to_string();
        text.split(" at line 1 ").collect::<Vec<_>>().join(", at ")
    })
}

struct ReplayRun {
    pool: Pool,
    options: Options,
    seen: BTreeSet<TicketId>,
    /// Matches that have formed; their ids count up.
    formed: i64,
    matches: BTreeMap<MatchId, Rationale>,
    closing: BTreeSet<(Millis, MatchId)>,
    waited: Vec<f64>,
    report: ReplayReport,
}

impl ReplayRun {
    fn add(&mut self, ticket: Ticket, now: Millis) {
        // One that comes back, because its match didn't start, is the same one.
        if !self.seen.insert(ticket.id) {
            return;
        }
        self.go_to(now);
        let players = u64::try_from(ticket.clients.len()).unwrap_or(u64::MAX);
        let added = self.pool.add(ticket, now, &mut counting(&mut self.formed));
        match added {
            Ok(effects) => {
                self.report.tickets += 1;
                self.report.players += players;
                self.take(effects, now);
            }
            Err(refusal) => {
                self.report.refused += 1;
                self.report.first_refusal.get_or_insert_with(|| refusal.to_string());
            }
        }
    }

    fn cancel(&mut self, id: TicketId, now: Millis) {
        self.go_to(now);
        self.report.cancelled += u64::from(self.pool.cancel(id).is_some());
    }

    /// Everything that is due until then, one after the other.
    fn go_to(&mut self, now: Millis) {
        loop {
            let closing = self.closing.first().copied().filter(|it| it.0 <= now);
            let due = self.pool.next_deadline().filter(|it| *it <= now);
            match (due, closing) {
                (Some(due), _) if closing.is_none_or(|it| due < it.0) => {
                    let effects = self.pool.advance(due, &mut counting(&mut self.formed));
                    self.take(effects, due);
                }
                (_, Some(closing)) => {
                    self.closing.remove(&closing);
                    self.pool.close_match(closing.1);
                }
                _ => return,
            }
        }
    }

    fn take(&mut self, effects: Vec<Effect>, now: Millis) {
        for effect in effects {
            match effect {
                Effect::Form { match_id: id, placements, rationale } => {
                    self.report.matches += 1;
                    self.report.smaller += u64::from(rationale.smaller);
                    if let Some(open) = self.options.open_ms {
                        self.closing.insert((now.plus(open), id));
                    }
                    self.keep(id, &placements, rationale);
                }
                Effect::Fill { match_id: id, placements, rationale } => {
                    self.report.filled += u64::try_from(placements.len()).unwrap_or(0);
                    self.keep(id, &placements, rationale);
                }
                Effect::Expire { .. } => self.report.expired += 1,
            }
        }
    }

    fn keep(&mut self, id: MatchId, placements: &[Placement], rationale: Rationale) {
        self.report.matched += u64::try_from(placements.len()).unwrap_or(0);
        self.waited.extend(rationale.tickets.iter().map(|it| number(it.waited_ms)));
        self.matches.insert(id, rationale);
    }

    fn end(self) -> ReplayReport {
        let mut report = self.report;
        let matches = || self.matches.values();
        report.waiting = u64::try_from(self.pool.len()).unwrap_or(u64::MAX);
        report.waited_ms = Spread::of(self.waited);
        let players = |it: &Rationale| it.groups.iter().map(|it| f64::from(it.players)).sum();
        report.players_per_match = Spread::of(matches().map(players).collect());
        let rules = matches().next().map(|it| it.rules.clone()).unwrap_or_default();
        report.rules = rules
            .into_iter()
            .enumerate()
            .map(|(index, rule)| {
                let reached = matches().filter_map(|it| it.rules.get(index)).map(|it| it.difference);
                RuleSpread { rule: rule.rule, difference: Spread::of(reached.collect()) }
            })
            .collect();
        report
    }
}

fn counting(formed: &mut i64) -> impl FnMut() -> Option<MatchId> + '_ {
    || {
        *formed += 1;
        MatchId::from_i64(*formed)
    }
}

/// Milliseconds stay far below 2⁵³.
fn number(milliseconds: i64) -> f64 {
    #[expect(clippy::as_conversions, reason = "exact for what is a time of waiting")]
    let number = milliseconds as f64;
    number
}
