//! Mailboxes on a real database.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it doesn't expect must fail"
)]

mod assignments;
mod bounds;
mod counters;
mod deployments;
mod durability;
mod exchange;
mod fence;
mod fixture;
mod mail;
mod model;
mod node;
mod older;
mod processes;
mod routes;
mod stream;
