//! What happens to a session.

use omgservers_api::{
    MatchmakerId, RuntimeId, RuntimeQualifier,
    interchange::{
        ConnectionUpgrade, DirectConnection, DisconnectionReason, Incoming, MatchmakerAssignment,
        MatchmakingFailure, Reason, RuntimeAssignment, RuntimeConfig, ServerWelcome, ToAll, message,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dispatcher::Frame;

/// Something that happened to a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// First of all.
    Welcome(ServerWelcome),
    /// A matchmaker was attached.
    MatchmakerAssigned(MatchmakerId),
    /// Messages go to this runtime from now on.
    Assigned {
        /// The runtime.
        runtime_id: RuntimeId,
        /// Lobby or match.
        qualifier: RuntimeQualifier,
        /// What it is.
        config: RuntimeConfig,
        /// How to connect to it directly, if its version names ports.
        direct: Option<DirectConnection>,
    },
    /// A ticket or its request ended without a match.
    MatchmakingFailed(MatchmakingFailure),
    /// The runtime invites to a connection through the dispatcher; the session opens it by itself.
    ConnectionUpgrade(ConnectionUpgrade),
    /// The connection through the dispatcher is open.
    DispatcherConnected,
    /// The runtime says this through the dispatcher.
    Frame(Frame),
    /// The connection through the dispatcher has ended, or couldn't be opened. The end that comes
    /// with the next runtime isn't told.
    DispatcherDisconnected {
        /// Why, for people.
        reason: String,
    },
    /// The session is over.
    Disconnected {
        /// Why.
        reason: Reason,
    },
    /// What the runtime says, byte for byte.
    Message(Box<RawValue>),
    /// Something that this version doesn't know.
    Unknown {
        /// What it is.
        qualifier: String,
        /// Its fields.
        body: Box<RawValue>,
    },
}

impl Event {
    pub(super) fn read(incoming: Incoming) -> Self {
        let body = incoming.body.get();
        let known = match incoming.qualifier.as_str() {
            message::SERVER_WELCOME => parse(body).map(Self::Welcome),
            message::MATCHMAKER_ASSIGNMENT => {
                parse(body).map(|it: MatchmakerAssignment| Self::MatchmakerAssigned(it.matchmaker_id))
            }
            message::RUNTIME_ASSIGNMENT => parse(body).map(|assignment: RuntimeAssignment| Self::Assigned {
                runtime_id: assignment.runtime_id,
                qualifier: assignment.runtime_qualifier,
                config: assignment.runtime_config,
                direct: assignment.direct,
            }),
            message::MATCHMAKING_FAILURE => parse(body).map(Self::MatchmakingFailed),
            message::CONNECTION_UPGRADE => parse(body).map(Self::ConnectionUpgrade),
            message::DISCONNECTION_REASON => {
                parse(body).map(|it: DisconnectionReason| Self::Disconnected { reason: it.reason })
            }
            message::SERVER_OUTGOING => parse(body).map(|it: ToAll<'_>| Self::Message(it.message.to_owned())),
            _ => None,
        };
        known.unwrap_or(Self::Unknown { qualifier: incoming.qualifier, body: incoming.body })
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a str) -> Option<T> {
    serde_json::from_str(body).ok()
}
