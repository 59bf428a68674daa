use std::time::Duration;

use omgservers_api::{
    ClientId, DeploymentId, EntryId, LobbyId, MatchId, MatchmakerId, Problem, ProjectId, Ref, RuntimeId,
    StageId, TenantId, TicketId,
    details::{DeploymentDetails, MatchDetails, TicketDetails},
    interchange::{DirectConnection, Outgoing, RejectedCommand},
};
use omgservers_core::Caller;
use omgservers_messaging::Entry;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// What a runtime sends in one exchange.
#[derive(Debug, Clone, Copy, Default)]
pub struct RuntimeTurn<'a> {
    /// The commands to carry out, in this order.
    pub commands: &'a [Outgoing<'a>],
    /// The entries that the runtime has consumed.
    pub consumed: &'a [EntryId],
    /// How long an empty answer waits for an entry to arrive.
    pub wait: Duration,
}

/// The answer to a runtime's turn.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RuntimeAnswer {
    /// The entries that it hasn't consumed, oldest first.
    pub incoming: Vec<Entry>,
    /// Its commands that were not carried out, in order.
    pub rejected: Vec<RejectedCommand>,
}

/// Names a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhichTicket {
    /// By its id.
    Id(TicketId),
    /// By one of its clients.
    Of(ClientId),
}

/// Sessions, the runtimes that they are with, and tickets.
#[async_trait::async_trait]
pub trait Matchmaking: Send + Sync {
    /// Makes a session of a player in a stage. The welcome waits in it when the call returns, a
    /// lobby follows. Problems: those of [`Players::enter`](omgservers_players::Players::enter).
    async fn create_client(
        &self,
        caller: &Caller,
        tenant: &Ref<TenantId>,
        project: &Ref<ProjectId>,
        stage: &Ref<StageId>,
    ) -> Result<ClientId, Problem>;

    /// A runtime's turn: carries its commands out one after another, drops the entries that it has
    /// consumed, and answers those that it hasn't. When there are none, waits for one to arrive. A
    /// command that can't be carried out is in the answer and stops nothing.
    ///
    /// `stop_waiting` ends the wait early, with an empty answer; it never breaks off a command.
    /// Dropping the future may: then the runtime doesn't know which commands were carried out, and
    /// sends them again with the same counters. Problems: `auth.role`,
    /// `messaging.runtime_not_found`, `unavailable`.
    async fn exchange(
        &self,
        caller: &Caller,
        turn: RuntimeTurn<'_>,
        stop_waiting: &CancellationToken,
    ) -> Result<RuntimeAnswer, Problem>;

    /// A deployment with its lobbies, runtimes and their failures. Problems: `auth.permission`
    /// without the project's PROJECT_VIEWER, `deployments.not_found`.
    async fn details(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<DeploymentDetails, Problem>;

    /// Opens one more lobby. Needs the stage's DEPLOYMENT_MANAGER. Problems: `auth.permission`,
    /// `deployments.not_found`.
    async fn request_lobby(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<(), Problem>;

    /// Deletes a lobby and disconnects its clients with INTERNAL_FAILURE. Needs the stage's
    /// DEPLOYMENT_MANAGER. `false` when there is none. Problems: `auth.permission`.
    async fn delete_lobby(&self, caller: &Caller, lobby: LobbyId) -> Result<bool, Problem>;

    /// Makes one more matchmaker. Needs the stage's DEPLOYMENT_MANAGER. Problems:
    /// `auth.permission`, `deployments.not_found`.
    async fn request_matchmaker(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
    ) -> Result<(), Problem>;

    /// Deletes a matchmaker. Needs the stage's DEPLOYMENT_MANAGER. `false` when there is none.
    /// Problems: `auth.permission`.
    async fn delete_matchmaker(&self, caller: &Caller, matchmaker: MatchmakerId) -> Result<bool, Problem>;

    /// The open ticket of a client, for the player whose client it is. Problems:
    /// `messaging.client_not_found`, `messaging.foreign_client`, `matchmaking.no_ticket`.
    async fn own_ticket(&self, caller: &Caller, client: ClientId) -> Result<TicketDetails, Problem>;

    /// Ends the open ticket of a client, for the player whose client it is. `false` when there is
    /// none. Problems: as of [`own_ticket`](Self::own_ticket); `unavailable`.
    async fn cancel_own_ticket(&self, caller: &Caller, client: ClientId) -> Result<bool, Problem>;

    /// How a client connects to its game server directly, with a new token, for the player whose
    /// client it is. `None` when its game server has no ports. Problems:
    /// `messaging.client_not_found`, `messaging.foreign_client`.
    async fn direct_connection(
        &self,
        caller: &Caller,
        client: ClientId,
    ) -> Result<Option<(RuntimeId, DirectConnection)>, Problem>;

    /// A ticket, with the reason why it isn't matched yet. Problems: as of
    /// [`details`](Self::details), and `matchmaking.no_ticket`.
    async fn ticket(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
        which: WhichTicket,
    ) -> Result<TicketDetails, Problem>;

    /// A match, with the reasons why its players are together. Problems: as of
    /// [`details`](Self::details), and `matchmaking.no_match`.
    async fn match_details(
        &self,
        caller: &Caller,
        tenant: TenantId,
        deployment: DeploymentId,
        id: MatchId,
    ) -> Result<MatchDetails, Problem>;
}
