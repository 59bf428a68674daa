//! The metrics of this crate.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};

/// Handles that are looked up once.
pub(crate) struct Meters {
    pub(crate) opened: Counter,
    pub(crate) matched: Counter,
    pub(crate) failed: Counter,
    pub(crate) refused: Counter,
    seconds: Histogram,
    requests: Histogram,
    waited: Histogram,
}

/// How much waits, over all deployments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depths {
    /// Tickets that wait for a match.
    pub tickets: usize,
    /// Players without a lobby.
    pub without_lobby: usize,
    /// Lobbies that are not closing.
    pub lobbies: usize,
    /// Matches that are not over.
    pub matches: usize,
}

impl Meters {
    /// The recorder must be installed before.
    pub(crate) fn new() -> Self {
        describe_counter!("omgservers_tickets_total", "Tickets by what became of them.");
        describe_histogram!(
            "omgservers_matchmaking_round_seconds",
            "How long a round took, its transaction included."
        );
        describe_histogram!(
            "omgservers_matchmaking_round_requests_rows",
            "What was asked and answered by one round."
        );
        describe_histogram!(
            "omgservers_matchmaking_wait_seconds",
            "From the request of a player to its place in a match."
        );
        let tickets = |outcome: &'static str| counter!("omgservers_tickets_total", "outcome" => outcome);
        Self {
            opened: tickets("opened"),
            matched: tickets("matched"),
            failed: tickets("failed"),
            refused: tickets("refused"),
            seconds: histogram!("omgservers_matchmaking_round_seconds"),
            requests: histogram!("omgservers_matchmaking_round_requests_rows"),
            waited: histogram!("omgservers_matchmaking_wait_seconds"),
        }
    }

    pub(crate) fn round(&self, requests: usize, took: Duration) {
        self.seconds.record(took);
        self.requests.record(f64::from(u32::try_from(requests).unwrap_or(u32::MAX)));
    }

    pub(crate) fn matched(&self, waited: Duration) {
        self.matched.increment(1);
        self.waited.record(waited);
    }
}
