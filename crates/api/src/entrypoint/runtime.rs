//! Requests and endpoints of game servers.

pub use crate::interchange::{RuntimeInterchangeRequest, RuntimeInterchangeResponse};
use crate::{Problem, RuntimeId, Validate, validate::text};

endpoints! {
    ($) runtime_endpoints runtime Runtime;

    /// Executes a game server's commands, acknowledges what it received, and receives what waits.
    ///
    /// The server executes the commands one after another. One that fails is listed in the answer
    /// and stops none of the others. `docs/protocol.md` defines the commands.
    bearer waiting "interchange" interchange Interchange
    (RuntimeInterchangeRequest<'static>) -> RuntimeInterchangeResponse {
        errors: ["messaging.runtime_not_found", "messaging.backlog"],
        request: {
            "outgoing_commands": [
                {
                    "id": 0, "qualifier": "RESPOND_CLIENT",
                    "body": { "client_id": "246000000000000020", "message": { "x": 1 } }
                }
            ],
            "consumed_commands": ["246000000000000030"],
            "wait": 25000
        },
        response: {
            "incoming_commands": [
                {
                    "id": "246000000000000031", "qualifier": "HANDLE_MESSAGE",
                    "body": { "client_id": "246000000000000020", "message": { "move": "left" } }
                }
            ]
        },
    }
    /// Fetches a game server's tokens for the interchange and the dispatcher.
    ///
    /// Both credentials are in the environment of the game server's container.
    anonymous "create-token" create_token CreateToken
    (CreateRuntimeTokenRequest) -> CreateRuntimeTokenResponse {
        errors: ["auth.credentials", "runtimes.stopped", "messaging.runtime_not_found"],
        request: { "runtime_id": "246000000000000050", "password": "hV0pWb2nIpoD1R7eJ5fVdM2yS0xk4uQa" },
        response: {
            "api_token": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            "ws_token": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIyIn0.c2lnbmF0dXJl"
        },
    }
}

requests! {
    /// Credentials of a runtime: both are in its environment.
    CreateRuntimeTokenRequest {
        /// `OMGSERVERS_RUNTIME_ID`.
        runtime_id: RuntimeId,
        /// `OMGSERVERS_PASSWORD`.
        password: String,
    }
}

wire! {
    /// Tokens of a runtime.
    CreateRuntimeTokenResponse {
        /// For the interchange.
        api_token: String,
        /// For the dispatcher.
        ws_token: String,
    }
}

impl Validate for CreateRuntimeTokenRequest {
    fn validate(&self) -> Result<(), Problem> {
        text("password", &self.password, 64)
    }
}
