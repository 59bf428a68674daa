//! One connection without blocking, with what waits to be sent and what has come.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, bail};

/// A server that is silent for so long is broken.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// A connection for a handshake, which blocks.
pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| address.to_string())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(MAX_IDLE))?;
    Ok(stream)
}

/// A connection that doesn't block. What is written and not taken yet waits here, and so does what
/// has come and isn't complete: an idle connection has no buffers.
pub(crate) struct Wire {
    stream: mio::net::TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Wire {
    /// `input` has come with the handshake.
    pub(crate) fn new(stream: TcpStream, input: Vec<u8>) -> anyhow::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream: mio::net::TcpStream::from_std(stream), input, output: Vec::new() })
    }

    pub(crate) fn stream(&mut self) -> &mut mio::net::TcpStream {
        &mut self.stream
    }

    /// What has come, and where to write what is to be sent.
    pub(crate) fn both(&mut self) -> (&[u8], &mut Vec<u8>) {
        (&self.input, &mut self.output)
    }

    /// So much of what has come is done with.
    pub(crate) fn done(&mut self, count: usize) {
        if count >= self.input.len() {
            self.input.clear();
        } else {
            self.input.drain(..count);
        }
    }

    /// Reads everything that is there, by way of `room`.
    pub(crate) fn fill(&mut self, room: &mut [u8]) -> anyhow::Result<()> {
        loop {
            match self.stream.read(room) {
                Ok(0) => bail!(
                    "the server closed a connection after {:?}",
                    String::from_utf8_lossy(self.input.get(..200).unwrap_or(&self.input))
                ),
                Ok(count) => {
                    self.input.extend_from_slice(room.get(..count).unwrap_or_default());
                    // Less than there was room for: nothing is left.
                    if count < room.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes what is to be sent, as far as there is room.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        let mut sent = 0;
        while let Some(rest) = self.output.get(sent..).filter(|it| !it.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if sent == self.output.len() {
            self.output.clear();
        } else {
            self.output.drain(..sent);
        }
        Ok(())
    }
}
