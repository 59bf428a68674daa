#![doc = include_str!("../README.md")]

mod bodies;
mod commands;
mod commits;
mod details;
mod direct;
mod effects;
mod health;
mod lobbies;
mod matches;
mod matchmakers;
mod meters;
mod parts;
mod pg;
pub mod problems;
mod reconcile;
mod routed;
mod runtime_command;
mod schema;
mod service;
mod state;
mod store;
mod ticket_log;
mod worker;

pub use meters::Depths;
pub use parts::{MatchmakingConfig, MatchmakingParts, PgMatchmaking};
pub use routed::{MatchmakingHandler, RoutedMatchmaking};
pub use service::{Matchmaking, RuntimeAnswer, RuntimeTurn, WhichTicket};
pub use ticket_log::TicketLog;
pub use worker::{ExpireClients, ForgetClosed, ReconcileDeployments, Resync};

omgservers_core::schema!("matchmaking", "../../migrations/matchmaking");
