#![doc = include_str!("../README.md")]

mod bounds;
mod closing;
mod connection;
mod envelope;
mod meters;
mod peer;
mod queue;
mod quota;
mod room;
mod rooms;

pub use bounds::{Bounds, QueueLimit};
pub use closing::Closing;
pub use connection::{Assignment, FrameOutcome, OutgoingFrames, RoomConnection};
pub use rooms::{Dispatcher, Stopped};
