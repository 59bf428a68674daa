#![doc = include_str!("../README.md")]

mod bodies;
mod commands;
mod details;
mod direct;
mod halls;
mod matches;
mod meters;
mod pg;
pub mod problems;
pub mod rules;
mod schema;
mod service;
mod store;
mod tend;
mod ticket_log;
mod worker;

pub use meters::Depths;
pub use pg::{MatchmakingConfig, MatchmakingParts, PgMatchmaking};
pub use service::{Matchmaking, RuntimeAnswer, WhichTicket};
pub use ticket_log::TicketLog;
pub use worker::{ExpireClients, ForgetClosed, Survey, Tend, WatchRuntimes};

omgservers_core::schema!("matchmaking", "../../migrations/matchmaking");
