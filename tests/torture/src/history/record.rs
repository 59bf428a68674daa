//! What is noted.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A sender and receiver of messages: one mailbox each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Actor {
    /// A player's session, by its id.
    Client(u64),
    /// A game server, by its id.
    Runtime(u64),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(id) => write!(f, "client {id}"),
            Self::Runtime(id) => write!(f, "runtime {id}"),
        }
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        match actor {
            Actor::Client(id) => format!("c{id}"),
            Actor::Runtime(id) => format!("r{id}"),
        }
    }
}

/// A text in a history file names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names nobody: expected `c` or `r` and a number")]
pub struct ParseActorError(String);

impl FromStr for Actor {
    type Err = ParseActorError;
    fn from_str(text: &str) -> Result<Self, ParseActorError> {
        let wrong = || ParseActorError(text.to_owned());
        let id = text.get(1..).and_then(|it| it.parse().ok()).ok_or_else(wrong)?;
        match text.get(..1) {
            Some("c") => Ok(Self::Client(id)),
            Some("r") => Ok(Self::Runtime(id)),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Actor {
    type Error = ParseActorError;
    fn try_from(text: String) -> Result<Self, ParseActorError> {
        text.parse()
    }
}

/// The recipients of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// By a client: to the game server that it is with, whichever that is when the message is
    /// taken.
    Runtime,
    /// By a game server: to each of these clients.
    Clients(Vec<u64>),
    /// By a game server: to all clients that are with it when the message is taken.
    Members,
}

/// Something that somebody noticed. Numbers of messages are the sender's own and grow. Those of
/// profiles grow for each user; 0 is the profile of a user without any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Record {
    /// A message is about to be sent for the first time. Until more is noted its outcome is
    /// unknown.
    #[serde(rename = "said")]
    Sent {
        /// The sender.
        from: Actor,
        /// Its number.
        number: u64,
        /// The recipients.
        to: To,
    },
    /// The sender learned that its message was taken: it is durable.
    Taken {
        /// The sender.
        from: Actor,
        /// Its number.
        number: u64,
        /// For [`To::Members`]: the clients that certainly were with the sender. For
        /// [`To::Clients`]: those of them for whom it certainly was taken; all when nobody is
        /// named. For others nothing.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        surely: Vec<u64>,
    },
    /// The sender learned, at its first attempt, that its message was not taken.
    Refused {
        /// The sender.
        from: Actor,
        /// Its number.
        number: u64,
    },
    /// A message came; also when it came before.
    #[serde(rename = "heard")]
    Received {
        /// The receiver.
        by: Actor,
        /// The id of the entry in the receiver's mailbox.
        entry: u64,
        /// The sender.
        from: Actor,
        /// The sender's number.
        number: u64,
    },
    /// A client learned, for the first time under this entry, which game server it is with.
    Assigned {
        /// The client.
        client: u64,
        /// The id of the entry in its mailbox.
        entry: u64,
        /// The game server.
        runtime: u64,
        /// Whether that is a match's.
        is_match: bool,
    },
    /// A game server is about to ask for a match for a client.
    #[serde(rename = "wished")]
    TicketRequested {
        /// The client.
        client: u64,
    },
    /// The request was taken.
    #[serde(rename = "wish_taken")]
    TicketTaken {
        /// The client.
        client: u64,
    },
    /// The request was refused at its first attempt.
    #[serde(rename = "wish_refused")]
    TicketRefused {
        /// The client.
        client: u64,
    },
    /// A client learned, for the first time under this entry, that its ticket ended without a
    /// match.
    #[serde(rename = "wish_failed")]
    TicketFailed {
        /// The client.
        client: u64,
        /// The id of the entry in its mailbox.
        entry: u64,
    },
    /// At rest: the backend knows of no open ticket of the client.
    #[serde(rename = "wish_void")]
    TicketVoid {
        /// The client.
        client: u64,
    },
    /// A profile is about to be set.
    #[serde(rename = "profile_said")]
    ProfileSent {
        /// The user.
        user: u64,
        /// What it is set to.
        value: u64,
    },
    /// The profile was taken: it is durable.
    ProfileTaken {
        /// The user.
        user: u64,
        /// What it was set to.
        value: u64,
    },
    /// The profile was refused at its first attempt.
    ProfileRefused {
        /// The user.
        user: u64,
        /// What it was to be set to.
        value: u64,
    },
    /// From here on the backend may read the profile for the next [`Record::ProfileRead`].
    ProfileAsked {
        /// The user.
        user: u64,
    },
    /// What the profile was at some time since the first [`Record::ProfileAsked`] after the last
    /// such record.
    ProfileRead {
        /// The user.
        user: u64,
        /// What it was set to.
        value: u64,
    },
    /// What the profile is now.
    ProfileStored {
        /// The user.
        user: u64,
        /// What it is set to.
        value: u64,
    },
    /// A receiver's mailbox was closed, as was to be expected: what it didn't receive isn't lost.
    Gone {
        /// Whose.
        who: Actor,
    },
    /// A receiver's mailbox was closed and nobody had asked for that.
    Ended {
        /// Whose.
        who: Actor,
        /// The given reason.
        why: String,
    },
    /// The server is about to be killed, or has ended by itself.
    Down,
    /// The server is ready after it was down.
    Up,
}
