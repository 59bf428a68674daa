//! What a player asks about one of its sessions.

use omgservers_api::{
    ClientId, Kind, Problem,
    details::TicketDetails,
    entrypoint::{
        DeletedResponse,
        developer::GetTicketDetailsResponse,
        player::{CreateConnectTokenRequest, CreateConnectTokenResponse, TicketRequest},
    },
    interchange::DirectConnection,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Player, Session};

impl Player {
    /// The open ticket of a session of this player, and why it isn't matched yet. Problems: 404 without one.
    pub async fn ticket(&self, client_id: ClientId) -> Result<TicketDetails, Problem> {
        let answer: GetTicketDetailsResponse =
            self.request("get-ticket-details", &TicketRequest { client_id }).await?;
        Ok(answer.details)
    }

    /// Ends the open ticket of a session of this player; `false` when there is none.
    pub async fn cancel_matchmaking(&self, client_id: ClientId) -> Result<bool, Problem> {
        let answer: DeletedResponse =
            self.request("cancel-matchmaking", &TicketRequest { client_id }).await?;
        Ok(answer.deleted)
    }

    /// How a session of this player connects to its game server directly, as its assignment said, with a new token:
    /// the one of the assignment doesn't live as long as that. Problems: 404 when it is with none that players
    /// connect to directly.
    pub async fn refresh_connect_token(&self, client_id: ClientId) -> Result<DirectConnection, Problem> {
        let request = CreateConnectTokenRequest { client_id };
        let answer: CreateConnectTokenResponse = self.request("create-connect-token", &request).await?;
        Ok(answer.direct)
    }

    async fn request<T: DeserializeOwned>(
        &self,
        verb: &str,
        request: &(impl Serialize + Sync),
    ) -> Result<T, Problem> {
        let call = || async {
            let token = self.token();
            self.client.call("player", verb, Some(token.as_str()), request).await
        };
        match call().await {
            Err(problem) if problem.kind() == Kind::Unauthenticated => {
                self.renew(problem).await?;
                call().await
            }
            answer => answer,
        }
    }
}

impl Session {
    /// As [`Player::ticket`].
    pub async fn ticket(&self) -> Result<TicketDetails, Problem> {
        self.player().ticket(self.client_id()).await
    }

    /// As [`Player::cancel_matchmaking`].
    pub async fn cancel_matchmaking(&self) -> Result<bool, Problem> {
        self.player().cancel_matchmaking(self.client_id()).await
    }

    /// As [`Player::refresh_connect_token`].
    pub async fn refresh_connect_token(&self) -> Result<DirectConnection, Problem> {
        self.player().refresh_connect_token(self.client_id()).await
    }
}
