//! The changes that a round decides on: data that `matches/apply.rs` carries out.

use std::{collections::BTreeSet, time::Duration};

use omgservers_api::{
    ClientId, MatchId, Problem, RuntimeId, TicketId,
    interchange::{MatchmakingFailure, MatchmakingFailureReason},
};
use omgservers_matcher::replay::LogLine;
use tokio::sync::oneshot;

use crate::{
    matches::requests::CommandSeq,
    store::matches::{MatchRow, TicketRow},
};

/// The changes of a round. Rows come first, in one transaction; what the others learn of them
/// follows when that is durable.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Open tickets whose rows `finish` makes.
    pub(super) changed_tickets: BTreeSet<TicketId>,
    /// Matches whose rows `finish` makes.
    pub(super) changed_matches: BTreeSet<MatchId>,
    pub(crate) tickets: Vec<TicketRow>,
    pub(crate) matches: Vec<MatchRow>,
    /// Tickets that are gone, and whose clients need no message.
    pub(crate) ended: Vec<TicketId>,
    /// The clients that receive why their ticket ended.
    pub(crate) failures: Vec<(Vec<ClientId>, MatchmakingFailure)>,
    /// Tickets whose rows go when the clients have received that.
    pub(crate) failed_tickets: Vec<TicketId>,
    /// Clients that leave a match, and its runtime.
    pub(crate) leaving: Vec<(ClientId, RuntimeId)>,
    /// Matches that end, and their runtimes.
    pub(crate) closing: Vec<(MatchId, RuntimeId)>,
    pub(crate) answers: Vec<RequestAnswer>,
    pub(crate) events: Vec<TicketEvent>,
    /// After what time to decide again though nothing happened.
    pub(crate) again: Option<Duration>,
}

impl Changes {
    /// How many things change.
    pub(crate) fn count(&self) -> usize {
        let lists = [
            self.tickets.len(),
            self.matches.len(),
            self.ended.len(),
            self.leaving.len(),
            self.closing.len(),
        ];
        lists.iter().sum()
    }
}

/// An answer and the caller that waits for it.
#[derive(Debug)]
pub(crate) struct RequestReply<T> {
    pub(crate) to: oneshot::Sender<Result<T, Problem>>,
    pub(crate) result: Result<T, Problem>,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum RequestAnswer {
    /// Of a ticket request. The counter of `lobby` is accepted with it.
    Ticket {
        lobby: RuntimeId,
        counter: CommandSeq,
        reply: RequestReply<TicketId>,
    },
    /// Whether there was something to do.
    Found(RequestReply<bool>),
    Done(RequestReply<()>),
}

/// What happened to a ticket, for the log, the metrics and the ticket log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TicketEvent {
    Opened,
    Refused,
    Failed { ticket: TicketId, mode: String, reason: MatchmakingFailureReason },
    Replaced { client: ClientId, former: TicketId, ticket: TicketId },
    Logged(LogLine),
}
