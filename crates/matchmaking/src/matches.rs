//! Matches and who waits for one: what is remembered of each deployment.

mod apply;
mod details;
mod load;
mod reconcile;
mod requests;
mod round;
mod rules;
pub(crate) mod state;
mod tickets;

pub(crate) use self::{
    details::match_refs,
    requests::{Answer, CommandSeq, MatchmakerRequest, TicketRequest, answered},
};
