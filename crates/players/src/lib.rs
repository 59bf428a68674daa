#![doc = include_str!("../README.md")]

mod pg;
pub mod problems;
mod rules;
mod schema;
mod service;
mod store;
mod worker;

pub use pg::{PgPlayers, PlayersParts};
pub use rules::MOST_PROFILE_BYTES;
pub use service::{Place, Players};
pub use worker::SweepOrphans;

/// The PostgreSQL schema of this crate.
pub const SCHEMA: omgservers_core::Schema = omgservers_core::Schema {
    name: "players",
    migrations: || {
        const MIGRATIONS: diesel_migrations::EmbeddedMigrations =
            diesel_migrations::embed_migrations!("../../migrations/players");
        MIGRATIONS
    },
};
