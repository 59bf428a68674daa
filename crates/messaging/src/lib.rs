#![doc = include_str!("../README.md")]

mod ack;
mod apply;
mod bounds;
mod client_box;
mod client_send;
mod deferred;
mod deployments;
mod entry;
mod idle;
mod inbox;
mod journal;
mod load;
mod mail;
mod mailboxes;
mod meters;
pub mod problems;
mod qualifier;
mod receive;
mod routed_mail;
mod runtime_box;
mod runtime_send;
mod service;
mod shard;

pub use ack::AckHandle;
pub use bounds::Bounds;
pub use mail::{Mail, Sending, StreamPosition};
pub use mailboxes::Mailboxes;
pub use routed_mail::{MailHandler, RoutedMail};
pub use service::{
    AssignmentStatus, Body, ClientInfo, ClientMessage, Entry, MOST_BYTES_OF_OPS, Mailbox, MailboxDepths,
    Messaging, Op, RuntimeInfo, To,
};

omgservers_core::schema!("messaging", "../../migrations/messaging");
