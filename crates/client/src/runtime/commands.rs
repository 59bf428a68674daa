//! Commands of the runtime: each is queued, and the next exchange takes it along. The number that
//! is answered names it among the [rejected](super::Rejected).

use omgservers_api::{
    ClientId, Problem,
    entrypoint::Empty,
    ids::SenderSeq,
    interchange::{
        Attribute, Attributes, ClientRef, DISPATCHER, RequestMatchmaking, SetProfile, ToAll, ToClient,
        ToClients, UpgradeConnection, command,
    },
};
use serde::Serialize;

use super::Runtime;
use crate::{player::raw, problems::VALUE};

impl Runtime {
    fn queue(&mut self, qualifier: &'static str, body: &impl Serialize) -> Result<SenderSeq, Problem> {
        Ok(self.flow.push(qualifier, raw(body)?))
    }

    /// Says something to one client.
    pub fn respond(
        &mut self,
        client_id: ClientId,
        message: &(impl Serialize + ?Sized),
    ) -> Result<SenderSeq, Problem> {
        let message = raw(message)?;
        self.queue(command::RESPOND_CLIENT, &ToClient { client_id, message: &message })
    }

    /// Says something to some clients.
    pub fn multicast(
        &mut self,
        clients: impl IntoIterator<Item = ClientId>,
        message: &(impl Serialize + ?Sized),
    ) -> Result<SenderSeq, Problem> {
        let message = raw(message)?;
        let clients = clients.into_iter().collect();
        self.queue(command::MULTICAST_MESSAGE, &ToClients { clients, message: &message })
    }

    /// Says something to every client that is here.
    pub fn broadcast(&mut self, message: &(impl Serialize + ?Sized)) -> Result<SenderSeq, Problem> {
        let message = raw(message)?;
        self.queue(command::BROADCAST_MESSAGE, &ToAll { message: &message })
    }

    /// Replaces the profile of a client's player in this stage; the next
    /// [`Command::AddClient`](crate::Command::AddClient) has it.
    pub fn set_profile(
        &mut self,
        client_id: ClientId,
        profile: &(impl Serialize + ?Sized),
    ) -> Result<SenderSeq, Problem> {
        let profile = raw(profile)?;
        self.queue(command::SET_PROFILE, &SetProfile { client_id, profile: &profile })
    }

    /// Sends a client away: out of a lobby its session ends, out of a match it goes to a lobby.
    pub fn kick(&mut self, client_id: ClientId) -> Result<SenderSeq, Problem> {
        self.queue(command::KICK_CLIENT, &ClientRef { client_id })
    }

    /// Asks for a match of a mode of the version's configuration.
    pub fn request_matchmaking(&mut self, client_id: ClientId, mode: &str) -> Result<SenderSeq, Problem> {
        self.matchmaking(client_id, mode).request()
    }

    /// The same with more to say; nothing is queued before [`MatchmakingRequest::request`].
    pub fn matchmaking(&mut self, client_id: ClientId, mode: &str) -> MatchmakingRequest<'_> {
        MatchmakingRequest {
            runtime: self,
            request: RequestMatchmaking {
                client_id,
                mode: mode.to_owned().into(),
                clients: Vec::new(),
                attributes: Attributes::new(),
            },
        }
    }

    /// Cancels the ticket of a client, which is also the ticket of its party.
    pub fn cancel_matchmaking(&mut self, client_id: ClientId) -> Result<SenderSeq, Problem> {
        self.queue(command::CANCEL_MATCHMAKING, &ClientRef { client_id })
    }

    /// In a match: no further clients, please.
    pub fn stop_matchmaking(&mut self) -> Result<SenderSeq, Problem> {
        self.queue(command::STOP_MATCHMAKING, &Empty {})
    }

    /// Invites a client to a connection through the dispatcher; [`Runtime::open_dispatcher`] is
    /// this side of it.
    pub fn upgrade_connection(&mut self, client_id: ClientId) -> Result<SenderSeq, Problem> {
        self.queue(command::UPGRADE_CONNECTION, &UpgradeConnection { client_id, protocol: DISPATCHER.into() })
    }
}

/// A ticket request that is being built.
#[must_use = "nothing is asked for before `request`"]
pub struct MatchmakingRequest<'r> {
    runtime: &'r mut Runtime,
    request: RequestMatchmaking<'static>,
}

impl MatchmakingRequest<'_> {
    /// The clients of its party, all of this lobby: they are matched together, into one group.
    pub fn party(mut self, clients: impl IntoIterator<Item = ClientId>) -> Self {
        self.request.clients.extend(clients);
        self
    }

    /// A number that the mode's rules look at.
    pub fn number(self, name: &str, value: f64) -> Self {
        self.attribute(name, Attribute::Number(value))
    }

    /// A text that the mode's rules look at.
    pub fn text(self, name: &str, value: &str) -> Self {
        self.attribute(name, Attribute::Text(value.to_owned()))
    }

    /// A yes or no that the mode's rules look at.
    pub fn flag(self, name: &str, value: bool) -> Self {
        self.attribute(name, Attribute::Flag(value))
    }

    /// Anything that the mode's rules look at; a later value of the same name takes the place of
    /// the earlier one.
    pub fn attribute(mut self, name: &str, value: Attribute) -> Self {
        self.request.attributes.insert(name.to_owned(), value);
        self
    }

    /// Queues it. Problems: `client.value` for a number that JSON doesn't know.
    pub fn request(self) -> Result<SenderSeq, Problem> {
        let infinite = |it: &(&String, &Attribute)| matches!(it.1, Attribute::Number(it) if !it.is_finite());
        if let Some((name, _)) = self.request.attributes.iter().find(infinite) {
            return Err(VALUE.detail(format!("the attribute `{name}` is no finite number")));
        }
        self.runtime.queue(command::REQUEST_MATCHMAKING, &self.request)
    }
}
