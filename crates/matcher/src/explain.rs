//! Why a ticket isn't matched yet.

use std::sync::Arc;

use omgservers_api::{TicketId, config::AfterTimeout};
use serde::{Deserialize, Serialize};

use crate::{
    Millis,
    compiled_mode::{CompiledMode, Stage},
    rationale::{Allowed, widened},
    ticket_queue::{QueuedTicket, TicketQueue},
    values::Values,
};

/// Why a ticket isn't matched yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Which.
    pub ticket_id: TicketId,
    /// Milliseconds of waiting.
    pub waited_ms: i64,
    /// All that wait in this mode, the ticket included.
    pub pool: PoolSize,
    /// Those that every rule lets together with the ticket, one by one, the ticket included.
    pub fitting: PoolSize,
    /// How many more fitting players a new match of this ticket needs. With 0 they are there, and
    /// something else is missing: see `missing`.
    pub players_needed: u32,
    /// The same for people.
    pub missing: String,
    /// How many tickets each rule keeps apart from this one; a ticket counts at every rule that
    /// does.
    pub rejected_by: Vec<RejectedByRule>,
    /// When rules widen for this ticket the next time; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_expansion: Option<NextExpansion>,
    /// What happens to it when it has waited too long; absent: nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// The mode has all the matches that it may have: no new one forms.
    pub held: bool,
}

/// How many wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSize {
    /// Tickets.
    pub tickets: u64,
    /// Their clients.
    pub players: u64,
}

/// Tickets that a rule keeps apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedByRule {
    /// The rule.
    pub rule: Arc<str>,
    /// How many tickets.
    pub tickets: u64,
}

/// The next time that rules widen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextExpansion {
    /// In so many milliseconds.
    pub in_ms: i64,
    /// What they allow then.
    pub rules: Vec<Allowed>,
}

/// The next timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadline {
    /// In so many milliseconds.
    pub in_ms: i64,
    /// What happens then.
    pub then: AfterTimeout,
}

pub(crate) fn explain(
    mode: &CompiledMode,
    queue: &TicketQueue,
    asked: &QueuedTicket,
    held: bool,
    now: Millis,
) -> Explanation {
    let waited_ms = now.since(asked.ticket.entered).max(0);
    let stage = mode.stage(asked.stage);
    let names = mode.ranges.iter().map(|it| &it.name).chain(mode.equals.iter().map(|it| &it.name));
    let mut rejected: Vec<RejectedByRule> =
        names.map(|it| RejectedByRule { rule: Arc::clone(it), tickets: 0 }).collect();
    let mut fitting = PoolSize { tickets: 1, players: u64::from(asked.size) };
    for (_, other) in queue.by_position().filter(|it| it.1.ticket.id != asked.ticket.id) {
        let verdicts = verdicts((stage, &asked.values), (mode.stage(other.stage), &other.values));
        let mut fits = true;
        for (line, keeps) in rejected.iter_mut().zip(verdicts) {
            line.tickets += u64::from(!keeps);
            fits &= keeps;
        }
        fitting.tickets += u64::from(fits);
        fitting.players += if fits { u64::from(other.size) } else { 0 };
    }
    rejected.retain(|it| it.tickets > 0);
    let least = mode.needs(stage).map(|it| it.players).min().unwrap_or(0);
    let players_needed = least.saturating_sub(u32::try_from(fitting.players).unwrap_or(u32::MAX));
    Explanation {
        ticket_id: asked.ticket.id,
        waited_ms,
        pool: PoolSize { tickets: u64::try_from(queue.len()).unwrap_or(u64::MAX), players: queue.players() },
        fitting,
        players_needed,
        missing: missing(players_needed, held),
        rejected_by: rejected,
        next_expansion: next_expansion(mode, asked, waited_ms),
        deadline: deadline(mode, stage, waited_ms),
        held,
    }
}

/// By range and equal rule, whether it lets two tickets together.
fn verdicts<'a>(
    one: (&'a Stage, &'a Values),
    other: (&'a Stage, &'a Values),
) -> impl Iterator<Item = bool> + 'a {
    let limits = one.0.ranges.iter().zip(&other.0.ranges).map(|it| it.0.min(*it.1));
    let ranges =
        one.1.ranges.iter().zip(&other.1.ranges).zip(limits).map(|(it, most)| (it.0 - it.1).abs() <= most);
    let free = one.0.free.iter().zip(&other.0.free).map(|it| *it.0 && *it.1);
    let equals = one.1.equals.iter().zip(&other.1.equals).zip(free).map(|(it, free)| free || it.0 == it.1);
    ranges.chain(equals)
}

fn missing(players: u32, held: bool) -> String {
    match (players, held) {
        (0, true) => "the mode has all the matches that it may have".to_owned(),
        (0, false) => {
            "enough fitting players wait, but together they break a rule, don't fill the groups, or aren't balanced"
                .to_owned()
        }
        (1, _) => "needs 1 more player that fits".to_owned(),
        (more, _) => format!("needs {more} more players that fit"),
    }
}

fn next_expansion(mode: &CompiledMode, asked: &QueuedTicket, waited: i64) -> Option<NextExpansion> {
    let now = mode.stage(asked.stage);
    let later = mode.stages.iter().skip(asked.stage + 1);
    let next = later.map(|it| (it, widened(mode, now, it))).find(|it| !it.1.is_empty())?;
    Some(NextExpansion { in_ms: next.0.after.saturating_sub(waited).max(0), rules: next.1 })
}

fn deadline(mode: &CompiledMode, now: &Stage, waited: i64) -> Option<Deadline> {
    let turns = mode.stages.iter().find(|it| (it.relaxed && !now.relaxed) || (it.smaller && !now.smaller));
    let (after, then) = match turns {
        Some(stage) if stage.relaxed => (stage.after, AfterTimeout::Relax),
        Some(stage) => (stage.after, AfterTimeout::StartSmaller),
        None => (mode.expires?, AfterTimeout::Fail),
    };
    Some(Deadline { in_ms: after.saturating_sub(waited).max(0), then })
}
