//! Projects and stages on a real database.
#![expect(clippy::unwrap_used, reason = "a test that can't be set up must fail at once")]

mod aliases;
mod deletion;
mod fixture;
mod guards;
mod permissions;
mod stages;
mod sweeps;
