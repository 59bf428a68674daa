//! Encodes the frames of a server.

use bytes::{Buf as _, Bytes};

use crate::{BINARY, CLOSE, FINAL, FrameKind, MAX_CONTROL_BYTES, PING, PONG, TEXT};

/// Longest head of a frame that a server sends, bytes.
const MAX_HEAD_BYTES: usize = 10;

/// Message of a server with its head, ready to be written. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFrame {
    kind: FrameKind,
    bytes: Bytes,
}

impl EncodedFrame {
    /// Encodes a message; copies its payload once.
    pub fn new(kind: FrameKind, payload: &[u8]) -> Self {
        let mut writer = FrameWriter::new(payload.len());
        writer.buffer.extend_from_slice(payload);
        writer.finish(kind)
    }

    /// Returns the type of the message.
    pub const fn kind(&self) -> FrameKind {
        self.kind
    }

    /// Returns head and payload.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Encodes a message whose length isn't known before.
#[derive(Debug)]
pub struct FrameWriter {
    /// Space for the longest head, then the payload so far. Only append to it.
    pub buffer: Vec<u8>,
}

impl FrameWriter {
    /// Creates a writer with capacity for a payload of `length` bytes.
    pub fn new(length: usize) -> Self {
        let mut buffer = Vec::with_capacity(MAX_HEAD_BYTES.saturating_add(length));
        buffer.extend_from_slice(&[0; MAX_HEAD_BYTES]);
        Self { buffer }
    }

    /// Writes the head right before the payload.
    pub fn finish(mut self, kind: FrameKind) -> EncodedFrame {
        let opcode = match kind {
            FrameKind::Text => TEXT,
            FrameKind::Binary => BINARY,
        };
        let (head, size) = head(opcode, self.buffer.len().saturating_sub(MAX_HEAD_BYTES));
        let start = MAX_HEAD_BYTES.saturating_sub(size);
        for (to, from) in self.buffer.iter_mut().skip(start).zip(head.iter().take(size)) {
            *to = *from;
        }
        let mut bytes = Bytes::from(self.buffer);
        bytes.advance(start);
        EncodedFrame { kind, bytes }
    }
}

/// Returns the head of an unmasked, final frame and its length.
pub(crate) fn head(opcode: u8, length: usize) -> ([u8; MAX_HEAD_BYTES], usize) {
    let mut head = [0; MAX_HEAD_BYTES];
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
            let [_, _, target @ ..] = &mut head;
            *target = length.to_be_bytes();
            MAX_HEAD_BYTES
        }
    };
    (head, size)
}

/// Encodes a ping without payload.
pub const fn ping() -> Bytes {
    Bytes::from_static(&[FINAL | PING, 0])
}

/// Encodes the answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    control(PONG, payload)
}

/// Encodes the end of a connection: without a code as the answer to a client's close frame.
pub fn close(reason: Option<(u16, &str)>) -> Bytes {
    let mut payload = Vec::new();
    if let Some((code, text)) = reason {
        payload.extend(code.to_be_bytes());
        payload.extend_from_slice(text.as_bytes());
    }
    control(CLOSE, &payload)
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let payload = payload.get(..MAX_CONTROL_BYTES).unwrap_or(payload);
    let (head, size) = head(opcode, payload.len());
    head.iter().take(size).chain(payload).copied().collect()
}
