//! What a rule set would have made of a log.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// What a rule set made of a log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// The mode.
    pub mode: String,
    /// Tickets of the log that were taken.
    pub tickets: u64,
    /// Their clients.
    pub players: u64,
    /// Tickets that were refused. They are none of the above.
    pub refused: u64,
    /// Why the first of them was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_refusal: Option<String>,
    /// What became of the tickets: they got into a match,
    pub matched: u64,
    /// waited too long,
    pub expired: u64,
    /// were cancelled in time,
    pub cancelled: u64,
    /// or waited still at the end of the log.
    pub waiting: u64,
    /// Matches that formed.
    pub matches: u64,
    /// Those that started smaller.
    pub smaller: u64,
    /// Tickets that joined a match that was there (back-fill).
    pub filled: u64,
    /// How long the matched tickets waited, milliseconds.
    pub waited_ms: Spread,
    /// Players by match, when it took no more or at the end of the log.
    pub players_per_match: Spread,
    /// By rule, what the matches reached: the difference of the greatest and the least value or
    /// team average. For a rule of equal values 0 or 1.
    pub rules: Vec<RuleSpread>,
}

/// A rule's differences over all matches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleSpread {
    /// The rule.
    pub rule: Arc<str>,
    /// Its differences.
    #[serde(flatten)]
    pub difference: Spread,
}

/// How numbers are spread. All 0 without numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of them are at most this.
    pub median: f64,
    /// Nine of ten are.
    pub p90: f64,
    /// 99 of 100 are.
    pub p99: f64,
    /// All are.
    pub max: f64,
}

impl Spread {
    pub(super) fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (numbers.len() * percent).div_ceil(100).max(1);
            numbers.get(rank - 1).copied().unwrap_or(0.0)
        };
        Self { median: at(50), p90: at(90), p99: at(99), max: at(100) }
    }

    fn scaled(self, by: f64) -> Self {
        Self { median: self.median * by, p90: self.p90 * by, p99: self.p99 * by, max: self.max * by }
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |of: u64| match self.tickets {
            0 => String::new(),
            all => format!("  {} %", of.saturating_mul(100).saturating_add(all / 2) / all),
        };
        writeln!(f, "mode {}", self.mode)?;
        writeln!(f, "  tickets    {:>9}  with {} players", self.tickets, self.players)?;
        for (what, count) in [
            ("matched", self.matched),
            ("expired", self.expired),
            ("cancelled", self.cancelled),
            ("waiting", self.waiting),
        ] {
            writeln!(f, "    {what:9}{count:>9}{}", part(count))?;
        }
        if let Some(why) = &self.first_refusal {
            writeln!(f, "  refused    {:>9}  the first because {why}", self.refused)?;
        }
        writeln!(f, "  matches    {:>9}", self.matches)?;
        writeln!(f, "    smaller  {:>9}", self.smaller)?;
        writeln!(f, "  back-filled{:>9}  tickets\n", self.filled)?;
        writeln!(f, "{:34}{:>10}{:>10}{:>10}{:>10}", "", "median", "p90", "p99", "max")?;
        let row = |f: &mut fmt::Formatter<'_>, what: &str, spread: Spread| {
            writeln!(
                f,
                "  {what:32}{:>10.1}{:>10.1}{:>10.1}{:>10.1}",
                spread.median, spread.p90, spread.p99, spread.max
            )
        };
        row(f, "waiting time, s", self.waited_ms.scaled(0.001))?;
        row(f, "players of a match", self.players_per_match)?;
        for rule in &self.rules {
            row(f, &format!("difference by rule {}", rule.rule), rule.difference)?;
        }
        Ok(())
    }
}
