//! The matcher against its promises and against a brute-force reference; here are tickets and modes
//! in few words.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't go on must fail at once"
)]

mod model;
mod pool;
mod reference;

use omgservers_api::{
    ClientId, MatchId, TicketId, Validate as _,
    config::{ModeConfig, VersionConfig},
    ids::Id as _,
};
use omgservers_matcher::{Effect, Millis, Placement, Pool, Refusal, Seat, Ticket};
use serde_json::Value;

/// A mode that was validated.
pub(crate) fn mode(json: &str) -> ModeConfig {
    let version: VersionConfig = serde_json::from_str(&format!(r#"{{"modes":[{json}]}}"#)).unwrap();
    version.validate().unwrap();
    version.modes.into_iter().next().unwrap()
}

pub(crate) fn id(number: i64) -> TicketId {
    TicketId::from_i64(number).unwrap()
}

pub(crate) fn match_id(number: i64) -> MatchId {
    MatchId::from_i64(number).unwrap()
}

pub(crate) fn client(number: i64) -> ClientId {
    ClientId::from_i64(number).unwrap()
}

/// A ticket whose place is its number, and whose clients are `100 * number` and so on.
pub(crate) fn ticket(number: i64, size: i64, attributes: Value, entered: Millis) -> Ticket {
    Ticket {
        id: id(number),
        position: u64::try_from(number).unwrap(),
        clients: (0..size).map(|it| client(100 * number + it)).collect(),
        attributes: serde_json::from_value(attributes).unwrap(),
        entered,
    }
}

/// A pool with a clock, whose effects are texts. Matches that form are numbered from
/// `FIRST_FORMED`.
pub(crate) struct PoolFixture {
    pub(crate) pool: Pool,
    pub(crate) now: Millis,
    formed: i64,
}

/// The number of the first match that forms; those that are put have smaller ones.
pub(crate) const FIRST_FORMED: i64 = 11;

/// Ids that count up.
pub(crate) fn counting(last: &mut i64) -> impl FnMut() -> Option<MatchId> + '_ {
    || {
        *last += 1;
        MatchId::from_i64(*last)
    }
}

impl PoolFixture {
    pub(crate) fn new(json: &str) -> Self {
        Self { pool: Pool::new(&mode(json)), now: Millis(0), formed: FIRST_FORMED - 1 }
    }

    pub(crate) fn add(&mut self, number: i64, size: i64, attributes: Value) -> Vec<String> {
        self.try_add(number, size, attributes).unwrap()
    }

    pub(crate) fn try_add(
        &mut self,
        number: i64,
        size: i64,
        attributes: Value,
    ) -> Result<Vec<String>, Refusal> {
        self.try_add_ticket(ticket(number, size, attributes, self.now))
    }

    pub(crate) fn try_add_ticket(&mut self, ticket: Ticket) -> Result<Vec<String>, Refusal> {
        self.add_for_effects(ticket).map(|it| described(&it))
    }

    pub(crate) fn add_for_effects(&mut self, ticket: Ticket) -> Result<Vec<Effect>, Refusal> {
        self.pool.add(ticket, self.now, &mut counting(&mut self.formed))
    }

    /// Lets so many seconds pass.
    pub(crate) fn wait(&mut self, seconds: i64) -> Vec<String> {
        described(&self.wait_for(seconds))
    }

    pub(crate) fn wait_for(&mut self, seconds: i64) -> Vec<Effect> {
        self.now = self.now.plus(seconds * 1000);
        self.pool.advance(self.now, &mut counting(&mut self.formed))
    }

    pub(crate) fn limit(&mut self, matches: Option<u32>) -> Vec<Effect> {
        self.pool.limit(matches, self.now, &mut counting(&mut self.formed))
    }

    pub(crate) fn leave(&mut self, number: i64, client: ClientId) -> Vec<String> {
        let left = self.pool.leave(match_id(number), client, self.now, &mut counting(&mut self.formed));
        described(&left)
    }

    /// A match that is there; its clients are given with group and attributes.
    pub(crate) fn put(&mut self, number: i64, seats: &[(i64, usize, Value)]) -> Vec<String> {
        let seat = |seat: &(i64, usize, Value)| Seat {
            client: client(seat.0),
            group: seat.1,
            attributes: serde_json::from_value(seat.2.clone()).unwrap(),
        };
        let seats = seats.iter().map(seat).collect();
        let ids = &mut counting(&mut self.formed);
        described(&self.pool.put_match(match_id(number), seats, self.now, ids))
    }
}

/// `form 11: 1>0 2>1`: the match, and for each ticket its group.
pub(crate) fn described(effects: &[Effect]) -> Vec<String> {
    let who = |placements: &[Placement]| {
        placements.iter().map(|it| format!("{}>{}", it.ticket.id, it.group)).collect::<Vec<_>>().join(" ")
    };
    effects
        .iter()
        .map(|placement| match placement {
            Effect::Form { match_id, placements, .. } => format!("form {match_id}: {}", who(placements)),
            Effect::Fill { match_id, placements, .. } => format!("fill {match_id}: {}", who(placements)),
            Effect::Expire { ticket } => format!("expire {}", ticket.id),
        })
        .collect()
}
