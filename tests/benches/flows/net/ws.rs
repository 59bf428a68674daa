//! WebSockets as far as a generator needs them.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
};

use anyhow::{bail, ensure};

use super::wire::{Wire, connect};

/// Opens a WebSocket. `headers` end with a line feed each.
pub(crate) fn upgrade(address: SocketAddr, target: &str, headers: &str) -> anyhow::Result<Wire> {
    let mut stream = connect(address)?;
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut room) = (Vec::new(), [0; 2048]);
    loop {
        let count = stream.read(&mut room)?;
        ensure!(count > 0, "no handshake: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(room.get(..count).unwrap_or_default());
        if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
            ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
            let rest = answer.split_off(end + 4);
            return Wire::new(stream, rest);
        }
    }
}

/// A text frame of a client. Its mask is zero, which is one like any other.
pub(crate) fn text(output: &mut Vec<u8>, payload: &[u8]) {
    frame(output, 0x81, payload);
}

fn frame(output: &mut Vec<u8>, first: u8, payload: &[u8]) {
    output.push(first);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => output.push(0x80 | length),
        (_, Ok(length)) => {
            output.push(0x80 | 126);
            output.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            output.push(0x80 | 127);
            output.extend_from_slice(&u64::try_from(payload.len()).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    output.extend_from_slice(&[0; 4]);
    output.extend_from_slice(payload);
}

/// The complete frames at the begin of what has come. Pings are answered.
pub(crate) struct Frames<'a> {
    input: &'a [u8],
    /// Bytes of the frames so far.
    pub(crate) taken: usize,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { input, taken: 0 }
    }

    /// The payload of the next text or binary frame.
    pub(crate) fn next(&mut self, output: &mut Vec<u8>) -> anyhow::Result<Option<&'a [u8]>> {
        loop {
            let rest = self.input.get(self.taken..).unwrap_or_default();
            let Some((first, payload, whole)) = split(rest) else { return Ok(None) };
            self.taken += whole;
            match first & 0x0F {
                0..=2 => return Ok(Some(payload)),
                9 => frame(output, 0x8A, payload),
                8 => bail!("closed: {}", String::from_utf8_lossy(payload)),
                _ => {}
            }
        }
    }
}

/// The first byte, the payload, and the length of the whole, of a frame of the server.
fn split(input: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, short) = (*input.first()?, *input.get(1)?);
    let (start, length) = match short {
        126 => (4, u16::from_be_bytes(input.get(2..4)?.try_into().ok()?).into()),
        127 => (10, usize::try_from(u64::from_be_bytes(input.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let whole = start + length;
    Some((first, input.get(start..whole)?, whole))
}
