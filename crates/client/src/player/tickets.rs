//! The open ticket of a session.

use omgservers_api::{
    ClientId, Kind, Problem,
    details::TicketDetails,
    entrypoint::{DeletedResponse, developer::GetTicketDetailsResponse, player::TicketRequest},
};
use serde::de::DeserializeOwned;

use super::{Player, Session};

impl Player {
    /// The open ticket of a session of this player, and why it isn't matched yet. Problems: 404 without one.
    pub async fn ticket(&self, client_id: ClientId) -> Result<TicketDetails, Problem> {
        let answer: GetTicketDetailsResponse = self.about_ticket("get-ticket-details", client_id).await?;
        Ok(answer.details)
    }

    /// Ends the open ticket of a session of this player; `false` when there is none.
    pub async fn cancel_matchmaking(&self, client_id: ClientId) -> Result<bool, Problem> {
        let answer: DeletedResponse = self.about_ticket("cancel-matchmaking", client_id).await?;
        Ok(answer.deleted)
    }

    async fn about_ticket<T: DeserializeOwned>(&self, verb: &str, client_id: ClientId) -> Result<T, Problem> {
        let request = TicketRequest { client_id };
        let call = || async {
            let token = self.token();
            self.client.call("player", verb, Some(token.as_str()), &request).await
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
}
