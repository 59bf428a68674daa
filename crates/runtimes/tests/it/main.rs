//! The service and its reconciler on a real database and simulated hosts.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect must fail at once"
)]

mod chaos;
mod failures;
mod fixture;
mod hosts;
mod life;
mod ports;
mod restarts;
