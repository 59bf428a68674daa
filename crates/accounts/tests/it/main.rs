//! Accounts on a real database.
#![expect(clippy::unwrap_used, reason = "a test that stands on nothing must fail at once")]

mod bootstrap;
mod credentials;
mod deletion;
mod fixture;
mod names;
mod sign_up;
