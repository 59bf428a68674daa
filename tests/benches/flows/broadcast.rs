//! One message to two hundred players, through their mailboxes and streams.

use std::time::Instant;

use anyhow::Context as _;
use omgservers_api::RuntimeQualifier;
use omgservers_tests::Backend;

use crate::{
    fixture::{COMMANDS, Commands, FlowFixture, Guest, Server},
    net::{Answers, Counts, Frames, Peer, Table, Wire, connect, head, text, upgrade, write_request},
    relay::{Delivery, PAYLOAD, list},
    report::{Bar, Measurement},
    rounds::{Rounds, Side},
};

const PLAYERS: u32 = 200;
/// Messages of one exchange of the game server.
const AT_ONCE: u32 = 10;
/// Messages that may be on the way to each player.
const IN_FLIGHT: u32 = 400;
/// Messages that a player consumes with one frame.
const CONSUMED: usize = 100;

/// Takes everything in.
struct Listener {
    consumed: Vec<String>,
    frame: String,
}

impl Peer for Listener {
    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<usize> {
        const ID: &[u8] = br#"{"id":""#;
        let mut frames = Frames::new(input);
        while let Some(frame) = frames.next(output)? {
            let before = self.consumed.len();
            for at in memchr::memmem::find_iter(frame, ID) {
                let id = frame.get(at + ID.len()..).unwrap_or_default();
                let id = id.split(|it| *it == b'"').next().unwrap_or_default();
                self.consumed.push(std::str::from_utf8(id)?.to_owned());
            }
            counts.complete_many(self.consumed.len() - before);
            if self.consumed.len() >= CONSUMED {
                self.frame.clear();
                self.frame.push_str("{\"consumed_messages\":");
                list(&mut self.frame, &self.consumed);
                self.frame.push('}');
                text(output, self.frame.as_bytes());
                self.consumed.clear();
            }
        }
        Ok(frames.taken)
    }
}

/// Says something to all, as fast as they take it.
struct Caster {
    head: String,
    seq: u64,
    sent: u32,
    asked: bool,
}

impl Peer for Caster {
    fn begin(&mut self, output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
        (counts.busy, self.sent) = (1, 0);
        self.after(output, counts)
    }

    fn after(&mut self, output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
        let in_flight = self.sent - counts.all / PLAYERS;
        if !counts.goes_on(Instant::now()) {
            // Every sent message has to arrive.
            counts.busy = usize::from(self.asked || self.sent * PLAYERS > counts.all);
        } else if !self.asked && in_flight + AT_ONCE <= IN_FLIGHT {
            let mut body = String::from("{\"outgoing_commands\":[");
            for index in 0..AT_ONCE {
                self.seq += 1;
                let (comma, seq) = (if index > 0 { "," } else { "" }, self.seq);
                body += &format!(
                    r#"{comma}{{"id":{seq},"qualifier":"BROADCAST_MESSAGE","body":{{"message":"{PAYLOAD}"}}}}"#
                );
            }
            body += "],\"consumed_commands\":[]}";
            write_request(output, &self.head, &body);
            (self.asked, self.sent) = (true, self.sent + AT_ONCE);
        }
        Ok(())
    }

    fn receive(&mut self, input: &[u8], _: &mut Vec<u8>, _: &mut Counts) -> anyhow::Result<usize> {
        let mut answers = Answers::new(input);
        while let Some(body) = answers.next()? {
            let came: Commands<'_> = serde_json::from_slice(body)?;
            if let Some(rejected) = came.rejected_commands {
                anyhow::bail!("rejected: {rejected}");
            }
            self.asked = false;
        }
        Ok(answers.taken)
    }
}

fn seat(stage: &FlowFixture, server: &Server) -> anyhow::Result<Table<Box<dyn Peer + Send>>> {
    let mut table = Table::<Box<dyn Peer + Send>>::new()?;
    let address = stage.address;
    for guest in stage.guests(usize::try_from(PLAYERS)?)? {
        let listener = Listener { consumed: Vec::new(), frame: String::new() };
        table.seat(stream(stage, &guest)?, Box::new(listener))?;
    }
    let head = head(address, COMMANDS, &server.token);
    let caster = Caster { head, seq: server.seq, sent: 0, asked: false };
    table.seat(Wire::new(connect(address)?, Vec::new())?, Box::new(caster))?;
    Ok(table)
}

/// Opens a player's stream.
pub(crate) fn stream(stage: &FlowFixture, Guest { token, client }: &Guest) -> anyhow::Result<Wire> {
    let target = format!("{}?client_id={client}", omgservers_api::stream::PATH);
    upgrade(stage.address, &target, &format!("authorization: Bearer {token}\r\n"))
}

pub(crate) async fn measure(backend: &Backend, rounds: Rounds) -> anyhow::Result<Vec<Measurement>> {
    let stage = FlowFixture::open(backend, &Delivery::Ephemeral.config()).await;
    let servers = stage.servers(backend, RuntimeQualifier::Lobby, 1).await?;
    let mut server = servers.into_iter().next().context("no lobby")?;
    let sample = tokio::task::block_in_place(|| {
        let mut table = seat(&stage, &server)?;
        server.drain()?;
        let all = usize::try_from(PLAYERS)? + 1;
        let side = Side { process: backend.process(), load: |time| table.round(all, time) };
        rounds.alone("broadcast to 200", side)
    })?;
    stage.close().await;
    Ok(vec![
        Measurement::new("broadcast", "Deliveries of broadcasts to 200 streams", "per s")
            .absolute(sample.per_second, Bar::None),
        Measurement::new("broadcast_per_core", "The same, for a second of a core in the server", "per s")
            .absolute(1e6 / sample.cpu, Bar::AtLeast(300_000.0)),
    ])
}
