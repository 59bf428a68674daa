//! Deployments on a real database, with the real crates to their left.
#![expect(clippy::unwrap_used, reason = "a test that can't be set up must fail at once")]

mod checks;
mod deletion;
mod fixture;
mod newest;
mod older;
mod pins;
mod shards;
