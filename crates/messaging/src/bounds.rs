//! How much fits.

use std::time::Duration;

/// The bounds of mailboxes, of answers, and of the changes that wait for the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most entries in one mailbox. Messages of the backend itself are never refused.
    pub most_entries: usize,
    /// Most bytes of bodies in one mailbox.
    pub most_bytes: usize,
    /// Most entries in one answer.
    pub most_entries_per_answer: usize,
    /// Most bytes of bodies in one answer; one entry is answered however large it is.
    pub most_bytes_per_answer: usize,
    /// Most messages of one client that wait for its first runtime.
    pub pending: usize,
    /// Most bytes of their bodies. Clients are anonymous, and those of a whole lobby are moved at
    /// once.
    pub most_pending_bytes: usize,
    /// How long a sender waits for its change. A timeout doesn't cancel the change: it becomes
    /// durable later.
    pub commit_timeout: Duration,
    /// Most changes that wait for the database; beyond, players and runtimes are refused.
    pub most_unwritten: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            most_entries: 10_000,
            most_bytes: 8 << 20,
            most_entries_per_answer: 1_000,
            most_bytes_per_answer: 1 << 20,
            pending: 1_000,
            most_pending_bytes: 256 << 10,
            commit_timeout: Duration::from_secs(15),
            most_unwritten: 500_000,
        }
    }
}
