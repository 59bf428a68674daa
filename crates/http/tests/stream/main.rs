//! The player stream over real sockets, on mailboxes in a real database.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that meets what it doesn't expect must fail"
)]

mod doors;
mod ends;
mod faults;
mod fixture;
mod flow;
#[path = "../common/messaging.rs"]
mod messaging;
mod sdk;
mod wire;
