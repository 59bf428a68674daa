//! The player stream: a player's interchange over a WebSocket, one JSON object in a text frame.

use serde::{Deserialize, Serialize};

use crate::{
    EntryId,
    ids::SenderSeq,
    interchange::{Incoming, Outgoing, list},
    problem::ErrorBody,
};

/// Where it is opened, with `?client_id=<id>`.
pub const PATH: &str = "/service/v1/entrypoint/player/stream";
/// The sub-protocol that a client offers and the backend chooses.
pub const SUB_PROTOCOL: &str = "omgservers.stream.v1";
/// A sub-protocol that begins with this carries the token of a client that can't set headers.
pub const BEARER: &str = "bearer.";

/// Why the backend closes a stream.
pub mod close {
    /// The backend stops: connect again after a short pause.
    pub const GOING_AWAY: u16 = 1001;
    /// The client broke the rules of WebSockets.
    pub const PROTOCOL: u16 = 1002;
    /// A binary frame came.
    pub const UNSUPPORTED: u16 = 1003;
    /// A frame was larger than the largest body.
    pub const TOO_LARGE: u16 = 1009;
    /// A fault of the backend.
    pub const INTERNAL: u16 = 1011;
    /// Not now: connect again after a pause, and repeat what wasn't accepted.
    pub const TRY_LATER: u16 = 1013;
    /// The session is over, and everything that waited was sent.
    pub const OVER: u16 = 4000;
    /// Another stream of the same client has taken its place.
    pub const REPLACED: u16 = 4001;
    /// The token has expired or was revoked.
    pub const TOKEN: u16 = 4401;
    /// The client is another user's.
    pub const FOREIGN: u16 = 4403;
    /// There is no such client, or not any more.
    pub const UNKNOWN: u16 = 4404;
}

/// What a client sends.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ClientFrame<'a> {
    /// What the player says.
    #[serde(borrow, default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::protocol::schema::OutgoingMessage>))]
    pub outgoing_messages: Vec<Outgoing<'a>>,
    /// What the player has received.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub consumed_messages: Vec<EntryId>,
    /// The client's own number of the frame; the frame that answers it has the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<SenderSeq>,
}

/// What the backend sends: messages, or that a frame was accepted, or that it was not.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ServerFrame {
    /// What waited for the player, oldest first.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<crate::protocol::schema::IncomingMessage>))]
    pub incoming_messages: Vec<Incoming>,
    /// The highest counter of a frame whose messages are durable; null when they had none.
    #[serde(default)]
    pub accepted: Option<SenderSeq>,
    /// Which frame is answered, if it had a number.
    #[serde(default)]
    pub request: Option<SenderSeq>,
    /// Why a frame was not accepted, or why the stream ends.
    #[serde(default)]
    pub error: Option<StreamError>,
}

/// A problem, as the interchange would have answered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct StreamError {
    /// The HTTP status that the interchange would have answered with.
    pub status: u16,
    /// The body that it would have answered with.
    #[serde(flatten)]
    pub body: ErrorBody,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everything_in_a_clients_frame_may_be_absent() {
        for text in ["{}", r#"{"outgoing_messages":null,"consumed_messages":{},"request":null}"#] {
            let frame: ClientFrame<'_> = serde_json::from_str(text).unwrap();
            assert!(frame.outgoing_messages.is_empty() && frame.consumed_messages.is_empty());
            assert_eq!(frame.request, None);
        }
        let frame = ClientFrame { outgoing_messages: vec![], consumed_messages: vec![], request: None };
        assert_eq!(serde_json::to_string(&frame).unwrap(), "{}");
    }

    #[test]
    fn a_refusal_is_read_with_its_status() {
        let text = r#"{"error":{"status":429,"qualifier":"MAILBOX_FULL","code":"messaging.mailbox_full","detail":"d","request_id":"r"},"request":7}"#;
        let frame: ServerFrame = serde_json::from_str(text).unwrap();
        let error = frame.error.unwrap();
        assert_eq!((error.status, error.body.code.as_str()), (429, "messaging.mailbox_full"));
        assert_eq!(frame.request, Some(SenderSeq(7)));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_decoder_panic(text in ".{0,200}") {
            let _ = serde_json::from_str::<ClientFrame<'_>>(&text);
            let _ = serde_json::from_str::<ServerFrame>(&text);
        }
    }
}
