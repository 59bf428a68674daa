//! Messages on the wire, written and read by hand where they are frequent.

use std::fmt::Write as _;

use omgservers_api::interchange::message;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A request or frame of a player.
pub(crate) struct RequestBody<'a> {
    /// Of an interchange, with the milliseconds that it waits; without it is a frame of a stream.
    pub(crate) client: Option<(&'a str, u32)>,
    /// The number of the first message.
    pub(crate) first: u64,
    /// The messages: JSON.
    pub(crate) data: &'a [String],
    pub(crate) consumed: &'a [String],
}

impl RequestBody<'_> {
    /// As JSON.
    pub(crate) fn json(&self) -> String {
        // Writing into memory doesn't fail. Ids and our own texts need no escapes.
        let mut text = String::with_capacity(160);
        text.push('{');
        if let Some((client, wait)) = self.client {
            let _infallible = write!(text, r#""client_id":"{client}","#);
            if wait > 0 {
                let _infallible = write!(text, r#""wait":{wait},"#);
            }
        }
        text.push_str(r#""outgoing_messages":["#);
        for (number, data) in (self.first..).zip(self.data) {
            let comma = if number > self.first { "," } else { "" };
            let _infallible = write!(
                text,
                r#"{comma}{{"id":{number},"qualifier":"{}","body":{{"data":{data}}}}}"#,
                message::CLIENT_OUTGOING
            );
        }
        text.push_str(r#"],"consumed_messages":["#);
        for (at, id) in self.consumed.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _infallible = write!(text, r#"{comma}"{id}""#);
        }
        text.push_str("]}");
        text
    }
}

/// A message that the game echoes: it is known by its number.
fn numbered(number: u64, padding: &str) -> String {
    if padding.is_empty() {
        format!(r#"{{"n":{number}}}"#)
    } else {
        format!(r#"{{"n":{number},"pad":"{padding}"}}"#)
    }
}

/// Several of them.
pub(crate) fn several(first: u64, count: u32, padding: &str) -> Vec<String> {
    (first..first.saturating_add(count.into())).map(|it| numbered(it, padding)).collect()
}

/// What comes to a player: the answer of an interchange, or a frame of a stream.
#[derive(Debug, Deserialize)]
pub(crate) struct Came<'a> {
    #[serde(borrow, default)]
    pub(crate) incoming_messages: Vec<ReceivedMessage<'a>>,
    /// A frame was refused, or the stream ends.
    #[serde(borrow, default)]
    pub(crate) error: Option<FrameRefusal<'a>>,
}

/// Why a frame was refused.
#[derive(Debug, Deserialize)]
pub(crate) struct FrameRefusal<'a> {
    pub(crate) status: u16,
    #[serde(borrow)]
    pub(crate) code: std::borrow::Cow<'a, str>,
}

/// One message. Ids and qualifiers have no escapes.
#[derive(Debug, Deserialize)]
pub(crate) struct ReceivedMessage<'a> {
    pub(crate) id: &'a str,
    pub(crate) qualifier: &'a str,
    #[serde(borrow)]
    pub(crate) body: &'a RawValue,
}

/// What the game sends, as far as the scenarios use it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GameMessage {
    /// Our own number came back.
    Echo(u64),
    /// A text of ours came back, which means that the game doesn't understand it.
    EchoedText(String),
    /// A number that the game broadcast.
    All(u64),
    /// Anything else.
    Other,
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    message: GameBody<'a>,
}

#[derive(Deserialize)]
struct GameBody<'a> {
    #[serde(borrow, default)]
    echo: Option<&'a RawValue>,
    #[serde(borrow, default)]
    all: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Numbered {
    n: u64,
}

impl ReceivedMessage<'_> {
    /// Which of the game's messages it is; `Other` for all others.
    pub(crate) fn game_message(&self) -> GameMessage {
        if self.qualifier != message::SERVER_OUTGOING {
            return GameMessage::Other;
        }
        let Ok(Outer { message }) = serde_json::from_str::<Outer<'_>>(self.body.get()) else {
            return GameMessage::Other;
        };
        match (message.echo, message.all) {
            (Some(echo), _) => match serde_json::from_str::<Numbered>(echo.get()) {
                Ok(Numbered { n }) => GameMessage::Echo(n),
                Err(_) => {
                    serde_json::from_str(echo.get()).map_or(GameMessage::Other, GameMessage::EchoedText)
                }
            },
            (_, Some(all)) => first_number(&all).map_or(GameMessage::Other, GameMessage::All),
            _ => GameMessage::Other,
        }
    }
}

/// The number that a text begins with.
pub(crate) fn first_number(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use omgservers_api::{
        interchange::{ClientOutgoing, PlayerInterchangeRequest},
        stream::ClientFrame,
    };
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_what_the_contract_reads(client in 1..i64::MAX, wait in 0..25_000_u32, first in 0..1_u64 << 50, count in 0..5_u32, consumed in prop::collection::vec(1..i64::MAX, 0..5), bytes in 0..50_usize) {
            let (client, pad) = (client.to_string(), "x".repeat(bytes));
            let consumed: Vec<String> = consumed.iter().map(i64::to_string).collect();
            let data = several(first, count, &pad);
            let outgoing = RequestBody { client: Some((&client, wait)), first, data: &data, consumed: &consumed };
            let text = outgoing.json();
            let request: PlayerInterchangeRequest<'_> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(request.client_id.to_string(), client.as_str());
            prop_assert_eq!(request.wait.unwrap_or(0), wait);
            prop_assert_eq!(request.consumed_messages.len(), consumed.len());
            let numbers: Vec<u64> = request.outgoing_messages.iter().map(|it| it.id.unwrap().0).collect();
            prop_assert_eq!(numbers, (first..first + u64::from(count)).collect::<Vec<_>>());
            for said in &request.outgoing_messages {
                let body: ClientOutgoing<'_> = serde_json::from_str(said.body.unwrap().get()).unwrap();
                let back = format!(r#"{{"message":{{"echo":{},"count":3}}}}"#, body.data);
                let raw: &RawValue = serde_json::from_str(&back).unwrap();
                let message = ReceivedMessage { id: "1", qualifier: message::SERVER_OUTGOING, body: raw };
                prop_assert_eq!(message.game_message(), GameMessage::Echo(said.id.unwrap().0));
            }
            let frame = RequestBody { client: None, ..outgoing }.json();
            prop_assert_eq!(serde_json::from_str::<ClientFrame<'_>>(&frame).unwrap().consumed_messages.len(), consumed.len());
        }
    }

    fn game_message(qualifier: &str, body: &str) -> GameMessage {
        let text =
            format!(r#"{{"incoming_messages":[{{"id":"7","qualifier":"{qualifier}","body":{body}}}]}}"#);
        let came: Came<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(came.incoming_messages[0].id, "7");
        came.incoming_messages[0].game_message()
    }

    #[test]
    fn messages_of_a_lobby_have_their_kinds() {
        let outgoing = |body: &str| game_message("SERVER_OUTGOING_MESSAGE", body);
        assert_eq!(outgoing(r#"{"message":{"from":"9","all":"12 xxx"}}"#), GameMessage::All(12));
        assert_eq!(
            outgoing(r#"{"message":{"echo":"meet","count":1}}"#),
            GameMessage::EchoedText("meet".into())
        );
        assert_eq!(outgoing(r#"{"message":{"joined":"9","players":2}}"#), GameMessage::Other);
        assert_eq!(outgoing(r#"{"message":"text"}"#), GameMessage::Other);
        assert_eq!(
            game_message("SERVER_WELCOME_MESSAGE", r#"{"message":{"echo":{"n":1}}}"#),
            GameMessage::Other
        );
    }

    #[test]
    fn an_accepted_frame_and_a_refused_one_are_read() {
        let came: Came<'_> = serde_json::from_str(r#"{"accepted":7,"request":null}"#).unwrap();
        assert!(came.incoming_messages.is_empty() && came.error.is_none());
        let refused = r#"{"error":{"status":429,"qualifier":"Q","code":"messaging.mailbox_full","detail":"d","request_id":"r"},"request":7}"#;
        let came: Came<'_> = serde_json::from_str(refused).unwrap();
        let error = came.error.unwrap();
        assert_eq!((error.status, &*error.code), (429, "messaging.mailbox_full"));
    }
}
