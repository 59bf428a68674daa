//! Matches and tickets of deployments: `rules` decides, `reconcile` collects the facts for it,
//! `apply` carries the changes out.

mod apply;
mod details;
mod reconcile;
mod requests;
mod rules;
mod serve;
pub(crate) mod state;

pub(crate) use self::{
    details::match_refs,
    requests::{CommandSeq, MatchmakerRequest, PendingAnswer, TicketRequest, answered},
};
