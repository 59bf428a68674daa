#![doc = include_str!("../README.md")]

mod bounds;
mod closing;
mod connection;
mod envelope;
mod meters;
mod peer;
mod queue;
mod room;
mod rooms;
mod way;
pub mod wire;

pub use bounds::{Bounds, Room};
pub use closing::Closing;
pub use connection::{Assignment, Connection, Outgoing, Received};
pub use rooms::{Dispatcher, Refused};
