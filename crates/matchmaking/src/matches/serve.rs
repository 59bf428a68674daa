//! Takes rounds for requests as soon as they come.

use std::sync::Arc;

use omgservers_api::{DeploymentId, Kind, Problem};
use tokio::sync::oneshot;

use super::requests::{MatchmakerRequest, PendingAnswer};
use crate::{PgMatchmaking, state::DeploymentHandle};

impl PgMatchmaking {
    /// Enqueues a request. Several can be enqueued before the first answer comes. A task of
    /// its own takes the rounds: a caller that goes away breaks off no answer of another one.
    pub(crate) fn request<T>(
        &self,
        deployment: DeploymentId,
        request: impl FnOnce(oneshot::Sender<Result<T, Problem>>) -> MatchmakerRequest,
    ) -> PendingAnswer<T> {
        let (answer, answered) = oneshot::channel();
        let handle = self.states.handle(deployment);
        if handle.enqueue(request(answer))
            && let Some(me) = self.me.upgrade()
        {
            tokio::spawn(async move { me.serve(Service { handle, over: false }).await });
        }
        answered
    }

    /// Takes rounds until no request waits.
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

    /// Takes one round for all requests until now. When it fails, no other request lacks an answer.
    async fn serve_round(&self, handle: &DeploymentHandle) -> Result<(), Problem> {
        let mut state = handle.state.lock().await;
        let requests = handle.take_requests();
        if requests.is_empty() {
            return Ok(());
        }
        let full = match self.parts.deployments.full(handle.id).await {
            Ok(full) => full,
            Err(problem) if problem.kind() == Kind::NotFound => {
                // The reconciler ends what it had.
                self.parts.changed.enqueue(handle.id);
                return Ok(());
            }
            Err(problem) => return Err(problem),
        };
        self.load_lobbies(handle, &mut state, &full).await?;
        self.load_queues(handle, &mut state, &full).await?;
        let round = self.take_round(handle, &mut state, &full, requests, None).await?;
        let admitted = self.admit(&mut state, &full).await?;
        drop(state);
        if round.done > 0 {
            self.parts.changed.enqueue(handle.id);
        }
        admitted.wait().await
    }
}

/// The right to take rounds for a deployment. When it ends early, say in a panic, the next request
/// starts another one.
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
