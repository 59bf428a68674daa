//! The contract over real HTTP: every endpoint's gates, bad input, and the generated document.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on must fail at once"
)]

mod bad_input;
mod document;
mod fixture;
mod guards;
mod guide;
mod lists;
mod protocol;
mod roles;
mod schemas;
mod schemathesis;
mod studio;
mod workers;
