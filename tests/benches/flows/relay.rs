//! Messages from players to their game server and back, through the mailboxes.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use omgservers_api::RuntimeQualifier;
use omgservers_tests::Backend;

use crate::{
    baseline::{DURABLE, EPHEMERAL, PLAYER, RUNTIME},
    fixture::{COMMANDS, Commands, FlowFixture, INTERCHANGE, Messages, Server, WAIT},
    load::Outcome,
    metrics::{Commits, commits},
    net::{Answers, Counts, Peer, Table, Wire, connect, head, write_request},
    process::Baseline,
    report::{Bar, Measurement},
    rounds::{Rounds, Side, median},
};

const PLAYERS: usize = 64;
/// The body of a message.
pub(crate) const PAYLOAD: &str =
    "move 12.5 88.1 heading 271.0 fire 0 jump 1 weapon 3 seed 99120391 at 1700000000123";

/// µs. With quicker commits the processor bounds the 99th percentile, not the commit.
const QUICK_COMMIT: f64 = 1_000.0;

/// Whether messages are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Durable,
    Ephemeral,
}

impl Delivery {
    /// The configuration of a version with such messages.
    pub(crate) fn config(self) -> String {
        let name = if self == Self::Durable { "durable" } else { "ephemeral" };
        format!(
            r#"{{"modes":[],"deployment":{{"min_lobbies":1,"delivery":"{name}","lobby":{{"max_assignments":1000,"cpu_limit":10}}}}}}"#
        )
    }
}

/// Says something and waits for an answer, over and over.
struct Player {
    head: String,
    client: String,
    seq: u64,
    consumed: Vec<String>,
    begun: Instant,
    body: String,
}

impl Player {
    fn new(head: String, client: &str) -> Self {
        let (client, consumed, body) = (client.to_owned(), Vec::new(), String::new());
        Self { head, client, seq: 0, consumed, begun: Instant::now(), body }
    }

    fn write_request(&mut self, output: &mut Vec<u8>, sends: bool) {
        self.body.clear();
        let Self { client, body, .. } = self;
        body.extend([r#"{"client_id":""#, client, r#"","outgoing_messages":["#]);
        if sends {
            self.begun = Instant::now();
            self.seq += 1;
            let seq = self.seq;
            *body += &format!(
                r#"{{"id":{seq},"qualifier":"CLIENT_OUTGOING_MESSAGE","body":{{"data":"{PAYLOAD}"}}}}"#
            );
        }
        *body += "],\"consumed_messages\":";
        list(body, &self.consumed);
        *body += &format!(",\"wait\":{WAIT}}}");
        write_request(output, &self.head, body);
    }
}

/// Ids, quoted.
pub(crate) fn list(body: &mut String, ids: &[String]) {
    body.push('[');
    for (index, id) in ids.iter().enumerate() {
        body.extend([if index > 0 { ",\"" } else { "\"" }, id, "\""]);
    }
    body.push(']');
}

impl Peer for Player {
    fn begin(&mut self, output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
        counts.busy += 1;
        self.write_request(output, true);
        Ok(())
    }

    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<usize> {
        let mut answers = Answers::new(input);
        while let Some(body) = answers.next()? {
            let answer: Messages<'_> = serde_json::from_slice(body)?;
            let came = &answer.incoming_messages;
            self.consumed.clear();
            self.consumed.extend(came.iter().map(|it| it.id.to_owned()));
            if !came.iter().any(|it| it.qualifier == "SERVER_OUTGOING_MESSAGE") {
                self.write_request(output, false);
            } else if counts.complete(self.begun) {
                self.write_request(output, true);
            } else {
                counts.busy -= 1;
            }
        }
        Ok(answers.taken)
    }
}

/// A game server that answers everything that it gets with the next exchange, and has one under way
/// all the time.
struct Echo {
    head: String,
    seq: u64,
    asked: bool,
    body: String,
}

impl Echo {
    fn new(head: String, seq: u64) -> Self {
        Self { head, seq, asked: false, body: String::new() }
    }

    fn write_request(&mut self, output: &mut Vec<u8>, came: &Commands<'_>) -> anyhow::Result<()> {
        let body = &mut self.body;
        body.clear();
        *body += "{\"outgoing_commands\":[";
        let sent = came.incoming_commands.iter().filter(|it| it.qualifier == "HANDLE_MESSAGE");
        for (index, command) in sent.enumerate() {
            self.seq += 1;
            let comma = if index > 0 { "," } else { "" };
            // What came has the fields of what goes.
            let (seq, fields) = (self.seq, command.body);
            *body += &format!(r#"{comma}{{"id":{seq},"qualifier":"RESPOND_CLIENT","body":{fields}}}"#);
        }
        *body += "],\"consumed_commands\":[";
        for (index, command) in came.incoming_commands.iter().enumerate() {
            body.extend([if index > 0 { ",\"" } else { "\"" }, command.id, "\""]);
        }
        *body += &format!("],\"wait\":{WAIT}}}");
        write_request(output, &self.head, body);
        Ok(())
    }
}

impl Peer for Echo {
    fn begin(&mut self, output: &mut Vec<u8>, _: &mut Counts) -> anyhow::Result<()> {
        if std::mem::replace(&mut self.asked, true) {
            return Ok(());
        }
        self.write_request(output, &Commands { incoming_commands: Vec::new(), rejected_commands: None })
    }

    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, _: &mut Counts) -> anyhow::Result<usize> {
        let mut answers = Answers::new(input);
        while let Some(body) = answers.next()? {
            let came: Commands<'_> = serde_json::from_slice(body)?;
            if let Some(rejected) = came.rejected_commands {
                anyhow::bail!("rejected: {rejected}");
            }
            self.write_request(output, &came)?;
        }
        Ok(answers.taken)
    }
}

/// Players and their game server, of ours or of the relay.
type All = Table<Box<dyn Peer + Send>>;

fn ours(stage: &FlowFixture, server: &Server) -> anyhow::Result<All> {
    let mut table = All::new()?;
    let address = stage.address;
    for guest in stage.guests(PLAYERS)? {
        let player = Player::new(head(address, INTERCHANGE, &guest.token), &guest.client);
        table.seat(Wire::new(connect(address)?, Vec::new())?, Box::new(player))?;
    }
    let echo = Echo::new(head(address, COMMANDS, &server.token), server.seq);
    table.seat(Wire::new(connect(address)?, Vec::new())?, Box::new(echo))?;
    Ok(table)
}

fn theirs(baseline: &Baseline, name: &str) -> anyhow::Result<All> {
    let mut table = All::new()?;
    let address = baseline.address;
    for client in 1..=PLAYERS {
        let player = Player::new(head(address, &format!("{name}{PLAYER}"), "none"), &client.to_string());
        table.seat(Wire::new(connect(address)?, Vec::new())?, Box::new(player))?;
    }
    let echo = Echo::new(head(address, &format!("{name}{RUNTIME}"), "none"), 0);
    table.seat(Wire::new(connect(address)?, Vec::new())?, Box::new(echo))?;
    Ok(table)
}

pub(crate) async fn measure(
    backend: &Backend,
    baseline: &Baseline,
    rounds: Rounds,
    delivery: Delivery,
) -> anyhow::Result<Vec<Measurement>> {
    let stage = FlowFixture::open(backend, &delivery.config()).await;
    let servers = stage.servers(backend, RuntimeQualifier::Lobby, 1).await?;
    let mut server = servers.into_iter().next().context("no lobby")?;
    let mut written = Vec::new();
    let compared = tokio::task::block_in_place(|| {
        let name = if delivery == Delivery::Durable { DURABLE } else { EPHEMERAL };
        let mut tables = (ours(&stage, &server)?, theirs(baseline, name)?);
        server.drain()?;
        // The game server sits last and begins, too.
        let ours = |time: Duration| -> anyhow::Result<Outcome> {
            let before = commits(backend)?;
            let outcome = tables.0.round(PLAYERS + 1, time)?;
            written.push((commits(backend)?.since(&before), outcome));
            Ok(outcome)
        };
        let theirs = |time| tables.1.round(PLAYERS + 1, time);
        let ours = Side { process: backend.process(), load: ours };
        let theirs = Side { process: baseline.id(), load: theirs };
        rounds.compare(&format!("{delivery:?} round trips"), ours, theirs)
    })?;
    stage.close().await;
    Ok(match delivery {
        Delivery::Durable => vec![
            Measurement::new(
                "relay_http_throughput",
                "Durable round trips by interchange, 64 players",
                "per s",
            )
            .compared(compared.ours.per_second, "bare relay, same commits", compared.baseline.per_second)
            .ratio(compared.throughput, Bar::AtLeast(0.5)),
            in_commits(&written),
            Measurement::new("relay_http_p99_relay", "The same p99, against that of the baseline", "µs")
                .compared(compared.ours.p99, "bare relay, same commits", compared.baseline.p99)
                .ratio(compared.p99, Bar::AtMost(1.5)),
            Measurement::new("relay_http_cpu", "Durable round trip, time of a core in the server", "µs")
                .compared(compared.ours.cpu, "bare relay, same commits", compared.baseline.cpu)
                .ratio(compared.ours.cpu / compared.baseline.cpu, Bar::None),
        ],
        Delivery::Ephemeral => vec![
            Measurement::new("relay_ephemeral_throughput", "Ephemeral round trips, 64 players", "per s")
                .compared(compared.ours.per_second, "bare relay", compared.baseline.per_second)
                .ratio(compared.throughput, Bar::AtLeast(0.75)),
            Measurement::new("relay_ephemeral_p99", "Ephemeral round trips, 64 players, p99", "µs")
                .compared(compared.ours.p99, "bare relay", compared.baseline.p99)
                .ratio(compared.p99, Bar::None),
            Measurement::new(
                "relay_ephemeral_cpu",
                "Ephemeral round trip, time of a core in the server",
                "µs",
            )
            .compared(compared.ours.cpu, "bare relay", compared.baseline.cpu)
            .ratio(compared.ours.cpu / compared.baseline.cpu, Bar::None),
        ],
    })
}

/// The 99th percentile against the time of a commit in the same round. The first round warmed up.
/// There is no bar for quick commits: a faster commit would miss it.
fn in_commits(written: &[(Commits, Outcome)]) -> Measurement {
    let written = written.get(1..).unwrap_or_default();
    let p99 = |it: &(Commits, Outcome)| it.1.p99.as_secs_f64() * 1e6;
    let commit = |it: &(Commits, Outcome)| it.0.mean() * 1e6;
    for batch in written {
        let per_message = batch.0.rows / f64::from(batch.1.all.max(1));
        eprintln!(
            "  {:.0} commits of {:.0} µs and {:.1} rows, {per_message:.2} rows for each round trip; p50 {:.0} µs, p99 {:.0} µs",
            batch.0.count,
            commit(batch),
            batch.0.rows / batch.0.count,
            batch.1.p50.as_secs_f64() * 1e6,
            p99(batch)
        );
    }
    let ratio = median(written.iter().map(|it| p99(it) / commit(it)));
    let mean = median(written.iter().map(commit));
    let bar = if mean < QUICK_COMMIT { Bar::None } else { Bar::AtMost(4.0) };
    Measurement::new("relay_http_p99", "Durable round trips by interchange, 64 players, p99", "µs")
        .compared(median(written.iter().map(p99)), "a commit", mean)
        .ratio(ratio, bar)
}
