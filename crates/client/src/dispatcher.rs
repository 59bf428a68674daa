//! The dispatcher: frames between players and their runtime, past the mailboxes. Nothing is kept for who isn't
//! there, and nothing is acknowledged.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use omgservers_api::{ClientId, Problem};
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::frame::{
        Frame as Piece,
        coding::{Data, OpCode},
    },
};

use crate::{
    http::Client,
    problems::VALUE,
    socket::{Refusal, Socket, broken},
};

/// Where a connection is opened.
const PATH: &str = "/dispatcher/v1/entrypoint/websocket/endpoint";
/// The sub-protocol that clients offer.
const SUB_PROTOCOL: &str = "omgservers";

/// The dispatcher pings every 16 s; a connection that is silent for so long is dead.
const SILENCE: Duration = Duration::from_secs(50);
/// The reason of an end without one.
pub(crate) const CLOSED: &str = "closed";
/// The largest piece that a message is sent in, and the largest message, bytes.
const MOST_PIECE: usize = 60 * 1024;
const MOST_MESSAGE: usize = 256 * 1024;

/// What goes through the dispatcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl From<&str> for Frame {
    fn from(it: &str) -> Self {
        Self::Text(it.to_owned())
    }
}

impl From<String> for Frame {
    fn from(it: String) -> Self {
        Self::Text(it)
    }
}

impl From<Bytes> for Frame {
    fn from(it: Bytes) -> Self {
        Self::Binary(it)
    }
}

impl From<Vec<u8>> for Frame {
    fn from(it: Vec<u8>) -> Self {
        Self::Binary(it.into())
    }
}

impl From<&[u8]> for Frame {
    fn from(it: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(it))
    }
}

/// A message in pieces as the dispatcher takes them. Problems: `client.value` for one that it never takes.
pub(crate) fn pieces(frame: Frame) -> Result<Vec<Message>, Problem> {
    let (kind, bytes) = match frame {
        Frame::Text(text) => (Data::Text, Bytes::from(text)),
        Frame::Binary(bytes) => (Data::Binary, bytes),
    };
    if bytes.len() > MOST_MESSAGE {
        let detail = format!("a message through the dispatcher has at most {MOST_MESSAGE} bytes");
        return Err(VALUE.detail(detail));
    }
    let mut pieces = Vec::new();
    let (mut rest, mut kind) = (bytes, kind);
    loop {
        let piece = rest.split_to(rest.len().min(MOST_PIECE));
        let last = rest.is_empty();
        pieces.push(Message::Frame(Piece::message(piece, OpCode::Data(kind), last)));
        if last {
            return Ok(pieces);
        }
        kind = Data::Continue;
    }
}

/// What a runtime sends: whom it is for, and what.
#[derive(Serialize)]
pub(crate) struct OutboundFrame<'a> {
    /// Absent for everybody in the room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clients: Option<&'a [ClientId]>,
    encoding: Encoding,
    message: String,
}

/// What a runtime receives: whom it is from, and what.
#[derive(Deserialize)]
pub(crate) struct InboundFrame {
    pub(crate) client_id: ClientId,
    encoding: Encoding,
    message: String,
}

#[derive(Serialize, Deserialize)]
enum Encoding {
    #[serde(rename = "TXT")]
    Text,
    #[serde(rename = "B64")]
    Binary,
}

impl<'a> OutboundFrame<'a> {
    pub(crate) fn new(clients: Option<&'a [ClientId]>, frame: Frame) -> Self {
        match frame {
            Frame::Text(message) => Self { clients, encoding: Encoding::Text, message },
            Frame::Binary(bytes) => {
                Self { clients, encoding: Encoding::Binary, message: STANDARD.encode(bytes) }
            }
        }
    }
}

impl InboundFrame {
    /// What it holds; `None` when that is no base64.
    pub(crate) fn frame(self) -> Option<Frame> {
        match self.encoding {
            Encoding::Text => Some(Frame::Text(self.message)),
            Encoding::Binary => STANDARD.decode(self.message).ok().map(|it| Frame::Binary(it.into())),
        }
    }
}

/// Opens a connection with a token for it.
pub(crate) async fn connect(client: &Client, token: &str) -> Result<Socket, Refusal> {
    client.socket(PATH, SUB_PROTOCOL, token).await
}

/// The next frame, or why there is none any more.
pub(crate) async fn receive(
    messages: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
) -> Result<Frame, String> {
    loop {
        let Ok(message) = tokio::time::timeout(SILENCE, messages.next()).await else {
            return Err("it was silent for too long".to_owned());
        };
        match message {
            Some(Ok(Message::Text(text))) => return Ok(Frame::Text(text.as_str().to_owned())),
            Some(Ok(Message::Binary(bytes))) => return Ok(Frame::Binary(bytes)),
            Some(Ok(Message::Close(Some(frame)))) => {
                let code = u16::from(frame.code);
                return Err(format!("closed with {code}: {}", frame.reason.as_str()));
            }
            Some(Ok(Message::Close(None))) | None => return Err(CLOSED.to_owned()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(broken(Some(error)).sentence().to_owned()),
        }
    }
}

/// The same of a connection that couldn't be opened.
pub(crate) fn refused(refusal: Refusal) -> String {
    Problem::from(refusal).sentence().to_owned()
}
