//! What is in the frames: envelopes to runtimes, orders from runtimes. Pure.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use omgservers_api::ClientId;
use serde::{Deserialize, Deserializer, de};

use crate::wire::{Frame, FrameWriter, Kind};

/// Room for the envelope around a message.
const AROUND: usize = 80;

/// `{"client_id":"…","encoding":"TXT","message":"…"}`: a player's text as its runtime gets it.
pub(crate) fn text(client: ClientId, message: &str) -> Frame {
    let mut writer = begin(client, "TXT", message.len());
    // Writing a string into memory doesn't fail.
    let _infallible = serde_json::to_writer(&mut writer.buffer, message);
    end(writer)
}

/// `{"client_id":"…","encoding":"B64","message":"…"}`: a player's bytes as its runtime gets them.
pub(crate) fn binary(client: ClientId, message: &[u8]) -> Frame {
    let mut writer = begin(client, "B64", base64::encoded_len(message.len(), true).unwrap_or_default());
    writer.buffer.push(b'"');
    let start = writer.buffer.len();
    let encoded = base64::encoded_len(message.len(), true).unwrap_or_default();
    writer.buffer.resize(start.saturating_add(encoded), 0);
    if let Some(place) = writer.buffer.get_mut(start..) {
        // There is exactly as much room.
        let _infallible = STANDARD.encode_slice(message, place);
    }
    writer.buffer.push(b'"');
    end(writer)
}

fn begin(client: ClientId, encoding: &str, length: usize) -> FrameWriter {
    use std::io::Write as _;
    let mut writer = FrameWriter::new(length.saturating_add(AROUND));
    let _infallible = write!(writer.buffer, r#"{{"client_id":"{client}","encoding":"{encoding}","message":"#);
    writer
}

fn end(mut writer: FrameWriter) -> Frame {
    writer.buffer.push(b'}');
    writer.finish(Kind::Text)
}

/// What a runtime wants to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// To whom; `None` is everybody in the room.
    pub(crate) clients: Option<Vec<ClientId>>,
    /// One for all of them.
    pub(crate) frame: Frame,
}

/// Why a runtime's frame is dropped. It disturbs nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// It isn't the JSON that it should be.
    Json,
    /// The message isn't base64.
    Base64,
    /// The list is too long.
    Clients,
    /// There is nothing to send.
    Empty,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(default)]
    clients: Option<Vec<ClientId>>,
    encoding: Encoding,
    #[serde(borrow, deserialize_with = "unescaped")]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
enum Encoding {
    #[serde(rename = "TXT")]
    Text,
    #[serde(rename = "B64")]
    Base64,
}

/// A text without escapes isn't copied, which `Cow` alone would do.
fn unescaped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    struct Text;
    impl<'de> de::Visitor<'de> for Text {
        type Value = Cow<'de, str>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    deserializer.deserialize_str(Text)
}

/// Reads `{"clients":["…"],"encoding":"TXT"|"B64","message":"…"}`: without `clients`, or with null, it is for
/// everybody, `[]` is for nobody. Other fields are ignored.
pub(crate) fn order(text: &str, most_clients: usize) -> Result<Order, Garbage> {
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|_error| Garbage::Json)?;
    if raw.clients.as_ref().is_some_and(|it| it.len() > most_clients) {
        return Err(Garbage::Clients);
    }
    if raw.message.is_empty() {
        return Err(Garbage::Empty);
    }
    let frame = match raw.encoding {
        Encoding::Text => Frame::new(Kind::Text, raw.message.as_bytes()),
        Encoding::Base64 => {
            let mut writer = FrameWriter::new(base64::decoded_len_estimate(raw.message.len()));
            STANDARD
                .decode_vec(raw.message.as_bytes(), &mut writer.buffer)
                .map_err(|_error| Garbage::Base64)?;
            writer.finish(Kind::Binary)
        }
    };
    Ok(Order { clients: raw.clients, frame })
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
    fn payload(frame: &Frame) -> &[u8] {
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
        let it = text(id(9), "hello");
        assert_eq!(payload(&it), br#"{"client_id":"9","encoding":"TXT","message":"hello"}"#);
        assert_eq!(it.kind(), Kind::Text);
        let it = binary(id(9), b"hello");
        assert_eq!(payload(&it), br#"{"client_id":"9","encoding":"B64","message":"aGVsbG8="}"#);
        assert_eq!(it.kind(), Kind::Text);
        assert_eq!(payload(&binary(id(9), b"")), br#"{"client_id":"9","encoding":"B64","message":""}"#);
    }

    #[test]
    fn a_missing_list_is_everybody_and_an_empty_one_nobody() {
        let clients = |text: &str| order(text, 3).map(|it| it.clients);
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
    fn garbage_is_told_apart() {
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
            assert_eq!(order(text, 9), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_a_player_says_arrives_as_it_was(message in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let read = |it: &Frame| serde_json::from_slice::<Value>(payload(it)).unwrap();
            prop_assert_eq!(read(&text(id(7), &message)), json!({"client_id": "7", "encoding": "TXT", "message": message}));
            let base64 = STANDARD.encode(&bytes);
            prop_assert_eq!(read(&binary(id(7), &bytes)), json!({"client_id": "7", "encoding": "B64", "message": base64}));
        }

        #[test]
        fn what_a_runtime_says_arrives_as_it_was(message in "\\PC+", bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            let said = json!({"clients": ["5"], "encoding": "TXT", "message": message}).to_string();
            let it = order(&said, 9).unwrap();
            prop_assert_eq!((payload(&it.frame), it.frame.kind()), (message.as_bytes(), Kind::Text));
            let said = json!({"encoding": "B64", "message": STANDARD.encode(&bytes)}).to_string();
            let it = order(&said, 9).unwrap();
            prop_assert_eq!((payload(&it.frame), it.frame.kind()), (&bytes[..], Kind::Binary));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{}\":, a-z0-9\\\\]{0,60}") {
            let _whatever = order(&text, 2);
        }
    }
}
