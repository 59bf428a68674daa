//! Encodes and decodes the envelopes of a game server's frames. Pure.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use omgservers_api::{
    ClientId,
    dispatcher::{Encoding, InboundHead, OutboundFrame},
};

use omgservers_ws::{EncodedFrame, FrameKind, FrameWriter};

/// Bytes that the envelope adds to a message, about.
const ENVELOPE_BYTES: usize = 80;

/// Encodes a player's text for its game server.
pub(crate) fn text(client: ClientId, message: &str) -> EncodedFrame {
    let mut writer = begin(client, Encoding::Text, message.len());
    // Writing a string into memory doesn't fail.
    let _infallible = serde_json::to_writer(&mut writer.buffer, message);
    end(writer)
}

/// Encodes a player's bytes for its game server.
pub(crate) fn binary(client: ClientId, message: &[u8]) -> EncodedFrame {
    let encoded = base64::encoded_len(message.len(), true).unwrap_or_default();
    let mut writer = begin(client, Encoding::Base64, encoded);
    writer.buffer.push(b'"');
    let start = writer.buffer.len();
    writer.buffer.resize(start.saturating_add(encoded), 0);
    if let Some(target) = writer.buffer.get_mut(start..) {
        // The target has exactly the encoded length.
        let _infallible = STANDARD.encode_slice(message, target);
    }
    writer.buffer.push(b'"');
    end(writer)
}

fn begin(client_id: ClientId, encoding: Encoding, length: usize) -> FrameWriter {
    use std::io::Write as _;
    let mut writer = FrameWriter::new(length.saturating_add(ENVELOPE_BYTES));
    let _infallible = write!(writer.buffer, "{}", InboundHead { client_id, encoding });
    writer
}

fn end(mut writer: FrameWriter) -> EncodedFrame {
    writer.buffer.push(b'}');
    writer.finish(FrameKind::Text)
}

/// EncodedFrame of a game server, decoded for its recipients.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Recipients; `None` is every player in the room.
    pub(crate) clients: Option<Vec<ClientId>>,
    /// One frame for all of them.
    pub(crate) frame: EncodedFrame,
}

/// Reason why the dispatcher drops a frame of a game server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// It isn't an [`OutboundFrame`].
    Json,
    /// The message isn't base64.
    Base64,
    /// The list of recipients is too long.
    Clients,
    /// The message is empty.
    Empty,
}

/// Decodes an [`OutboundFrame`]. A base64 message is decoded straight into the frame.
pub(crate) fn decode(text: &str, max_clients: usize) -> Result<Delivery, Garbage> {
    let outbound: OutboundFrame<'_> = serde_json::from_str(text).map_err(|_error| Garbage::Json)?;
    if outbound.clients.as_ref().is_some_and(|it| it.len() > max_clients) {
        return Err(Garbage::Clients);
    }
    if outbound.message.is_empty() {
        return Err(Garbage::Empty);
    }
    let message = outbound.message.as_bytes();
    let frame = match outbound.encoding {
        Encoding::Text => EncodedFrame::new(FrameKind::Text, message),
        Encoding::Base64 => {
            let mut writer = FrameWriter::new(base64::decoded_len_estimate(message.len()));
            STANDARD.decode_vec(message, &mut writer.buffer).map_err(|_error| Garbage::Base64)?;
            writer.finish(FrameKind::Binary)
        }
    };
    Ok(Delivery { clients: outbound.clients.map(Cow::into_owned), frame })
}

#[cfg(test)]
mod tests {
    use omgservers_api::ids::Id as _;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn id(number: i64) -> ClientId {
        ClientId::from_i64(number).unwrap()
    }

    /// The payload of a frame of the server.
    fn payload(frame: &EncodedFrame) -> &[u8] {
        let bytes = frame.bytes();
        let head = match bytes[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        &bytes[head..]
    }

    #[test]
    fn envelopes_are_the_contracts_byte_for_byte() {
        let frame = text(id(9), "hello");
        assert_eq!(payload(&frame), br#"{"client_id":"9","encoding":"TXT","message":"hello"}"#);
        assert_eq!(frame.kind(), FrameKind::Text);
        let frame = binary(id(9), b"hello");
        assert_eq!(payload(&frame), br#"{"client_id":"9","encoding":"B64","message":"aGVsbG8="}"#);
        assert_eq!(frame.kind(), FrameKind::Text);
        assert_eq!(payload(&binary(id(9), b"")), br#"{"client_id":"9","encoding":"B64","message":""}"#);
    }

    #[test]
    fn a_missing_list_is_everybody_and_an_empty_one_nobody() {
        let clients = |text: &str| decode(text, 3).map(|it| it.clients);
        assert_eq!(clients(r#"{"encoding":"TXT","message":"x"}"#), Ok(None));
        assert_eq!(clients(r#"{"clients":null,"encoding":"TXT","message":"x"}"#), Ok(None));
        assert_eq!(clients(r#"{"clients":[],"encoding":"TXT","message":"x"}"#), Ok(Some(vec![])));
        let some = clients(r#"{"new":{},"message":"x","encoding":"B64","clients":["5",6]}"#);
        assert_eq!(some, Err(Garbage::Base64));
        let some = clients(r#"{"new":{},"message":"eA==","encoding":"B64","clients":["5",6]}"#);
        assert_eq!(some, Ok(Some(vec![id(5), id(6)])));
        assert_eq!(clients(r#"{"clients":[1,2,3,4],"encoding":"TXT","message":"x"}"#), Err(Garbage::Clients));
    }

    #[test]
    fn garbage_has_its_reason() {
        for (text, why) in [
            ("", Garbage::Json),
            ("hello", Garbage::Json),
            ("[]", Garbage::Json),
            (r#"{"encoding":"TXT"}"#, Garbage::Json),
            (r#"{"message":"x"}"#, Garbage::Json),
            (r#"{"encoding":"txt","message":"x"}"#, Garbage::Json),
            (r#"{"encoding":"TXT","message":5}"#, Garbage::Json),
            (r#"{"encoding":"TXT","message":"x"} more"#, Garbage::Json),
            (r#"{"clients":["-5"],"encoding":"TXT","message":"x"}"#, Garbage::Json),
            (r#"{"clients":"5","encoding":"TXT","message":"x"}"#, Garbage::Json),
            (r#"{"encoding":"TXT","message":""}"#, Garbage::Empty),
            (r#"{"encoding":"B64","message":"%%%"}"#, Garbage::Base64),
        ] {
            assert_eq!(decode(text, 9), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_players_frame_arrives_unchanged(message in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let read = |it: &EncodedFrame| serde_json::from_slice::<Value>(payload(it)).unwrap();
            prop_assert_eq!(read(&text(id(7), &message)), json!({"client_id": "7", "encoding": "TXT", "message": message}));
            let base64 = STANDARD.encode(&bytes);
            prop_assert_eq!(read(&binary(id(7), &bytes)), json!({"client_id": "7", "encoding": "B64", "message": base64}));
        }

        #[test]
        fn a_runtimes_frame_arrives_unchanged(message in "\\PC+", bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            let sent = json!({"clients": ["5"], "encoding": "TXT", "message": message}).to_string();
            let it = decode(&sent, 9).unwrap();
            prop_assert_eq!((payload(&it.frame), it.frame.kind()), (message.as_bytes(), FrameKind::Text));
            let sent = json!({"encoding": "B64", "message": STANDARD.encode(&bytes)}).to_string();
            let it = decode(&sent, 9).unwrap();
            prop_assert_eq!((payload(&it.frame), it.frame.kind()), (&bytes[..], FrameKind::Binary));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\":, a-z0-9\\\\]{0,60}") {
            let _whatever = decode(&text, 2);
        }
    }
}
