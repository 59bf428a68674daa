//! What is to be done.

use std::{fmt, time::Duration};

use anyhow::ensure;
use serde::Serialize;

use crate::Arrivals;

/// What is done again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// New players: an account and a token.
    SignUp,
    /// An interchange that brings nothing and takes nothing.
    Empty,
    /// A message to the game server and back, by requests.
    Interchange,
    /// The same over the player stream.
    Stream,
    /// The same over the dispatcher.
    Dispatcher,
    /// A message of one player that the game server broadcasts to the lobby.
    Broadcast,
    /// Players that come, talk, idle, are matched and leave.
    Day,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SignUp,
        Self::Empty,
        Self::Interchange,
        Self::Stream,
        Self::Dispatcher,
        Self::Broadcast,
        Self::Day,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "sign-up",
            Self::Empty => "empty",
            Self::Interchange => "interchange",
            Self::Stream => "stream",
            Self::Dispatcher => "dispatcher",
            Self::Broadcast => "broadcast",
            Self::Day => "day",
        }
    }

    /// Players, or connections where there are none; for a day the most at the same time.
    pub const fn players(self) -> u32 {
        match self {
            Self::SignUp => 32,
            Self::Empty | Self::Interchange | Self::Stream | Self::Dispatcher => 64,
            Self::Broadcast => 200,
            Self::Day => 2_000,
        }
    }

    /// Units per second by default.
    pub const fn rate(self) -> f64 {
        match self {
            Self::SignUp => 50.0,
            Self::Empty => 1_000.0,
            Self::Interchange | Self::Stream => 200.0,
            Self::Dispatcher => 500.0,
            Self::Broadcast | Self::Day => 5.0,
        }
    }

    /// What a unit of the rate is.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::SignUp => "sign-ups",
            Self::Empty => "interchanges",
            Self::Interchange | Self::Stream | Self::Dispatcher => "round trips",
            Self::Broadcast => "deliveries",
            Self::Day => "messages",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where players play; each by id or alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageRefs {
    /// The tenant.
    pub tenant: String,
    /// Its project.
    pub project: String,
    /// The project's stage, with the sample game deployed.
    pub stage: String,
}

/// What is to be done, to whom, for how long.
#[derive(Debug, Clone)]
pub struct Order {
    /// The backend: plain HTTP, without a path.
    pub url: String,
    /// Whether a backend on another machine may be loaded.
    pub foreign: bool,
    /// What is done.
    pub scenario: Scenario,
    /// Where; only [`Scenario::SignUp`] does without.
    pub stage_refs: Option<StageRefs>,
    /// How many players; at most [`Order::MOST_PLAYERS`].
    pub players: u32,
    /// How beginnings are spread.
    pub arrivals: Arrivals,
    /// What they are drawn from.
    pub seed: u64,
    /// Units that begin per second; the first to try when a capacity is searched.
    pub rate: f64,
    /// How long is counted: whole seconds, at most [`Order::LONGEST`]. For each step of a search.
    pub time: Duration,
    /// What comes before and isn't counted; at most [`Order::LONGEST`].
    pub warm_up: Duration,
    /// Bytes that each message has more than it needs.
    pub bytes: usize,
    /// Messages of one unit, said at once; at most [`Order::MOST_BATCH`].
    pub batch: u32,
    /// Searches the highest rate whose 99th percentile is at most this.
    pub bound: Option<Duration>,
    /// The mode that some players of a day ask for.
    pub mode: Option<String>,
}

impl Order {
    /// The longest time of a run.
    pub const LONGEST: Duration = Duration::from_secs(3_600);
    /// The highest rate, per second.
    pub const MOST_RATE: f64 = 1_000_000.0;
    /// Most players.
    pub const MOST_PLAYERS: u32 = 50_000;
    /// Most messages of one unit: a request takes so many.
    pub const MOST_BATCH: u32 = 1_000;
    /// Most bytes of a message.
    pub const MOST_BYTES: usize = 64 * 1_024;

    /// Whether it can be done. Errors are for people.
    pub fn check(&self) -> anyhow::Result<()> {
        let name = self.scenario;
        ensure!(
            self.stage_refs.is_some() || name == Scenario::SignUp,
            "{name} needs a tenant, a project and a stage with the sample game"
        );
        ensure!(
            self.rate > 0.0 && self.rate <= Self::MOST_RATE,
            "a rate is above 0 and at most {}",
            Self::MOST_RATE
        );
        let seconds = Duration::from_secs(1)..=Self::LONGEST;
        ensure!(seconds.contains(&self.time), "a run takes 1 to {} seconds", Self::LONGEST.as_secs());
        ensure!(self.warm_up <= Self::LONGEST, "the warm-up takes at most {} s", Self::LONGEST.as_secs());
        ensure!((1..=Self::MOST_PLAYERS).contains(&self.players), "1 to {} players", Self::MOST_PLAYERS);
        ensure!((1..=Self::MOST_BATCH).contains(&self.batch), "1 to {} messages at once", Self::MOST_BATCH);
        ensure!(self.bytes <= Self::MOST_BYTES, "at most {} bytes more", Self::MOST_BYTES);
        let many = matches!(name, Scenario::Interchange | Scenario::Stream);
        ensure!(self.batch == 1 || many, "{name} says one message at a time");
        ensure!(self.bound.is_none_or(|it| !it.is_zero()), "the bound of the p99 is above 0");
        let matched = self.mode.is_none() || name == Scenario::Day;
        ensure!(matched, "only the players of a day ask for matches");
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn order(scenario: Scenario) -> Order {
        let (tenant, project, stage) = ("t".to_owned(), "p".to_owned(), "s".to_owned());
        Order {
            url: "http://127.0.0.1:8080".into(),
            foreign: false,
            scenario,
            stage_refs: Some(StageRefs { tenant, project, stage }),
            players: scenario.players(),
            arrivals: Arrivals::Poisson,
            seed: 1,
            rate: scenario.rate(),
            time: Duration::from_secs(10),
            warm_up: Duration::from_secs(1),
            bytes: 0,
            batch: 1,
            bound: None,
            mode: None,
        }
    }

    #[test]
    fn every_scenario_can_be_done_as_it_is_by_default() {
        for scenario in Scenario::ALL {
            order(scenario).check().unwrap();
        }
        Order { stage_refs: None, ..order(Scenario::SignUp) }.check().unwrap();
    }

    #[test]
    fn what_has_no_end_or_no_sense_is_refused() {
        let good = || order(Scenario::Stream);
        let refused = [
            Order { stage_refs: None, ..good() },
            Order { rate: 0.0, ..good() },
            Order { rate: f64::NAN, ..good() },
            Order { rate: 1e9, ..good() },
            Order { time: Duration::ZERO, ..good() },
            Order { time: Duration::from_secs(3_601), ..good() },
            Order { warm_up: Duration::from_secs(3_601), ..good() },
            Order { players: 0, ..good() },
            Order { players: 1_000_000, ..good() },
            Order { batch: 0, ..good() },
            Order { batch: 2, ..order(Scenario::Empty) },
            Order { bytes: 1 << 20, ..good() },
            Order { bound: Some(Duration::ZERO), ..good() },
            Order { mode: Some("duel".into()), ..good() },
        ];
        for (at, order) in refused.iter().enumerate() {
            assert!(order.check().is_err(), "{at}: {order:?}");
        }
    }
}
