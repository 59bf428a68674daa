//! Messages that become durable, many in each request.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use omgservers_api::RuntimeQualifier;
use omgservers_tests::Backend;
use tokio::runtime::Handle;

use crate::{
    baseline::{self, Rows, Session},
    fixture::{COMMANDS, Commands, FlowFixture, INTERCHANGE, Server, WAIT},
    load::Outcome,
    metrics::commits,
    net::{Answers, Counts, Peer, Table, Wire, connect, head, write_request},
    relay::{Delivery, PAYLOAD},
    report::{Bar, Measurement},
    rounds::{Rounds, Side, median},
};

const PLAYERS: usize = 64;
const BATCH: u64 = 10;
/// Between an answer and the next exchange of the game server.
const TICK: Duration = Duration::from_millis(5);
/// Most messages of an answer. The next exchange follows a full one at once: more messages are in
/// the mailbox, which would fill up on a fast machine.
const FULL: usize = 1_000;
/// Of a first round, when it isn't known yet how many rows ours has in a commit.
const GUESS: usize = 320;

/// Says ten things with each request.
struct Player {
    head: String,
    client: String,
    seq: u64,
    body: String,
}

impl Player {
    fn write_request(&mut self, output: &mut Vec<u8>) {
        let Self { client, body, .. } = self;
        body.clear();
        body.extend([r#"{"client_id":""#, client, r#"","outgoing_messages":["#]);
        for index in 0..BATCH {
            self.seq += 1;
            let (comma, seq) = (if index > 0 { "," } else { "" }, self.seq);
            body.push_str(&format!(
                r#"{comma}{{"id":{seq},"qualifier":"CLIENT_OUTGOING_MESSAGE","body":{{"data":"{PAYLOAD}"}}}}"#
            ));
        }
        body.push_str("],\"consumed_messages\":[]}");
        write_request(output, &self.head, body);
    }
}

impl Peer for Player {
    fn begin(&mut self, output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
        counts.busy += 1;
        self.write_request(output);
        Ok(())
    }

    fn receive(&mut self, input: &[u8], output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<usize> {
        let mut answers = Answers::new(input);
        while answers.next()?.is_some() {
            if counts.goes_on(Instant::now()) {
                self.write_request(output);
            } else {
                counts.busy -= 1;
            }
        }
        Ok(answers.taken)
    }
}

/// A game server that receives everything, tick by tick. Without ticks it would consume most
/// messages before they are written, and then they never are. PostgreSQL would have far less to do
/// than in the baseline.
struct Consumer {
    head: String,
    /// When it asks next, unless it has asked.
    due: Option<Instant>,
    body: String,
}

impl Consumer {
    fn new(head: String) -> Self {
        let mut consumer = Self { head, due: Some(Instant::now()), body: String::new() };
        consumer.prepare(std::iter::empty());
        consumer
    }

    fn prepare<'a>(&mut self, consumed: impl Iterator<Item = &'a str>) {
        self.body.clear();
        self.body.push_str("{\"outgoing_commands\":[],\"consumed_commands\":[");
        for (index, id) in consumed.enumerate() {
            self.body.extend([if index > 0 { ",\"" } else { "\"" }, id, "\""]);
        }
        self.body.push_str(&format!("],\"wait\":{WAIT}}}"));
    }
}

impl Peer for Consumer {
    fn begin(&mut self, output: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<()> {
        self.after(output, counts)
    }

    fn after(&mut self, output: &mut Vec<u8>, _: &mut Counts) -> anyhow::Result<()> {
        if self.due.take_if(|it| Instant::now() >= *it).is_some() {
            write_request(output, &self.head, &self.body);
        }
        Ok(())
    }

    fn receive(&mut self, input: &[u8], _: &mut Vec<u8>, counts: &mut Counts) -> anyhow::Result<usize> {
        let mut answers = Answers::new(input);
        while let Some(body) = answers.next()? {
            let came: Commands<'_> = serde_json::from_slice(body)?;
            counts.complete_many(came.incoming_commands.len());
            self.prepare(came.incoming_commands.iter().map(|it| it.id));
            let pause = if came.incoming_commands.len() < FULL { TICK } else { Duration::ZERO };
            self.due = Some(Instant::now() + pause);
        }
        Ok(answers.taken)
    }
}

fn seat(stage: &FlowFixture, server: &Server) -> anyhow::Result<Table<Box<dyn Peer + Send>>> {
    let mut table = Table::<Box<dyn Peer + Send>>::new()?;
    let address = stage.address;
    for guest in stage.guests(PLAYERS)? {
        let head = head(address, INTERCHANGE, &guest.token);
        let player = Player { head, client: guest.client, seq: 0, body: String::new() };
        table.seat(Wire::new(connect(address)?, Vec::new())?, Box::new(player))?;
    }
    let head = head(address, COMMANDS, &server.token);
    table.seat(Wire::new(connect(address)?, Vec::new())?, Box::new(Consumer::new(head)))?;
    Ok(table)
}

/// Writes the same rows for so long: each transaction puts some in and takes those of the last one
/// out.
async fn write(session: &Session, rows: usize, time: Duration) -> anyhow::Result<Outcome> {
    let body: Arc<str> = format!(r#"{{"client_id":"{}","message":"{PAYLOAD}"}}"#, u64::MAX / 3).into();
    let (mailbox, start) = (u64::MAX >> 2, Instant::now());
    let mailbox = i64::try_from(mailbox)?;
    let (mut next, mut last, mut commits) = (0_i64, Vec::new(), 0_u32);
    while start.elapsed() < time {
        let mut statement = Rows::default();
        std::mem::take(&mut last).into_iter().for_each(|id| statement.delete(mailbox, id));
        for _ in 0..rows {
            statement.insert(mailbox, next, 20, &body);
            last.push(next);
            next += 1;
        }
        session.write(&statement).await?;
        commits += 1;
    }
    let mut statement = Rows::default();
    last.into_iter().for_each(|id| statement.delete(mailbox, id));
    session.write(&statement).await?;
    let took = start.elapsed();
    let all = u32::try_from(next)?;
    let each = took / commits.max(1);
    Ok(Outcome { per_second: f64::from(all) / took.as_secs_f64(), p50: each, p99: each, all })
}

pub(crate) async fn measure(backend: &Backend, rounds: Rounds) -> anyhow::Result<Vec<Measurement>> {
    let stage = FlowFixture::open(backend, &Delivery::Durable.config()).await;
    let servers = stage.servers(backend, RuntimeQualifier::Lobby, 1).await?;
    let mut server = servers.into_iter().next().context("no lobby")?;
    let session = Session::open(&baseline::config(&backend.data_dir().join("pg/run"))).await?;
    let (rows, mut per_message) = (Cell::new(GUESS), Vec::new());
    let compared = tokio::task::block_in_place(|| {
        let mut table = seat(&stage, &server)?;
        server.drain()?;
        let ours = |time: Duration| -> anyhow::Result<Outcome> {
            let before = commits(backend)?;
            let outcome = table.round(PLAYERS + 1, time)?;
            let written = commits(backend)?.since(&before);
            // Whole numbers of this size are exact.
            let per_commit = format!("{:.0}", f64::from(outcome.all) / written.count).parse()?;
            let written_each = written.rows / f64::from(outcome.all);
            eprintln!(
                "  {per_commit} messages in a commit of {:.0} µs, {written_each:.2} rows written for each",
                written.mean() * 1e6
            );
            rows.set(per_commit);
            per_message.push(written_each);
            Ok(outcome)
        };
        let theirs = |time| Handle::current().block_on(write(&session, rows.get(), time));
        let ours = Side { process: backend.process(), load: ours };
        let theirs = Side { process: backend.process(), load: theirs };
        rounds.compare("durable messages, ten in a request", ours, theirs)
    })?;
    stage.close().await;
    Ok(vec![
        Measurement::new("durable_batches", "Durable messages to a game server, 10 in a request", "per s")
            .compared(
                compared.ours.per_second,
                "PostgreSQL, same rows and commits",
                compared.baseline.per_second,
            )
            .ratio(compared.throughput, Bar::AtLeast(0.5)),
        Measurement::new("durable_batches_cpu", "The same, time of a core in the server for a message", "µs")
            .absolute(compared.ours.cpu, Bar::None),
        // What is consumed before it was written is neither put in nor taken out: ours may write
        // less than the baseline.
        Measurement::new(
            "durable_batches_rows",
            "The same, rows written for a message (baseline: 2)",
            "rows",
        )
        .absolute(median(per_message), Bar::None),
    ])
}
