//! Requests to the matchmaker of a deployment. The next round answers all that have come until
//! then: so many tickets are one commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use omgservers_api::{
    ClientId, Problem, RuntimeId, TicketId,
    ids::SenderSeq,
    interchange::{Attributes, MatchmakingFailureReason},
};
use tokio::sync::oneshot;

/// Longer than any round takes, unless the database is away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A REQUEST_MATCHMAKING command.
#[derive(Debug, Clone)]
pub(crate) struct TicketRequest {
    /// The client that it names first, and the others of its party.
    pub(crate) clients: Vec<ClientId>,
    /// The lobby that they are all with.
    pub(crate) lobby: RuntimeId,
    pub(crate) counter: CommandSeq,
    pub(crate) mode: String,
    pub(crate) attributes: Attributes,
}

/// The lobby's own counter of a request. The round that answers the request accepts it: the lobby's
/// call may have been broken off. Repeated after its match, it would be another request.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommandSeq {
    pub(crate) seq: Option<SenderSeq>,
    /// Whether the request before it was answered. If that is to be repeated, so is this one.
    pub(crate) before: Option<Arc<AtomicBool>>,
    pub(crate) answered: Arc<AtomicBool>,
}

impl CommandSeq {
    /// The request is answered. Returns the counter to accept.
    pub(crate) fn take(&self) -> Option<SenderSeq> {
        if self.before.as_ref().is_some_and(|it| !it.load(Ordering::Acquire)) {
            return None;
        }
        self.answered.store(true, Ordering::Release);
        self.seq
    }
}

/// A request. Its answer comes when its changes are durable.
#[derive(Debug)]
pub(crate) enum MatchmakerRequest {
    /// Makes a ticket.
    Add(TicketRequest, oneshot::Sender<Result<TicketId, Problem>>),
    /// Ends the ticket of a client that isn't matched. Answers whether it had one.
    Cancel(ClientId, MatchmakingFailureReason, oneshot::Sender<Result<bool, Problem>>),
    /// Ends the back-fill of a match.
    Stop(RuntimeId, oneshot::Sender<Result<(), Problem>>),
    /// Moves a client from a match to a lobby. Answers whether it was there.
    Leave(RuntimeId, ClientId, oneshot::Sender<Result<bool, Problem>>),
}

/// An answer that isn't there yet.
pub(crate) type PendingAnswer<T> = oneshot::Receiver<Result<T, Problem>>;

/// Waits for an answer. Problems: those of the request; `unavailable` when the round failed.
pub(crate) async fn answered<T>(answer: PendingAnswer<T>) -> Result<T, Problem> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_dropped)) => Err(Problem::unavailable("the matchmaker could not keep this; ask again")),
        Err(_late) => Err(Problem::unavailable("the matchmaker did not answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_accepted_only_if_those_before_it_were_answered() {
        let after = |before: &CommandSeq, seq| CommandSeq {
            seq,
            before: Some(Arc::clone(&before.answered)),
            answered: Arc::default(),
        };
        let seq = |it| Some(SenderSeq(it));
        let first = CommandSeq { seq: seq(1), ..CommandSeq::default() };
        let second = after(&first, None);
        let third = after(&second, seq(3));
        // The round of the first failed: all are repeated.
        assert_eq!((second.take(), third.take()), (None, None));
        assert_eq!((first.take(), second.take(), third.take()), (seq(1), None, seq(3)));
    }
}
