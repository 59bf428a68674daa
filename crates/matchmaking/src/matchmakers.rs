//! The matchmakers of deployments.

use omgservers_api::{ClientId, DeploymentId, MatchmakerId, Problem, ids::Id as _};

use crate::{
    PgMatchmaking,
    state::DeploymentHandle,
    store::{self, MatchmakerRow},
};

impl PgMatchmaking {
    /// A matchmaker of the deployment: made when there is none, else one that the client's id
    /// picks.
    pub(crate) async fn matchmaker_for(
        &self,
        handle: &DeploymentHandle,
        client: ClientId,
    ) -> Result<MatchmakerId, Problem> {
        if let Some(id) = pick(&handle.matchmakers(), client.get()) {
            return Ok(id);
        }
        let _state = handle.state.lock().await;
        let ids = self.matchmakers(handle).await?;
        pick(&ids, client.get()).ok_or_else(|| Problem::internal("a deployment without a matchmaker"))
    }

    /// The matchmakers of a deployment, one at least. The caller holds the lock of its state.
    pub(crate) async fn matchmakers(&self, handle: &DeploymentHandle) -> Result<Vec<MatchmakerId>, Problem> {
        let known = handle.matchmakers().clone();
        if !known.is_empty() {
            return Ok(known);
        }
        let rows = store::matchmakers(&mut *self.parts.db.read().await?, handle.id).await?;
        let mut ids: Vec<MatchmakerId> = rows.into_iter().map(|it| it.id).collect();
        if ids.is_empty() {
            ids.push(self.add_matchmaker(handle.id).await?);
        }
        handle.matchmakers().clone_from(&ids);
        Ok(ids)
    }

    pub(crate) async fn add_matchmaker(&self, deployment: DeploymentId) -> Result<MatchmakerId, Problem> {
        let id: MatchmakerId = self.parts.mint.child(deployment)?;
        let row = MatchmakerRow { deployment_id: deployment, id, created: self.parts.clock.now() };
        let slots = [deployment.slot()];
        self.parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::insert_matchmaker(&mut tx, &row).await
            })
            .await?;
        Ok(id)
    }
}

/// The one of several matchmakers that an id picks.
pub(crate) fn pick(ids: &[MatchmakerId], by: i64) -> Option<MatchmakerId> {
    let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let index = by.checked_rem(count).and_then(|it| usize::try_from(it).ok())?;
    ids.get(index).copied()
}
