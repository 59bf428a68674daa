//! The details of a deployment for operators and developers.

use std::collections::HashMap;

use omgservers_api::{
    Problem, RuntimeId,
    details::{DeploymentDetails, LobbyRef, MatchmakerRef},
};
use omgservers_deployments::DeploymentFull;

use crate::{PgMatchmaking, matches::match_refs, store};

impl PgMatchmaking {
    pub(crate) async fn show(&self, full: &DeploymentFull) -> Result<DeploymentDetails, Problem> {
        let id = full.deployment.id;
        let (lobbies, matchmakers) = {
            let mut conn = self.parts.db.read().await?;
            (store::lobbies(&mut conn, id).await?, store::matchmakers(&mut conn, id).await?)
        };
        let newest = self.parts.deployments.newest(full.deployment.stage_id).await?;
        let mut runtimes = self.parts.runtimes.of_deployment(id).await?;
        let counts: HashMap<RuntimeId, usize> = lobbies
            .iter()
            .filter_map(|it| Some((it.runtime_id, self.parts.messaging.runtime(it.runtime_id)?.clients)))
            .collect();
        for runtime in &mut runtimes {
            runtime.clients =
                u64::try_from(counts.get(&runtime.id).copied().unwrap_or(0)).unwrap_or(u64::MAX);
        }
        let version = self.parts.versions.config(full.deployment.version_id).await?;
        let handle = self.states.handle(id);
        let (waiting, (match_refs, waiting_tickets)) = {
            let mut state = handle.state.lock().await;
            self.load_queues(&handle, &mut state, full).await?;
            (handle.waiting() + state.lobbies.waiting.len(), match_refs(&state, &version))
        };
        Ok(DeploymentDetails {
            deployment: full.deployment.clone(),
            lobby_refs: lobbies
                .into_iter()
                .filter(|it| !it.closing)
                .map(|it| LobbyRef { id: it.id, created: it.created, lobby_id: it.id })
                .collect(),
            matchmaker_refs: matchmakers
                .into_iter()
                .map(|it| MatchmakerRef { id: it.id, created: it.created, matchmaker_id: it.id })
                .collect(),
            match_refs,
            waiting_tickets,
            active: newest.deployment.id == id,
            config: full.config.clone(),
            runtimes,
            waiting_clients: u64::try_from(waiting).unwrap_or(u64::MAX),
            failures: self.parts.runtimes.failures(id).await?,
        })
    }
}
