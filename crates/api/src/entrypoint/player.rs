//! What a player asks. The interchange has a [module of its own](crate::interchange).

use crate::{
    ClientId, Problem, ProjectId, Ref, RuntimeId, StageId, TenantId, UserId, Validate,
    interchange::DirectConnection, validate::text,
};

wire! {
    /// A sign of life.
    PingServiceRequest {
        /// Any text of 1 to 64 characters.
        message: String,
    }
    /// The answer.
    PingServiceResponse {
        /// Always `pong`.
        message: String,
    }
    /// A new player.
    CreateUserResponse {
        /// The user.
        user_id: UserId,
        /// The password, shown here only.
        password: String,
    }
    /// Where the player wants to play.
    CreateClientRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
        /// The stage.
        stage: Ref<StageId>,
    }
    /// A session that asks about its open ticket.
    TicketRequest {
        /// The session.
        client_id: ClientId,
    }
    /// A session that has to show who it is to its game server once more.
    CreateConnectTokenRequest {
        /// The session.
        client_id: ClientId,
    }
    /// How to connect to the game server directly, as its assignment said, with a new token.
    CreateConnectTokenResponse {
        /// The game server that the session is with.
        runtime_id: RuntimeId,
        /// Address, ports and the token.
        direct: DirectConnection,
    }
    /// The session.
    CreateClientResponse {
        /// Its id.
        client_id: ClientId,
    }
}

impl Validate for TicketRequest {}
impl Validate for CreateConnectTokenRequest {}
impl Validate for PingServiceRequest {
    fn validate(&self) -> Result<(), Problem> {
        text("message", &self.message, 64)
    }
}
impl Validate for CreateClientRequest {}
