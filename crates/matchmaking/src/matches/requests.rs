//! What others ask of the matches of a deployment. The next round answers all that was asked until then: so many
//! pending_tickets are one commit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use omgservers_api::{
    ClientId, DeploymentId, Kind, Problem, RuntimeId, TicketId,
    ids::SenderSeq,
    interchange::{Attributes, MatchmakingFailureReason},
};
use tokio::sync::oneshot;

use crate::{PgMatchmaking, state::DeploymentHandle};

/// Longer than any round takes, unless the database is away.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request to be matched.
#[derive(Debug, Clone)]
pub(crate) struct TicketRequest {
    /// Who requests, first, and its party.
    pub(crate) clients: Vec<ClientId>,
    /// The lobby that they are all with.
    pub(crate) lobby: RuntimeId,
    pub(crate) note: CommandSeq,
    pub(crate) mode: String,
    pub(crate) attributes: Attributes,
}

/// The lobby's own counter of a request. The round that answers the request notes it, because who asked may have been broken off:
/// repeated later, when its match is over, the request would be another one.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommandSeq {
    pub(crate) seq: Option<SenderSeq>,
    /// Whether the request before it was answered: if that is to be repeated, so is this one.
    pub(crate) before: Option<Arc<AtomicBool>>,
    pub(crate) answered: Arc<AtomicBool>,
}

impl CommandSeq {
    /// The request is answered: what is to be noted.
    pub(crate) fn take(&self) -> Option<SenderSeq> {
        if self.before.as_ref().is_some_and(|it| !it.load(Ordering::Acquire)) {
            return None;
        }
        self.answered.store(true, Ordering::Release);
        self.seq
    }
}

/// What is asked. The answer comes when what was done is durable.
pub(crate) enum MatchmakerRequest {
    /// Match them.
    Add(TicketRequest, oneshot::Sender<Result<TicketId, Problem>>),
    /// Don't match this client any more. Answers whether it had an open ticket.
    Cancel(ClientId, MatchmakingFailureReason, oneshot::Sender<Result<bool, Problem>>),
    /// This match takes no further players.
    Stop(RuntimeId, oneshot::Sender<Result<(), Problem>>),
    /// This client leaves this match and goes to a lobby. Answers whether it was there.
    Leave(RuntimeId, ClientId, oneshot::Sender<Result<bool, Problem>>),
}

/// An answer that isn't there yet.
pub(crate) type Answer<T> = oneshot::Receiver<Result<T, Problem>>;

impl PgMatchmaking {
    /// RequestQueue. Several can be asked before they are [answered], together. The rounds are done by a task of their own:
    /// whoever requests may go away at any time without taking others' answers along.
    pub(crate) fn request<T>(
        &self,
        deployment: DeploymentId,
        ask: impl FnOnce(oneshot::Sender<Result<T, Problem>>) -> MatchmakerRequest,
    ) -> Answer<T> {
        let (answer, answered) = oneshot::channel();
        let handle = self.states.handle(deployment);
        if handle.enqueue(ask(answer))
            && let Some(me) = self.me.upgrade()
        {
            tokio::spawn(async move { me.serve(Service { handle, over: false }).await });
        }
        answered
    }

    /// Does rounds until nothing is asked any more.
    async fn serve(&self, mut service: Service) {
        let handle = Arc::clone(&service.handle);
        while !service.over {
            if let Err(problem) = self.serve_round(&handle).await {
                tracing::error!(deployment.id = %handle.id, ?problem, "a round of the matchmaker failed");
                self.parts.changed.enqueue(handle.id);
            }
            service.over = handle.rest();
        }
    }

    /// One round for all that was asked until now. When it fails, that and nothing else is without an answer.
    async fn serve_round(&self, handle: &DeploymentHandle) -> Result<(), Problem> {
        let mut state = handle.state.lock().await;
        let requests = handle.take_requests();
        if requests.is_empty() {
            return Ok(());
        }
        let full = match self.parts.deployments.full(handle.id).await {
            Ok(full) => full,
            Err(problem) if problem.kind() == Kind::NotFound => {
                // The tender ends what it had.
                self.parts.changed.enqueue(handle.id);
                return Ok(());
            }
            Err(problem) => return Err(problem),
        };
        self.load(handle, &mut state, &full).await?;
        self.load_queues(handle, &mut state, &full).await?;
        let done = self.round(handle, &mut state, &full, requests, &[]).await?;
        let admitted = self.admit(&mut state, &full).await?;
        drop(state);
        if done > 0 {
            self.parts.changed.enqueue(handle.id);
        }
        admitted.wait().await
    }
}

/// The right to do rounds for a deployment. When it ends early, say in a panic, the next who requests does them.
struct Service {
    handle: Arc<DeploymentHandle>,
    over: bool,
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.over {
            self.handle.abandon();
        }
    }
}

/// Waits for an answer. Problems: those of what was asked; `unavailable` when the round failed.
pub(crate) async fn answered<T>(answer: Answer<T>) -> Result<T, Problem> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_dropped)) => Err(Problem::unavailable("the matchmaker could not keep this; ask again")),
        Err(_late) => Err(Problem::unavailable("the matchmaker did not answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_noted_only_if_those_before_it_were_answered() {
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
