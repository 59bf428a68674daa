//! Matchmaking of deployments whose home may be in another process.

use std::{borrow::Cow, future::Future, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use omgservers_api::{
    ClientId, DeploymentId, EntryId, LobbyId, MatchId, MatchmakerId, Problem, ProjectId, Ref, RuntimeId,
    Slot, StageId, TenantId,
    details::{DeploymentDetails, MatchDetails, TicketDetails},
    ids::{Id as _, SenderSeq},
    interchange::{DirectConnection, Outgoing},
};
use omgservers_core::{
    Caller,
    remote::{self, CallHandler, IncomingCall, RemoteCall, Router},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::{Matchmaking, RuntimeAnswer, RuntimeTurn, WhichTicket};

omgservers_core::remote_calls! {
    /// [`Matchmaking::create_client`].
    CreateClient = "create_client" {
        caller: Caller, tenant: Ref<TenantId>, project: Ref<ProjectId>, stage: Ref<StageId>
    } -> ClientId;
    /// [`Matchmaking::exchange`].
    Exchange = "exchange" {
        caller: Caller, commands: Vec<CommandRecord>, consumed: Vec<EntryId>, wait: Duration
    } -> RuntimeAnswer;
    /// [`Matchmaking::details`].
    Details = "details" { caller: Caller, tenant: TenantId, deployment: DeploymentId } -> DeploymentDetails;
    /// [`Matchmaking::request_lobby`].
    RequestLobby = "request_lobby" { caller: Caller, tenant: TenantId, deployment: DeploymentId } -> ();
    /// [`Matchmaking::delete_lobby`].
    DeleteLobby = "delete_lobby" { caller: Caller, lobby: LobbyId } -> bool;
    /// [`Matchmaking::request_matchmaker`].
    RequestMatchmaker = "request_matchmaker" {
        caller: Caller, tenant: TenantId, deployment: DeploymentId
    } -> ();
    /// [`Matchmaking::delete_matchmaker`].
    DeleteMatchmaker = "delete_matchmaker" { caller: Caller, matchmaker: MatchmakerId } -> bool;
    /// [`Matchmaking::own_ticket`].
    OwnTicket = "own_ticket" { caller: Caller, client: ClientId } -> TicketDetails;
    /// [`Matchmaking::cancel_own_ticket`].
    CancelOwnTicket = "cancel_own_ticket" { caller: Caller, client: ClientId } -> bool;
    /// [`Matchmaking::direct_connection`].
    GetDirectConnection = "direct_connection" {
        caller: Caller, client: ClientId
    } -> Option<(RuntimeId, DirectConnection)>;
    /// [`Matchmaking::ticket`].
    GetTicket = "ticket" {
        caller: Caller, tenant: TenantId, deployment: DeploymentId, which: WhichTicket
    } -> TicketDetails;
    /// [`Matchmaking::match_details`].
    GetMatch = "match_details" {
        caller: Caller, tenant: TenantId, deployment: DeploymentId, id: MatchId
    } -> MatchDetails;
}

/// A command on its path to the home of its runtime. Its body arrives byte for byte.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CommandRecord {
    id: Option<SenderSeq>,
    qualifier: String,
    body: Option<Box<RawValue>>,
}

impl CommandRecord {
    fn all(commands: &[Outgoing<'_>]) -> Vec<Self> {
        let record = |command: &Outgoing<'_>| Self {
            id: command.id,
            qualifier: command.qualifier.clone().into_owned(),
            body: command.body.map(ToOwned::to_owned),
        };
        commands.iter().map(record).collect()
    }

    fn borrow(records: &[Self]) -> Vec<Outgoing<'_>> {
        records.iter().map(Self::command).collect()
    }

    fn command(&self) -> Outgoing<'_> {
        Outgoing { id: self.id, qualifier: Cow::Borrowed(&self.qualifier), body: self.body.as_deref() }
    }
}

/// Sends each call to the home of its deployment.
pub struct RoutedMatchmaking(Arc<dyn Router>);

impl RoutedMatchmaking {
    /// The router leads to [`MatchmakingHandler`]s.
    pub fn new(router: Arc<dyn Router>) -> Self {
        Self(router)
    }

    fn start<C: RemoteCall>(
        &self,
        to: Option<Slot>,
        call: &C,
    ) -> impl Future<Output = Result<C::Answer, Problem>> + Send + use<C> {
        remote::start(&*self.0, to, call)
    }

    /// One call of a turn; its wait ends when the call is dropped.
    fn take_turn(
        &self,
        caller: &Caller,
        turn: RuntimeTurn<'_>,
    ) -> impl Future<Output = Result<RuntimeAnswer, Problem>> + Send + use<> {
        let to = match caller {
            Caller::Runtime(runtime) => Some(runtime.slot()),
            // Any process refuses it.
            _ => None,
        };
        let (commands, consumed) = (CommandRecord::all(turn.commands), turn.consumed.to_vec());
        self.start(to, &Exchange { caller: *caller, commands, consumed, wait: turn.wait })
    }
}

#[async_trait::async_trait]
impl Matchmaking for RoutedMatchmaking {
    async fn create_client(
        &self,
        caller: &Caller,
        tenant: &Ref<TenantId>,
        project: &Ref<ProjectId>,
        stage: &Ref<StageId>,
    ) -> Result<ClientId, Problem> {
        let (tenant, project, stage) = (tenant.clone(), project.clone(), stage.clone());
        let call = CreateClient { caller: *caller, tenant, project, stage };
        // The home is that of the stage's newest deployment, which this side doesn't know.
        self.start(None, &call).await
    }

    async fn exchange(
        &self,
        caller: &Caller,
        turn: RuntimeTurn<'_>,
        stop_waiting: &CancellationToken,
    ) -> Result<RuntimeAnswer, Problem> {
        let RuntimeTurn { commands, consumed, wait } = turn;
        let changes_something = !commands.is_empty() || !consumed.is_empty();
        let mut answer = RuntimeAnswer::default();
        if changes_something || wait.is_zero() {
            answer = self.take_turn(caller, RuntimeTurn { wait: Duration::ZERO, ..turn }).await?;
        }
        if answer.incoming.is_empty() && !wait.is_zero() {
            // A call of its own: dropping it cancels the wait, and the commands are carried out.
            let waiting = self.take_turn(caller, RuntimeTurn { wait, ..RuntimeTurn::default() });
            tokio::select! {
                biased;
                waited = waiting => answer.incoming = waited?.incoming,
                () = stop_waiting.cancelled() => {}
            }
        }
        Ok(answer)
    }

    async fn details(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<DeploymentDetails, Problem> {
        self.start(Some(deployment.slot()), &Details { caller: *caller, tenant, deployment }).await
    }

    async fn request_lobby(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<(), Problem> {
        self.start(Some(deployment.slot()), &RequestLobby { caller: *caller, tenant, deployment }).await
    }

    async fn delete_lobby(&self, caller: &Caller, lobby: LobbyId) -> Result<bool, Problem> {
        self.start(Some(lobby.slot()), &DeleteLobby { caller: *caller, lobby }).await
    }

    async fn request_matchmaker(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<(), Problem> {
        self.start(Some(deployment.slot()), &RequestMatchmaker { caller: *caller, tenant, deployment }).await
    }

    async fn delete_matchmaker(&self, caller: &Caller, matchmaker: MatchmakerId) -> Result<bool, Problem> {
        self.start(Some(matchmaker.slot()), &DeleteMatchmaker { caller: *caller, matchmaker }).await
    }

    async fn own_ticket(&self, caller: &Caller, client: ClientId) -> Result<TicketDetails, Problem> {
        self.start(Some(client.slot()), &OwnTicket { caller: *caller, client }).await
    }

    async fn cancel_own_ticket(&self, caller: &Caller, client: ClientId) -> Result<bool, Problem> {
        self.start(Some(client.slot()), &CancelOwnTicket { caller: *caller, client }).await
    }

    async fn direct_connection(
        &self,
        caller: &Caller,
        client: ClientId,
    ) -> Result<Option<(RuntimeId, DirectConnection)>, Problem> {
        self.start(Some(client.slot()), &GetDirectConnection { caller: *caller, client }).await
    }

    async fn ticket(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
        which: WhichTicket,
    ) -> Result<TicketDetails, Problem> {
        let call = GetTicket { caller: *caller, tenant, deployment, which };
        self.start(Some(deployment.slot()), &call).await
    }

    async fn match_details(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
        id: MatchId,
    ) -> Result<MatchDetails, Problem> {
        let call = GetMatch { caller: *caller, tenant, deployment, id };
        self.start(Some(deployment.slot()), &call).await
    }
}

/// Answers the calls of a [`RoutedMatchmaking`] with the matchmaking of this process.
pub struct MatchmakingHandler(Arc<dyn Matchmaking>);

impl MatchmakingHandler {
    /// Answers with `matchmaking`.
    pub fn new(matchmaking: Arc<dyn Matchmaking>) -> Self {
        Self(matchmaking)
    }
}

impl CallHandler for MatchmakingHandler {
    fn handle(&self, call: IncomingCall) -> BoxFuture<'static, Vec<u8>> {
        let local = Arc::clone(&self.0);
        match call.name() {
            CreateClient::NAME => call.answer(async move |args: CreateClient| {
                local.create_client(&args.caller, &args.tenant, &args.project, &args.stage).await
            }),
            Exchange::NAME => call.answer(async move |args: Exchange| {
                let commands = CommandRecord::borrow(&args.commands);
                let turn = RuntimeTurn { commands: &commands, consumed: &args.consumed, wait: args.wait };
                // The caller cancels a wait by dropping the call.
                local.exchange(&args.caller, turn, &CancellationToken::new()).await
            }),
            Details::NAME => call.answer(async move |args: Details| {
                local.details(&args.caller, args.tenant, args.deployment).await
            }),
            RequestLobby::NAME => call.answer(async move |args: RequestLobby| {
                local.request_lobby(&args.caller, args.tenant, args.deployment).await
            }),
            DeleteLobby::NAME => {
                call.answer(async move |args: DeleteLobby| local.delete_lobby(&args.caller, args.lobby).await)
            }
            RequestMatchmaker::NAME => call.answer(async move |args: RequestMatchmaker| {
                local.request_matchmaker(&args.caller, args.tenant, args.deployment).await
            }),
            DeleteMatchmaker::NAME => call.answer(async move |args: DeleteMatchmaker| {
                local.delete_matchmaker(&args.caller, args.matchmaker).await
            }),
            OwnTicket::NAME => {
                call.answer(async move |args: OwnTicket| local.own_ticket(&args.caller, args.client).await)
            }
            CancelOwnTicket::NAME => call.answer(async move |args: CancelOwnTicket| {
                local.cancel_own_ticket(&args.caller, args.client).await
            }),
            GetDirectConnection::NAME => call.answer(async move |args: GetDirectConnection| {
                local.direct_connection(&args.caller, args.client).await
            }),
            GetTicket::NAME => call.answer(async move |args: GetTicket| {
                local.ticket(&args.caller, args.tenant, args.deployment, args.which).await
            }),
            GetMatch::NAME => call.answer(async move |args: GetMatch| {
                local.match_details(&args.caller, args.tenant, args.deployment, args.id).await
            }),
            _ => call.unknown(),
        }
    }
}

#[cfg(test)]
mod tests;
