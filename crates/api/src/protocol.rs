//! The protocol as data: every message and command, its direction, its body and its schema.
//!
//! `docs/protocol.md` describes the same for authors of clients and game servers. A test compares
//! both.

#[cfg(feature = "schema")]
pub mod schema;

use crate::{
    entrypoint::Empty,
    interchange::{
        AddClient, ClientOutgoing, ClientRef, ConnectionUpgrade, DisconnectionReason, InitRuntime,
        MatchmakerAssignment, MatchmakingFailure, RequestMatchmaking, RuntimeAssignment, ServerWelcome,
        SetProfile, ToAll, ToClient, ToClients, UpgradeConnection, command, message,
    },
};

/// Direction of a message or command, named after the list that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From a player to the backend.
    OutgoingMessage,
    /// From the backend to a player.
    IncomingMessage,
    /// From a game server to the backend.
    OutgoingCommand,
    /// From the backend to a game server.
    IncomingCommand,
}

impl Direction {
    /// Whether the backend is the sender.
    pub const fn is_incoming(self) -> bool {
        matches!(self, Self::IncomingMessage | Self::IncomingCommand)
    }
}

/// One message or command of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its name on the wire.
    pub qualifier: &'static str,
    /// Its sender and its receiver.
    pub direction: Direction,
    /// What it means, one sentence.
    pub summary: &'static str,
    #[cfg(feature = "schema")]
    body: fn() -> schema::BodySchema,
}

/// Generates [`DEFINITIONS`] from rows of qualifier, type of the body and summary.
macro_rules! definitions {
    ($($direction:ident { $($qualifier:path: $body:ty = $summary:literal;)* })*) => {
        /// Every message and command. Receivers ignore qualifiers that they don't know.
        pub const DEFINITIONS: &[Definition] = &[$($(Definition {
            qualifier: $qualifier,
            direction: Direction::$direction,
            summary: $summary,
            #[cfg(feature = "schema")]
            body: schema::BodySchema::of::<$body>,
        },)*)*];

        /// Keeps the rows' types in use without the feature `schema`.
        #[cfg(not(feature = "schema"))]
        const _: () = { $($(let _ = size_of::<$body>();)*)* };
    };
}

definitions! {
    OutgoingMessage {
        message::CLIENT_OUTGOING: ClientOutgoing<'static> = "The player sends data to its game server.";
    }
    IncomingMessage {
        message::SERVER_WELCOME: ServerWelcome = "The session begins; always the first message.";
        message::MATCHMAKER_ASSIGNMENT: MatchmakerAssignment = "The session has a matchmaker.";
        message::RUNTIME_ASSIGNMENT: RuntimeAssignment
            = "The session is with this game server; the player's data goes there.";
        message::CONNECTION_UPGRADE: ConnectionUpgrade
            = "The game server invites the player to a dispatcher connection.";
        message::DISCONNECTION_REASON: DisconnectionReason = "The session ends; always the last message.";
        message::MATCHMAKING_FAILURE: MatchmakingFailure = "The player's ticket ended without a match.";
        message::SERVER_OUTGOING: ToAll<'static> = "The game server sends a message to the player.";
    }
    OutgoingCommand {
        command::RESPOND_CLIENT: ToClient<'static> = "Sends a message to one client.";
        command::MULTICAST_MESSAGE: ToClients<'static> = "Sends a message to the listed clients.";
        command::BROADCAST_MESSAGE: ToAll<'static> = "Sends a message to every client of the game server.";
        command::SET_PROFILE: SetProfile<'static> = "Replaces the profile of the client's player in the stage.";
        command::REQUEST_MATCHMAKING: RequestMatchmaking<'static>
            = "Creates a ticket for a client or a party; lobbies only.";
        command::CANCEL_MATCHMAKING: ClientRef = "Cancels the client's ticket and with it that of its party.";
        command::KICK_CLIENT: ClientRef = "Removes a client: a lobby ends its session, a match returns it to a lobby.";
        command::STOP_MATCHMAKING: Empty = "Admits no further clients; matches only.";
        command::UPGRADE_CONNECTION: UpgradeConnection<'static> = "Invites a client to a dispatcher connection.";
    }
    IncomingCommand {
        command::INIT_RUNTIME: InitRuntime = "Describes the runtime; always the first command.";
        command::ADD_CLIENT: AddClient = "A client joined this lobby.";
        command::ADD_MATCH_CLIENT: AddClient = "A client joined this match, in a group.";
        command::DELETE_CLIENT: ClientRef = "A client left.";
        command::HANDLE_MESSAGE: ToClient<'static> = "A client sent data.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_qualifier_is_defined_once_and_the_backends_messages_are_the_players() {
        let all: BTreeSet<&str> = DEFINITIONS.iter().map(|it| it.qualifier).collect();
        assert_eq!(all.len(), DEFINITIONS.len());
        let from_server: Vec<&str> = DEFINITIONS
            .iter()
            .filter(|it| it.direction == Direction::IncomingMessage)
            .map(|it| it.qualifier)
            .collect();
        assert_eq!(from_server, message::FROM_SERVER);
    }
}
