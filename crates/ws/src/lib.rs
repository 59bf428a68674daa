#![doc = include_str!("../README.md")]

mod decoder;
mod encode;

pub use decoder::{Decoder, Limits, Message, Violation};
pub use encode::{EncodedFrame, FrameWriter, close, ping, pong};

/// Type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// UTF-8 text.
    Text,
    /// Bytes.
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
const MAX_CONTROL_BYTES: usize = 125;

#[cfg(test)]
mod tests;
