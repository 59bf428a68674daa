//! What others ask of the matches of a deployment. The next round answers all that was asked until then: so many
//! wishes are one commit.

use std::time::Duration;

use omgservers_api::{
    ClientId, DeploymentId, Problem, RuntimeId, TicketId,
    interchange::{Attributes, MatchmakingFailureReason},
};
use tokio::sync::oneshot;

use crate::PgMatchmaking;

/// Longer than any round takes, unless the database is away.
const PATIENCE: Duration = Duration::from_secs(30);

/// A wish to be matched.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Who asks, first, and its party.
    pub(crate) clients: Vec<ClientId>,
    /// The lobby that they are all with.
    pub(crate) lobby: RuntimeId,
    pub(crate) mode: String,
    pub(crate) attributes: Attributes,
}

/// What is asked. The answer comes when what was done is durable.
pub(crate) enum Ask {
    /// Match them.
    Add(Wish, oneshot::Sender<Result<TicketId, Problem>>),
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
    /// Asks. Several can be asked before they are [answered](Self::answered), together.
    pub(crate) fn ask<T>(
        &self,
        deployment: DeploymentId,
        ask: impl FnOnce(oneshot::Sender<Result<T, Problem>>) -> Ask,
    ) -> Answer<T> {
        let (answer, answered) = oneshot::channel();
        self.halls.cell(deployment).ask(ask(answer));
        answered
    }

    /// Waits for an answer. Who waits does the round for all that have asked, unless somebody does it already. Problems:
    /// those of what was asked; `unavailable` when the round failed.
    pub(crate) async fn answered<T>(
        &self,
        deployment: DeploymentId,
        answer: Answer<T>,
    ) -> Result<T, Problem> {
        if let Err(problem) = self.tend_queues(deployment).await {
            tracing::error!(deployment.id = %deployment, ?problem, "a round of the matchmaker failed");
            // Nobody waits for what this round didn't come to.
            drop(self.halls.cell(deployment).take_asks());
            self.halls.touch(deployment);
        }
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => Err(Problem::unavailable("the matchmaker could not keep this; ask again")),
            Err(_late) => Err(Problem::unavailable("the matchmaker did not answer in time")),
        }
    }
}
