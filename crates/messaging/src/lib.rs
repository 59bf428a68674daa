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

omgservers_core::schema!("messaging", "../../migrations/messaging");
