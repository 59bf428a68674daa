//! Kills, cuts and delays under load, and a checker of all messages: `make torture`.
//!
//! `docs/torture.md` says what is done and what is promised.

pub mod cluster;
pub mod history;
mod process;
pub mod proxy;
pub mod rng;
pub mod run;
pub mod schedule;
mod workload;
