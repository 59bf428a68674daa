//! Tickets and modes in few words.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::allow_attributes,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test file uses its part"
)]

pub mod reference;

use omgservers_api::{
    ClientId, TicketId, Validate as _,
    config::{ModeConfig, VersionConfig},
    ids::Id as _,
};
use omgservers_matcher::{Effect, MatchKey, Moment, Placement, Pool, Refusal, Seat, Ticket};
use serde_json::Value;

/// A mode that was validated.
pub fn mode(json: &str) -> ModeConfig {
    let version: VersionConfig = serde_json::from_str(&format!(r#"{{"modes":[{json}]}}"#)).unwrap();
    version.validate().unwrap();
    version.modes.into_iter().next().unwrap()
}

pub fn id(number: i64) -> TicketId {
    TicketId::from_i64(number).unwrap()
}

pub fn client(number: i64) -> ClientId {
    ClientId::from_i64(number).unwrap()
}

/// A ticket whose place is its number, and whose clients are `100 * number` and so on.
pub fn ticket(number: i64, size: i64, attributes: Value, entered: Moment) -> Ticket {
    Ticket {
        id: id(number),
        place: u64::try_from(number).unwrap(),
        clients: (0..size).map(|it| client(100 * number + it)).collect(),
        attributes: serde_json::from_value(attributes).unwrap(),
        entered,
    }
}

/// A pool with a clock, whose effects are texts.
pub struct Game {
    pub pool: Pool,
    pub now: Moment,
}

impl Game {
    pub fn new(json: &str) -> Self {
        Self { pool: Pool::new(&mode(json)), now: Moment(0) }
    }

    pub fn add(&mut self, number: i64, size: i64, attributes: Value) -> Vec<String> {
        self.try_add(number, size, attributes).unwrap()
    }

    pub fn try_add(&mut self, number: i64, size: i64, attributes: Value) -> Result<Vec<String>, Refusal> {
        self.pool.add(ticket(number, size, attributes, self.now), self.now).map(|it| told(&it))
    }

    /// Lets so many seconds pass.
    pub fn wait(&mut self, seconds: i64) -> Vec<String> {
        self.now = self.now.plus(seconds * 1000);
        told(&self.pool.advance(self.now))
    }

    /// A match that is there; its clients are given with group and attributes.
    pub fn put(&mut self, key: u64, seats: &[(i64, usize, Value)]) -> Vec<String> {
        let seat = |it: &(i64, usize, Value)| Seat {
            client: client(it.0),
            group: it.1,
            attributes: serde_json::from_value(it.2.clone()).unwrap(),
        };
        let (given, effects) =
            self.pool.put_match(Some(MatchKey(key)), seats.iter().map(seat).collect(), self.now);
        assert_eq!(given, MatchKey(key));
        told(&effects)
    }
}

/// `form 0: 1>0 2>1`: the match, and for each ticket its group.
pub fn told(effects: &[Effect]) -> Vec<String> {
    let who = |it: &[Placement]| {
        it.iter().map(|it| format!("{}>{}", it.ticket.id, it.group)).collect::<Vec<_>>().join(" ")
    };
    effects
        .iter()
        .map(|it| match it {
            Effect::Form { key, placements, .. } => format!("form {}: {}", key.0, who(placements)),
            Effect::Fill { key, placements, .. } => format!("fill {}: {}", key.0, who(placements)),
            Effect::Expire { ticket } => format!("expire {}", ticket.id),
        })
        .collect()
}
