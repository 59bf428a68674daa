//! The reconciler: makes the lobbies and matches of a deployment what its players need.

use std::sync::Arc;

use omgservers_api::{DeploymentId, Kind, Problem, ids::Id as _, interchange::Reason};
use omgservers_core::Existence;
use omgservers_deployments::DeploymentFull;

use crate::{
    PgMatchmaking,
    effects::disconnect_ops,
    state::{DeploymentHandle, DeploymentState},
    store,
};

/// Turns of one run; the next run does the rest.
const MOST_TURNS: usize = 8;

impl PgMatchmaking {
    /// Does what a deployment needs. Answers how many things were done.
    pub(crate) async fn reconcile(&self, id: DeploymentId) -> Result<usize, Problem> {
        let handle = self.states.handle(id);
        let mut state = handle.state.lock().await;
        let Some((full, active)) = self.living(id).await? else {
            return self.tear_down(&handle, &mut state).await;
        };
        self.load_lobbies(&handle, &mut state, &full).await?;
        let mut done = 0;
        for _ in 0..MOST_TURNS {
            let matches = self.reconcile_matches(&handle, &mut state, &full, active).await?;
            let lobbies = self.reconcile_lobbies(&handle, &mut state, &full, active).await?;
            done += matches.done + lobbies.done;
            if lobbies.retired {
                self.tear_down(&handle, &mut state).await?;
                return Ok(done);
            }
            if matches.done + lobbies.done == 0 {
                if let Some(again) = [matches.again, lobbies.again].into_iter().flatten().min() {
                    self.parts.changed.requeue_after(id, again);
                }
                return Ok(done);
            }
        }
        self.parts.changed.enqueue(id);
        Ok(done)
    }

    /// The deployment and whether it is its stage's newest; `None` when it is gone.
    async fn living(&self, id: DeploymentId) -> Result<Option<(Arc<DeploymentFull>, bool)>, Problem> {
        let full = match self.parts.deployments.full(id).await {
            Ok(full) => full,
            Err(problem) if problem.kind() == Kind::NotFound => return Ok(None),
            Err(problem) => return Err(problem),
        };
        match self.parts.deployments.newest(full.deployment.stage_id).await {
            Ok(newest) if newest.deployment.id == id => return Ok(Some((full, true))),
            Err(problem) if problem.kind() != Kind::NotFound => return Err(problem),
            _ => {}
        }
        let exist = self.parts.deployments.exist(&[id]).await?;
        // A deployment whose database doesn't answer goes on.
        let is_gone = exist.get(&id) == Some(&Existence::No);
        Ok((!is_gone).then_some((full, false)))
    }

    /// Ends everything of a deployment that is gone: disconnects its clients, closes its matches
    /// and lobbies.
    async fn tear_down(
        &self,
        handle: &DeploymentHandle,
        state: &mut DeploymentState,
    ) -> Result<usize, Problem> {
        let mut ops = Vec::new();
        for (client, info) in self.parts.messaging.clients_in(handle.id) {
            if !info.closed {
                ops.extend(disconnect_ops(client, info.route, Reason::InternalFailure)?);
            }
        }
        let mut done = ops.len();
        self.parts.messaging.apply(ops)?.wait().await?;
        done += self.tear_down_matches(handle, state).await?;
        done += self.tear_down_lobbies(handle, state).await?;
        let slots = [handle.id.slot()];
        done += self
            .parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::delete_matchmakers(&mut tx, handle.id).await
            })
            .await?;
        self.states.forget(handle.id);
        Ok(done)
    }
}
