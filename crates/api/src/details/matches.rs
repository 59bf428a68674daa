//! Matches and tickets.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{ClientId, MatchId, MatchmakerId, RuntimeId, TicketId, interchange::Attributes};

/// A match and why its players are together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MatchDetails {
    /// Its id.
    pub id: MatchId,
    /// Who made it.
    pub matchmaker_id: MatchmakerId,
    /// The name of its mode.
    pub mode: String,
    /// The runtime that it is.
    pub runtime_id: RuntimeId,
    /// `starting`, `open`, `stopped` (takes no further players) or `closing`.
    pub state: String,
    /// When it was made.
    #[serde(with = "crate::time")]
    pub created: DateTime<Utc>,
    /// The players that are in it or will be.
    pub players: Vec<MatchPlayer>,
    /// Why: one for who began it, and one each for the last that joined. `docs/matchmaking.md` has
    /// the fields.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<Object>))]
    pub rationale: Vec<serde_json::Value>,
}

/// A player of a match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MatchPlayer {
    /// The session.
    pub client_id: ClientId,
    /// The ticket that it came on.
    pub ticket_id: TicketId,
    /// The name of its group.
    pub group_name: String,
    /// Whether it is there; otherwise it waits for the game server to poll.
    pub joined: bool,
}

/// A ticket and why it isn't matched yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TicketDetails {
    /// Its id.
    pub id: TicketId,
    /// The name of the mode.
    pub mode: String,
    /// The clients that are matched together.
    pub clients: Vec<ClientId>,
    /// What it says of itself.
    pub attributes: Attributes,
    /// When it was made.
    #[serde(with = "crate::time")]
    pub created: DateTime<Utc>,
    /// `waiting`, `starting` (its match was found and starts) or `matched`.
    pub state: String,
    /// The match, once it was found.
    pub match_id: Option<MatchId>,
    /// Why it waits; absent once its match was found. `docs/matchmaking.md` has the fields.
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub explanation: Option<serde_json::Value>,
}
