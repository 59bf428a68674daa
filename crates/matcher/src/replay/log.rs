//! The log of what came to a matchmaker.

use omgservers_api::TicketId;
use serde::{Deserialize, Serialize};

use crate::Ticket;

/// One line: what came when. JSON, one line each; fields that aren't known are skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// Milliseconds, on the clock of [`Ticket::entered`].
    pub at_ms: i64,
    /// The mode. A cancelled ticket is known by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// What came.
    #[serde(flatten)]
    pub event: LogEvent,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LogEvent {
    /// A ticket.
    Add {
        /// The ticket.
        ticket: Ticket,
    },
    /// Somebody took one back.
    Cancel {
        /// Which.
        ticket_id: TicketId,
    },
}

impl LogLine {
    /// As a line of the log, with its end.
    ///
    /// # Errors
    /// A number that JSON doesn't know, such as infinity.
    pub fn line(&self) -> serde_json::Result<String> {
        let mut line = serde_json::to_string(self)?;
        line.push('\n');
        Ok(line)
    }
}
