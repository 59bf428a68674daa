//! Containers on the real Docker daemon of this machine; ignored unless scripts/test.sh runs them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect must fail at once"
)]

mod bench;
mod containers;
mod installation;
mod ports;
mod service;
mod tls;
