#![doc = include_str!("../README.md")]

mod apply;
mod bounds;
mod client_box;
mod commit;
mod exchange;
mod inbox;
mod journal;
mod load;
mod mailboxes;
mod meters;
pub mod problems;
mod qualifier;
mod runtime_box;
mod say;
mod service;
mod shard;
mod silence;
mod wakes;

pub use bounds::Bounds;
pub use commit::Commit;
pub use mailboxes::Mailboxes;
pub use service::{
    Body, ClientInfo, Depths, Entry, FromClient, Mailbox, Messaging, Op, RuntimeInfo, Standing, To,
};

/// The PostgreSQL schema of this crate.
pub const SCHEMA: omgservers_core::Schema = omgservers_core::Schema {
    name: "messaging",
    migrations: || {
        const MIGRATIONS: diesel_migrations::EmbeddedMigrations =
            diesel_migrations::embed_migrations!("../../migrations/messaging");
        MIGRATIONS
    },
};
