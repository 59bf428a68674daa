//! What players and developers do about matchmaking themselves.

use std::sync::Arc;

use omgservers_api::{ClientId, DeploymentId, MatchmakerId, Problem, Role, ids::Id as _};
use omgservers_core::Caller;

use crate::{
    rng::Rng,
    simulation::{CallMode, SYSTEM, Simulation, Verdict},
};

impl Simulation {
    /// A player cancels its own ticket.
    pub(crate) async fn cancel_ticket(&mut self, index: usize, call_mode: CallMode) -> Verdict {
        let player = &self.players[index];
        let Some(client) = player.session.as_ref().map(|it| it.client) else { return Ok(()) };
        let caller = Caller::User { id: player.user, role: Role::Player };
        let matchmaking = Arc::clone(&self.backend().matchmaking);
        let work = async move { matchmaking.cancel_own_ticket(&caller, client).await };
        let done = Self::call(&self.script, call_mode, work).await;
        let had = done.as_ref().and_then(|it| it.as_ref().ok()).copied();
        self.note(format!(
            "client {client} cancels its ticket: {:?}",
            done.map(|it| it.map_err(|it| it.to_string()))
        ));
        match had {
            Some(had) => self.check_cancelled(client, had).await,
            None => Ok(()),
        }
    }

    /// A client that has cancelled its ticket waits for nothing. A client that learned that it has
    /// no ticket is at most in a match already.
    async fn check_cancelled(&self, client: ClientId, had: bool) -> Verdict {
        match self.open_ticket(client).await {
            Some((ticket, _)) if had => {
                Err(format!("client {client} has cancelled its ticket, and still has the ticket {ticket}"))
            }
            Some((ticket, false)) => Err(format!(
                "client {client} learned that it has no ticket, and waits with the ticket {ticket}"
            )),
            _ => Ok(()),
        }
    }

    /// The call with which a developer deletes a matchmaker of a deployment.
    async fn deleting_matchmaker(
        &mut self,
        rng: &mut Rng,
        deployment: DeploymentId,
    ) -> Option<impl Future<Output = Result<bool, Problem>> + use<>> {
        let query = "select id from matchmaking.matchmaker where deployment_id = $1 order by id";
        let rows = self.sql.query(query, &[&deployment.get()]).await.unwrap();
        let ids: Vec<i64> = rows.iter().map(|it| it.get(0)).collect();
        let id = MatchmakerId::from_i64(*rng.pick(&ids)?).unwrap();
        self.note(format!("matchmaker {id} is to be deleted"));
        let matchmaking = Arc::clone(&self.backend().matchmaking);
        Some(async move { matchmaking.delete_matchmaker(&SYSTEM, id).await })
    }

    /// A developer deletes a matchmaker of a deployment, the only one perhaps.
    pub(crate) async fn delete_matchmaker(
        &mut self,
        rng: &mut Rng,
        deployment: DeploymentId,
        call_mode: CallMode,
    ) {
        let Some(work) = self.deleting_matchmaker(rng, deployment).await else { return };
        let done = Self::call(&self.script, call_mode, work).await;
        self.note(format!("a matchmaker is deleted: {:?}", done.map(|it| it.map_err(|it| it.to_string()))));
    }
}
