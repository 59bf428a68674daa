//! Connections of a generator that plays many parts at once: one thread, nothing copied that
//! needn't be.

mod http;
mod table;
mod wire;
mod ws;

pub(crate) use self::{
    http::{Answers, PreparedRequest, finish, head, write_request},
    table::{Counts, Peer, Table},
    wire::{Wire, connect},
    ws::{Frames, text, upgrade},
};
