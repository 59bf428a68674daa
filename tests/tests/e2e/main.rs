//! The real binary with real PostgreSQL, real Docker and the stock Docker client.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on must fail at once"
)]

mod bench;
mod direct;
mod dispatcher;
mod flows;
mod lobbies;
mod matches;
mod raw;
mod registry;
mod restarts;
mod runtime;
mod stream;
