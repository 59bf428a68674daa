#![doc = include_str!("../README.md")]

mod pg;
pub mod problems;
mod recent;
mod rules;
mod schema;
mod service;
mod store;

pub use pg::PgAccounts;
pub use service::{Accounts, NewUser, User};

/// The PostgreSQL schema of this crate.
pub const SCHEMA: omgservers_core::Schema = omgservers_core::Schema {
    name: "accounts",
    migrations: || {
        const MIGRATIONS: diesel_migrations::EmbeddedMigrations =
            diesel_migrations::embed_migrations!("../../migrations/accounts");
        MIGRATIONS
    },
};
