//! The seeded simulation: the whole system in one process, on a real PostgreSQL. It has simulated
//! Docker hosts, a clock that is moved by hand, players and game servers that misbehave, and faults
//! at every border.
//!
//! A seed decides everything. `OMG_SIM_SEEDS=n` runs so many, `OMG_SIM_SEED=n` replays one and
//! prints its trace.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a simulation that can't go on must fail at once"
)]

mod backend;
mod checks;
mod faults;
mod modes;
mod orders;
mod player;
mod quiet;
mod requests;
mod rng;
mod run;
mod server;
mod simulation;
mod story;
mod tickets;

/// Seeds of a plain `make test`.
const SEEDS: u64 = 200;

#[test]
fn the_promises_hold_whatever_goes_wrong() {
    if let Some(seed) = run::number("OMG_SIM_SEED") {
        run::replay(seed);
        return;
    }
    let first = run::number("OMG_SIM_FIRST").unwrap_or(1);
    run::many(first, run::number("OMG_SIM_SEEDS").unwrap_or(SEEDS));
}
