//! Frames as RFC 6455 has them: those of a client in, those of a server out. No I/O.

use bytes::{Buf as _, Bytes, BytesMut};
use bytestring::ByteString;

use crate::{Bounds, Closing};

/// A whole message or a control frame of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text.
    Text(ByteString),
    /// Bytes.
    Binary(Bytes),
    /// To be answered with the same payload.
    Ping(Bytes),
    /// The answer to a ping.
    Pong,
    /// The peer wants to end the connection.
    Close,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
}

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
/// Largest payload of a control frame.
const CONTROL: usize = 125;
/// Longest head of a frame that a server sends.
const HEAD: usize = 10;
/// What an idle connection may keep of its buffer.
const KEPT: usize = 512;

/// Cuts the bytes of a client into messages.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// The frames of a message that isn't complete.
    parts: Option<(Kind, Vec<u8>)>,
    frame: usize,
    message: usize,
}

/// The head of a frame.
struct Head {
    opcode: u8,
    is_final: bool,
    /// Bytes of the head.
    size: usize,
    /// Bytes of the payload.
    length: usize,
    mask: [u8; 4],
}

impl Decoder {
    /// Nothing has come yet.
    pub fn new(bounds: &Bounds) -> Self {
        Self { buffer: BytesMut::new(), parts: None, frame: bounds.frame, message: bounds.message }
    }

    /// Takes what has come.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message, if all of it has come. The error says how the connection has to end; nothing may be asked
    /// afterwards. A frame that is too large is refused at its head.
    pub fn next_message(&mut self) -> Result<Option<Message>, Closing> {
        while let Some(head) = self.head()? {
            if self.buffer.len() < head.size.saturating_add(head.length) {
                return Ok(None);
            }
            self.buffer.advance(head.size);
            let mut payload = self.buffer.split_to(head.length);
            unmask(&mut payload, head.mask);
            if let Some(message) = self.take(&head, payload.freeze())? {
                return Ok(Some(message));
            }
        }
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT {
            self.buffer = BytesMut::new();
        }
        Ok(None)
    }

    fn head(&self) -> Result<Option<Head>, Closing> {
        let [first, second, rest @ ..] = &*self.buffer else { return Ok(None) };
        let (opcode, is_final) = (first & 0x0F, first & FINAL != 0);
        let is_control = opcode & 0x8 != 0;
        let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        if first & RESERVED != 0 || second & MASKED == 0 || !known || (is_control && !is_final) {
            return Err(Closing::Protocol);
        }
        let (extension, length) = match second & !MASKED {
            126 => (2, rest.first_chunk().map(|it| u64::from(u16::from_be_bytes(*it)))),
            127 => (8, rest.first_chunk().map(|it| u64::from_be_bytes(*it))),
            short => (0, Some(u64::from(short))),
        };
        let Some(length) = length else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if is_control && length > CONTROL {
            return Err(Closing::Protocol);
        }
        if length > self.frame {
            return Err(Closing::TooLarge);
        }
        let mask = rest.get(extension..).and_then(|it| it.first_chunk::<4>());
        Ok(mask.map(|mask| Head { opcode, is_final, size: 2 + extension + 4, length, mask: *mask }))
    }

    fn take(&mut self, head: &Head, payload: Bytes) -> Result<Option<Message>, Closing> {
        let kind = match head.opcode {
            PING => return Ok(Some(Message::Ping(payload))),
            PONG => return Ok(Some(Message::Pong)),
            CLOSE => return Ok(Some(Message::Close)),
            TEXT => Some(Kind::Text),
            BINARY => Some(Kind::Binary),
            _ => None,
        };
        match (kind, self.parts.take()) {
            (Some(kind), None) if head.is_final => whole(kind, payload).map(Some),
            (Some(kind), None) => {
                self.parts = Some((kind, payload.to_vec()));
                Ok(None)
            }
            (None, Some((kind, mut parts))) => {
                if parts.len().saturating_add(payload.len()) > self.message {
                    return Err(Closing::TooLarge);
                }
                parts.extend_from_slice(&payload);
                if head.is_final {
                    return whole(kind, parts.into()).map(Some);
                }
                self.parts = Some((kind, parts));
                Ok(None)
            }
            // A message inside of another, or the end of none.
            _ => Err(Closing::Protocol),
        }
    }
}

fn whole(kind: Kind, payload: Bytes) -> Result<Message, Closing> {
    match kind {
        Kind::Text => ByteString::try_from(payload).map(Message::Text).map_err(|_error| Closing::NotText),
        Kind::Binary => Ok(Message::Binary(payload)),
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

/// A frame that a server sends, ready to be written. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    kind: Kind,
    bytes: Bytes,
}

impl Frame {
    /// With a payload that is there. Its head takes a copy.
    pub fn new(kind: Kind, payload: &[u8]) -> Self {
        let mut writer = FrameWriter::new(payload.len());
        writer.buffer.extend_from_slice(payload);
        writer.finish(kind)
    }

    /// What it carries.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Head and payload.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Writes the payload of a frame whose length isn't known before.
#[derive(Debug)]
pub(crate) struct FrameWriter {
    /// Room for the longest head, then the payload.
    pub(crate) buffer: Vec<u8>,
}

impl FrameWriter {
    pub(crate) fn new(length: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEAD.saturating_add(length));
        buffer.extend_from_slice(&[0; HEAD]);
        Self { buffer }
    }

    /// Puts the head right before the payload.
    pub(crate) fn finish(mut self, kind: Kind) -> Frame {
        let opcode = match kind {
            Kind::Text => TEXT,
            Kind::Binary => BINARY,
        };
        let (head, size) = head(opcode, self.buffer.len().saturating_sub(HEAD));
        let start = HEAD.saturating_sub(size);
        for (to, from) in self.buffer.iter_mut().skip(start).zip(head.iter().take(size)) {
            *to = *from;
        }
        let mut bytes = Bytes::from(self.buffer);
        bytes.advance(start);
        Frame { kind, bytes }
    }
}

/// The head of an unmasked, final frame, and how long it is.
fn head(opcode: u8, length: usize) -> ([u8; HEAD], usize) {
    let mut head = [0; HEAD];
    head[0] = FINAL | opcode;
    let size = match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => {
            head[1] = short;
            2
        }
        (_, Ok(medium)) => {
            head[1] = 126;
            [head[2], head[3]] = medium.to_be_bytes();
            4
        }
        _ => {
            head[1] = 127;
            let length = u64::try_from(length).unwrap_or(u64::MAX);
            let [_, _, place @ ..] = &mut head;
            *place = length.to_be_bytes();
            HEAD
        }
    };
    (head, size)
}

/// A ping without payload.
pub(crate) const fn ping() -> Bytes {
    Bytes::from_static(&[FINAL | PING, 0])
}

/// The answer to a ping.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    control(PONG, payload)
}

/// The end of a connection.
pub(crate) fn close(closing: Closing) -> Bytes {
    let mut payload = closing.code().to_be_bytes().to_vec();
    payload.extend_from_slice(closing.reason().as_bytes());
    control(CLOSE, &payload)
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let payload = payload.get(..CONTROL).unwrap_or(payload);
    let (head, size) = head(opcode, payload.len());
    head.iter().take(size).chain(payload).copied().collect()
}

#[cfg(test)]
mod tests;
