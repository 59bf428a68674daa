//! Matchmaking on a real database, with the real crates to its left and simulated container hosts.
#![expect(clippy::unwrap_used, reason = "a test that can't be set up must fail at once")]

mod commands;
mod fixture;
mod lobbies;
mod matches;
mod restarts;
