//! Frames from players to their game server and back, past the mailboxes.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use omgservers_api::RuntimeQualifier;
use omgservers_tests::Backend;
use serde_json::json;

use crate::{
    baseline::ROOM,
    fixture::{FlowFixture, Guest, Server},
    net::{Counts, Frames, Peer, Table, text, upgrade},
    process::Baseline,
    report::{Bar, Measurement},
    rounds::{Compared, Rounds, Side},
};

/// Players of one room; the others sit there and say nothing.
const PLAYERS: [usize; 3] = [1, 100, 500];
pub(crate) const ENDPOINT: &str = "/dispatcher/v1/entrypoint/websocket/endpoint";
const CONFIG: &str =
    r#"{"modes":[],"deployment":{"min_lobbies":1,"lobby":{"max_assignments":1000,"cpu_limit":10}}}"#;
/// The text of a frame.
const PAYLOAD: &str = "x 12.5 y 88.1 heading 271.0 fire 0 jump 1 weapon 3 at 1700000000";
/// What a game server gets and sends, around the client's id.
const ENVELOPE: (&str, &str) = (r#"{"client_id":""#, r#"","encoding":"TXT","message":"#);
const ORDER: (&str, &str) = (r#"{"clients":[""#, r#""],"encoding":"TXT","message":"#);

/// Says something and waits for it to come back.
struct Player {
    sends: Vec<u8>,
    expects: Vec<u8>,
    begun: Instant,
}

impl Peer for Player {
    fn begin(&mut self, output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
        counts.busy += 1;
        self.begun = Instant::now();
        text(output, &self.sends);
        Ok(())
    }

    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<usize> {
        let mut frames = Frames::new(input);
        while let Some(frame) = frames.next(output)? {
            ensure!(frame == self.expects, "{}", String::from_utf8_lossy(frame));
            if counts.complete(self.begun) {
                self.begun = Instant::now();
                text(output, &self.sends);
            } else {
                counts.busy -= 1;
            }
        }
        Ok(frames.taken)
    }
}

/// A game server that sends everything back to its sender.
struct Echo(Vec<u8>);

impl Peer for Echo {
    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, _: &mut Counts) -> anyhow::Result<usize> {
        let mut frames = Frames::new(input);
        while let Some(frame) = frames.next(output)? {
            let rest = frame.strip_prefix(ENVELOPE.0.as_bytes()).context("no letter")?;
            let end = memchr::memchr(b'"', rest).context("no client")?;
            let (client, rest) = rest.split_at(end);
            let message = rest.strip_prefix(ENVELOPE.1.as_bytes()).context("no message")?;
            self.0.clear();
            for part in [ORDER.0.as_bytes(), client, ORDER.1.as_bytes(), message] {
                self.0.extend_from_slice(part);
            }
            text(output, &self.0);
        }
        Ok(frames.taken)
    }
}

type Room = Table<Box<dyn Peer + Send>>;

/// A room of ours.
fn ours(stage: &FlowFixture, server: &mut Server, guests: &mut [Guest]) -> anyhow::Result<Room> {
    let mut table = Room::new()?;
    let header = |token: &str| format!("authorization: Bearer {token}\r\n");
    let runtime = upgrade(stage.address, ENDPOINT, &header(server.ws_token()))?;
    // A token is good for a minute.
    for guests in guests.chunks_mut(250) {
        for token in stage.invite(server, guests)? {
            let player = Player {
                sends: PAYLOAD.as_bytes().to_vec(),
                expects: PAYLOAD.as_bytes().to_vec(),
                begun: Instant::now(),
            };
            table.seat(upgrade(stage.address, ENDPOINT, &header(&token))?, Box::new(player))?;
        }
    }
    table.seat(runtime, Box::new(Echo(Vec::new())))?;
    Ok(table)
}

/// The same with the relay, which doesn't look into frames: they are the letters and orders of ours
/// from end to end.
fn theirs(baseline: &Baseline, guests: &[Guest]) -> anyhow::Result<Room> {
    let mut table = Room::new()?;
    let runtime = upgrade(baseline.address, ROOM, "")?;
    for Guest { client, .. } in guests {
        let around = |it: (&str, &str)| format!("{}{client}{}{}}}", it.0, it.1, json!(PAYLOAD)).into_bytes();
        let player = Player { sends: around(ENVELOPE), expects: around(ORDER), begun: Instant::now() };
        let wire = upgrade(baseline.address, &format!("{ROOM}?client={client}"), "")?;
        table.seat(wire, Box::new(player))?;
    }
    table.seat(runtime, Box::new(Echo(Vec::new())))?;
    Ok(table)
}

pub(crate) async fn measure(
    backend: &Backend,
    baseline: &Baseline,
    rounds: Rounds,
) -> anyhow::Result<Vec<Measurement>> {
    let stage = FlowFixture::open(backend, CONFIG).await;
    let servers = stage.servers(backend, RuntimeQualifier::Lobby, 1).await?;
    let mut server = servers.into_iter().next().context("no lobby")?;
    let most = PLAYERS.into_iter().max().unwrap_or(0);
    let compared = tokio::task::block_in_place(|| {
        let mut guests = stage.guests(most)?;
        let mut tables = (ours(&stage, &mut server, &mut guests)?, theirs(baseline, &guests)?);
        let each = PLAYERS.into_iter().map(|players| {
            let ours = Side { process: backend.process(), load: |time| tables.0.round(players, time) };
            let theirs = Side { process: baseline.id(), load: |time| tables.1.round(players, time) };
            rounds.compare(&format!("dispatcher, {players} players"), ours, theirs)
        });
        each.collect::<anyhow::Result<Vec<_>>>()
    })?;
    stage.close().await;
    Ok(compared.iter().zip(NAMES).flat_map(|(it, names)| measurements(it, names)).collect())
}

/// Keys and names of what is measured, for each number of players.
const NAMES: [[(&str, &str); 3]; 3] = [
    [
        ("dispatcher_1_throughput", "Dispatcher round trips, 1 player"),
        ("dispatcher_1_p99", "Dispatcher round trips, 1 player, p99"),
        ("dispatcher_1_cpu", "Dispatcher round trips, 1 player, time of a core in the server"),
    ],
    [
        ("dispatcher_100_throughput", "Dispatcher round trips, 100 players"),
        ("dispatcher_100_p99", "Dispatcher round trips, 100 players, p99"),
        ("dispatcher_100_cpu", "Dispatcher round trips, 100 players, time of a core in the server"),
    ],
    [
        ("dispatcher_500_throughput", "Dispatcher round trips, 500 players"),
        ("dispatcher_500_p99", "Dispatcher round trips, 500 players, p99"),
        ("dispatcher_500_cpu", "Dispatcher round trips, 500 players, time of a core in the server"),
    ],
];

fn measurements(compared: &Compared, names: [(&'static str, &'static str); 3]) -> Vec<Measurement> {
    let what = "bare actix relay";
    let [throughput, p99, cpu] = names;
    vec![
        Measurement::new(throughput.0, throughput.1, "per s")
            .compared(compared.ours.per_second, what, compared.baseline.per_second)
            .ratio(compared.throughput, Bar::AtLeast(0.7)),
        Measurement::new(p99.0, p99.1, "µs")
            .compared(compared.ours.p99, what, compared.baseline.p99)
            .ratio(compared.p99, Bar::AtMost(2.0)),
        Measurement::new(cpu.0, cpu.1, "µs")
            .compared(compared.ours.cpu, what, compared.baseline.cpu)
            .ratio(compared.ours.cpu / compared.baseline.cpu, Bar::None),
    ]
}
