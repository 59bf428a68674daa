//! The real binary with real PostgreSQL, real Docker and the stock Docker client.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on must fail at once"
)]

mod arena;
mod bench;
mod demo;
mod direct;
mod dispatcher;
mod external;
mod flows;
mod handover;
mod lobbies;
mod matches;
mod plain;
mod played;
mod pool;
mod raw;
mod registry;
mod requests;
mod restarts;
mod rules;
mod runtime;
mod seats;
mod stream;
