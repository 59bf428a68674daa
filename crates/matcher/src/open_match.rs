//! OpenMatches that take more players.

use std::sync::Arc;

use omgservers_api::ClientId;

use crate::{
    compiled_mode::{CompiledMode, FewestPlayers, Stage},
    values::{Part, Values},
};

/// Somebody in a match.
#[derive(Debug)]
pub(crate) struct OpenMatchMember {
    pub(crate) client: ClientId,
    pub(crate) group: usize,
    pub(crate) values: Arc<Values>,
}

/// What a match asks of those who join: its players' values count, their limits don't.
#[derive(Debug)]
pub(crate) struct OpenMatch {
    pub(crate) members: Vec<OpenMatchMember>,
    /// Players by group.
    pub(crate) counts: Vec<u32>,
    /// Sums by group, and in it by balance.
    pub(crate) sums: Vec<Vec<f64>>,
    /// Least and greatest value by range; none without players.
    pub(crate) spans: Option<Vec<(f64, f64)>>,
    /// By equal rule: the value of all, or `None` if they differ.
    pub(crate) equals: Option<Vec<Option<Part>>>,
}

impl OpenMatch {
    pub(crate) fn new(mode: &CompiledMode, members: Vec<OpenMatchMember>) -> Self {
        let mut open = Self {
            members: Vec::new(),
            counts: vec![0; mode.groups.len()],
            sums: vec![vec![0.0; mode.balances.len()]; mode.groups.len()],
            spans: None,
            equals: None,
        };
        for member in members {
            open.join(member);
        }
        open
    }

    pub(crate) fn players(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn join(&mut self, member: OpenMatchMember) {
        if let Some(count) = self.counts.get_mut(member.group) {
            *count += 1;
        }
        for (sum, value) in self.sums.get_mut(member.group).into_iter().flatten().zip(&member.values.balances)
        {
            *sum += value;
        }
        let values = &member.values;
        match &mut self.spans {
            None => self.spans = Some(values.ranges.iter().map(|it| (*it, *it)).collect()),
            Some(spans) => {
                for (span, value) in spans.iter_mut().zip(&values.ranges) {
                    *span = (span.0.min(*value), span.1.max(*value));
                }
            }
        }
        match &mut self.equals {
            None => self.equals = Some(values.equals.iter().cloned().map(Some).collect()),
            Some(equals) => {
                for (equal, part) in equals.iter_mut().zip(&values.equals) {
                    if equal.as_ref() != Some(part) {
                        *equal = None;
                    }
                }
            }
        }
        self.members.push(member);
    }

    pub(crate) fn has(&self, client: ClientId) -> bool {
        self.members.iter().any(|it| it.client == client)
    }

    /// Whether it has all the players it needs.
    pub(crate) fn reaches(&self, need: &FewestPlayers) -> bool {
        self.players() >= need.players && self.counts.iter().zip(&need.groups).all(|it| it.0 >= it.1)
    }

    /// Most clients of a party that has room.
    pub(crate) fn free_seats(&self, mode: &CompiledMode) -> u32 {
        let free = mode.groups.iter().zip(&self.counts).map(|it| it.0.max.saturating_sub(*it.1)).max();
        free.unwrap_or(0).min(mode.max_players.saturating_sub(self.players()))
    }

    /// Whether a ticket with these values may join as far as ranges and equal values go.
    pub(crate) fn admits(&self, stage: &Stage, values: &Values) -> bool {
        let close = self.spans.iter().flatten().zip(&values.ranges).zip(&stage.ranges);
        close.into_iter().all(|((span, value), most)| span.1.max(*value) - span.0.min(*value) <= *most)
            && self.equals.as_ref().is_none_or(|equals| {
                let mut parts = equals.iter().zip(&values.equals).zip(&stage.free);
                parts.all(|((equal, part), free)| *free || equal.as_ref() == Some(part))
            })
    }

    /// What a ticket has to have that has given up these rules; `None` if no such ticket can join.
    pub(crate) fn key(&self, free: &[bool]) -> Option<Vec<Part>> {
        let equals = self.equals.as_ref()?;
        equals
            .iter()
            .zip(free)
            .map(|(equal, free)| if *free { Some(Part::Any) } else { equal.clone() })
            .collect()
    }
}
