//! The program as its users meet it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod configuration;
mod keys;
mod life;
mod postgres;
mod program;
mod replay;
mod restart;
mod traces;
