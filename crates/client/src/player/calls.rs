//! What a player asks about one of its sessions.

use super::{Player, Session};
use omgservers_api::{
    ClientId, Kind, Problem,
    details::TicketDetails,
    entrypoint::{
        BearerEndpoint,
        player::{self, CreateConnectTokenRequest, TicketRequest},
    },
    interchange::DirectConnection,
};

impl Player {
    /// The open ticket of a session of this player, and why it isn't matched yet. Problems: 404
    /// without one.
    pub async fn ticket(&self, client_id: ClientId) -> Result<TicketDetails, Problem> {
        Ok(self.call::<player::GetTicketDetails>(&TicketRequest { client_id }).await?.details)
    }

    /// Ends the open ticket of a session of this player; `false` when there is none.
    pub async fn cancel_matchmaking(&self, client_id: ClientId) -> Result<bool, Problem> {
        Ok(self.call::<player::CancelMatchmaking>(&TicketRequest { client_id }).await?.deleted)
    }

    /// How a session of this player connects to its game server directly: the address and ports of
    /// its assignment, with a new token. The assignment's own token is short-lived. Problems: 404
    /// when players don't connect directly to the session's game server.
    pub async fn refresh_connect_token(&self, client_id: ClientId) -> Result<DirectConnection, Problem> {
        let request = CreateConnectTokenRequest { client_id };
        Ok(self.call::<player::CreateConnectToken>(&request).await?.direct)
    }

    /// Calls an endpoint with this player's token, and once more with a new one when it has
    /// expired.
    async fn call<E: BearerEndpoint<Request: Sync>>(
        &self,
        request: &E::Request,
    ) -> Result<E::Response, Problem> {
        match self.client.call::<E>(Some(self.token().as_str()), request).await {
            Err(problem) if problem.kind() == Kind::Unauthenticated => {
                self.renew(problem).await?;
                self.client.call::<E>(Some(self.token().as_str()), request).await
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
