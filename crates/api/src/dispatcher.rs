//! The dispatcher: frames between players and their game server, past the mailboxes.
//!
//! A player sends and receives plain text and binary frames. Its game server sends and receives
//! text frames, each with one JSON envelope: [`OutboundFrame`] and [`InboundFrame`].

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::ClientId;

/// Path of the WebSocket endpoint.
pub const PATH: &str = "/dispatcher/v1/entrypoint/websocket/endpoint";
/// Sub-protocol that a client offers and the backend chooses.
pub const SUB_PROTOCOL: &str = "omgservers";
/// Sub-protocol of a client that can set no other header: a second one carries the token.
pub const CARRIER_SUB_PROTOCOL: &str = "bearer-token-carrier";
/// Prefix of the sub-protocol that carries `Bearer <token>`, percent-encoded.
pub const CARRIED_AUTHORIZATION: &str = "quarkus-http-upgrade#Authorization#";

/// Largest WebSocket frame, bytes of its payload.
pub const MAX_FRAME_BYTES: usize = 64 << 10;
/// Largest message in several frames, bytes of all payloads.
pub const MAX_MESSAGE_BYTES: usize = 256 << 10;
/// Most ids in [`OutboundFrame::clients`].
pub const MAX_CLIENTS: usize = 10_000;
/// Time between two pings of the backend.
pub const PING_INTERVAL: Duration = Duration::from_secs(16);

/// Encoding of the message in an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Encoding {
    /// The message is the text of a text frame.
    #[serde(rename = "TXT")]
    Text,
    /// The message is the payload of a binary frame in standard base64 with padding.
    #[serde(rename = "B64")]
    Base64,
}

impl Encoding {
    /// Returns its name in an envelope.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "TXT",
            Self::Base64 => "B64",
        }
    }
}

/// Envelope that a game server sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OutboundFrame<'a> {
    /// Recipients, at most 10,000. Absent or null: every player in the room; `[]`: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Vec<ClientId>>))]
    pub clients: Option<Cow<'a, [ClientId]>>,
    /// Encoding of `message`.
    pub encoding: Encoding,
    /// The frame for the recipients; the backend drops an empty one.
    #[serde(borrow, deserialize_with = "unescaped")]
    #[cfg_attr(feature = "schema", schema(value_type = String, min_length = 1))]
    pub message: Cow<'a, str>,
}

/// Envelope that a game server receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InboundFrame<'a> {
    /// The sender.
    pub client_id: ClientId,
    /// Encoding of `message`.
    pub encoding: Encoding,
    /// The player's frame.
    #[serde(borrow, deserialize_with = "unescaped")]
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub message: Cow<'a, str>,
}

/// Writes the JSON of an [`InboundFrame`] up to its message.
///
/// The dispatcher appends the message as a JSON string and `}`. It thereby encodes a large binary
/// message straight into the frame instead of copying it twice.
#[derive(Debug, Clone, Copy)]
pub struct InboundHead {
    /// The sender.
    pub client_id: ClientId,
    /// Encoding of the message.
    pub encoding: Encoding,
}

impl fmt::Display for InboundHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client_id, encoding } = self;
        write!(f, r#"{{"client_id":"{client_id}","encoding":"{}","message":"#, encoding.as_str())
    }
}

/// Borrows a text without escapes. `Cow` alone would copy it.
fn unescaped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    struct TextVisitor;
    impl<'de> de::Visitor<'de> for TextVisitor {
        type Value = Cow<'de, str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }
        fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.to_owned()))
        }
        fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text))
        }
    }
    deserializer.deserialize_str(TextVisitor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Id as _;

    fn client(number: i64) -> ClientId {
        ClientId::from_i64(number).unwrap()
    }

    #[test]
    fn a_missing_list_and_null_are_everybody_and_an_empty_list_is_nobody() {
        let clients = |text: &'static str| serde_json::from_str::<OutboundFrame<'_>>(text).unwrap().clients;
        assert_eq!(clients(r#"{"encoding":"TXT","message":"x"}"#), None);
        assert_eq!(clients(r#"{"clients":null,"encoding":"TXT","message":"x"}"#), None);
        assert_eq!(clients(r#"{"clients":[],"encoding":"B64","message":"x"}"#).as_deref(), Some(&[][..]));
    }

    #[test]
    fn a_text_without_escapes_is_borrowed() {
        let frame: OutboundFrame<'_> =
            serde_json::from_str(r#"{"encoding":"TXT","message":"plain"}"#).unwrap();
        assert!(matches!(frame.message, Cow::Borrowed("plain")));
    }

    proptest! {
        #[test]
        fn a_head_with_its_message_is_the_envelope(id in 1..i64::MAX, message in any::<String>(), is_text: bool) {
            let encoding = if is_text { Encoding::Text } else { Encoding::Base64 };
            let head = InboundHead { client_id: client(id), encoding };
            let written = format!("{head}{}}}", serde_json::to_string(&message).unwrap());
            let frame = InboundFrame { client_id: client(id), encoding, message: message.into() };
            prop_assert_eq!(serde_json::to_string(&frame).unwrap(), written.clone());
            prop_assert_eq!(serde_json::from_str::<InboundFrame<'_>>(&written).unwrap(), frame);
        }
    }
}
