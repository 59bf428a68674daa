//! HTTP as far as a generator needs it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context as _, ensure};

use super::wire::connect;
use crate::load::Script;

/// The head of a request up to the length of its body, which [`PreparedRequest::send`] writes.
pub(crate) fn head(host: SocketAddr, path: &str, token: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         authorization: Bearer {token}\r\ncontent-length: "
    )
}

/// Writes a request: a head of [`head`], and a body.
pub(crate) fn write_request(output: &mut Vec<u8>, head: &str, body: &str) {
    output.extend_from_slice(head.as_bytes());
    // Writing into memory doesn't fail.
    let _infallible = write!(output, "{}\r\n\r\n{body}", body.len());
}

/// The complete answers at the begin of what has come.
pub(crate) struct Answers<'a> {
    input: &'a [u8],
    /// Bytes of the answers so far.
    pub(crate) taken: usize,
}

impl<'a> Answers<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { input, taken: 0 }
    }

    /// The body of the next one. Any status but 200 is a fault.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<&'a [u8]>> {
        let rest = self.input.get(self.taken..).unwrap_or_default();
        let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else { return Ok(None) };
        let (head, body) = rest.split_at(end + 4);
        let head = std::str::from_utf8(head)?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{head}{}", String::from_utf8_lossy(body));
        let length = head.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        let Some(body) = body.get(..length.context("no content-length")??) else { return Ok(None) };
        self.taken += head.len() + body.len();
        Ok(Some(body))
    }
}

/// A connection that blocks, for what isn't measured.
pub(crate) struct PreparedRequest {
    stream: TcpStream,
    head: String,
}

impl PreparedRequest {
    pub(crate) fn new(address: SocketAddr, path: &str, token: &str) -> anyhow::Result<Self> {
        let stream = connect(address)?;
        Ok(Self { stream, head: head(address, path, token) })
    }

    /// Sends a body, answers the body of the answer.
    pub(crate) fn send(&mut self, body: &str) -> anyhow::Result<Vec<u8>> {
        let mut request = Vec::new();
        write_request(&mut request, &self.head, body);
        self.stream.write_all(&request)?;
        let (mut input, mut room) = (Vec::new(), [0; 64 * 1024]);
        loop {
            let count = self.stream.read(&mut room)?;
            ensure!(count > 0, "the server closed a connection");
            input.extend_from_slice(room.get(..count).unwrap_or_default());
            if let Some(body) = Answers::new(&input).next()? {
                return Ok(body.to_vec());
            }
        }
    }
}

/// Goes through scripts of many requests each, `at_once` at a time, to the end of all. Blocks.
pub(crate) fn finish<S: Script + Send>(
    address: SocketAddr,
    scripts: &mut [S],
    at_once: usize,
) -> anyhow::Result<()> {
    let each = scripts.len().div_ceil(at_once.max(1)).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> =
            scripts.chunks_mut(each).map(|part| scope.spawn(move || in_turn(address, part))).collect();
        for part in parts {
            part.join().ok().context("a thread has ended")??;
        }
        Ok(())
    })
}

fn in_turn<S: Script>(address: SocketAddr, scripts: &mut [S]) -> anyhow::Result<()> {
    let mut stream = connect(address)?;
    let mut room = vec![0; 64 * 1024];
    for script in scripts {
        loop {
            stream.write_all(script.request())?;
            let mut input = Vec::new();
            let complete = loop {
                let count = stream.read(&mut room)?;
                ensure!(count > 0, "the server closed a connection");
                input.extend_from_slice(room.get(..count).unwrap_or_default());
                if let Some(body) = Answers::new(&input).next()? {
                    break script.answered(body)?;
                }
            };
            if complete {
                break;
            }
        }
    }
    Ok(())
}
