//! A mode's rules, compiled: what is allowed to a ticket at each stage of its waiting.

use std::{collections::BTreeSet, sync::Arc};

use omgservers_api::config::{AfterTimeout, MatchRule, ModeConfig, RangeRule, TimeoutConfig};

/// A mode as the pool needs it.
#[derive(Debug)]
pub(crate) struct CompiledMode {
    pub(crate) normal: FewestPlayers,
    /// What tickets ask for that accept a smaller match.
    pub(crate) smaller: Option<FewestPlayers>,
    pub(crate) max_players: u32,
    pub(crate) groups: Vec<Group>,
    pub(crate) max_party: u32,
    pub(crate) ranges: Vec<NumberRule>,
    pub(crate) balances: Vec<NumberRule>,
    pub(crate) equals: Vec<ValueRule>,
    /// By time; the first from the start on.
    pub(crate) stages: Vec<Stage>,
    /// Milliseconds after which a ticket leaves the pool.
    pub(crate) expires: Option<i64>,
}

/// Fewest players of a match.
#[derive(Debug, Clone)]
pub(crate) struct FewestPlayers {
    pub(crate) players: u32,
    pub(crate) groups: Vec<u32>,
    /// Only for tickets that accept a smaller match.
    pub(crate) smaller: bool,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    pub(crate) max: u32,
}

/// A range or a team balance.
#[derive(Debug)]
pub(crate) struct NumberRule {
    pub(crate) name: Arc<str>,
    pub(crate) attribute: String,
    pub(crate) default: Option<f64>,
}

#[derive(Debug)]
pub(crate) struct ValueRule {
    pub(crate) name: Arc<str>,
    pub(crate) attribute: String,
}

/// What is allowed to a ticket from some time of waiting on.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// Milliseconds of waiting.
    pub(crate) after: i64,
    /// Greatest difference by range; infinite: any.
    pub(crate) ranges: Vec<f64>,
    /// The same for team balances.
    pub(crate) balances: Vec<f64>,
    /// Which equal rules are given up.
    pub(crate) free: Vec<bool>,
    /// How many different `free` came before: stages of one level have given up the same.
    pub(crate) level: usize,
    pub(crate) relaxed: bool,
    pub(crate) smaller: bool,
}

const fn milliseconds(seconds: u32) -> i64 {
    // Widening.
    #[expect(clippy::as_conversions, reason = "u32 fits into i64")]
    let seconds = seconds as i64;
    seconds * 1000
}

impl CompiledMode {
    pub(crate) fn new(config: &ModeConfig) -> Self {
        let rules = config.matchmaking.clone().unwrap_or_default();
        let mut mode = Self {
            normal: FewestPlayers::new(config, config.min_players, false),
            smaller: None,
            max_players: max_players(config),
            groups: config
                .groups
                .iter()
                .map(|it| Group { name: it.name.as_str().into(), max: it.max_players })
                .collect(),
            max_party: max_party(config),
            ranges: Vec::new(),
            balances: Vec::new(),
            equals: Vec::new(),
            stages: Vec::new(),
            expires: None,
        };
        for rule in &rules.rules {
            let number = |rule: &RangeRule| NumberRule {
                name: rule.name.as_str().into(),
                attribute: rule.attribute.clone(),
                default: rule.default,
            };
            match rule {
                MatchRule::Range(rule) => mode.ranges.push(number(rule)),
                MatchRule::TeamBalance(rule) => mode.balances.push(number(rule)),
                MatchRule::Equal(rule) => mode
                    .equals
                    .push(ValueRule { name: rule.name.as_str().into(), attribute: rule.attribute.clone() }),
            }
        }
        let timeout = rules.timeout.as_ref();
        mode.expires = timeout.and_then(expires);
        mode.smaller = timeout.and_then(|it| it.min_players).map(|it| FewestPlayers::new(config, it, true));
        mode.stages = stages(&rules.rules, timeout);
        if let Some(expires) = mode.expires {
            mode.stages.retain(|it| it.after == 0 || it.after < expires);
        }
        mode
    }

    /// The stage of a ticket that has waited so long.
    pub(crate) fn stage_at(&self, waited: i64) -> usize {
        self.stages.iter().skip(1).take_while(|it| it.after <= waited).count()
    }

    pub(crate) fn stage(&self, index: usize) -> &Stage {
        // There is always a first one.
        self.stages.get(index).or(self.stages.first()).unwrap_or(&NOTHING)
    }

    /// Which equal rules are given up, level by level.
    pub(crate) fn levels(&self) -> impl Iterator<Item = &[bool]> {
        let first = self.stages.first().into_iter();
        let changed =
            self.stages.iter().zip(self.stages.iter().skip(1)).filter(|it| it.0.level != it.1.level);
        first.chain(changed.map(|it| it.1)).map(|it| it.free.as_slice())
    }

    /// After how much waiting the next thing happens to a ticket of this stage.
    pub(crate) fn next_after(&self, stage: usize) -> Option<i64> {
        self.stages.get(stage + 1).map(|it| it.after).or(self.expires)
    }

    /// The stages that search for matches in different ways, each once. They differ by the equal
    /// rules that are given up, and by the greatest difference of the first range (any, without
    /// one).
    pub(crate) fn reaches(&self) -> impl Iterator<Item = (&[bool], f64)> {
        let stages = self.stages.iter().enumerate();
        let first = |at: usize, stage: &Stage| {
            let before = self.stages.iter().take(at);
            !before.into_iter().any(|other| other.level == stage.level && same(other.reach(), stage.reach()))
        };
        stages.filter(move |(at, it)| first(*at, it)).map(|(_, it)| (it.free.as_slice(), it.reach()))
    }

    /// What a match has to reach: the usual, and what is left of it for those that accept less.
    pub(crate) fn needs(&self, stage: &Stage) -> impl Iterator<Item = &FewestPlayers> {
        std::iter::once(&self.normal).chain(self.smaller.iter().filter(|_| stage.smaller))
    }
}

impl Stage {
    /// The greatest difference of the first range; any, where there is none.
    pub(crate) fn reach(&self) -> f64 {
        self.ranges.first().copied().unwrap_or(f64::INFINITY)
    }
}

fn same(one: f64, other: f64) -> bool {
    one.total_cmp(&other).is_eq()
}

static NOTHING: Stage = Stage {
    after: 0,
    ranges: Vec::new(),
    balances: Vec::new(),
    free: Vec::new(),
    level: 0,
    relaxed: false,
    smaller: false,
};

fn max_players(mode: &ModeConfig) -> u32 {
    let seats = mode.groups.iter().fold(0_u32, |sum, it| sum.saturating_add(it.max_players));
    mode.max_players.min(seats)
}

fn max_party(mode: &ModeConfig) -> u32 {
    let seats = mode.groups.iter().map(|it| it.max_players).max().unwrap_or(0).min(mode.max_players);
    let party = mode.matchmaking.as_ref().and_then(|it| it.party.as_ref());
    party.map_or(seats, |it| it.max_size.min(seats))
}

impl FewestPlayers {
    /// With fewer players than all groups together need, what they need is lowered in proportion,
    /// rounded down.
    fn new(mode: &ModeConfig, players: u32, smaller: bool) -> Self {
        let together: u64 = mode.groups.iter().map(|it| u64::from(it.min_players)).sum();
        let lowered = |min: u32| match u64::from(players) {
            players if smaller && players < together => {
                u32::try_from(u64::from(min) * players / together.max(1)).unwrap_or(min)
            }
            _ => min,
        };
        let groups: Vec<u32> = mode.groups.iter().map(|it| lowered(it.min_players)).collect();
        let together = groups.iter().fold(0_u32, |sum, it| sum.saturating_add(*it));
        Self { players: players.max(together).max(1), groups, smaller }
    }
}

fn expires(timeout: &TimeoutConfig) -> Option<i64> {
    match timeout.then {
        AfterTimeout::Fail => Some(milliseconds(timeout.after)),
        AfterTimeout::Relax | AfterTimeout::StartSmaller => timeout.fail_after.map(milliseconds),
    }
}

fn stages(rules: &[MatchRule], timeout: Option<&TimeoutConfig>) -> Vec<Stage> {
    let mut moments = BTreeSet::from([0]);
    for rule in rules {
        match rule {
            MatchRule::Range(rule) | MatchRule::TeamBalance(rule) => {
                moments.extend(rule.expansions.iter().map(|it| milliseconds(it.after)));
            }
            MatchRule::Equal(rule) => moments.extend(rule.expansion.iter().map(|it| milliseconds(it.after))),
        }
    }
    moments.extend(timeout.filter(|it| it.then != AfterTimeout::Fail).map(|it| milliseconds(it.after)));
    let mut stages: Vec<Stage> = Vec::new();
    for after in moments {
        let mut stage = stage(rules, timeout, after);
        if let Some(last) = stages.last() {
            stage.level = last.level + usize::from(last.free != stage.free);
        }
        stages.push(stage);
    }
    stages
}

fn stage(rules: &[MatchRule], timeout: Option<&TimeoutConfig>, after: i64) -> Stage {
    let reached = |then| timeout.is_some_and(|it| it.then == then && milliseconds(it.after) <= after);
    let relaxed = reached(AfterTimeout::Relax);
    let difference = |rule: &RangeRule| {
        let last = rule.expansions.iter().rev().find(|it| milliseconds(it.after) <= after);
        let widened = last.map_or(rule.max_difference, |it| it.max_difference.unwrap_or(f64::INFINITY));
        if relaxed { f64::INFINITY } else { widened }
    };
    let mut stage = Stage { after, relaxed, smaller: reached(AfterTimeout::StartSmaller), ..NOTHING.clone() };
    for rule in rules {
        match rule {
            MatchRule::Range(rule) => stage.ranges.push(difference(rule)),
            MatchRule::TeamBalance(rule) => stage.balances.push(difference(rule)),
            MatchRule::Equal(rule) => {
                let over = rule.expansion.as_ref().is_some_and(|it| milliseconds(it.after) <= after);
                stage.free.push(relaxed || over);
            }
        }
    }
    stage
}
