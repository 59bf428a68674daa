//! The load generator: one thread, keep-alive connections, prepared requests. It has to cost
//! little, for it takes its time from the same cores as the server.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

/// Before the counted time begins.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);
/// A server that is silent for so long is broken.
const MAX_IDLE: Duration = Duration::from_secs(10);

/// What one connection asks.
pub(crate) trait Script {
    /// The request to send, head and body.
    fn request(&self) -> &[u8];
    /// Takes the body of its answer. Whether a unit of what is counted is complete.
    fn answered(&mut self, body: &[u8]) -> anyhow::Result<bool>;
}

/// What a load has brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Complete units per second.
    pub(crate) per_second: f64,
    /// The time of a unit in the middle.
    pub(crate) p50: Duration,
    /// The time that one of a hundred units exceeds.
    pub(crate) p99: Duration,
    /// Complete units, the warm-up included.
    pub(crate) all: u32,
}

struct Connection<S> {
    stream: TcpStream,
    script: S,
    buffer: Vec<u8>,
    filled: usize,
    begun: Instant,
}

/// Loads a server with one connection for each script, each with one request at a time. Blocks for
/// `time` and a bit.
pub(crate) fn run<S: Script>(
    address: SocketAddr,
    scripts: Vec<S>,
    time: Duration,
) -> anyhow::Result<Outcome> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(scripts.len());
    let mut connections = Vec::with_capacity(scripts.len());
    for script in scripts {
        let stream = std::net::TcpStream::connect(address).with_context(|| address.to_string())?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(connections.len()), Interest::READABLE)?;
        connections.push(Connection {
            stream,
            script,
            buffer: vec![0; 64 * 1024],
            filled: 0,
            begun: Instant::now(),
        });
    }
    let from = Instant::now() + WARM_UP;
    let until = from + time;
    for connection in &mut connections {
        connection.send(true)?;
    }
    let (mut times, mut all) = (Vec::with_capacity(1 << 20), 0_u32);
    loop {
        poll.poll(&mut events, Some(MAX_IDLE))?;
        ensure!(!events.is_empty(), "no answer for {MAX_IDLE:?}");
        if Instant::now() >= until {
            return outcome(times, time, all);
        }
        for event in &events {
            let Some(connection) = connections.get_mut(event.token().0) else { continue };
            let Some(complete) = connection.receive().with_context(|| address.to_string())? else { continue };
            if complete {
                let now = Instant::now();
                all += 1;
                if now >= from {
                    times.push(u32::try_from((now - connection.begun).as_nanos()).unwrap_or(u32::MAX));
                }
            }
            connection.send(complete)?;
        }
    }
}

impl<S: Script> Connection<S> {
    fn send(&mut self, first: bool) -> anyhow::Result<()> {
        if first {
            self.begun = Instant::now();
        }
        let request = self.script.request();
        // The buffer of a socket without requests under way takes one of ours.
        let written = self.stream.write(request)?;
        ensure!(written == request.len(), "a request was written in pieces");
        Ok(())
    }

    /// `None` while the answer isn't there.
    fn receive(&mut self) -> anyhow::Result<Option<bool>> {
        loop {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match self.stream.read(room) {
                Ok(0) => bail!("the server closed a connection, or its answer is too long"),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            let received = self.buffer.get(..self.filled).unwrap_or_default();
            if let Some(body) = body(received)? {
                // There is one request under way, so nothing comes after its answer.
                self.filled = 0;
                return self.script.answered(body).map(Some);
            }
        }
    }
}

/// The body of a complete answer.
fn body(answer: &[u8]) -> anyhow::Result<Option<&[u8]>> {
    let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = answer.split_at(end);
    let body = rest.get(4..).unwrap_or_default();
    let head = std::str::from_utf8(head)?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}\n{}", String::from_utf8_lossy(body));
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let length = length.context("no content-length")??;
    ensure!(body.len() <= length, "more than an answer");
    Ok((body.len() == length).then_some(body))
}

pub(crate) fn outcome(mut times: Vec<u32>, time: Duration, all: u32) -> anyhow::Result<Outcome> {
    ensure!(times.len() >= 100, "only {} units in {time:?}", times.len());
    times.sort_unstable();
    let at = |part: usize| {
        let rank = (times.len() * part).div_ceil(100);
        let nanos = times.get(rank.saturating_sub(1)).copied().unwrap_or_default();
        Duration::from_nanos(nanos.into())
    };
    let count = f64::from(u32::try_from(times.len())?);
    Ok(Outcome { per_second: count / time.as_secs_f64(), p50: at(50), p99: at(99), all })
}

/// The bytes of a request with a JSON body.
pub(crate) fn request(host: SocketAddr, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let bearer = token.map(|it| format!("authorization: Bearer {it}\r\n")).unwrap_or_default();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{bearer}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
