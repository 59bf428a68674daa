//! [`Matchmaking`] on PostgreSQL and mailboxes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use omgservers_api::{
    ClientId, DeploymentId, LobbyId, MatchId, MatchmakerId, Problem, ProjectId, Ref, Role, RuntimeId,
    StageId, StagePermission, TenantId,
    details::{DeploymentDetails, MatchDetails, TicketDetails},
    ids::Id as _,
    interchange::{DirectConnection, Reason, message},
    problem::codes,
};
use omgservers_auth::Tokens;
use omgservers_core::{Caller, Clock, Db, Mint, Ownership, WorkQueue};
use omgservers_deployments::{DeploymentFull, Deployments};
use omgservers_messaging::{ClientInfo, Mailbox, Messaging, Op};
use omgservers_players::Players;
use omgservers_projects::Projects;
use omgservers_runtimes::Runtimes;
use omgservers_versions::Versions;
use tokio_util::sync::CancellationToken;

use crate::{
    Matchmaking, RuntimeAnswer, RuntimeTurn, TicketLog, WhichTicket, bodies,
    effects::disconnect_ops,
    lobbies::apply::OnClose,
    meters::{Depths, Meters},
    problems,
    state::{DeploymentHandle, StateMap},
    store::{self, MatchmakerRow},
};

/// Times of matchmaking.
#[derive(Debug, Clone)]
pub struct MatchmakingConfig {
    /// A client that isn't heard of for this long is disconnected.
    pub client_inactive: Duration,
    /// A runtime that doesn't poll for this long, counted from the start of its container, is replaced.
    pub runtime_inactive: Duration,
    /// A client that waits for a runtime for this long is disconnected.
    pub wait_timeout: Duration,
    /// How long an empty lobby is kept from when it was made, unless its version says otherwise.
    pub lobby_min_lifetime: Duration,
    /// A match whose game server doesn't poll for this long is given up.
    pub match_start_timeout: Duration,
    /// Most tickets that wait in one mode of one matchmaker.
    pub max_tickets: usize,
    /// Where tickets are written down as they come.
    pub ticket_log: Option<Arc<TicketLog>>,
    /// How long what waits for a disconnected client is kept after it last asked.
    pub closed_kept: Duration,
}

impl Default for MatchmakingConfig {
    fn default() -> Self {
        Self {
            client_inactive: Duration::from_secs(30),
            runtime_inactive: Duration::from_secs(30),
            wait_timeout: Duration::from_secs(300),
            lobby_min_lifetime: Duration::from_secs(60),
            match_start_timeout: Duration::from_secs(120),
            max_tickets: 1_000_000,
            ticket_log: None,
            closed_kept: Duration::from_secs(60),
        }
    }
}

/// What [`PgMatchmaking`] stands on.
pub struct MatchmakingParts {
    /// The database.
    pub db: Db,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub mint: Mint,
    /// The slots of this process.
    pub ownership: Ownership,
    /// Permissions.
    pub projects: Arc<dyn Projects>,
    /// What versions say.
    pub versions: Arc<dyn Versions>,
    /// What should run.
    pub deployments: Arc<dyn Deployments>,
    /// Mailboxes and routes.
    pub messaging: Arc<dyn Messaging>,
    /// Game servers.
    pub runtimes: Arc<dyn Runtimes>,
    /// Profiles.
    pub players: Arc<dyn Players>,
    /// Makes players' tokens for the dispatcher.
    pub tokens: Arc<Tokens>,
    /// Times.
    pub config: MatchmakingConfig,
    /// The deployments to reconcile. `deployments` and `runtimes` enqueue those that change.
    pub changed: WorkQueue<DeploymentId>,
}

/// The lobbies and matches of one database.
pub struct PgMatchmaking {
    pub(crate) parts: MatchmakingParts,
    pub(crate) states: StateMap,
    pub(crate) meters: Meters,
    /// For rounds, which nobody's call may break off.
    pub(crate) me: Weak<Self>,
}

impl PgMatchmaking {
    /// Starts with what the database and the mailboxes have; [`Resync`](crate::Resync) brings it in.
    pub fn new(parts: MatchmakingParts) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            parts,
            states: StateMap::default(),
            meters: Meters::new(),
            me: Weak::clone(me),
        })
    }

    /// How much waits, for operators: as of the last round of each deployment.
    pub fn depths(&self) -> Depths {
        let mut depths = Depths::default();
        self.states.known().iter().for_each(|it| it.add_depths(&mut depths));
        depths
    }

    /// A matchmaker of the deployment: made when there is none, else one that the client's id picks.
    async fn matchmaker_for(
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

    /// The matchmakers of a deployment, one at least. Who calls this holds the state.
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

    async fn add_matchmaker(&self, deployment: DeploymentId) -> Result<MatchmakerId, Problem> {
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

    /// Ends sessions: clients are told why, their runtimes that they left. Answers how many ended.
    pub(crate) async fn disconnect(&self, clients: &[ClientId], reason: Reason) -> Result<usize, Problem> {
        let mut by_deployment: BTreeMap<DeploymentId, Vec<ClientId>> = BTreeMap::new();
        for client in clients {
            if let Some(info) = self.parts.messaging.client(*client) {
                by_deployment.entry(info.deployment).or_default().push(*client);
            }
        }
        let (mut ended, mut acks, mut failed) = (0, Vec::new(), None);
        for (deployment, clients) in by_deployment {
            let handle = self.states.handle(deployment);
            let _state = handle.state.lock().await;
            let mut ops = Vec::new();
            for client in clients {
                // It may have been routed or disconnected meanwhile.
                let Some(info) = self.parts.messaging.client(client).filter(|it| !it.closed) else {
                    continue;
                };
                ops.extend(disconnect_ops(client, info.route, reason)?);
                handle.is_gone(client);
                ended += 1;
            }
            // Also when it can't be done: what was noted as gone is looked at again.
            self.parts.changed.enqueue(deployment);
            match self.parts.messaging.apply(ops) {
                Ok(ack) => acks.push(ack),
                Err(problem) => failed = Some(problem),
            }
        }
        // Each by itself: deployments are in different slots, and one of them may be lost.
        for ack in acks {
            if let Err(problem) = ack.wait().await {
                failed = Some(problem);
            }
        }
        failed.map_or(Ok(ended), Err)
    }

    /// A client, if it is the caller's.
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

/// The one of several matchmakers that an id picks.
pub(crate) fn pick(ids: &[MatchmakerId], by: i64) -> Option<MatchmakerId> {
    let count = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let index = by.checked_rem(count).and_then(|it| usize::try_from(it).ok())?;
    ids.get(index).copied()
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
        let place = self.parts.players.enter(caller, tenant, project, stage).await?;
        let deployment = place.deployment.deployment.id;
        let version = self.parts.versions.config(place.deployment.deployment.version_id).await?;
        let client: ClientId = self.parts.mint.child(deployment)?;
        let handle = self.states.handle(deployment);
        let matchmaker = self.matchmaker_for(&handle, client).await?;
        let delivery = place.deployment.config.delivery;
        let to = Mailbox::Client(client);
        let commit = self.parts.messaging.apply(vec![
            Op::OpenClient { client, user: place.user, deployment, delivery },
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
        self.load(&handle, &mut state, &full).await?;
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
        // Who waits there goes to another one.
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
