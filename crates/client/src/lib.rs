#![doc = include_str!("../README.md")]

pub mod direct;
pub mod dispatcher;
pub mod endpoints;
#[cfg(feature = "fake")]
pub mod fake;
mod flow;
mod http;
pub mod player;
pub mod problems;
mod retry;
pub mod runtime;
mod socket;

pub use dispatcher::Frame;
pub use endpoints::{Admin, Developer, Support};
pub use http::Client;
pub use omgservers_api as api;
pub use player::{Event, Player, Session, SessionSender, Transport};
pub use retry::Retry;
pub use runtime::{Command, DispatcherConnection, DispatcherEvent, Runtime};
