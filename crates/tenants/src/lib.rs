#![doc = include_str!("../README.md")]

mod pg;
pub mod problems;
mod rules;
mod schema;
mod service;
mod store;
mod worker;

pub use pg::PgTenants;
pub use service::Tenants;
pub use worker::{FreeNames, SweepPermissions};

/// The PostgreSQL schema of this crate.
pub const SCHEMA: omgservers_core::Schema = omgservers_core::Schema {
    name: "tenants",
    migrations: || {
        const MIGRATIONS: diesel_migrations::EmbeddedMigrations =
            diesel_migrations::embed_migrations!("../../migrations/tenants");
        MIGRATIONS
    },
};
