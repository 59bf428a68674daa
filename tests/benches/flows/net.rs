//! Connections of a generator that plays many parts at once: one thread, nothing copied that
//! needn't be.

mod http;
mod table;
mod wire;
mod ws;

pub(crate) use self::{
    http::{Answers, Ask, ask, finish, head},
    table::{Peer, Table, Tally},
    wire::{Wire, connect},
    ws::{Frames, text, upgrade},
};
