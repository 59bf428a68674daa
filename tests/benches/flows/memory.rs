//! What many who do nothing cost: open WebSockets, and mailboxes.

use std::time::Duration;

use anyhow::Context as _;
use omgservers_api::RuntimeQualifier;
use omgservers_tests::Backend;

use crate::{
    broadcast::stream,
    dispatcher::ENDPOINT,
    fixture::{FlowFixture, Server},
    net::{Counts, Frames, Peer, Table, upgrade},
    process::{field, megabytes},
    report::{Bar, Measurement},
};

const SOCKETS: usize = 20_000;
const MAILBOXES: usize = 100_000;
/// Files that a process has open besides.
const OTHER_FILES: usize = 300;
/// Players that come before the game server takes them in.
const AT_ONCE: usize = 5_000;
/// Tokens for rooms are good for a minute.
const INVITED_AT_ONCE: usize = 1_000;
/// Until what is done with was given back.
const SETTLED: Duration = Duration::from_secs(3);
const CONFIG: &str =
    r#"{"modes":[],"deployment":{"min_lobbies":1,"lobby":{"max_assignments":1000000,"cpu_limit":10}}}"#;

/// Which sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Dispatcher,
    Stream,
}

/// Answers pings.
struct Quiet;

impl Peer for Quiet {
    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, _: &mut Counts) -> anyhow::Result<usize> {
        let mut frames = Frames::new(input);
        while frames.next(output)?.is_some() {}
        Ok(frames.taken)
    }
}

async fn open(backend: &Backend) -> anyhow::Result<(FlowFixture, Server)> {
    let stage = FlowFixture::open(backend, CONFIG).await;
    let servers = stage.servers(backend, RuntimeQualifier::Lobby, 1).await?;
    Ok((stage, servers.into_iter().next().context("no lobby")?))
}

/// Bytes of the process that are in memory.
fn resident(backend: &Backend) -> anyhow::Result<f64> {
    std::thread::sleep(SETTLED);
    Ok(megabytes(backend.process(), "status", "VmRSS")? * 1_048_576.0)
}

/// Memory of a WebSocket that nothing passes through. Only the server's process counts: the
/// kernel's part of a socket is reported, and not included.
pub(crate) async fn sockets(backend: &Backend, kind: Kind) -> anyhow::Result<Vec<Measurement>> {
    let (stage, mut server) = open(backend).await?;
    let (count, each) = tokio::task::block_in_place(|| {
        let limit: usize = field("/proc/self/limits", "Max open files")?
            .split_whitespace()
            .next()
            .and_then(|it| it.parse().ok())
            .unwrap_or(SOCKETS);
        let most = SOCKETS.min(limit.saturating_sub(OTHER_FILES));
        let mut guests = Vec::with_capacity(most);
        while guests.len() < most {
            guests.extend(stage.guests(AT_ONCE.min(most - guests.len()))?);
            server.drain()?;
        }
        let (before, kernel) = (resident(backend)?, kernel_pages()?);
        let mut table = Table::new()?;
        for guests in guests.chunks_mut(INVITED_AT_ONCE) {
            let invited =
                if kind == Kind::Dispatcher { stage.invite(&mut server, guests)? } else { Vec::new() };
            for (index, guest) in guests.iter().enumerate() {
                let wire = match invited.get(index) {
                    Some(token) => {
                        upgrade(stage.address, ENDPOINT, &format!("authorization: Bearer {token}\r\n"))?
                    }
                    None => stream(&stage, guest)?,
                };
                table.seat(wire, Quiet)?;
            }
            table.receive_waiting()?;
        }
        let after = resident(backend)?;
        table.receive_waiting()?;
        let count = f64::from(u32::try_from(most)?);
        let kernel = (kernel_pages()? - kernel) * 4096.0 / count / 2.0;
        let each = (after - before) / count;
        eprintln!(
            "{most} sockets ({kind:?}): {each:.0} bytes each, and {kernel:.0} in buffers of the kernel"
        );
        anyhow::Ok((count, each))
    })?;
    stage.close().await;
    let (key, name) = match kind {
        Kind::Dispatcher => ("idle_sockets_dispatcher", "An idle WebSocket of the dispatcher"),
        Kind::Stream => ("idle_sockets_stream", "An idle player stream"),
    };
    let (open, open_name) = match kind {
        Kind::Dispatcher => {
            ("idle_sockets_dispatcher_held", "Idle WebSockets of the dispatcher that were held")
        }
        Kind::Stream => ("idle_sockets_stream_held", "Idle player streams that were held"),
    };
    Ok(vec![
        Measurement::new(key, name, "bytes").absolute(each, Bar::AtMost(20_000.0)),
        Measurement::new(open, open_name, "").absolute(count, Bar::None),
    ])
}

/// Pages of the kernel for what is under way in sockets of TCP, of the whole machine.
fn kernel_pages() -> anyhow::Result<f64> {
    let line = field("/proc/net/sockstat", "TCP")?;
    let mut words = line.split_whitespace().skip_while(|it| *it != "mem");
    words.nth(1).and_then(|it| it.parse().ok()).context("/proc/net/sockstat")
}

/// Memory of the whole server with so many sessions whose mailboxes are empty.
pub(crate) async fn mailboxes(backend: &Backend) -> anyhow::Result<Vec<Measurement>> {
    let (stage, mut server) = open(backend).await?;
    let (before, after) = tokio::task::block_in_place(|| {
        let before = resident(backend)?;
        for _ in 0..MAILBOXES / AT_ONCE {
            stage.guests(AT_ONCE)?;
            server.drain()?;
        }
        anyhow::Ok((before, resident(backend)?))
    })?;
    let each = (after - before) / f64::from(u32::try_from(MAILBOXES)?);
    eprintln!("{MAILBOXES} sessions: {:.0} MB before, {:.0} MB with them", before / 1e6, after / 1e6);
    stage.close().await;
    Ok(vec![
        Measurement::new("mailbox_memory", "Memory (RSS) with 100,000 sessions without messages", "MB")
            .absolute(after / 1e6, Bar::AtMost(600.0)),
        Measurement::new("mailbox_memory_each", "The same, each session", "bytes").absolute(each, Bar::None),
    ])
}
