//! What a runtime asks. The interchange has a [module of its own](crate::interchange).

use crate::{Problem, RuntimeId, Validate, validate::text};

wire! {
    /// Credentials of a runtime: both are in its environment.
    CreateRuntimeTokenRequest {
        /// `OMGSERVERS_RUNTIME_ID`.
        runtime_id: RuntimeId,
        /// `OMGSERVERS_PASSWORD`.
        password: String,
    }
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
