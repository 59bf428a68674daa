#![doc = include_str!("../README.md")]

mod pg;
pub mod problems;
mod recent;
mod rules;
mod schema;
mod service;
mod store;

pub use pg::{AccountsParts, PgAccounts};
pub use service::{Accounts, NewUser, User};

omgservers_core::schema!("accounts", "../../migrations/accounts");
