//! The dispatcher: unreliable frames between players and their game server, past the mailboxes.

use std::{borrow::Cow, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use omgservers_api::{
    ClientId, Problem,
    dispatcher::{
        Encoding, InboundFrame, MAX_MESSAGE_BYTES, OutboundFrame, PATH, PING_INTERVAL, SUB_PROTOCOL,
    },
};
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
    socket::{SocketRefusal, UpgradedSocket, broken},
};

/// Idle time after which the connection is lost: three pings of the backend were missed.
const MAX_IDLE: Duration = PING_INTERVAL.saturating_mul(3);
/// Reason of a close frame without one.
pub(crate) const CLOSED: &str = "closed";
/// Largest payload of one WebSocket frame that the SDK sends. A longer message takes several.
const FRAGMENT_BYTES: usize = 60 * 1024;

/// Text or bytes that travel through the dispatcher, unreliably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Text: the dispatcher slows its sender down rather than drop it.
    Text(String),
    /// Bytes: the dispatcher drops old ones for newer ones when a receiver is slow.
    Binary(Bytes),
}

impl From<&str> for Frame {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Frame {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Frame {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<&[u8]> for Frame {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}

/// Cuts a message into WebSocket frames. Problems: `client.value` for a message that is too large.
pub(crate) fn pieces(frame: Frame) -> Result<Vec<Message>, Problem> {
    let (kind, bytes) = match frame {
        Frame::Text(text) => (Data::Text, Bytes::from(text)),
        Frame::Binary(bytes) => (Data::Binary, bytes),
    };
    if bytes.len() > MAX_MESSAGE_BYTES {
        let detail = format!("a message through the dispatcher has at most {MAX_MESSAGE_BYTES} bytes");
        return Err(VALUE.detail(detail));
    }
    let mut pieces = Vec::new();
    let (mut rest, mut kind) = (bytes, kind);
    loop {
        let piece = rest.split_to(rest.len().min(FRAGMENT_BYTES));
        let last = rest.is_empty();
        pieces.push(Message::Frame(Piece::message(piece, OpCode::Data(kind), last)));
        if last {
            return Ok(pieces);
        }
        kind = Data::Continue;
    }
}

/// Wraps a frame for some clients, or with `None` for every player in the room.
pub(crate) fn outbound(clients: Option<&[ClientId]>, frame: Frame) -> OutboundFrame<'_> {
    let (encoding, message) = match frame {
        Frame::Text(text) => (Encoding::Text, text),
        Frame::Binary(bytes) => (Encoding::Base64, STANDARD.encode(bytes)),
    };
    OutboundFrame { clients: clients.map(Cow::Borrowed), encoding, message: message.into() }
}

/// Unwraps a player's frame; `None` for one that isn't base64 though it claims so.
pub(crate) fn inbound(frame: InboundFrame<'_>) -> Option<Frame> {
    match frame.encoding {
        Encoding::Text => Some(Frame::Text(frame.message.into_owned())),
        Encoding::Base64 => STANDARD.decode(&*frame.message).ok().map(|it| Frame::Binary(it.into())),
    }
}

/// Opens a connection with a dispatcher token.
pub(crate) async fn connect(client: &Client, token: &str) -> Result<UpgradedSocket, SocketRefusal> {
    client.socket(PATH, SUB_PROTOCOL, token).await
}

/// Receives the next frame. The error is the reason why the connection ended.
pub(crate) async fn receive(
    messages: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
) -> Result<Frame, String> {
    loop {
        let Ok(message) = tokio::time::timeout(MAX_IDLE, messages.next()).await else {
            return Err("the backend sent nothing for too long".to_owned());
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

/// Returns the reason why a connection couldn't be opened.
pub(crate) fn refused(refusal: SocketRefusal) -> String {
    Problem::from(refusal).sentence().to_owned()
}
