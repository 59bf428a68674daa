//! [`Matchmaking`] on PostgreSQL and mailboxes.

use std::{sync::Arc, time::Duration};

use omgservers_api::{
    ClientId, DeploymentId, LobbyId, MatchId, MatchmakerId, Problem, ProjectId, Ref, Role, RuntimeId,
    StageId, StagePermission, TenantId,
    details::{DeploymentDetails, MatchDetails, TicketDetails},
    ids::Id as _,
    interchange::{DirectConnection, message},
    problem::codes,
};
use omgservers_core::Caller;
use omgservers_deployments::DeploymentFull;
use omgservers_messaging::{ClientInfo, Mailbox, Op};
use tokio_util::sync::CancellationToken;

use crate::{
    Matchmaking, PgMatchmaking, RuntimeAnswer, RuntimeTurn, WhichTicket, bodies, lobbies::OnClose, problems,
    store,
};

impl PgMatchmaking {
    /// A client, if it is the caller's. Problems: `messaging.client_not_found`,
    /// `messaging.foreign_client`.
    pub(crate) fn own(&self, caller: &Caller, client: ClientId) -> Result<ClientInfo, Problem> {
        let user = caller.user(Role::Player)?;
        let info =
            self.parts.messaging.client(client).ok_or(omgservers_messaging::problems::CLIENT_NOT_FOUND)?;
        if info.user != user {
            return Err(omgservers_messaging::problems::FOREIGN_CLIENT.into());
        }
        Ok(info)
    }

    /// The deployment behind an id of the request, if the caller may manage it.
    async fn managed(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        deployment: DeploymentId,
    ) -> Result<Arc<DeploymentFull>, Problem> {
        let full = self.parts.deployments.full(deployment).await?;
        if tenant.is_some_and(|it| it != full.deployment.tenant_id) {
            return Err(omgservers_deployments::problems::NOT_FOUND.into());
        }
        let (tenant, stage) = (full.deployment.tenant_id, full.deployment.stage_id);
        self.parts.projects.require_stage(caller, tenant, stage, StagePermission::DeploymentManager).await?;
        Ok(full)
    }
}

#[async_trait::async_trait]
impl Matchmaking for PgMatchmaking {
    async fn create_client(
        &self,
        caller: &Caller,
        tenant: &Ref<TenantId>,
        project: &Ref<ProjectId>,
        stage: &Ref<StageId>,
    ) -> Result<ClientId, Problem> {
        let admission = self.parts.players.enter(caller, tenant, project, stage).await?;
        let deployment = admission.deployment.deployment.id;
        let version = self.parts.versions.config(admission.deployment.deployment.version_id).await?;
        let client: ClientId = self.parts.mint.child(deployment)?;
        let handle = self.states.handle(deployment);
        let matchmaker = self.matchmaker_for(&handle, client).await?;
        let delivery = admission.deployment.config.delivery;
        let to = Mailbox::Client(client);
        let commit = self.parts.messaging.apply(vec![
            Op::OpenClient { client, user: admission.user, deployment, delivery },
            Op::Push { to, qualifier: message::SERVER_WELCOME, body: bodies::welcome(&version)? },
            Op::Push { to, qualifier: message::MATCHMAKER_ASSIGNMENT, body: bodies::matchmaker(matchmaker)? },
        ])?;
        commit.wait().await?;
        handle.arrive(client, self.parts.clock.ticks());
        self.parts.changed.enqueue(deployment);
        Ok(client)
    }

    async fn exchange(
        &self,
        caller: &Caller,
        turn: RuntimeTurn<'_>,
        stop_waiting: &CancellationToken,
    ) -> Result<RuntimeAnswer, Problem> {
        let Caller::Runtime(runtime) = *caller else { return Err(codes::WRONG_ROLE.into()) };
        let messaging = &self.parts.messaging;
        let info = messaging.runtime(runtime).ok_or(omgservers_messaging::problems::RUNTIME_NOT_FOUND)?;
        let (rejected, ack) = self.carry_out(runtime, turn.commands).await?;
        // After the commands about these entries: an entry goes for good only when its effect stays
        // for good. Before any wait: the clients that sent them wait for this.
        messaging.runtime_ack(runtime, turn.consumed)?;
        ack.wait().await?;
        let mut incoming = messaging.runtime_receive(runtime, Duration::ZERO).await?;
        if info.last_seen.is_none() {
            // The first poll opens the lobby or match, also while this call waits.
            self.parts.changed.enqueue(info.deployment);
        }
        if incoming.is_empty() && !turn.wait.is_zero() {
            incoming = tokio::select! {
                biased;
                received = messaging.runtime_receive(runtime, turn.wait) => received?,
                () = stop_waiting.cancelled() => Vec::new(),
            };
        }
        Ok(RuntimeAnswer { incoming, rejected })
    }

    async fn details(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<DeploymentDetails, Problem> {
        let full = self.parts.deployments.get(caller, tenant, deployment).await?;
        self.show(&full).await
    }

    async fn request_lobby(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<(), Problem> {
        self.managed(caller, Some(tenant), deployment).await?;
        self.states.handle(deployment).request_lobby();
        self.parts.changed.enqueue(deployment);
        Ok(())
    }

    async fn delete_lobby(&self, caller: &Caller, lobby: LobbyId) -> Result<bool, Problem> {
        let row = store::lobby(&mut *self.parts.db.read().await?, lobby).await?;
        let Some(row) = row.filter(|it| !it.closing) else { return Ok(false) };
        let full = self.managed(caller, None, row.deployment_id).await?;
        let handle = self.states.handle(full.deployment.id);
        let mut state = handle.state.lock().await;
        self.load_lobbies(&handle, &mut state, &full).await?;
        let deleted = self.close_lobby(&handle, &mut state, lobby, OnClose::Disconnect).await?;
        self.parts.changed.enqueue(full.deployment.id);
        Ok(deleted)
    }

    async fn request_matchmaker(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<(), Problem> {
        self.managed(caller, Some(tenant), deployment).await?;
        let handle = self.states.handle(deployment);
        let _state = handle.state.lock().await;
        self.add_matchmaker(deployment).await?;
        // Read again when the next client needs one.
        handle.matchmakers().clear();
        Ok(())
    }

    async fn delete_matchmaker(&self, caller: &Caller, matchmaker: MatchmakerId) -> Result<bool, Problem> {
        let Some(row) = store::matchmaker(&mut *self.parts.db.read().await?, matchmaker).await? else {
            return Ok(false);
        };
        self.managed(caller, None, row.deployment_id).await?;
        let handle = self.states.handle(row.deployment_id);
        let _state = handle.state.lock().await;
        let slots = [row.deployment_id.slot()];
        // Its tickets go to another one.
        self.parts.changed.enqueue(row.deployment_id);
        let deleted = self
            .parts
            .db
            .write_owned(&self.parts.ownership, &slots, async |mut tx| {
                store::delete_matchmaker(&mut tx, row.deployment_id, matchmaker).await
            })
            .await?;
        handle.matchmakers().clear();
        Ok(deleted > 0)
    }

    async fn own_ticket(&self, caller: &Caller, client: ClientId) -> Result<TicketDetails, Problem> {
        let deployment = self.own(caller, client)?.deployment;
        let full = self.parts.deployments.full(deployment).await?;
        self.show_ticket(&full, WhichTicket::Of(client)).await
    }

    async fn cancel_own_ticket(&self, caller: &Caller, client: ClientId) -> Result<bool, Problem> {
        let deployment = self.own(caller, client)?.deployment;
        match self.cancel_ticket(deployment, client).await {
            Ok(()) => Ok(true),
            Err(problem) if problem.is(problems::NO_TICKET) => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    async fn direct_connection(
        &self,
        caller: &Caller,
        client: ClientId,
    ) -> Result<Option<(RuntimeId, DirectConnection)>, Problem> {
        self.connect_directly(caller, client).await
    }

    async fn ticket(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
        which: WhichTicket,
    ) -> Result<TicketDetails, Problem> {
        let full = self.parts.deployments.get(caller, tenant, deployment).await?;
        self.show_ticket(&full, which).await
    }

    async fn match_details(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
        id: MatchId,
    ) -> Result<MatchDetails, Problem> {
        let full = self.parts.deployments.get(caller, tenant, deployment).await?;
        self.show_match(&full, id).await
    }
}
