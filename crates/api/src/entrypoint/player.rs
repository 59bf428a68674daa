//! Requests and endpoints of players.

pub use super::{
    CreateTokenRequest, CreateTokenResponse, DeletedResponse, developer::GetTicketDetailsResponse,
};
pub use crate::interchange::{PlayerInterchangeRequest, PlayerInterchangeResponse};
use crate::{
    ClientId, Problem, ProjectId, Ref, RuntimeId, StageId, TenantId, UserId, Validate,
    interchange::DirectConnection, validate::text,
};

endpoints! {
    ($) player_endpoints player Player;

    /// Sends a session's messages, acknowledges what it received, and receives what waits.
    ///
    /// Delivery is at least once and in order. A message that repeats a counter is acknowledged and
    /// not delivered again. `docs/protocol.md` defines the messages.
    bearer waiting "interchange" interchange Interchange
    (PlayerInterchangeRequest<'static>) -> PlayerInterchangeResponse {
        errors: [
            "messaging.client_not_found", "messaging.foreign_client", "messaging.wrong_qualifier",
            "messaging.mailbox_full", "messaging.backlog",
        ],
        request: {
            "client_id": "246000000000000020",
            "outgoing_messages": [
                { "id": 0, "qualifier": "CLIENT_OUTGOING_MESSAGE", "body": { "data": { "move": "left" } } }
            ],
            "consumed_messages": ["246000000000000030"],
            "wait": 25000
        },
        response: {
            "incoming_messages": [
                {
                    "id": "246000000000000031", "qualifier": "SERVER_OUTGOING_MESSAGE",
                    "body": { "message": { "x": 1 } }
                }
            ]
        },
    }
    /// Creates a player.
    ///
    /// Only this answer shows the password.
    anonymous "create-user" create_user CreateUser () -> CreateUserResponse {
        errors: ["core.no_ids"],
        request: {},
        response: { "user_id": "246000000000000010", "password": "hV0pWb2nIpoD1R7eJ5fVdM2yS0xk4uQa" },
    }
    /// Fetches a token for a player.
    ///
    /// The token is good for one hour.
    anonymous "create-token" create_token CreateToken (CreateTokenRequest) -> CreateTokenResponse {
        errors: ["auth.credentials"],
        request: { "user": "246000000000000010", "password": "hV0pWb2nIpoD1R7eJ5fVdM2yS0xk4uQa" },
        response: { "raw_token": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl" },
    }
    /// Starts a session in the newest deployment of a stage.
    ///
    /// The session's first message waits when this answers; a lobby follows.
    bearer "create-client" create_client CreateClient (CreateClientRequest) -> CreateClientResponse {
        errors: [
            "tenants.not_found", "projects.not_found", "projects.stage_not_found", "deployments.none",
            "core.no_ids", "messaging.backlog",
        ],
        request: { "tenant": "my-studio", "project": "my-game", "stage": "production" },
        response: { "client_id": "246000000000000020" },
    }
    /// Shows the open ticket of a session, and why it isn't matched yet.
    bearer "get-ticket-details" get_ticket_details GetTicketDetails
    (TicketRequest) -> GetTicketDetailsResponse {
        errors: ["messaging.client_not_found", "messaging.foreign_client", "matchmaking.no_ticket"],
        request: { "client_id": "246000000000000020" },
        response: {
            "details": {
                "id": "246000000000000040", "mode": "duel", "clients": ["246000000000000020"],
                "attributes": { "mmr": 1500.0, "region": "eu" },
                "created": "2025-01-25T10:00:00Z", "state": "waiting", "match_id": null,
                "explanation": { "needs": "one more player" }
            }
        },
    }
    /// Cancels the open ticket of a session.
    bearer "cancel-matchmaking" cancel_matchmaking CancelMatchmaking (TicketRequest) -> DeletedResponse {
        errors: ["messaging.client_not_found", "messaging.foreign_client"],
        request: { "client_id": "246000000000000020" },
        response: { "deleted": true },
    }
    /// Issues a new token for the direct connection between a session and its game server.
    bearer "create-connect-token" create_connect_token CreateConnectToken
    (CreateConnectTokenRequest) -> CreateConnectTokenResponse {
        errors: ["messaging.client_not_found", "messaging.foreign_client", "player.no_direct_connection"],
        request: { "client_id": "246000000000000020" },
        response: {
            "runtime_id": "246000000000000050",
            "direct": {
                "address": "203.0.113.7",
                "ports": [{ "name": "game", "protocol": "UDP", "port": 30100 }],
                "token": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
            }
        },
    }
    /// Answers `pong`.
    anonymous "ping-service" ping_service PingService (PingServiceRequest) -> PingServiceResponse {
        errors: [],
        request: { "message": "ping" },
        response: { "message": "pong" },
    }
}

requests! {
    /// A sign of life.
    PingServiceRequest {
        /// Any text of 1 to 64 characters.
        message: String,
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
}

wire! {
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
