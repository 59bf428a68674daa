#![doc = include_str!("../README.md")]

mod compiled_mode;
mod explain;
mod open_match;
mod open_match_index;
mod open_matches;
mod pool;
mod rationale;
pub mod replay;
mod search;
mod ticket;
mod ticket_index;
mod ticket_queue;
mod values;

pub use explain::{Deadline, Explanation, NextExpansion, PoolSize, RejectedByRule};
pub use pool::{MatchIds, Pool};
pub use rationale::{Allowed, Average, GroupReason, Rationale, RuleReason, TicketReason};
pub use ticket::{Effect, Millis, Placement, Refusal, Seat, Ticket};
