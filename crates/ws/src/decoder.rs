//! Decodes the frames of a client.

use bytes::{Buf as _, Bytes, BytesMut};
use bytestring::ByteString;

use crate::{
    BINARY, CLOSE, CONTINUATION, FINAL, FrameKind, MASKED, MAX_CONTROL_BYTES, PING, PONG, RESERVED, TEXT,
};

/// Largest sizes that a decoder accepts, bytes of payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest frame.
    pub frame: usize,
    /// Largest message, in however many frames.
    pub message: usize,
}

/// Reason why a client's bytes end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Violation {
    /// The bytes break RFC 6455.
    Protocol,
    /// A text message isn't UTF-8.
    NotText,
    /// A frame or a message exceeds its limit.
    TooLarge,
}

impl Violation {
    /// Returns the code of the close frame.
    pub const fn code(self) -> u16 {
        match self {
            Self::Protocol => 1002,
            Self::NotText => 1007,
            Self::TooLarge => 1009,
        }
    }
}

/// Complete message or control frame of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(ByteString),
    /// Bytes.
    Binary(Bytes),
    /// Ping; the server answers a [`pong`](crate::pong) with the same payload.
    Ping(Bytes),
    /// Answer to a ping.
    Pong,
    /// The client ends the connection.
    Close,
}

/// Capacity that an empty buffer keeps, bytes. More would be memory that a burst leaves behind.
const KEPT_CAPACITY: usize = 512;

/// Cuts the bytes of a client into messages.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Payloads of an incomplete message.
    parts: Option<(FrameKind, Vec<u8>)>,
    limits: Limits,
}

/// Head of a frame.
struct FrameHead {
    opcode: u8,
    is_final: bool,
    /// Length of the head, bytes.
    size: usize,
    /// Length of the payload, bytes.
    length: usize,
    mask: [u8; 4],
}

impl Decoder {
    /// Creates a decoder for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self { buffer: BytesMut::new(), parts: None, limits }
    }

    /// Appends received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next message once all of it was received.
    ///
    /// After an error the decoder is unusable: the connection has to end. It refuses a frame that
    /// is too large at its head, before it buffers the payload.
    pub fn next_message(&mut self) -> Result<Option<Message>, Violation> {
        while let Some(head) = self.head()? {
            if self.buffer.len() < head.size.saturating_add(head.length) {
                return Ok(None);
            }
            self.buffer.advance(head.size);
            let mut payload = self.buffer.split_to(head.length);
            unmask(&mut payload, head.mask);
            if let Some(message) = self.accept(&head, payload.freeze())? {
                return Ok(Some(message));
            }
        }
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_CAPACITY {
            self.buffer = BytesMut::new();
        }
        Ok(None)
    }

    /// Returns how much memory its buffer takes.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    fn head(&self) -> Result<Option<FrameHead>, Violation> {
        let [first, second, rest @ ..] = &*self.buffer else { return Ok(None) };
        let (opcode, is_final) = (first & 0x0F, first & FINAL != 0);
        let is_control = opcode & 0x8 != 0;
        let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        if first & RESERVED != 0 || second & MASKED == 0 || !known || (is_control && !is_final) {
            return Err(Violation::Protocol);
        }
        let (extension, length) = match second & !MASKED {
            126 => (2, rest.first_chunk().map(|it| u64::from(u16::from_be_bytes(*it)))),
            127 => (8, rest.first_chunk().map(|it| u64::from_be_bytes(*it))),
            short => (0, Some(u64::from(short))),
        };
        let Some(length) = length else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if is_control && length > MAX_CONTROL_BYTES {
            return Err(Violation::Protocol);
        }
        let received = match &self.parts {
            Some((_, parts)) if !is_control => parts.len(),
            _ => 0,
        };
        if length > self.limits.frame || received.saturating_add(length) > self.limits.message {
            return Err(Violation::TooLarge);
        }
        let mask = rest.get(extension..).and_then(|it| it.first_chunk::<4>());
        Ok(mask.map(|mask| FrameHead { opcode, is_final, size: 2 + extension + 4, length, mask: *mask }))
    }

    fn accept(&mut self, head: &FrameHead, payload: Bytes) -> Result<Option<Message>, Violation> {
        let kind = match head.opcode {
            PING => return Ok(Some(Message::Ping(payload))),
            PONG => return Ok(Some(Message::Pong)),
            CLOSE => return Ok(Some(Message::Close)),
            TEXT => Some(FrameKind::Text),
            BINARY => Some(FrameKind::Binary),
            _ => None,
        };
        match (kind, self.parts.take()) {
            (Some(kind), None) if head.is_final => complete(kind, payload).map(Some),
            (Some(kind), None) => {
                self.parts = Some((kind, payload.to_vec()));
                Ok(None)
            }
            (None, Some((kind, mut parts))) => {
                parts.extend_from_slice(&payload);
                if head.is_final {
                    return complete(kind, parts.into()).map(Some);
                }
                self.parts = Some((kind, parts));
                Ok(None)
            }
            // A message began inside another one, or a continuation has no beginning.
            _ => Err(Violation::Protocol),
        }
    }
}

fn complete(kind: FrameKind, payload: Bytes) -> Result<Message, Violation> {
    match kind {
        FrameKind::Text => {
            ByteString::try_from(payload).map(Message::Text).map_err(|_error| Violation::NotText)
        }
        FrameKind::Binary => Ok(Message::Binary(payload)),
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mut chunks = payload.chunks_exact_mut(4);
    for chunk in &mut chunks {
        for (byte, key) in chunk.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(mask) {
        *byte ^= key;
    }
}
