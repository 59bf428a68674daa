//! What must not have happened.

use std::fmt;

use serde::Serialize;

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A message that was taken did not arrive.
    Loss,
    /// A message arrived before an earlier one of its sender.
    Reorder,
    /// A message arrived under two ids.
    Duplicate,
    /// A message arrived that nobody sent to this receiver, or that was refused.
    Phantom,
    /// A profile that was taken was not read back.
    Profile,
    /// A ticket ended twice, or vanished.
    Ticket,
    /// A client was with another game server than its assigned one.
    Assignment,
    /// A session or a lobby ended without a cause.
    Ended,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loss => "loss",
            Self::Reorder => "reorder",
            Self::Duplicate => "duplicate",
            Self::Phantom => "phantom",
            Self::Profile => "profile",
            Self::Ticket => "ticket",
            Self::Assignment => "assignment",
            Self::Ended => "ended",
        })
    }
}

/// A broken promise, with a sentence that names sender, number and ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which promise.
    pub kind: Kind,
    /// What happened.
    pub sentence: String,
}

impl Violation {
    pub(super) fn new(kind: Kind, sentence: String) -> Self {
        Self { kind, sentence }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.sentence)
    }
}
