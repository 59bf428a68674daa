#![doc = include_str!("../README.md")]

mod explain;
mod index;
mod plan;
mod pool;
mod queue;
mod rationale;
pub mod replay;
mod running;
mod search;
mod shelves;
mod ticket;
mod values;

pub use explain::{Deadline, Explanation, NextExpansion, PoolSize, Rejected};
pub use pool::Pool;
pub use rationale::{Allowed, Average, GroupReason, Rationale, RuleReason, TicketReason};
pub use ticket::{Effect, MatchKey, Moment, Placement, Refusal, Seat, Ticket};
