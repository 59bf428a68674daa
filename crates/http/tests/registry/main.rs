//! The registry over real HTTP: the four categories of the OCI distribution specification, its
//! token service, and Docker's own client.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that can't be set up must fail at once"
)]

mod bad_bytes;
mod conformance;
mod discovery;
mod docker;
mod fixture;
mod garbage;
mod management;
mod manifests;
mod pull;
mod push;
mod tokens;
