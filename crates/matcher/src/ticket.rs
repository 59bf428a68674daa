//! What goes in and what comes out.

use omgservers_api::{ClientId, MatchId, TicketId, interchange::Attributes};
use serde::{Deserialize, Serialize};

use crate::Rationale;

/// A moment: milliseconds on the caller's clock. Only differences matter; it may be negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// Milliseconds since an earlier moment; negative if it is a later one.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment so many milliseconds later.
    #[must_use]
    pub const fn plus(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

/// A request to be matched: one client, or several that stay together (a party).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// Which.
    pub id: TicketId,
    /// Its position in the queue: the smallest is first, equal ones go by id. A requeued ticket
    /// keeps it.
    #[serde(rename = "place")]
    pub position: u64,
    /// Who; at least one. They get into the same group.
    pub clients: Vec<ClientId>,
    /// What the rules look at. A party has one value of each for all of it.
    #[serde(default)]
    pub attributes: Attributes,
    /// Since when it waits.
    pub entered: Millis,
}

/// A client of a match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seat {
    /// Who.
    pub client: ClientId,
    /// In which group of the mode.
    pub group: usize,
    /// The attributes of the ticket that it came on.
    #[serde(default)]
    pub attributes: Attributes,
}

/// Where a ticket goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// What leaves the pool.
    pub ticket: Ticket,
    /// The group, as an index into the mode's groups. A party stays in one.
    pub group: usize,
}

/// What a call has changed besides what it was asked to.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A new match. The pool holds it under this id until it is closed.
    Form {
        /// The match.
        match_id: MatchId,
        /// Its tickets, in order of position.
        placements: Vec<Placement>,
        /// Why these.
        rationale: Rationale,
    },
    /// Back-fill: tickets that go into a match that is there.
    Fill {
        /// The match.
        match_id: MatchId,
        /// What joins, in order of position.
        placements: Vec<Placement>,
        /// Why these.
        rationale: Rationale,
    },
    /// A ticket has waited too long and leaves the pool.
    Expire {
        /// Which.
        ticket: Ticket,
    },
}

/// Why a ticket can't be matched, ever.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody is on it.
    #[error("a ticket needs at least one client")]
    NoClients,
    /// A client is on it twice.
    #[error("the client {0} is on the ticket twice")]
    ClientTwice(ClientId),
    /// A client is on another waiting ticket of the pool.
    #[error("the client {client} waits on the ticket {ticket} already")]
    ClientWaits {
        /// Who.
        client: ClientId,
        /// Where it waits.
        ticket: TicketId,
    },
    /// The ticket itself waits already.
    #[error("the ticket {0} waits already")]
    TicketWaits(TicketId),
    /// More clients than a party may have.
    #[error("a party of {size} is too large: the mode takes {most}")]
    PartyTooLarge {
        /// Its clients.
        size: usize,
        /// Most that are taken.
        most: u32,
    },
    /// A rule looks at an attribute that isn't there, and has no default for it.
    #[error("the attribute `{attribute}` is missing; the rule `{rule}` needs it")]
    MissingAttribute {
        /// The rule.
        rule: String,
        /// The attribute.
        attribute: String,
    },
    /// A rule looks at a number and the attribute is none.
    #[error("the attribute `{attribute}` must be a number; the rule `{rule}` needs it")]
    NotANumber {
        /// The rule.
        rule: String,
        /// The attribute.
        attribute: String,
    },
}
