//! What is asked of a run.

use std::{path::PathBuf, time::Duration};

use crate::schedule::Database;

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many rounds.
    pub rounds: usize,
    /// Which schedule.
    pub seed: u64,
    /// How many players.
    pub players: usize,
    /// How many entries wait in mailboxes when the server is killed at the end; 0 leaves that out.
    pub entries: u64,
    /// Where the database is.
    pub database: Database,
    /// About how long a player pauses between two exchanges.
    pub pace: Duration,
    /// Where the history is written to when something is wrong.
    pub folder: PathBuf,
}
