//! Why these players.

use std::sync::Arc;

use omgservers_api::TicketId;
use serde::{Deserialize, Serialize};

use crate::{
    Millis,
    compiled_mode::{CompiledMode, Stage},
    open_match::OpenMatch,
    search::arrange::difference,
    ticket_queue::QueuedTicket,
};

/// Why a match was formed or filled with these tickets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rationale {
    /// Tickets that waited in the pool at that moment, these included.
    pub pool_tickets: usize,
    /// All of them accepted fewer players than the mode asks for, and it is fewer.
    pub smaller: bool,
    /// The tickets, in order of position.
    pub tickets: Vec<TicketReason>,
    /// What became of each rule, over all players of the match.
    pub rules: Vec<RuleReason>,
    /// The groups afterwards.
    pub groups: Vec<GroupReason>,
}

/// One ticket of a match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TicketReason {
    /// Which.
    pub ticket_id: TicketId,
    /// Its clients.
    pub players: u32,
    /// Milliseconds of waiting.
    pub waited_ms: i64,
    /// Rules that had widened for it.
    pub expansions: Vec<Allowed>,
}

/// What a rule allows to a ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allowed {
    /// The rule.
    pub rule: Arc<str>,
    /// The greatest difference; null: any. For a rule of equal values, null: it is given up.
    pub max_difference: Option<f64>,
}

/// One rule of a match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleReason {
    /// The rule.
    pub rule: Arc<str>,
    /// What was reached: the difference of the greatest and the least value (or average of a
    /// group). For a rule of equal values: 0 if they are, otherwise 1.
    pub difference: f64,
    /// What the strictest of the joining tickets allowed; null: any.
    pub allowed: Option<f64>,
}

/// One group of a match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupReason {
    /// The group.
    pub group: Arc<str>,
    /// Its players.
    pub players: u32,
    /// The averages that team balance looks at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub averages: Vec<Average>,
}

/// An average of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Average {
    /// The rule.
    pub rule: Arc<str>,
    /// The average over its players; null without players.
    pub average: Option<f64>,
}

/// A limit as it is finite: infinite is null.
pub(crate) fn finite(limit: f64) -> Option<f64> {
    limit.is_finite().then_some(limit)
}

impl Rationale {
    pub(crate) fn new(
        mode: &CompiledMode,
        pool: usize,
        joined: &[(QueuedTicket, usize)],
        after: &OpenMatch,
        now: Millis,
    ) -> Self {
        Self {
            pool_tickets: pool,
            smaller: !after.reaches(&mode.normal),
            tickets: joined.iter().map(|it| ticket(mode, &it.0, now)).collect(),
            rules: rules(mode, joined, after),
            groups: groups(mode, after),
        }
    }
}

fn ticket(mode: &CompiledMode, waiting: &QueuedTicket, now: Millis) -> TicketReason {
    TicketReason {
        ticket_id: waiting.ticket.id,
        players: waiting.size,
        waited_ms: now.since(waiting.ticket.entered).max(0),
        expansions: widened(mode, mode.stage(0), mode.stage(waiting.stage)),
    }
}

/// What the later stage allows and the earlier one doesn't.
pub(crate) fn widened(mode: &CompiledMode, before: &Stage, now: &Stage) -> Vec<Allowed> {
    let numbers = mode.ranges.iter().zip(before.ranges.iter().zip(&now.ranges));
    let balances = mode.balances.iter().zip(before.balances.iter().zip(&now.balances));
    let wider = numbers.chain(balances).filter(|it| it.1.1 > it.1.0);
    let wider = wider.map(|it| Allowed { rule: Arc::clone(&it.0.name), max_difference: finite(*it.1.1) });
    let given_up = mode.equals.iter().zip(before.free.iter().zip(&now.free)).filter(|it| *it.1.1 && !it.1.0);
    let given_up = given_up.map(|it| Allowed { rule: Arc::clone(&it.0.name), max_difference: None });
    wider.chain(given_up).collect()
}

fn rules(mode: &CompiledMode, joined: &[(QueuedTicket, usize)], after: &OpenMatch) -> Vec<RuleReason> {
    let stages = || joined.iter().map(|it| mode.stage(it.0.stage));
    let least = |limits: &mut dyn Iterator<Item = f64>| finite(limits.fold(f64::INFINITY, f64::min));
    let ranges = mode.ranges.iter().enumerate().map(|(index, rule)| RuleReason {
        rule: Arc::clone(&rule.name),
        difference: after.spans.as_ref().and_then(|it| it.get(index)).map_or(0.0, |it| it.1 - it.0),
        allowed: least(&mut stages().filter_map(|it| it.ranges.get(index)).copied()),
    });
    let equals = mode.equals.iter().enumerate().map(|(index, rule)| {
        let differ = after.equals.as_ref().and_then(|it| it.get(index)).is_some_and(Option::is_none);
        let strict = stages().any(|it| it.free.get(index) == Some(&false));
        let allowed = strict.then_some(0.0);
        RuleReason { rule: Arc::clone(&rule.name), difference: if differ { 1.0 } else { 0.0 }, allowed }
    });
    let balances = mode.balances.iter().enumerate().map(|(index, rule)| RuleReason {
        rule: Arc::clone(&rule.name),
        difference: difference(sums(after, index)),
        allowed: least(&mut stages().filter_map(|it| it.balances.get(index)).copied()),
    });
    ranges.chain(equals).chain(balances).collect()
}

fn sums(open: &OpenMatch, rule: usize) -> impl Iterator<Item = (u32, f64)> {
    open.counts.iter().zip(&open.sums).map(move |it| (*it.0, it.1.get(rule).copied().unwrap_or(0.0)))
}

fn groups(mode: &CompiledMode, after: &OpenMatch) -> Vec<GroupReason> {
    let one = |((group, players), sums): ((&crate::compiled_mode::Group, &u32), &Vec<f64>)| GroupReason {
        group: Arc::clone(&group.name),
        players: *players,
        averages: mode
            .balances
            .iter()
            .zip(sums)
            .map(|(rule, sum)| Average {
                rule: Arc::clone(&rule.name),
                average: (*players > 0).then(|| sum / f64::from(*players)),
            })
            .collect(),
    };
    mode.groups.iter().zip(&after.counts).zip(&after.sums).map(one).collect()
}
